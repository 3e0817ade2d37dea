"""The fields of an object in server-side apply: sets of paths, and their FieldsV1 form.

A path is a tuple of FieldsV1's own steps: `f:name` of a field, `v:"x"` of an entry of a list that is a set, `k:{"uid":"x"}`
of an entry of a list that is a map. A list that the schema does not call set or map is one value, as is an atomic map.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sagemaker_operator.sandbox.kubernetes.meta import META_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

    from sagemaker_operator.sandbox.kubernetes.resources import ResourceType

JsonObject = dict[str, Any]
Path = tuple[str, ...]

# Identity fields and fields that only the server sets have no manager.
_UNOWNED_METADATA: Final = frozenset(
    ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
     "deletionGracePeriodSeconds", "selfLink", "managedFields")
)  # fmt: skip
_UNOWNED: Final = ("apiVersion", "kind", "metadata")


class _Node(NamedTuple):
    path: Path
    value: Any
    """The value of a leaf; None for a field that consists of other fields."""
    is_owned: bool
    """Whether the applier manages the field itself. A declared field with subfields is managed through them."""


class Comparison(NamedTuple):
    """From one state of an object to the next."""

    changed: frozenset[Path]
    """Added or of another value."""
    removed: frozenset[Path]


def schema_of(type_: ResourceType) -> JsonObject:
    """The schema of a whole object, metadata included."""
    raw = type_.schema.raw
    return {**raw, "properties": {**raw.get("properties", {}), "metadata": META_SCHEMA}}


def owned(schema: Mapping[str, Any], obj: Mapping[str, Any]) -> frozenset[Path]:
    """The fields that a client manages after it applied `obj`."""
    return frozenset(node.path for node in _nodes_of(schema, obj) if node.is_owned)


def compare(schema: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    before = {node.path: node.value for node in _nodes_of(schema, old)}
    after = {node.path: node.value for node in _nodes_of(schema, new)}
    changed = (path for path, value in after.items() if path not in before or before[path] != value)
    return Comparison(frozenset(changed), frozenset(before.keys() - after.keys()))


def _nodes_of(schema: Mapping[str, Any], obj: Mapping[str, Any]) -> Iterator[_Node]:
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _UNOWNED_METADATA}
    content = {name: value for name, value in obj.items() if name not in _UNOWNED}
    for node in _nodes(schema, {"metadata": metadata, **content}, ()):
        if node.path not in ((), ("f:metadata",)):
            yield node


def _nodes(schema: Mapping[str, Any], value: Any, at: Path, *, is_entry: bool = False) -> Iterator[_Node]:
    """`is_entry`: an entry of a list or map, which has a manager of its own, also if it is empty."""
    if isinstance(value, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        yield _Node(at, None, is_entry or not value)
        for name, entry in value.items():
            declared = name in schema.get("properties", {})
            yield from _nodes(child(schema, name), entry, (*at, f"f:{name}"), is_entry=not declared)
    elif isinstance(value, list) and (step := _stepper(schema)) is not None:
        yield _Node(at, None, is_entry or not value)
        for entry in value:
            yield from _nodes(schema["items"], entry, (*at, step(entry)), is_entry=True)
    else:
        yield _Node(at, value, True)


def child(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The schema of one field; an empty one for what is not declared."""
    declared = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return declared if isinstance(declared, dict) else {}


def _stepper(schema: Mapping[str, Any]) -> Any:
    """The key that identifies an entry of the list; None if entries have no identity."""
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return lambda entry: f"v:{_compact(entry)}"
        case "map":
            keys = sorted(schema["x-kubernetes-list-map-keys"])
            return lambda entry: f"k:{_compact({key: entry.get(key) for key in keys})}"
    return None


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def merged(schema: Mapping[str, Any], live: Any, applied: Any) -> Any:
    """`live` with the values of `applied` merged into it."""
    if isinstance(live, dict) and isinstance(applied, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        laid = {
            name: merged(child(schema, name), live[name], value) if name in live else value
            for name, value in applied.items()
        }
        return {**live, **laid}
    if isinstance(live, list) and isinstance(applied, list) and (step := _stepper(schema)) is not None:
        entries = {step(entry): entry for entry in live}
        for entry in applied:
            where = step(entry)
            entries[where] = merged(schema["items"], entries[where], entry) if where in entries else entry
        return list(entries.values())
    return applied


def remove(schema: Mapping[str, Any], obj: JsonObject, gone: Iterable[Path], kept: Set[Path]) -> None:
    """Removes `gone` from `obj` unless `kept` has something at or below it; also removes what becomes empty."""
    for path in sorted(gone, key=len, reverse=True):
        _remove(schema, obj, path, 0, kept)


def _remove(schema: Mapping[str, Any], value: Any, path: Path, depth: int, kept: Set[Path]) -> None:
    step, is_last = path[depth], depth == len(path) - 1
    if isinstance(value, dict):
        name = step.removeprefix("f:")
        where: Any = name if name in value else None
        below = child(schema, name)
    else:
        stepper = _stepper(schema)
        where = next((index for index, entry in enumerate(value) if stepper(entry) == step), None)
        below = schema["items"]
    if where is None:
        return
    if not is_last:
        _remove(below, value[where], path, depth + 1, kept)
    here = path[: depth + 1]
    if (is_last or value[where] in ({}, [])) and not any(other[: depth + 1] == here for other in kept):
        del value[where]


def to_fields_v1(paths: Set[Path]) -> JsonObject:
    tree: JsonObject = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _without_dots(tree)


def _without_dots(node: JsonObject) -> JsonObject:
    # A leaf needs no ".": only a field with subfields that is itself a member does.
    return {} if node.keys() == {"."} else {step: _without_dots(below) for step, below in node.items()}


def from_fields_v1(tree: Mapping[str, Any], at: Path = ()) -> frozenset[Path]:
    if not tree:
        return frozenset((at,)) if at else frozenset()
    below = (from_fields_v1(node, (*at, step)) for step, node in tree.items() if step != ".")
    return frozenset().union(*below, ((at,) if "." in tree else ()))


def shown(path: Path) -> str:
    """As conflicts name it: `.spec.tags`, `.metadata.finalizers[="a.io/b"]`."""
    return "".join(map(_shown_step, path))


def _shown_step(step: str) -> str:
    kind, _, text = step.partition(":")
    match kind:
        case "f":
            return f".{text}"
        case "v":
            return f"[={text}]"
    return "[" + ",".join(f"{key}={_compact(value)}" for key, value in json.loads(text).items()) + "]"
