"""The work queue: which key to reconcile next, and when. client-go's queue with delays, priorities and fairness.

Guarantees:
- A key is never processed twice at once. An add during its processing makes it ready again afterwards.
- A key has at most one pending wake-up: the earliest requested time, with the highest requested priority.
- A waiting key of a low priority or of a busy namespace is not starved (`fairness`).
- Cancelling a waiting `get` loses no key.

Assumptions:
- Work is level-triggered: at the end of a reconcile the worker requests its next wake-up again, and a key dropped by
  `shutdown` is found by the next start's list.
- All calls are made in the event loop that created the queue.

Caveat: `add_after` for a ready key changes no time, so a later wake-up that it requested is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from sagemaker_operator.backoff import RECONCILE
from sagemaker_operator.errors import OperatorError
from sagemaker_operator.runtime.fairness import FairQueue, K, Priority

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from sagemaker_operator.backoff import Backoff

__all__ = ["Priority", "QueueObserver", "QueueShutDown", "WorkQueue"]


class QueueShutDown(OperatorError):
    """The queue is shut down: the worker ends."""


Observed = TypeVar("Observed", contravariant=True)


class QueueObserver(Protocol[Observed]):
    """Callbacks for metrics. Called synchronously, so they must be quick and must not raise."""

    def on_add(self, key: Observed) -> None:
        """A key was added that was not ready yet (repeated adds are not reported)."""

    def on_get(self, key: Observed, queue_seconds: float) -> None:
        """A worker took it, after `queue_seconds` of being ready."""

    def on_done(self, key: Observed, work_seconds: float) -> None: ...

    def on_retry(self, key: Observed) -> None:
        """Its processing failed and will be retried."""


class _Silent(Generic[Observed]):
    def on_add(self, key: Observed) -> None: ...

    def on_get(self, key: Observed, queue_seconds: float) -> None: ...

    def on_done(self, key: Observed, work_seconds: float) -> None: ...

    def on_retry(self, key: Observed) -> None: ...


class _Delayed(NamedTuple):
    when: float
    priority: Priority
    ticket: int


class WorkQueue(Generic[K]):
    """Keys to work on; times are the running loop's. Create it inside the loop that uses it.

    A key has **at most one pending wake-up**: an add makes a delayed key ready now, and a delayed add of a key that is
    ready (or will be, after its current processing) changes no time. Workers must therefore request their next wake-up
    again at the end of a reconcile.

    Every key is in at most one of these: ready (`_ready`), delayed (`_delayed`), to be ready again after its processing
    (`_again`, a subset of `_processing`). A key in `_processing` may also be delayed, and is never ready.

    After `shutdown` adds are ignored.
    """

    def __init__(
        self,
        *,
        namespace_of: Callable[[K], str],
        workers: int,
        rng: random.Random,
        observer: QueueObserver[K] | None = None,
    ) -> None:
        """`workers`: how many call `get`; a namespace may use half of them (rounded up) while others wait."""
        self._loop = asyncio.get_running_loop()
        self._rng = rng
        self._observer: QueueObserver[K] = observer or _Silent()
        self._ready: FairQueue[K] = FairQueue(namespace_of=namespace_of, workers=workers)
        self._processing: dict[K, float] = {}
        self._again: dict[K, Priority] = {}
        self._failures: dict[K, int] = {}
        self._delayed: dict[K, _Delayed] = {}
        self._heap: list[tuple[float, int, K]] = []
        """(when, ticket, key). An entry is void if its ticket is not its key's current one."""
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._shut_down = False

    # Adding

    def add(self, key: K, priority: Priority = Priority.NORMAL) -> None:
        """Make `key` ready now."""
        if self._shut_down:
            return
        if self._delayed and (delayed := self._delayed.pop(key, None)):
            priority = max(priority, delayed.priority)
        if key in self._processing:
            pending = self._again.get(key)
            self._again[key] = priority if pending is None else max(pending, priority)
            if pending is not None:
                return
        elif key in self._ready:
            self._ready.raise_priority(key, priority)
            return
        else:
            self._push(key, priority)
        self._observer.on_add(key)

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.NORMAL) -> None:
        """Make `key` ready in `seconds`, unless it will be earlier."""
        if self._shut_down:
            return
        if seconds <= 0 or key in self._ready or key in self._again:
            self.add(key, priority)
            return
        when = self._loop.time() + seconds
        if earlier := self._delayed.get(key):
            priority = max(priority, earlier.priority)
            if earlier.when <= when:
                self._delayed[key] = earlier._replace(priority=priority)
                return
        self._ticket += 1
        self._delayed[key] = _Delayed(when, priority, self._ticket)
        heapq.heappush(self._heap, (when, self._ticket, key))
        # Void entries of a 10 h resync would accumulate with every event; rebuilding at half void is O(1) per add.
        if len(self._heap) > 64 + 2 * len(self._delayed):
            self._heap = [(entry.when, entry.ticket, key) for key, entry in self._delayed.items()]
            heapq.heapify(self._heap)
        self._arm()

    def add_rate_limited(self, key: K, backoff: Backoff = RECONCILE, priority: Priority = Priority.NORMAL) -> None:
        """Count a failure of `key` and make it ready after the backoff for its earlier failures."""
        if self._shut_down:
            return
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._observer.on_retry(key)
        self.add_after(key, backoff.delay(failures, self._rng), priority)

    def forget(self, key: K) -> None:
        """Reset the failures of `key`: it succeeded, or it is gone. Its pending wake-up stays."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Failures counted since the last `forget`."""
        return self._failures.get(key, 0)

    # Working

    async def get(self) -> K:
        """The next key, now in processing until `done`. Raises QueueShutDown after `shutdown`.

        A key changes hands only as this returns, so cancelling a waiting `get` loses none.
        """
        while not self._shut_down:
            if self._ready:
                key, since = self._ready.pop()
                now = self._loop.time()
                self._processing[key] = now
                self._idle.clear()
                self._observer.on_get(key, now - since)
                return key
            getter: asyncio.Future[None] = self._loop.create_future()
            self._getters.append(getter)
            try:
                await getter
            except BaseException:
                if self._ready and not getter.cancelled():
                    self._wake_one()  # this getter was woken for a key that it will not take
                with contextlib.suppress(ValueError):
                    self._getters.remove(getter)
                raise
        raise QueueShutDown("the work queue is shut down")

    def done(self, key: K) -> None:
        """End the processing of `key`; it is ready if it was added meanwhile. Raises ValueError if it was not in processing."""
        started = self._processing.pop(key, None)
        if started is None:
            raise ValueError(f"done({key!r}): not in processing")
        self._ready.release(key)
        self._observer.on_done(key, self._loop.time() - started)
        priority = self._again.pop(key, None)
        if priority is not None:
            self._push(key, priority)
        if not self._processing:
            self._idle.set()

    def shutdown(self) -> None:
        """Refuse adds, drop what is ready or delayed, end every `get` with QueueShutDown. Keys in processing go on."""
        self._shut_down = True
        self._ready.clear()
        self._again.clear()
        self._delayed.clear()
        self._heap.clear()
        self._arm()
        while self._getters:
            self._wake_one()

    async def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is in processing: True; or until `timeout` seconds have passed: False."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    # State

    def __len__(self) -> int:
        """Keys that are ready."""
        return len(self._ready)

    def depth_by_priority(self) -> dict[Priority, int]:
        """Ready keys per priority."""
        return self._ready.depth_by_priority()

    def oldest_age(self) -> float:
        """Seconds for which the oldest ready key has waited; 0 if none is ready."""
        oldest = self._ready.oldest()
        return 0.0 if oldest is None else self._loop.time() - oldest

    def unfinished(self) -> dict[K, float]:
        """Seconds in processing, by key."""
        now = self._loop.time()
        return {key: now - started for key, started in self._processing.items()}

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._delayed)

    @property
    def failing(self) -> int:
        """Keys whose last reconcile failed."""
        return len(self._failures)

    def __repr__(self) -> str:
        counts = f"{len(self._ready)} ready, {len(self._processing)} processing, {len(self._delayed)} delayed"
        return f"<WorkQueue {counts}{', shut down' if self._shut_down else ''}>"

    # Inside

    def _push(self, key: K, priority: Priority) -> None:
        self._ready.push(key, priority=priority, now=self._loop.time())
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self) -> None:
        """One timer for the first entry of the heap that is not void."""
        heap = self._heap
        while heap and not self._is_live(heap[0]):
            heapq.heappop(heap)
        when = heap[0][0] if heap else None
        if when == self._timer_at:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None if when is None else self._loop.call_at(when, self._fire, when)

    def _fire(self, when: float) -> None:
        self._timer = self._timer_at = None
        # A loop may call early by its clock's resolution (uvloop: half a millisecond): `when` is due all the same.
        now = max(when, self._loop.time())
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_live(entry):
                key = entry[2]
                self.add(key, self._delayed[key].priority)
        self._arm()

    def _is_live(self, entry: tuple[float, int, K]) -> bool:
        delayed = self._delayed.get(entry[2])
        return delayed is not None and delayed.ticket == entry[1]
