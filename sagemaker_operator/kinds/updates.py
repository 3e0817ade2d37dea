"""The members that an update operation takes: often fewer than the Create input, sometimes with other names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.model import Shape, members, operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sagemaker_operator.kinds.descriptor import Edit, Kind


def accepts(kind: Kind, path: str) -> bool:
    """Whether the kind's update can carry this path of the Create input (`OnlineStoreConfig.TtlDuration`)."""
    parts = path.split(".")
    if kind.update is None or parts[0].removesuffix("[]") not in kind.mutable:
        return False
    shape: Any = operation(kind.update).input_shape
    walked = ""
    for part in parts:
        if shape.type_name == "map":
            return True
        member = part.removesuffix("[]")
        walked = f"{walked}.{member}".lstrip(".")
        shape = members(shape).get(kind.update_names.get(walked, member))
        if shape is None:
            return False
        if part.endswith("[]"):
            shape = shape.member
    return True


def fixed_within(kind: Kind) -> tuple[str, ...]:
    """Paths of the members, inside of structures that the kind's update takes, that it has no place for."""
    created = members(operation(kind.create).input_shape)
    return tuple(path for name in kind.mutable if name in created for path in _fixed(kind, created[name], name))


def _fixed(kind: Kind, shape: Shape, path: str) -> Iterator[str]:
    if not accepts(kind, path):
        yield path
    elif shape.type_name == "structure":
        for name, inner in members(shape).items():
            yield from _fixed(kind, inner, f"{path}.{name}")


def carried(kind: Kind, member: str, value: Any) -> Any:
    """A Create member's value as the update takes it: renamed, and without what the update has no place for."""
    assert kind.update is not None  # noqa: S101  asked of kinds that can be updated
    shape = members(operation(kind.update).input_shape)[kind.update_names.get(member, member)]
    return _carried(shape, value, member, kind.update_names)


def _carried(shape: Shape, value: Any, path: str, names: Mapping[str, str]) -> Any:
    match shape.type_name:
        case "structure":
            known = members(shape)
            called = {name: names.get(f"{path}.{name}", name) for name in value}
            return {
                called[name]: _carried(known[called[name]], item, f"{path}.{name}", names)
                for name, item in value.items()
                if called[name] in known
            }
        case "list":
            return [_carried(shape.member, item, path, names) for item in value]
    return value


@cache
def replaced_maps(kind: Kind) -> frozenset[str]:
    """Paths of the maps inside members of the kind's update, which are sent whole: a key that spec lacks is removed.

    A map that is itself such a member (a model package's metadata) is merged by SageMaker.
    """
    created = members(operation(kind.create).input_shape)
    found = {path for name in kind.mutable if name in created for path in _maps(created[name], name)}
    return frozenset(path for path in found - set(kind.mutable) if accepts(kind, path))


def _maps(shape: Shape, path: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    match shape.type_name:
        case "map":
            yield path
        case "list":
            yield from _maps(shape.member, f"{path}[]", above)
        case "structure" if shape.name not in above:
            for name, inner in members(shape).items():
                yield from _maps(inner, f"{path}.{name}", above | {shape.name})


def removals(kind: Kind, desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By map that SageMaker merges: the keys that are there and that the spec lacks.

    A spec without the map leaves it to SageMaker; an empty map removes all.
    """
    found = {
        member: tuple(sorted((observed.get(member) or {}).keys() - desired[member].keys()))
        for member in kind.removed_by
        if member in desired
    }
    return {member: keys for member, keys in found.items() if keys}


def additions(edit: Edit, member: str, *, key: str) -> list[Mapping[str, Any]] | None:
    """The elements of a list that the resource lacks, by their `key`. None: an element is to change or to go, which an
    update that only adds cannot do."""
    by_key = {element[key]: element for element in edit.desired[member]}
    for there in edit.observed.get(member) or ():
        element = by_key.pop(there[key], None)
        if element is None or not edit.met(f"{member}[]", element, there):
            return None
    return list(by_key.values())
