"""Input validation with AWS's texts, from the service model alone: null, type, length, range, pattern and enum.

botocore's own validator is not used: it knows neither patterns, nor maxima, nor enums, and speaks the client's
language ("Missing required parameter in input"), which no server ever answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid

if TYPE_CHECKING:
    from botocore.model import Shape

Holds = Callable[[Any], bool]
Constraint = tuple[str, Holds]
"""AWS's text for a rule, and the rule."""

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}
_SIZED = frozenset({"string", "list", "map", "blob"})


def validate(shape: Shape, value: Mapping[str, Any]) -> None:
    """Check one operation's input.

    Stricter than AWS in one point: AWS drops unknown members in silence, here they are an error, because a misspelt
    member that vanishes is what a sandbox is there to find. Raises ServiceError(ValidationException), naming every
    violation; SerializationException for a value of the wrong JSON type.
    """
    problems = list(_structure(shape, value, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        invalid(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")


def _walk(shape: Shape, value: Any, path: str) -> Iterator[str]:
    _check_type(shape, value)
    failed = [text for text, holds in _constraints(shape) if not holds(value)]
    for text in failed:
        yield _problem(shape, value, path, text)
    if shape.type_name == "structure":
        yield from _structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _elements(shape, value, path)
    elif shape.type_name == "map":
        yield from _entries(shape, value, path)


def _structure(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    if shape.is_tagged_union and len(value) != 1:
        yield f"Value at '{path}' failed to satisfy constraint: Exactly one member must be set"
    for name, item in value.items():
        member = shape.members.get(name)
        if member is None:
            yield f"Value at '{_join(path, name)}' failed to satisfy constraint: Member is not part of the model"
        else:
            yield from _walk(member, item, _join(path, name))


def _elements(shape: Shape, value: list[Any], path: str) -> Iterator[str]:
    if shape.member.type_name in ("structure", "list", "map"):
        for index, item in enumerate(value, start=1):
            yield from _walk(shape.member, item, f"{path}.{index}.member")
    elif not _all_hold(shape.member, value):
        yield _problem(shape, value, path, f"Member must satisfy constraint: [{_all_texts(shape.member)}]")


def _entries(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    if not _all_hold(shape.key, value):
        yield _problem(shape, value, path, f"Map keys must satisfy constraint: [{_all_texts(shape.key)}]")
    if shape.value.type_name in ("structure", "list", "map"):
        for key, item in value.items():
            yield from _walk(shape.value, item, f"{path}.{key}.member")
    elif not _all_hold(shape.value, value.values()):
        yield _problem(shape, value, path, f"Map value must satisfy constraint: [{_all_texts(shape.value)}]")


def _all_hold(shape: Shape, values: Any) -> bool:
    for value in values:
        _check_type(shape, value)
        if any(not holds(value) for _, holds in _constraints(shape)):
            return False
    return True


def _all_texts(shape: Shape) -> str:
    return ", ".join(text for text, _ in _constraints(shape))


def _check_type(shape: Shape, value: Any) -> None:
    expected = _JSON_TYPES.get(shape.type_name)
    wrong = expected is not None and not isinstance(value, expected)
    # bool is an int in Python, not in JSON.
    if wrong or (isinstance(value, bool) and shape.type_name != "boolean"):
        found = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", bool: "BOOLEAN_VALUE"}
        token = found.get(type(value), "NUMBER_VALUE")
        raise ServiceError("SerializationException", f"{token} can not be converted to {shape.type_name.capitalize()}")


def _constraints(shape: Shape) -> tuple[Constraint, ...]:
    facts = shape.metadata
    if not facts:
        return ()
    enum = tuple(facts.get("enum", ()))
    return _compile(shape.type_name in _SIZED, facts.get("max"), facts.get("min"), facts.get("pattern"), enum)


@lru_cache(maxsize=4096)
def _compile(
    sized: bool, upper: float | None, lower: float | None, pattern: str | None, enum: tuple[str, ...]
) -> tuple[Constraint, ...]:
    """Cached because a pattern takes 1,000 times longer to compile than to match."""
    found: list[Constraint] = []
    measure = "length" if sized else "value"
    if enum:
        found.append((f"Member must satisfy enum value set: [{', '.join(enum)}]", frozenset(enum).__contains__))
    if upper is not None:
        found.append((f"Member must have {measure} less than or equal to {upper}", _at_most(upper, sized=sized)))
    if lower is not None:
        found.append((f"Member must have {measure} greater than or equal to {lower}", _at_least(lower, sized=sized)))
    if pattern is not None and (compiled := _java(pattern)) is not None:
        text = f"Member must satisfy regular expression pattern: {pattern}"
        found.append((text, lambda value: compiled.fullmatch(value) is not None))
    return tuple(found)


def _at_most(bound: float, *, sized: bool) -> Holds:
    return (lambda value: len(value) <= bound) if sized else (lambda value: bool(value <= bound))


def _at_least(bound: float, *, sized: bool) -> Holds:
    return (lambda value: len(value) >= bound) if sized else (lambda value: bool(value >= bound))


def _java(pattern: str) -> re.Pattern[str] | None:
    """The model's patterns are Java's. Those that Python cannot compile (`\\p{L}`) are not checked."""
    try:
        return re.compile(pattern.replace(r"\p{Alnum}", "a-zA-Z0-9"))
    except re.error:
        return None


def _problem(shape: Shape, value: Any, path: str, text: str) -> str:
    shown = "" if shape.metadata.get("sensitive") else f" '{_java_text(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {text}"


def _java_text(value: Any) -> str:
    """AWS echoes the rejected value as Java prints it, so a client that shows such a text shows the user's data."""
    if isinstance(value, list):
        return f"[{', '.join(_java_text(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_java_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _join(path: str, name: str) -> str:
    segment = name[:1].lower() + name[1:]
    return f"{path}.{segment}" if path else segment
