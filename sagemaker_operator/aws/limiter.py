"""Client-side rate limits of AWS operations: a token bucket per (account, region, operation) that adapts its rate.

SageMaker throttles per operation, account and region, and publishes almost none of the limits. So a bucket starts at an
estimated rate and doubles it every second in which a caller has to wait, until AWS throttles or a ceiling is reached. From
then on it measures: when AWS throttles, the service's own bucket is empty, so the calls accepted between two throttles are
its rate. The bucket takes that rate, holds it, and then probes upwards, slowly first and then faster.

Guarantees:
- A throttled List never slows a Create: they have separate buckets. (botocore's `adaptive` retry mode has one limiter per
  client.)
- No caller waits longer than `max_wait`: one whose token would come later is refused at once, with the time to come back, so
  that a worker never waits for a quota.
- Waiting callers (namespaces) take turns, each first come, first served.

Assumption: AWS limits by token bucket, which is empty when it throttles.

Caveat: a rate grows only while callers wait for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_operator.backoff import LONGEST_RETRY_AFTER
from sagemaker_operator.errors import AwsError, ErrorCategory

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

STARTS: Mapping[str, float] = {
    # Five times what one-minute polling of 250 resources needs.
    "Describe": 20.0,
    # 5 parallel creates are reported throttled; too high a start costs one refused call per halving.
    "": 10.0,
}
"""Requests per second of a bucket that was never throttled, by operation or leading verb; the longest match wins."""

CEILINGS: Mapping[str, float] = {
    # ListTrainingJobs is throttled at 2/s per account and region, not adjustable: the only figure known. One page is
    # 100 jobs, so a sweep of 10,000 takes 50 s.
    "List": 2.0,
    # More than one core can send (1,400 calls per second and core, 100 ms each, 16 workers: 160 per second).
    "": 100.0,
}
"""Requests per second that are never exceeded, by operation or leading verb; `""` is the rest."""

MINIMUM_RATE = 0.1
"""Requests per second. One try in ten seconds still detects, within the sweep interval, that AWS accepts again."""
DECREASE = 0.5
"""Factor after a throttle without a measurement."""
DECREASE_INTERVAL = 1.0
"""Seconds. Concurrent calls are throttled together: a burst is one signal, not one halving per call."""
DOUBLING = 1.0
"""Seconds with waiting callers in which a bucket that was never throttled doubles: from 10 to 100 per second in 3.3 s."""
HOLD = (2.0, 16.0)
"""Seconds with waiting callers after a throttle before the rate is probed again; doubled each time the same rate was measured
again. One refused call per probe is 1.5 % of the calls at 4 per second and 16 s."""
SAME_RATE = 0.25
"""Two measurements are the same if they differ by no more than this share: one call in 1 s at 4 per second."""
PROBE = 8.0
"""A probe grows by 2**(seconds**2 / PROBE): 9 % in the first second, twice the rate after 2.8 s, 16 times after 5.7 s."""
SURPRISE = 3.0
"""A probe that reaches this multiple of its base shows that the service has become faster. An unchanged service throttles at 2
to 2.4 times, because its bucket first has one second's worth of tokens."""
BURST_SECONDS = 1.0
"""A full bucket has one second's worth: bursts are allowed, and no second has more than twice the rate."""
PENALTY = 0.5
"""Seconds without a token after a throttle (plus up to as much jitter): the calls in flight end first."""
RETURN_SPREAD = 60.0
"""Seconds over which the return times of refused callers are spread, one per token at the current rate. Without it a thousand
new objects would all return at the same moment and be refused again, with a Describe spent on each."""


class BucketState(NamedTuple):
    """The state of one bucket, for metrics."""

    account: str
    region: str
    operation: str
    rate: float
    """Requests per second allowed now."""
    ceiling: float
    waiting: int
    throttled: int
    """How often AWS throttled, since the start."""
    turned_away: int
    """How often a caller was refused here, without a call to AWS, since the start."""


class _Waiter(NamedTuple):
    granted: asyncio.Future[None]
    deadline: float


class _WaitingCallers:
    """Waiters: callers in turn, each caller's waiters in order of arrival. Every caller in the ring has a waiter."""

    def __init__(self) -> None:
        self._ring: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, caller: str, waiter: _Waiter) -> None:
        self._ring.setdefault(caller, deque()).append(waiter)
        self._size += 1

    def pop(self) -> _Waiter:
        caller, own = next(iter(self._ring.items()))
        waiter = own.popleft()
        self._size -= 1
        if own:
            self._ring.move_to_end(caller)
        else:
            del self._ring[caller]
        return waiter

    def remove(self, caller: str, waiter: _Waiter) -> None:
        own = self._ring.get(caller)
        if own is None or waiter not in own:
            return
        own.remove(waiter)
        self._size -= 1
        if not own:
            del self._ring[caller]

    def ahead_of(self, caller: str) -> int:
        """How many waiters are served before a new one of this caller, if no others arrive."""
        own = len(self._ring.get(caller, ()))
        return own + sum(min(len(theirs), own + 1) for name, theirs in self._ring.items() if name != caller)

    def in_turn(self) -> Iterator[tuple[str, _Waiter]]:
        """All of them, in the order in which they would be served."""
        rounds = [(caller, list(own)) for caller, own in self._ring.items()]
        for turn in range(max((len(own) for _, own in rounds), default=0)):
            yield from ((caller, own[turn]) for caller, own in rounds if turn < len(own))


class _Bucket:
    """Invariants: a new waiter is never served before waiting ones, except for its caller's turn; a timer is armed exactly while
    there are waiters; 0 <= tokens <= one second's worth (at least one)."""

    def __init__(self, operation: str, start: float, ceiling: float, now: float) -> None:
        self.operation = operation
        self.ceiling = ceiling
        self.rate = start
        self.tokens = self._capacity()
        self.waiters = _WaitingCallers()
        self.throttles = 0
        self.turned_away = 0
        self._base = start
        """The rate from which the current growth began."""
        self._waited_seconds = 0.0
        """Seconds since then with waiting callers: the rate does not change without them."""
        self._hold = HOLD[0]
        self._last_measured: float | None = None
        """The last measured rate of the service."""
        self._accepted = 0
        """Calls accepted by this bucket since the last throttle."""
        self._measured_from: float | None = None
        """Time of that throttle, if the service's bucket has been in use ever since; None: it may have filled up."""
        self._updated = now
        self._not_before = now
        self._last_decrease = float("-inf")
        self._next_return = now
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<_Bucket {self.operation} {self.rate:.2f}/{self.ceiling:.2f} per s, {len(self.waiters)} waiting>"

    def _capacity(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def _advance(self, now: float) -> None:
        """Refill (also during a pause, as the service's own bucket does), and grow by the time in which callers waited."""
        start = self._updated
        self._updated = now
        if now <= start:
            return
        self.tokens = min(self._capacity(), self.tokens + self.rate * (now - start))
        if self.waiters:
            self._waited_seconds += max(0.0, now - max(start, self._not_before))
            self.rate = min(self.ceiling, self._base * self._growth())
        elif self.tokens >= min(self._capacity(), 2.0):
            self._measured_from = None

    def _growth(self) -> float:
        if self.throttles == 0:
            return float(2.0 ** min(self._waited_seconds / DOUBLING, 20.0))
        probing = max(0.0, self._waited_seconds - self._hold)
        return float(2.0 ** min(probing * probing / PROBE, 20.0))

    def _eta(self, position: int, now: float) -> float:
        """Seconds until the waiter at `position` gets its token, at the current rate (which only grows until a throttle)."""
        missing = position + 1 - self.tokens
        return max(0.0, self._not_before - now, missing / self.rate)

    def next_slot(self, caller: str, now: float) -> float:
        """Seconds until a new waiter of `caller` would get a token."""
        self._advance(now)
        return self._eta(self.waiters.ahead_of(caller), now)

    def try_take(self, now: float) -> bool:
        self._advance(now)
        if self.waiters or now < self._not_before or self.tokens < 1.0:
            return False
        self._take()
        return True

    def _take(self) -> None:
        self.tokens -= 1.0
        self._accepted += 1

    def turn_away(self, eta: float, now: float) -> AwsError:
        """The refusal of a caller whose token is `eta` seconds away, with a return time of its own."""
        slot = min(max(self._next_return, now + eta), now + eta + RETURN_SPREAD)
        self._next_return = slot + 1.0 / self.rate
        self.turned_away += 1
        return AwsError(
            "waiting for our own rate limit",
            category=ErrorCategory.THROTTLED,
            operation=self.operation,
            retry_after=slot - now,
            sent=False,
        )

    def give_back(self, now: float) -> None:
        """A granted token was not used after all."""
        self._advance(now)
        self._accepted = max(0, self._accepted - 1)
        self.tokens = min(self._capacity(), self.tokens + 1.0)
        self.serve(now)

    def withdraw(self, caller: str, waiter: _Waiter, now: float) -> None:
        """A waiter gave up before its turn; those behind it move up."""
        self.waiters.remove(caller, waiter)
        self.serve(now)

    def serve(self, now: float) -> None:
        """Give the available tokens to waiters, in order, and arm the timer for the rest."""
        self._advance(now)
        # The tolerance absorbs float error: without it a timer that fires 1e-16 tokens early re-arms at the same time.
        while self.waiters and now >= self._not_before and self.tokens >= 1.0 - 1e-9:
            waiter = self.waiters.pop()
            if not waiter.granted.done():
                self.tokens = max(self.tokens, 1.0)
                self._take()
                waiter.granted.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.waiters:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(now + self._eta(0, now), self._on_timer)

    def _on_timer(self) -> None:
        self.serve(asyncio.get_running_loop().time())

    def throttled(self, now: float, pause: float) -> None:
        """AWS throttled: lower the rate to the measured one (once per interval), and give out no token for `pause` seconds."""
        self._advance(now)
        self.throttles += 1
        if now - self._last_decrease >= DECREASE_INTERVAL:
            self._lower(now)
        elif now >= self._not_before:
            # Not a call that was in flight at the decrease: those are not counted any more.
            self._accepted = max(0, self._accepted - 1)
        self.tokens = 0.0
        self._not_before = max(self._not_before, now + pause)
        self._refuse_late(now)
        self.serve(now)

    def _lower(self, now: float) -> None:
        measured = self._measured(now)
        if self.rate > SURPRISE * self._base:
            # So far above the base the service must have become faster: its bucket has filled up meanwhile.
            measured = None
        hold = HOLD[0]
        if measured is None:
            rate = self.rate * DECREASE
        else:
            if (
                self._last_measured is not None
                and abs(measured - self._last_measured) <= SAME_RATE * self._last_measured
            ):
                hold = min(2 * self._hold, HOLD[1])
            rate = min(self.rate, measured)
        self._last_measured, self._hold = measured, hold
        self.rate = self._base = max(min(MINIMUM_RATE, self.ceiling), rate)
        self._waited_seconds = 0.0
        self._accepted = 0
        self._measured_from = self._last_decrease = now

    def _measured(self, now: float) -> float | None:
        """Calls per second that the service accepted since its bucket was last empty. The refused call is in `_accepted` too."""
        accepted = self._accepted - 1
        if self._measured_from is None or now - self._measured_from < DECREASE_INTERVAL or accepted <= 0:
            return None
        return accepted / (now - self._measured_from)

    def _refuse_late(self, now: float) -> None:
        """Refuse the waiters that would now wait beyond their deadline."""
        kept = _WaitingCallers()
        for caller, waiter in self.waiters.in_turn():
            eta = self._eta(len(kept), now)
            if waiter.granted.done():
                continue
            if now + eta > waiter.deadline:
                waiter.granted.set_exception(self.turn_away(eta, now))
            else:
                kept.append(caller, waiter)
        self.waiters = kept


class Limiter:
    """Token buckets for one operator process. Bound to the loop that calls `acquire`.

    `ceilings` (requests per second, by operation or leading verb) override `CEILINGS`. `shards`: the number of processes
    that share the account; each takes an equal part of every rate.
    """

    def __init__(self, *, rng: random.Random, ceilings: Mapping[str, float] = {}, shards: int = 1) -> None:
        self._rng = rng
        self._ceilings = {**CEILINGS, **ceilings}
        self._shards = shards
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def __repr__(self) -> str:
        return f"<Limiter {len(self._buckets)} buckets, {sum(len(b.waiters) for b in self._buckets.values())} waiting>"

    async def acquire(
        self, account: str, region: str, operation: str, *, caller: str = "", max_wait: float = 10.0
    ) -> None:
        """Wait for a token, at most `max_wait` seconds. Callers (namespaces) take turns, each first come first served.

        Raises AwsError (THROTTLED, sent False, `retry_after` = when a token is expected) as soon as the wait is known to be
        longer: at once, or when a throttle moves the caller's turn past the deadline.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        bucket = self._bucket(account, region, operation, now)
        if bucket.try_take(now):
            return
        eta = bucket.next_slot(caller, now)
        if eta > max_wait:
            raise bucket.turn_away(eta, now)
        waiter = _Waiter(loop.create_future(), now + max_wait)
        bucket.waiters.append(caller, waiter)
        bucket.serve(now)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                bucket.withdraw(caller, waiter, loop.time())
            elif waiter.granted.exception() is None:
                bucket.give_back(loop.time())
            raise

    def throttled(self, account: str, region: str, operation: str, *, retry_after: float | None = None) -> float:
        """Record that AWS throttled a call. Returns the seconds until the next token."""
        now = asyncio.get_running_loop().time()
        bucket = self._bucket(account, region, operation, now)
        pause = max(PENALTY + self._rng.uniform(0.0, PENALTY), min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        bucket.throttled(now, pause)
        return bucket.next_slot("", now)

    def snapshot(self) -> list[BucketState]:
        """The state of every bucket that was ever used, for metrics."""
        return [
            BucketState(account, region, operation, b.rate, b.ceiling, len(b.waiters), b.throttles, b.turned_away)
            for (account, region, operation), b in self._buckets.items()
        ]

    def _bucket(self, account: str, region: str, operation: str, now: float) -> _Bucket:
        key = (account, region, operation)
        bucket = self._buckets.get(key)
        if bucket is None:
            ceiling = _of(self._ceilings, operation) / self._shards
            start = min(ceiling, _of(STARTS, operation) / self._shards)
            bucket = self._buckets[key] = _Bucket(operation, start, ceiling, now)
        return bucket


def _of(rates: Mapping[str, float], operation: str) -> float:
    return rates[max((prefix for prefix in rates if operation.startswith(prefix)), key=len)]
