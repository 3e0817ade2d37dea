"""Reads specs of any shape: a CRD that is looser than ours accepts them all."""

from __future__ import annotations

import re
from typing import Any

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)


def is_object_name(text: str) -> bool:
    """Whether it is a valid name of a Kubernetes object."""
    return _NAME.fullmatch(text) is not None


class SpecReader:
    """Reads members by their path; `problem` is the first error, with the field as the user wrote it."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec
        self.problem: str | None = None

    def text(self, path: str, *, required: bool = False) -> str:
        """A string; empty if it is absent or not a string."""
        value = self._get(path)
        if value is not None and not isinstance(value, str):
            self._note(path, f"must be a string, not {_what(value)}")
            return ""
        if required and not (value or "").strip():
            self._note(path, "required")
        return value or ""

    def object_name(self, path: str, *, required: bool = False) -> str:
        """The name of an object. It becomes part of a URL, so anything else is rejected, above all a slash."""
        return self._named(path, _NAME, "an object", required)

    def namespace(self, path: str) -> str:
        return self._named(path, _NAMESPACE, "a namespace", required=False)

    def texts(self, path: str) -> dict[str, str]:
        """An object whose values are strings; other values are left out."""
        found = self.mapping(path)
        for name, value in found.items():
            if not isinstance(value, str):
                self._note(f"{path}.{name}", f"must be a string, not {_what(value)}")
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def mapping(self, path: str, *, required: bool = False) -> dict[str, Any]:
        value = self._get(path)
        if value is None and required:
            self._note(path, "required")
        if value is not None and not isinstance(value, dict):
            self._note(path, f"must be an object, not {_what(value)}")
        return value if isinstance(value, dict) else {}

    def _named(self, path: str, pattern: re.Pattern[str], what: str, required: bool) -> str:
        value = self.text(path, required=required)
        if value and not pattern.fullmatch(value):
            self._note(path, f"is not the name of {what}: use lower-case letters, digits, '-' and '.'")
            return ""
        return value

    def _get(self, path: str) -> Any:
        value: Any = {"spec": self._spec}
        parts = path.split(".")
        for number, part in enumerate(parts):
            if value is None:
                return None
            if not isinstance(value, dict):
                self._note(".".join(parts[:number]), f"must be an object, not {_what(value)}")
                return None
            value = value.get(part)
        return value

    def _note(self, path: str, text: str) -> None:
        self.problem = self.problem or f"{path}: {text}"


def _what(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "an object"
