"""The objects of a run: copies of the samples, each with unique names in its own namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.ensemble import cast
from tests.e2e.kinds import STORIES, document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Key = tuple[str, str, str]
"""(kind, namespace, name)"""

FAILING = 4
"""In each copy whose number this divides, the training job fails."""


class Copy:
    """Every document of the stories, renamed for copy `number`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.namespace = f"copy-{number}"
        self.needs = cast()
        names = {name for reference in self.needs for name in _names(document(reference)) if len(name) + 4 <= 32}
        self.manifests = {
            reference: _renamed(document(reference), {name: f"{name}-{number}" for name in names})
            for reference in self.needs
        }
        for manifest in self.manifests.values():
            manifest["metadata"]["namespace"] = self.namespace
        if number % FAILING == 0:
            self.manifests["trainingjob"]["spec"]["tags"].append({"key": "sandbox/outcome", "value": "Failed"})

    def __len__(self) -> int:
        return len(self.manifests)

    def key(self, reference: str) -> Key:
        manifest = self.manifests[reference]
        return manifest["kind"], self.namespace, manifest["metadata"]["name"]

    def ends(self, reference: str) -> str:
        """The condition that is True at the end."""
        return "Failed" if reference == "trainingjob" and self.number % FAILING == 0 else "Ready"

    def edits(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(reference, merge patch of its spec) of the kinds that can be edited without the names of others."""
        for reference in self.needs:
            story = STORIES.get(self.manifests[reference]["kind"])
            if story is not None and story.edit is not None and not story.also and "#" not in reference:
                yield reference, story.edit.spec


def _names(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield manifest["metadata"]["name"]
    for member in catalog()[manifest["kind"]].identifiers:
        value = manifest["spec"].get(member.field)
        if isinstance(value, str) and member.api.endswith("Name"):
            yield value


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
