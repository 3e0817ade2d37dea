"""JSON merge patches (RFC 7386) that replace instead of merging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def replacing(stored: Any, wanted: Any) -> Any:
    """The merge patch that turns `stored` into `wanted`: members that `wanted` does not have become null."""
    if not (isinstance(stored, Mapping) and isinstance(wanted, Mapping)):
        return wanted
    return {name: None for name in stored if name not in wanted} | {
        name: replacing(stored.get(name), value) for name, value in wanted.items()
    }
