"""The served resources: one `ResourceType` per collection, built in or from a CustomResourceDefinition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sagemaker_operator.sandbox.kubernetes.schema import Schema
    from sagemaker_operator.sandbox.kubernetes.status import FieldError

JsonObject = dict[str, Any]
ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of `kubectl get`. `cell` gets the object and the time, and returns text, a number or None."""

    name: str
    cell: Callable[[Mapping[str, Any], float], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


def _nothing(_: JsonObject, __: Mapping[str, Any] | None) -> list[FieldError]:
    return []


def _same(obj: JsonObject) -> JsonObject:
    return obj


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ResourceType:
    """One collection in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    schema: Schema
    status_subresource: bool = False
    custom: bool = False
    """A custom resource: has generations, requires a resourceVersion in a PUT, supports no strategic merge."""
    counts_generations: bool = False
    columns: tuple[TableColumn, ...] = ()
    selectable: Mapping[str, str] = field(default_factory=dict)
    """Field selector names beside metadata.name and metadata.namespace, with their paths in the stored object."""

    stored_as: tuple[str, str] | None = None
    """(group, plural) of the collection that stores the objects, if this is another view of it."""
    to_stored: Callable[[JsonObject], JsonObject] = _same
    from_stored: Callable[[JsonObject], JsonObject] = _same
    admit: Callable[[JsonObject, Mapping[str, Any] | None], list[FieldError]] = _nothing
    """Sets defaults in the stored form, in place, like a built-in type's strategy, and returns the errors."""

    @property
    def collection(self) -> tuple[str, str]:
        return self.stored_as or (self.group, self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def fields(self) -> dict[str, str]:
        """The fields that a field selector may use."""
        return {"metadata.name": "metadata.name", "metadata.namespace": "metadata.namespace", **self.selectable}

    def present(self, stored: JsonObject) -> JsonObject:
        """The stored object as this version shows it. Shares parts with `stored`: to be encoded, not changed."""
        shown = self.from_stored(stored)
        return {**shown, "apiVersion": self.api_version, "kind": self.kind}

    def __repr__(self) -> str:
        return f"<ResourceType {self.api_version} {self.plural}>"


class Catalog:
    """The types served now. `revision` changes whenever they do."""

    def __init__(self, builtins: Iterable[ResourceType]) -> None:
        self._types = {(type_.group, type_.version, type_.plural): type_ for type_ in builtins}
        self._of_crd: dict[str, list[ResourceType]] = {}
        self.revision = 0

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._types.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        return next((type_ for type_ in self if type_.api_version == api_version and type_.kind == kind), None)

    def by_plural(self, group: str, plural: str) -> ResourceType | None:
        return next((type_ for type_ in self if (type_.group, type_.plural) == (group, plural)), None)

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._types.values())

    def group_versions(self) -> dict[tuple[str, str], list[ResourceType]]:
        """(group, version) -> its types."""
        result: dict[tuple[str, str], list[ResourceType]] = {}
        for type_ in self:
            result.setdefault((type_.group, type_.version), []).append(type_)
        return result

    def serve(self, crd_name: str, types: list[ResourceType]) -> None:
        """Serves `types` in the place of what this CRD defined before."""
        for type_ in self._of_crd.pop(crd_name, []):
            del self._types[type_.group, type_.version, type_.plural]
        if types:
            self._of_crd[crd_name] = types
        self._types |= {(type_.group, type_.version, type_.plural): type_ for type_ in types}
        self.revision += 1

    def __repr__(self) -> str:
        return f"<Catalog {len(self._types)} types, revision {self.revision}>"
