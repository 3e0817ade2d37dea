"""Structural schemas: prune unknown fields, set defaults, and report errors as a real server does."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import re2  # type: ignore[import-untyped]
from jsonschema import Draft4Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.sandbox.kubernetes.cel import RuleTree
from sagemaker_operator.sandbox.kubernetes.status import FieldError, invalid_value, required

# Keywords with the same meaning in JSON Schema draft 4 (which, like OpenAPI 3.0, has boolean exclusive bounds).
_SAME = frozenset(
    ("required", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
     "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties")
)  # fmt: skip
_FORMATS = frozenset({"date-time", "micro-time"})
# A real server rejects a MicroTime without a fraction, which isoformat() writes once in a million times.
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_NOT_CHECKED = FieldError(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing"
    " errors to complete validation",
)
_ABSENT = object()


class Schema:
    """One compiled OpenAPI v3 schema. Raises `cel.RuleError` or ValueError when `raw` cannot be compiled."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self._properties: Mapping[str, Any] = raw.get("properties", {})
        self._rules = RuleTree(raw)
        self._validator = _Validator(_json_schema(raw), format_checker=_formats)

    def prune(self, obj: dict[str, Any], prefix: str = "") -> list[str]:
        """Drops from `obj` what the schema does not declare, and nulls where none may be; returns the unknown paths."""
        unknown: list[str] = []
        _prune(self.raw, obj, prefix, unknown)
        return sorted(unknown)

    def default(self, obj: dict[str, Any]) -> None:
        """Fills defaults into `obj`."""
        _default(self.raw, obj)

    def validate(self, obj: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> list[FieldError]:
        """The errors of `obj`. Errors that `old`, the stored object, has too are tolerated (validation ratcheting)."""
        errors = list(self.structural_errors(obj, old))
        if not any(error.blocks_rules for error in errors):
            errors += self._rules.check(obj) if old is None else self._rules.check(obj, old)
        elif self._rules:
            errors.append(_NOT_CHECKED)
        return errors

    def structural_errors(self, obj: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Iterator[FieldError]:
        """The errors that are found without CEL rules."""
        stored = old or {}
        # Most writes leave one of spec and status alone, and jsonschema needs about 1 ms for a large spec.
        changed = {name: value for name, value in obj.items() if value != stored.get(name, _ABSENT)}
        for name, value in changed.items():
            if name in self._properties:
                for error in self._validator.evolve(schema=self._validator.schema["properties"][name]).iter_errors(
                    value
                ):
                    path = (name, *error.absolute_path)
                    if old is None or _at(obj, path) != _at(stored, path):
                        yield _field_error(error, path)
        for name in self.raw.get("required", ()):
            if name not in obj:
                yield required(name)


def _prune(schema: Mapping[str, Any], value: Any, path: str, unknown: list[str]) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        keep = schema.get("x-kubernetes-preserve-unknown-fields", False) or rest is True
        for name in list(value):
            child = properties.get(name, rest if isinstance(rest, Mapping) else None)
            where = f"{path}.{name}" if path else name
            if child is None:
                if not keep:
                    del value[name]
                    unknown.append(where)
            elif value[name] is None and not child.get("nullable"):
                del value[name]
            else:
                value[name] = _whole(child, value[name])
                _prune(child, value[name], where, unknown)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            value[index] = _whole(items, item)
            _prune(items, item, f"{path}[{index}]", unknown)


def _whole(schema: Mapping[str, Any], value: Any) -> Any:
    """JSON has one type of number: 10.0 is a valid integer."""
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
        return int(value)
    return value


def _default(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        for name, child in properties.items():
            if name not in value and "default" in child:
                value[name] = copy.deepcopy(child["default"])
        for name, entry in value.items():
            child = properties.get(name, rest)
            if isinstance(child, Mapping):
                _default(child, entry)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for item in value:
            _default(items, item)


def _json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema that accepts what this OpenAPI schema accepts."""
    result = {key: value for key, value in schema.items() if key in _SAME}
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    elif "type" in schema:
        result["type"] = schema["type"]
    if "type" in result and schema.get("nullable"):
        kinds = result["type"]
        result["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
    if schema.get("format") in _FORMATS:
        result["format"] = schema["format"]
    if "pattern" in schema:
        _regex(schema["pattern"])
    result["properties"] = {name: _json_schema(child) for name, child in schema.get("properties", {}).items()}
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(keyword), Mapping):
            result[keyword] = _json_schema(schema[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            result[keyword] = [_json_schema(child) for child in schema[keyword]]
    return result


@cache
def _regex(pattern: str) -> Any:
    """API servers use RE2, which knows `\\p{L}` and no look-around: Python's `re` is the other way round."""
    try:
        return re2.compile(pattern)
    except re2.error as error:
        raise ValueError(f"pattern {pattern!r} is not an RE2 expression: {error}") from error


def _check_pattern(_: Any, pattern: str, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    # A real server reports only the first error of a string, and checks the length first.
    if not isinstance(instance, str) or len(instance) < schema.get("minLength", 0):
        return
    if len(instance) <= schema.get("maxLength", math.inf) and not _regex(pattern).search(instance):
        yield ValidationError("")


def _check_required(_: Any, names: list[str], instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        yield from (ValidationError(name) for name in names if name not in instance)


_Validator: type[Any] = extend(  # type: ignore[no-untyped-call]
    Draft4Validator, {"pattern": _check_pattern, "required": _check_required}
)
_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or parse_rfc3339(value) is not None


@_formats.checks("micro-time")
def _is_micro_time(value: object) -> bool:
    return not isinstance(value, str) or _MICRO_TIME.fullmatch(value) is not None


def _field_error(error: ValidationError, path: tuple[str | int, ...]) -> FieldError:
    field = show_path(path)
    limit: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "required":
            return required(f"{field}.{error.message}")
        case "type" | "format":
            wanted = limit[0] if isinstance(limit, list) else limit
            shown = json_type(value) if error.validator == "type" else value
            why = f'Invalid value: "{shown}": {field} in body must be of type {wanted}: "{shown}"'
            return FieldError(field, "FieldValueTypeInvalid", why)
        case "enum":
            choices = ", ".join(_json(choice) for choice in limit)
            message = f"Unsupported value: {_json(value)}: supported values: {choices}"
            return FieldError(field, "FieldValueNotSupported", message)
        case "maxLength":
            return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")
        case "maxItems" | "maxProperties":
            message = f"Too many: {len(value)}: must have at most {limit} items"
            return FieldError(field, "FieldValueTooMany", message)
        case "minItems" | "minProperties":
            things = "items" if error.validator == "minItems" else "properties"
            return invalid_value(field, str(len(value)), f"{field} in body should have at least {limit} {things}")
    return invalid_value(field, _json(value), f"{field} in body {_should(str(error.validator), limit, error.schema)}")


def _should(keyword: str, limit: Any, schema: Any) -> str:
    match keyword:
        case "minimum":
            return f"should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{limit}"
        case "maximum":
            return f"should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{limit}"
        case "minLength":
            return f"should be at least {limit} chars long"
        case "pattern":
            return f"should match '{limit}'"
        case "multipleOf":
            return f"should be a multiple of {limit}"
        case "uniqueItems":
            return "shouldn't contain duplicates"
        case "oneOf":
            return "must validate one and only one schema (oneOf)"
        case "anyOf":
            return "must validate at least one schema (anyOf)"
    return "must not validate the schema (not)"


def show_path(path: tuple[str | int, ...]) -> str:
    """`("spec", "tags", 0, "key")` as `spec.tags[0].key`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def json_type(value: Any) -> str:
    """The JSON type's name."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _at(obj: Any, path: tuple[str | int, ...]) -> Any:
    """The value at `path`, or the atomic list around it: items of a list have no identity to compare by."""
    for step in path:
        if isinstance(step, int):
            return obj
        if not isinstance(obj, Mapping) or step not in obj:
            return _ABSENT
        obj = obj[step]
    return obj
