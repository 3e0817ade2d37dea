"""When to look at an in-flight resource again, and whether a List or single Describes are cheaper: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from sagemaker_operator.settings import Cadence

PAGE = 100
"""Summaries per List call: SageMaker's maximum."""


def interval(cadence: Cadence, *, looks: int, age: float, rng: random.Random) -> float:
    """Seconds until the next look at a resource that was looked at `looks` times and is followed for `age` seconds."""
    if looks == 0:
        base = cadence.first
    elif age < cadence.young_until:
        base = cadence.young
    elif age < cadence.base_until:
        base = cadence.base
    else:
        base = cadence.old
    return base * rng.uniform(1.0 - cadence.jitter, 1.0 + cadence.jitter)


def list_is_cheaper(due: int, *, pages: int) -> bool:
    """One Describe per due resource, or one List call per page. A tie goes to Describe, which says more."""
    return due > pages
