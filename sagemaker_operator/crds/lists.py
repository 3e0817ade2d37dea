"""Lists of kinds inside hand-written manifests: generated, committed, and checked for staleness by a test.

A line with `# generated: NAME` begins a list. The items directly below it are replaced; the rest of the file is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sagemaker_operator.crds.generate import manifests
from sagemaker_operator.kinds.catalog import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LIST = re.compile(r"^(?P<head>.*# generated: (?P<name>\S+)\n)(?P<items>(?:(?P<indent> *)- .*\n)+)", re.MULTILINE)


def generated_lists() -> Mapping[str, Sequence[str]]:
    """The items by the name after `# generated:`."""
    plurals = sorted(kind.plural for kind in catalog().values())
    return {
        "kinds": plurals,
        "kinds/status": [f"{plural}/status" for plural in plurals],
        "crds": [f"crds/{name}" for name in sorted(manifests())],
    }


def refreshed(text: str) -> str:
    """A manifest's text with up-to-date lists. Raises KeyError for an unknown list name."""
    lists = generated_lists()

    def replaced(match: re.Match[str]) -> str:
        items = "".join(f"{match['indent']}- {item}\n" for item in lists[match["name"]])
        return match["head"] + items

    return _LIST.sub(replaced, text)
