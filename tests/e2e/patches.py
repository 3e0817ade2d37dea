"""JSON merge patches of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Any]


def merged(spec: Spec, patch: Spec) -> dict[str, Any]:
    """The spec with the patch on it; None takes a field away."""
    result = dict(spec)
    for name, value in patch.items():
        before = result.get(name)
        result[name] = merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return {name: value for name, value in result.items() if value is not None}


def reverse(spec: Spec, patch: Spec) -> dict[str, Any]:
    """The merge patch that undoes `patch` on `spec`."""
    return {
        name: reverse(spec[name], value)
        if isinstance(value, Mapping) and isinstance(spec.get(name), Mapping)
        else spec.get(name)
        for name, value in patch.items()
    }
