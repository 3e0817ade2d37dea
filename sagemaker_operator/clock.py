"""Wall-clock time as a value to inject. Durations use `loop.time()`, which virtual-time tests control."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, UTC."""

    def __call__(self) -> float: ...


def wall_clock() -> float:
    """The composition root's clock; everything else gets a `Clock` passed in."""
    return time.time()


def rfc3339(seconds: float) -> str:
    """Whole seconds ending in `Z`, the only form ACK's clients parse (they use `%Y-%m-%dT%H:%M:%SZ`)."""
    return _whole_seconds(int(seconds))


# A reconcile formats the times of a resource and of now, 3 % of its CPU; most were formatted by the reconcile before it.
@lru_cache(maxsize=4096)
def _whole_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(seconds: float) -> str:
    """Kubernetes' MicroTime. Always six digits: real API servers answer 400 to a missing fraction."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch. Raises ValueError for anything that is not RFC 3339 with a zone."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return parsed.timestamp()
