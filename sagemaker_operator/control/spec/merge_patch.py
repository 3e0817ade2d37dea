"""JSON merge patches (RFC 7386) that replace instead of merging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def replacing(stored: Any, desired: Any) -> Any:
    """The merge patch that turns `stored` into `desired`: members that `desired` does not have become null."""
    if not (isinstance(stored, Mapping) and isinstance(desired, Mapping)):
        return desired
    return {name: None for name in stored if name not in desired} | {
        name: replacing(stored.get(name), value) for name, value in desired.items()
    }
