"""Exponential backoff with full jitter, as a value; the caller passes the random source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random


LONGEST_RETRY_AFTER = 300.0
"""Seconds. A Retry-After of a day, as a proxy in maintenance may send it, must not stop the operator for a day."""


class Backoff(msgspec.Struct, frozen=True):
    """Delay before attempt n+1 is uniform in [minimum, base * factor**n], at most `cap`.

    Full jitter rather than a fixed delay: a restart or an outage fails thousands of keys at the same moment.
    """

    base: float
    cap: float
    factor: float = 2.0
    minimum: float = 0.0
    """Seconds, so that jitter can never make a hot loop."""

    def delay(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after `failures` failures (0 = the first)."""
        # Bounding the exponent keeps the float finite; 2**64 s is unbounded in practice.
        ceiling = min(self.cap, self.base * self.factor ** min(failures, 64))
        return rng.uniform(min(self.minimum, ceiling), ceiling)


WATCH = Backoff(base=0.8, cap=30.0, minimum=0.2)
"""client-go's and kube-rs' values for list+watch; they reset it after 120 s without an error."""

RECONCILE = Backoff(base=1.0, cap=300.0, minimum=0.5)
"""client-go's 5 ms base suits writes to etcd: it would fire 8 AWS calls in the first 1.3 s of a failing object."""

CONFLICT = Backoff(base=0.5, cap=30.0, minimum=0.5)
"""After a write conflict the watch delivers the newer version within milliseconds, unless it is minutes late itself."""

SLOW = Backoff(base=60.0, cap=900.0, minimum=30.0)
"""For errors that a person or a quota change must fix: exhausted quotas, denied access, missing roles."""
