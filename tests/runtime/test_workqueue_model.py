"""Any order of adds, delays, gets, cancellations and ends, against a simple model."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sagemaker_operator.objects import ObjectKey
from sagemaker_operator.runtime.fairness import PATIENCE
from sagemaker_operator.runtime.workqueue import Priority, QueueShutDown, WorkQueue

WORKERS = 2
CAP = 1
NAMESPACES = ("one", "two", "three")
KEYS = [ObjectKey("Model", namespace, str(number)) for namespace in NAMESPACES for number in range(2)]

keys = st.sampled_from(KEYS)
priorities = st.sampled_from(Priority)
# Multiples of 1/8 s are exact in floats, so that model and queue agree on ties.
delays = st.integers(0, 40).map(lambda eighths: eighths / 8)


class Model:
    """What the queue must be, in plain dicts. `take` asserts that a get was allowed to give this key."""

    def __init__(self) -> None:
        self.ready: dict[ObjectKey, tuple[Priority, int]] = {}
        """Priority, and a number that grows with the place in line."""
        self.delayed: dict[ObjectKey, tuple[float, Priority]] = {}
        self.again: dict[ObjectKey, Priority] = {}
        self.processing: set[ObjectKey] = set()
        self.place = 0
        self.passed: Counter[Priority] = Counter()
        """Gets since the priority was served, while it had keys."""
        self.passed_free: Counter[Priority | tuple[Priority, str]] = Counter()
        """The same while it had a namespace below its cap; and for each line, gets of its priority."""

    def add(self, key: ObjectKey, priority: Priority) -> None:
        if key in self.delayed:
            priority = max(priority, self.delayed.pop(key)[1])
        if key in self.processing:
            self.again[key] = max(priority, self.again.get(key, Priority.LOW))
        elif key not in self.ready or priority > self.ready[key][0]:
            lines = self.lines(set(self.ready))
            if priority not in {lane for lane, _ in lines}:
                self.passed[priority] = self.passed_free[priority] = 0
            if (priority, key.namespace) not in lines:
                self.passed_free[priority, key.namespace] = 0
            self.place += 1
            self.ready[key] = (priority, self.place)

    def add_at(self, key: ObjectKey, priority: Priority, *, when: float, now: float) -> None:
        if key in self.ready or key in self.again or when <= now:
            self.add(key, priority)
        else:
            before, other = self.delayed.get(key, (when, priority))
            if when < before:
                del self.delayed[key]  # to the end of those of the same time
            self.delayed[key] = (min(when, before), max(priority, other))

    def fire(self, now: float) -> None:
        due = [key for key, (when, _) in self.delayed.items() if when <= now]
        for key in sorted(due, key=lambda key: self.delayed[key][0]):
            self.add(key, self.delayed[key][1])

    def done(self, key: ObjectKey) -> None:
        self.processing.remove(key)
        if key in self.again:
            self.add(key, self.again.pop(key))

    def take(self, key: ObjectKey) -> None:
        assert key not in self.processing, "a key is in two hands"
        assert key in self.ready, "a key that was not added, or before its time"
        priority, place = self.ready[key]
        line = (priority, key.namespace)
        assert place == min(at for other, (lane, at) in self.ready.items() if (lane, other.namespace) == line)
        busy = Counter(other.namespace for other in self.processing)
        free = {other for other in self.ready if busy[other.namespace] < CAP}
        assert key in free or not free, "a namespace takes more than its share"

        lanes = {lane for lane, _ in self.lines(set(self.ready))}
        free_lanes = {lane for lane, _ in self.lines(free)}
        if self.passed[priority] < PATIENCE:
            assert not any(lane > priority for lane in free_lanes), "a lower priority before its turn"
        for lane in lanes:
            self.passed[lane] = 0 if lane is priority else self.passed[lane] + 1
        for lane in free_lanes:
            self.passed_free[lane] = 0 if lane is priority else self.passed_free[lane] + 1
            assert self.passed_free[lane] <= PATIENCE + 2, "a priority starves"
        for other_line in self.lines(free):
            if other_line[0] is priority:
                self.passed_free[other_line] = 0 if other_line == line else self.passed_free[other_line] + 1
                assert self.passed_free[other_line] < len(NAMESPACES), "a namespace starves"

        del self.ready[key]
        self.processing.add(key)

    def lines(self, keys: set[ObjectKey]) -> set[tuple[Priority, str]]:
        return {(self.ready[key][0], key.namespace) for key in keys}


class WorkQueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.model = Model()
        self.getters: list[asyncio.Task[ObjectKey]] = []
        self.held: list[ObjectKey] = []
        """In the order taken, so that an example replays."""
        self.queue: WorkQueue[ObjectKey] = self.loop.run_until_complete(self.make_queue())

    async def make_queue(self) -> WorkQueue[ObjectKey]:
        return WorkQueue(namespace_of=lambda key: key.namespace, workers=WORKERS, rng=random.Random(0), observer=self)

    # The observer: the model follows each get at the moment it happens.

    def on_add(self, key: ObjectKey) -> None: ...

    def on_get(self, key: ObjectKey, queue_seconds: float) -> None:
        assert queue_seconds >= 0
        self.model.fire(self.loop.time())
        self.model.take(key)
        self.held.append(key)

    def on_done(self, key: ObjectKey, work_seconds: float) -> None: ...

    def on_retry(self, key: ObjectKey) -> None: ...

    # Steps

    def settle(self, seconds: float = 0) -> None:
        """Let time pass, and everything that is due happen."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            for _ in range(3):
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())
        self.model.fire(self.loop.time())
        for getter in self.getters:
            if getter.done() and not getter.cancelled():
                getter.result()  # raises what on_get found wrong
        self.getters = [getter for getter in self.getters if not getter.done()]

    def add_now(self, key: ObjectKey, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.model.add(key, priority)

    def add_later(self, key: ObjectKey, priority: Priority, seconds: float) -> None:
        self.queue.add_after(key, seconds, priority)
        now = self.loop.time()
        self.model.add_at(key, priority, when=now + seconds, now=now)

    def end(self, key: ObjectKey) -> None:
        self.held.remove(key)
        self.queue.done(key)
        self.model.done(key)

    @rule(key=keys, priority=priorities)
    def add(self, key: ObjectKey, priority: Priority) -> None:
        self.add_now(key, priority)
        self.settle()

    @rule(key=keys, priority=priorities, seconds=delays)
    def add_after(self, key: ObjectKey, priority: Priority, seconds: float) -> None:
        self.add_later(key, priority, seconds)
        self.settle()

    @rule(seconds=delays)
    def time_passes(self, seconds: float) -> None:
        self.settle(seconds)

    @precondition(lambda self: len(self.getters) < 4)
    @rule()
    def get(self) -> None:
        self.getters.append(self.loop.create_task(self.queue.get()))
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        self.end(self.held[data.draw(st.integers(0, len(self.held) - 1))])
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=delays, priority=priorities, event=st.booleans())
    def a_worker_asks_to_come_back_and_ends(
        self, data: st.DataObject, seconds: float, priority: Priority, event: bool
    ) -> None:
        key = self.held[data.draw(st.integers(0, len(self.held) - 1))]
        if event:
            self.add_now(key, priority)
        self.add_later(key, priority, seconds)
        self.end(key)
        self.settle()

    @rule(data=st.data(), key=keys, priority=priorities, before=st.booleans())
    def a_waiting_getter_is_cancelled_in_the_moment_of_an_add(
        self, data: st.DataObject, key: ObjectKey, priority: Priority, before: bool
    ) -> None:
        while len(self.getters) < 2:
            self.getters.append(self.loop.create_task(self.queue.get()))
            self.settle()
        getter = data.draw(st.sampled_from(self.getters))
        if before:
            getter.cancel()
        self.add_now(key, priority)
        if not before:
            getter.cancel()
        self.settle()
        assert getter.cancelled()

    @rule(rounds=st.integers(20, 120), priority=st.sampled_from((Priority.HIGH, Priority.NORMAL)), namespace=keys)
    def a_flood_comes_back_as_soon_as_it_is_done(self, rounds: int, priority: Priority, namespace: ObjectKey) -> None:
        """Long runs that single steps would hardly ever make: starvation shows only here."""
        flood = [key for key in KEYS if key.namespace == namespace.namespace]
        for key in flood:
            self.add_now(key, priority)
        for _ in range(rounds):
            self.getters.append(self.loop.create_task(self.queue.get()))
            self.settle()
            if not self.held:
                return
            key = self.held[0]
            self.end(key)
            if key in flood:
                self.add_now(key, priority)
            self.settle()

    @rule()
    def drain(self) -> None:
        """Shut down, finish what is in hand, and start over with a new queue, as a restart does."""
        self.queue.shutdown()
        waiting, self.getters = self.getters, []
        results = self.loop.run_until_complete(self.load_facts(waiting))
        assert all(isinstance(result, QueueShutDown) for result in results)
        self.add_to_a_queue_that_is_down()
        assert self.loop.run_until_complete(self.queue.join(0)) is not bool(self.held)
        joining = self.loop.create_task(self.queue.join())
        while self.held:
            self.loop.run_until_complete(asyncio.sleep(0))
            assert not joining.done()
            self.queue.done(self.held.pop())
        assert self.loop.run_until_complete(joining)
        assert len(self.queue) == 0
        self.model = Model()
        self.queue = self.loop.run_until_complete(self.make_queue())

    def add_to_a_queue_that_is_down(self) -> None:
        self.queue.add(KEYS[0])
        self.queue.add_after(KEYS[1], 1)
        self.loop.run_until_complete(asyncio.sleep(2))
        assert len(self.queue) == 0

    @staticmethod
    async def load_facts(tasks: list[asyncio.Task[ObjectKey]]) -> list[ObjectKey | BaseException]:
        return await asyncio.gather(*tasks, return_exceptions=True)

    # What must always hold

    @invariant()
    def queue_and_model_agree(self) -> None:
        depths = Counter(priority for priority, _ in self.model.ready.values())
        assert self.queue.depth_by_priority() == {priority: depths[priority] for priority in Priority}
        assert len(self.queue) == len(self.model.ready)
        assert f" {len(self.model.delayed)} delayed" in repr(self.queue)
        assert set(self.queue.unfinished()) == self.model.processing == set(self.held)

    @invariant()
    def no_wake_up_is_lost(self) -> None:
        assert not (self.getters and self.model.ready), "a worker waits beside a key that is ready"

    def teardown(self) -> None:
        for getter in self.getters:
            getter.cancel()
        self.loop.run_until_complete(self.load_facts(self.getters))
        self.queue.shutdown()
        self.loop.close()


TestWorkQueue = WorkQueueMachine.TestCase
TestWorkQueue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
