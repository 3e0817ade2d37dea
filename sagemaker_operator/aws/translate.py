"""Translates between CRD fields (`roleARN`, times as text) and API members (`RoleArn`, times as seconds).

Pure functions of a shape of the service model and a value. A spec is translated strictly: an unknown field or a wrong type is
reported with its path, never dropped. An answer is translated leniently: unknown members are left out. Map keys (tags,
environments, hyperparameters) are the user's data and are not translated.
"""

from __future__ import annotations

import difflib
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.clock import parse_rfc3339, rfc3339
from sagemaker_operator.errors import OperatorError
from sagemaker_operator.kinds.model import members, service_model
from sagemaker_operator.kinds.naming import field_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import Shape

_EXPECTED: Mapping[str, str] = {
    "structure": "an object",
    "map": "an object",
    "list": "a list",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "long": "an integer",
    "float": "a number",
    "double": "a number",
    "timestamp": "an RFC 3339 time",
}


class SpecError(OperatorError):
    """The spec cannot be translated to a request. `path`: the field as the user wrote it ("spec.resourceConfig.volumeSize")."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path


class UnknownField(SpecError):
    """SageMaker's model has no such field. `suggestion`: the most similar field."""

    def __init__(self, path: str, suggestion: str | None) -> None:
        super().__init__(path, "is not a known field" + (f"; did you mean {suggestion}?" if suggestion else ""))
        self.suggestion = suggestion


class FieldTypeError(SpecError):
    """A value of the wrong type. The text names its type, never the value: it may be a secret."""

    def __init__(self, path: str, *, expected: str, got: str) -> None:
        super().__init__(path, f"must be {expected}, not {got}")
        self.expected = expected
        self.got = got


class _Structure:
    """One structure's members by CRD field and by API member."""

    __slots__ = ("by_field", "by_member")

    def __init__(self, shape: Shape) -> None:
        self.by_field: dict[str, tuple[str, Shape]] = {}
        self.by_member: dict[str, tuple[str, Shape]] = {}
        for member, target in members(shape).items():
            field = field_name(member)
            self.by_field[field] = (member, target)
            self.by_member[member] = (field, target)


@cache
def _structure(shape_name: str) -> _Structure:
    # By name, which is unique in the model: shape objects compare by identity and exist many times over.
    return _Structure(service_model().shape_for(shape_name))


def to_api(shape: Shape, value: Any, *, path: str = "spec") -> Any:
    """A CRD value as the API's. Times become seconds since the epoch; members set to null are left out, and enums set to
    an empty string, as Go's SDK does for ACK.

    Raises UnknownField and FieldTypeError.
    """
    match shape.type_name:
        case "structure":
            return _structure_to_api(shape, _expect(value, dict, shape, path), path)
        case "list":
            items = _expect(value, list, shape, path)
            return [to_api(shape.member, item, path=f"{path}[{index}]") for index, item in enumerate(items)]
        case "map":
            entries = _expect(value, dict, shape, path)
            return {key: to_api(shape.value, item, path=f"{path}.{key}") for key, item in entries.items()}
        case "integer" | "long":
            # JSON has one number type, and 1.0 is how some tools write the integer 1.
            if isinstance(value, float) and value.is_integer():
                return int(value)
            return _expect(value, int, shape, path)
        case "float" | "double":
            return _expect(value, (int, float), shape, path)
        case "boolean":
            return _expect(value, bool, shape, path)
        case "timestamp":
            return _seconds(_expect(value, str, shape, path), shape, path)
        case _:
            return _expect(value, str, shape, path)


def _structure_to_api(shape: Shape, value: Mapping[str, Any], path: str) -> dict[str, Any]:
    by_field = _structure(shape.name).by_field
    request: dict[str, Any] = {}
    for field, item in value.items():
        known = by_field.get(field)
        if known is None:
            close = difflib.get_close_matches(field, by_field, n=1) or _same_letters(field, by_field)
            raise UnknownField(f"{path}.{field}", close[0] if close else None)
        member, target = known
        unset = item is None or (item == "" and getattr(target, "enum", ()))
        if not unset:
            request[member] = to_api(target, item, path=f"{path}.{field}")
    return request


def _same_letters(field: str, known: Mapping[str, object]) -> list[str]:
    """`type` for `type_`, `roleArn` for `roleARN`: equal but for case, and not similar enough for difflib."""
    wanted = field.rstrip("_").lower()
    return [name for name in known if name.rstrip("_").lower() == wanted]


def _expect(value: Any, types: type | tuple[type, ...], shape: Shape, path: str) -> Any:
    # bool is an int in Python, but not in YAML.
    if isinstance(value, types) and not (isinstance(value, bool) and types is not bool):
        return value
    raise FieldTypeError(path, expected=_EXPECTED[shape.type_name], got=_kind_of(value))


def _seconds(text: str, shape: Shape, path: str) -> float:
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise FieldTypeError(path, expected=_EXPECTED[shape.type_name], got="another string") from None


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def to_field(shape: Shape, value: Any) -> Any:
    """An API answer's value as the CRD's. Times become whole-second RFC 3339 text; nulls and unknown members are dropped."""
    match shape.type_name:
        case "structure":
            by_member = _structure(shape.name).by_member
            return {
                known[0]: to_field(known[1], item)
                for member, item in value.items()
                if item is not None and (known := by_member.get(member)) is not None
            }
        case "list":
            return [to_field(shape.member, item) for item in value if item is not None]
        case "map":
            return {key: to_field(shape.value, item) for key, item in value.items() if item is not None}
        case "timestamp":
            return rfc3339(value.timestamp() if isinstance(value, datetime) else value)
        case _:
            return value
