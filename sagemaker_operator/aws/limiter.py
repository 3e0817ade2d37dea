"""Client-side rate limits of AWS operations: a token bucket per (account, region, operation) that learns its rate.

SageMaker throttles per operation, account and region, and publishes almost none of the numbers. So every bucket starts
at a ceiling that is worth trying, halves when AWS says "Rate exceeded" and grows back while it is being used (additive
increase, multiplicative decrease: several operators on one account converge to a fair share). A throttled List never
slows a Create, since they share no bucket; botocore's `adaptive` retry mode, one limiter per client, cannot do that.

Nobody waits long: a caller whose token is further away than it can wait is told when to come back, at once, so that a
worker is never parked behind a quota.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_operator.errors import AwsError, ErrorCategory

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

CEILINGS: Mapping[str, float] = {
    # ListTrainingJobs is throttled at 2/s per account and region, not adjustable: the only figure known. One page is
    # 100 jobs, so a sweep of 10,000 takes 50 s.
    "List": 2.0,
    # 20/s is five times what one-minute polling of 250 resources needs, and gets through the first Describes of 1,000
    # objects at start-up in 50 s.
    "Describe": 20.0,
    # At 2/s a thousand creates take 500 s, no faster than one ACK worker. 10/s is optimistic (5 parallel creates are
    # reported throttled) and costs one refused call per halving: 10 -> 5 -> 2.5 in two seconds.
    "": 10.0,
}
"""Requests per second by operation or leading verb, the longest match wins; `""` is the rest."""

FLOOR = 0.1
"""Requests per second. One try in ten seconds still finds out, within the sweep interval, that AWS accepts again."""
DECREASE = 0.5
DECREASE_INTERVAL = 1.0
"""Seconds. Calls in flight together are throttled together: one burst is one signal, not one halving each."""
RECOVERY = 0.05
"""Share of the ceiling regained per second of use: from the floor to the ceiling in 20 s."""
BURST_SECONDS = 1.0
"""A full bucket holds one second's worth: bursts pass, and no second ever sees more than twice the rate."""
PENALTY = 1.0
"""Seconds without any token after a throttle (plus up to as much jitter): AWS's own buckets refill once a second."""
RETURN_SPREAD = 60.0
"""Seconds over which callers that were turned away are told to come back, one per token at the ceiling's rate. Without
it a thousand new objects would all return at the same moment, to be turned away again with a Describe spent on each."""


class BucketState(NamedTuple):
    """One bucket as metrics show it."""

    account: str
    region: str
    operation: str
    rate: float
    """Requests per second allowed now."""
    ceiling: float
    waiting: int
    throttled: int
    """How often AWS refused, since the start."""


class _Waiter(NamedTuple):
    granted: asyncio.Future[None]
    deadline: float


class _Bucket:
    """Invariants: `waiters` is in order of arrival and nobody overtakes it; a timer is armed exactly while it is not
    empty; 0 <= tokens <= one second's worth (at least one)."""

    def __init__(self, operation: str, ceiling: float, now: float) -> None:
        self.operation = operation
        self.ceiling = ceiling
        self.rate = ceiling
        self.tokens = self._capacity()
        self.waiters: deque[_Waiter] = deque()
        self.throttles = 0
        self._updated = now
        self._not_before = now
        self._last_used = now
        self._last_decrease = float("-inf")
        self._next_return = now
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<_Bucket {self.operation} {self.rate:.2f}/{self.ceiling:.2f} per s, {len(self.waiters)} waiting>"

    def _capacity(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def _advance(self, now: float) -> None:
        """Refill, and grow by the time in which the bucket was in use: an idle bucket learns nothing."""
        start = max(self._updated, self._not_before)
        elapsed = now - start
        self._updated = now
        if elapsed <= 0:
            return
        self.tokens = min(self._capacity(), self.tokens + self.rate * elapsed)
        used = elapsed if self.waiters else min(elapsed, max(0.0, self._last_used + 1.0 - start))
        self.rate = min(self.ceiling, self.rate + RECOVERY * self.ceiling * used)

    def _eta(self, position: int, now: float) -> float:
        """Seconds until the waiter at `position` gets its token, at today's rate (it only grows until a throttle)."""
        missing = position + 1 - self.tokens
        return max(0.0, self._not_before - now) + max(0.0, missing / self.rate)

    def next_slot(self, now: float) -> float:
        """Seconds until a newcomer would get a token."""
        self._advance(now)
        return self._eta(len(self.waiters), now)

    def try_take(self, now: float) -> bool:
        self._advance(now)
        if self.waiters or now < self._not_before or self.tokens < 1.0:
            return False
        self._take(now)
        return True

    def _take(self, now: float) -> None:
        self.tokens -= 1.0
        self._last_used = now

    def turn_away(self, eta: float, now: float) -> AwsError:
        """The refusal of a caller whose token is `eta` seconds away, with a time to return that is its own."""
        slot = min(max(self._next_return, now + eta), now + eta + RETURN_SPREAD)
        self._next_return = slot + 1.0 / self.ceiling
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
        self.tokens = min(self._capacity(), self.tokens + 1.0)
        self.serve(now)

    def withdraw(self, waiter: _Waiter, now: float) -> None:
        """A waiter gave up before its turn; those behind it move up."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        self.serve(now)

    def serve(self, now: float) -> None:
        """Hand out what there is, in order, and arm the timer for the rest."""
        self._advance(now)
        # The tolerance absorbs float error: without it a timer that fires 1e-16 tokens early re-arms at the same time.
        while self.waiters and now >= self._not_before and self.tokens >= 1.0 - 1e-9:
            waiter = self.waiters.popleft()
            if not waiter.granted.done():
                self.tokens = max(self.tokens, 1.0)
                self._take(now)
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
        """AWS refused: halve (once per interval), drop the burst, and hold everybody for `pause` seconds."""
        self._advance(now)
        self.throttles += 1
        if now - self._last_decrease >= DECREASE_INTERVAL:
            self._last_decrease = now
            self.rate = max(min(FLOOR, self.ceiling), self.rate * DECREASE)
        self.tokens = 0.0
        self._not_before = max(self._not_before, now + pause)
        self._send_home(now)
        self.serve(now)

    def _send_home(self, now: float) -> None:
        """Waiters that would now wait beyond their deadline are told so, rather than kept."""
        kept: deque[_Waiter] = deque()
        for waiter in self.waiters:
            eta = self._eta(len(kept), now)
            if waiter.granted.done():
                continue
            if now + eta > waiter.deadline:
                waiter.granted.set_exception(self.turn_away(eta, now))
            else:
                kept.append(waiter)
        self.waiters = kept


class Limiter:
    """Token buckets for one operator process. Bound to the loop that calls `acquire`.

    `shards` is the number of processes that share the account: each takes an equal part of every ceiling.
    """

    def __init__(self, *, rng: random.Random, ceilings: Mapping[str, float] = CEILINGS, shards: int = 1) -> None:
        self._rng = rng
        self._ceilings = ceilings
        self._shards = shards
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def __repr__(self) -> str:
        return f"<Limiter {len(self._buckets)} buckets, {sum(len(b.waiters) for b in self._buckets.values())} waiting>"

    async def acquire(self, account: str, region: str, operation: str, *, max_wait: float = 10.0) -> None:
        """Wait for a token, first come first served, at most `max_wait` seconds.

        Raises AwsError (THROTTLED, sent False, `retry_after` = when a token is expected) as soon as it is known that
        the wait would be longer: right away, or when a throttle pushes the slot past the deadline.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        bucket = self._bucket(account, region, operation, now)
        if bucket.try_take(now):
            return
        eta = bucket.next_slot(now)
        if eta > max_wait:
            raise bucket.turn_away(eta, now)
        waiter = _Waiter(loop.create_future(), now + max_wait)
        bucket.waiters.append(waiter)
        bucket.serve(now)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                bucket.withdraw(waiter, loop.time())
            elif waiter.granted.exception() is None:
                bucket.give_back(loop.time())
            raise

    def throttled(self, account: str, region: str, operation: str, *, retry_after: float | None = None) -> float:
        """Record that AWS refused a call. Returns the seconds after which the next token can be had."""
        now = asyncio.get_running_loop().time()
        bucket = self._bucket(account, region, operation, now)
        pause = max(PENALTY + self._rng.uniform(0.0, PENALTY), retry_after or 0.0)
        bucket.throttled(now, pause)
        return bucket.next_slot(now)

    def snapshot(self) -> list[BucketState]:
        """The state of every bucket that was ever used, for metrics."""
        return [
            BucketState(account, region, operation, b.rate, b.ceiling, len(b.waiters), b.throttles)
            for (account, region, operation), b in self._buckets.items()
        ]

    def _bucket(self, account: str, region: str, operation: str, now: float) -> _Bucket:
        key = (account, region, operation)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(operation, self._ceiling(operation), now)
        return bucket

    def _ceiling(self, operation: str) -> float:
        matching = [prefix for prefix in self._ceilings if operation.startswith(prefix)]
        rate = self._ceilings[max(matching, key=len)] if matching else CEILINGS[""]
        return rate / self._shards
