"""The schedule of faults, and whether memory grows: pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST, LAST = 0.1, 0.75
"""Shares of the run between which something goes wrong; after it everything must recover."""
RESTARTS = (0.3, 0.6)
"""Shares of the run at which the API server is restarted."""
FLAT_MB = 10.0
"""Growth over the second half that still counts as flat: the allocator's own fluctuation is about 3 MB."""


class Trouble(StrEnum):
    """What the proxy answers instead of the API server."""

    NOT_FOUND = "404 in plain text"
    TOO_MANY = "429 with a Retry-After of a day"
    SERVER_ERROR = "500"
    TRUNCATED = "lists cut in the middle"


class Window(NamedTuple):
    begin: float
    end: float
    trouble: Trouble


def windows(seconds: float) -> list[Window]:
    """Each trouble in turn, as long as the pause after it: 3 % of the run, at most 45 s."""
    length = min(45.0, 0.03 * seconds)
    found: list[Window] = []
    begin = FIRST * seconds
    while begin + length < LAST * seconds:
        found.append(Window(begin, begin + length, list(Trouble)[len(found) % len(Trouble)]))
        begin += 2 * length
    return found


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """By how much the values grow over the second half of (time, value) samples, by least squares."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return 0.0
    mean_x = sum(x for x, _ in half) / len(half)
    mean_y = sum(y for _, y in half) / len(half)
    spread = sum((x - mean_x) ** 2 for x, _ in half)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0
    return slope * (half[-1][0] - half[0][0])
