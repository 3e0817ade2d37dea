"""When to poll a resource again, and whether by List or by Describe. Pure functions."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from sagemaker_operator.kinds.model import input_members

if TYPE_CHECKING:
    import random

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.settings import Cadence

PAGE = 100
"""Summaries per List call: SageMaker's maximum."""

SHARED = 20
"""Resources in one sweep from which on it is polled more often: at 15 s each costs a tenth of its own Describes."""

LIST_RATE = 1.0
"""List pages per second for the sweeps of one group: half of SageMaker's quota for the whole account."""


class Tier(StrEnum):
    """What a kind's List shows, which decides how the kind is polled."""

    CHANGES = "changes"
    """The status, and a filter for the time of modification: one page per sweep, for any number of resources."""
    STATUS = "status"
    """The status, without such a filter: one page per 100 resources."""
    NONE = "none"
    """No status, or a required parent: one Describe per resource."""


@cache
def tier(kind: Kind) -> Tier:
    listing = kind.listing
    if listing is None or not listing.has_status or listing.required:
        return Tier.NONE
    return Tier.CHANGES if listing.modified_after else Tier.STATUS


@cache
def parents(kind: Kind) -> tuple[str, ...]:
    """Identifiers by which the List can be filtered for one parent (apps, spaces and user profiles of one domain)."""
    if kind.listing is None or len(kind.identifiers) < 2:
        return ()
    filters = input_members(kind.listing.operation)
    first = kind.identifiers[0].api
    return (first,) if f"{first}Equals" in filters else ()


def describes_polling(kind: Kind) -> str:
    """One line for the user: how resources of this kind are polled."""
    if not any(state.in_transition for state in kind.classes.values()):
        return "never: it has no life cycle"
    listing = kind.listing
    if listing is None or tier(kind) is Tier.NONE:
        return f"{kind.describe} each"
    what = "what changed" if tier(kind) is Tier.CHANGES else "all"
    per = "".join(f" per {parent}" for parent in parents(kind))
    return f"{listing.operation} of {what}{per}, {kind.describe} at the end"


def interval(cadence: Cadence, *, polls: int, age: float, still: float, rng: random.Random, sharing: int = 1) -> float:
    """Seconds until the next poll of a resource.

    It was polled `polls` times, has been tracked for `age` seconds and in its present state for `still` seconds; `sharing`
    resources are polled by the same call.
    """
    if polls == 0:
        base = cadence.first
    elif age < cadence.young_until:
        base = cadence.young
    elif age < cadence.base_until:
        base = cadence.base
    elif still < cadence.old_until:
        base = cadence.old
    else:
        base = cadence.stale
    if sharing >= SHARED:
        base = min(base, cadence.sweep)
    return base * rng.uniform(1.0 - cadence.jitter, 1.0 + cadence.jitter)


def list_is_cheaper(polls: int, *, pages: int) -> bool:
    """One Describe per resource, or one List call per page. A tie goes to Describe, which returns more."""
    return polls > pages
