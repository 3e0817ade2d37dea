"""A `Story` per kind, by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.stories import hosting, jobs, lineage, monitoring, registry, studio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stories.story import Story

STORIES: Mapping[str, Story] = {
    name: story
    for family in (hosting, jobs, lineage, monitoring, registry, studio)
    for name, story in family.STORIES.items()
}
