"""What an update operation has a place for: of a Create input often less, and sometimes under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.model import Shape, members, operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind


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


def additions(
    wanted: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]], *, key: str
) -> list[Mapping[str, Any]] | None:
    """The elements of `wanted` that `live` lacks, by their `key`. None: an element is to change or to go, which an
    update that only adds cannot do."""
    by_key = {element[key]: element for element in wanted}
    for there in live:
        element = by_key.pop(there[key], None)
        if element is None or any(there.get(name) != value for name, value in element.items()):
            return None
    return list(by_key.values())
