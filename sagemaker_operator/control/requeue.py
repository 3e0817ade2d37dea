"""When an object is reconciled again: the one vocabulary of the plan, the reconcilers and the controller.

A change of the object always requeues it. A `Requeue` is what happens in addition.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec


class When(StrEnum):
    """What makes the controller reconcile the object again."""

    SETTLED = "Settled"
    """Nothing is under way. If the resource can drift, at the resync interval; a finished job never."""
    POLL = "Poll"
    """When the poller observes a change of the resource."""
    AFTER = "After"
    """After a fixed time; earlier failures are forgotten."""
    BACKOFF = "Backoff"
    """With the key's backoff; counts as a failure."""
    SLOW_BACKOFF = "SlowBackoff"
    """Every 1 to 15 minutes, because a person or a quota must change something outside the spec; counts as a failure."""
    PARKED = "Parked"
    """Within the hour. Usually only an edit of the object helps, but the cause of a terminal error may also be elsewhere."""


class Requeue(msgspec.Struct, frozen=True):
    """`seconds` sets a timer in addition, except with a backoff. The reconciler fills it in for SETTLED and PARKED."""

    when: When
    seconds: float | None = None

    SETTLED: ClassVar[Requeue]
    POLL: ClassVar[Requeue]
    BACKOFF: ClassVar[Requeue]
    SLOW_BACKOFF: ClassVar[Requeue]
    PARKED: ClassVar[Requeue]

    @classmethod
    def after(cls, seconds: float) -> Requeue:
        return cls(When.AFTER, seconds)

    @classmethod
    def poll_and_after(cls, seconds: float) -> Requeue:
        """For what does not show in the status that the poller compares."""
        return cls(When.POLL, seconds)


Requeue.SETTLED = Requeue(When.SETTLED)
Requeue.POLL = Requeue(When.POLL)
Requeue.BACKOFF = Requeue(When.BACKOFF)
Requeue.SLOW_BACKOFF = Requeue(When.SLOW_BACKOFF)
Requeue.PARKED = Requeue(When.PARKED)
