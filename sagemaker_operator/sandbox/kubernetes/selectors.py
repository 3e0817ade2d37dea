"""Label and field selectors, as clients write them in a query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sagemaker_operator.sandbox.kubernetes.status import bad_request

Matcher = Callable[[Mapping[str, Any]], bool]
"""Returns whether an object (as stored) is selected."""

_SPLIT = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!<>]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s=!<>]*)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s=!<>(),]+)$")
_KEY = re.compile(r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")


def label_selector(text: str) -> Matcher:
    """Raises ApiError 400 if `text` is not a label selector. An empty one selects everything."""
    requirements = [_label_requirement(part.strip()) for part in _SPLIT.split(text) if part.strip()]

    def matches(obj: Mapping[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def _label_requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(text):
        key = _key(found["key"])
        values = frozenset(value.strip() for value in found["values"].split(","))
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, op, value = _key(found["key"]), found["op"], found["value"]
        if op in ("<", ">"):
            return _ordered(key, op, value)
        if op == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        key = _key(found["key"])
        if found["not"]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f"unable to parse requirement: {text!r} is not a label requirement")


def _ordered(key: str, op: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    try:
        bound = int(value)
    except ValueError:
        raise bad_request("for 'Gt', 'Lt' operators, the value must be an integer") from None

    def matches(labels: Mapping[str, str]) -> bool:
        try:
            actual = int(labels[key])
        except (KeyError, ValueError):
            return False
        return actual > bound if op == ">" else actual < bound

    return matches


def _key(text: str) -> str:
    if not _KEY.match(text):
        raise bad_request(f"unable to parse requirement: invalid label key {text!r}")
    return text


def field_selector(text: str, paths: Mapping[str, str]) -> Matcher:
    """`paths` maps the selectable field names to dotted paths in the stored object.

    Raises ApiError 400 for a field that is not selectable.
    """
    terms: list[tuple[tuple[str, ...], bool, str]] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, operator, value = re.match(r"^([^=!]*)(==|=|!=)?(.*)$", part).groups()  # type: ignore[union-attr]
        if operator is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if key not in paths:
            raise bad_request(f"field label not supported: {key}")
        terms.append((tuple(paths[key].split(".")), operator != "!=", value))

    def matches(obj: Mapping[str, Any]) -> bool:
        return all((_text_at(obj, path) == value) is equal for path, equal, value in terms)

    return matches


def _text_at(obj: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
