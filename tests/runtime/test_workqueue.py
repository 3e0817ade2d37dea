from __future__ import annotations

import asyncio
import random

import pytest

from sagemaker_operator.backoff import Backoff
from sagemaker_operator.objects import ObjectKey
from sagemaker_operator.runtime.fairness import PATIENCE
from sagemaker_operator.runtime.workqueue import Priority, QueueShutDown, WorkQueue

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

Queue = WorkQueue[ObjectKey]
EXACT = Backoff(base=1.0, cap=8.0, minimum=8.0)
"""Without jitter: 1, 2, 4, 8, 8... s."""


def key(name: str, namespace: str = "team-a") -> ObjectKey:
    return ObjectKey("Model", namespace, name)


A, B, C = key("a"), key("b"), key("c")


class Recorder:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.reported: list[tuple[object, ...]] = []

    def on_add(self, key: ObjectKey) -> None:
        self.reported.append(("add", key))

    def on_get(self, key: ObjectKey, queue_seconds: float) -> None:
        self.reported.append(("get", key, queue_seconds))

    def on_done(self, key: ObjectKey, work_seconds: float) -> None:
        self.reported.append(("done", key, work_seconds))

    def on_retry(self, key: ObjectKey) -> None:
        self.reported.append(("retry", key))


def new_queue(workers: int = 10, observer: Recorder | None = None) -> Queue:
    return WorkQueue(namespace_of=lambda key: key.namespace, workers=workers, rng=random.Random(7), observer=observer)


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(queue: Queue) -> ObjectKey:
    """The next key, which must be ready now."""
    assert len(queue), f"nothing ready in {queue!r}"
    return await queue.get()


async def drain(queue: Queue) -> list[str]:
    """Names in the order in which one worker gets them."""
    names = []
    while len(queue):
        taken = await take(queue)
        names.append(taken.name)
        queue.done(taken)
    return names


# Deduplication


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = new_queue()
    queue.add(A)
    queue.add(A)
    assert await take(queue) == A
    assert len(queue) == 0
    queue.done(A)
    assert len(queue) == 0


async def test_a_key_added_while_processing_runs_again_only_after_done() -> None:
    queue = new_queue()
    queue.add(A)
    await take(queue)
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert await take(queue) == A
    queue.done(A)
    assert len(queue) == 0


async def test_a_key_added_again_while_processing_keeps_the_highest_priority_asked_for() -> None:
    queue = new_queue()
    queue.add(A)
    await take(queue)
    queue.add(A, Priority.LOW)
    queue.add(A, Priority.HIGH)
    queue.add(A, Priority.NORMAL)
    queue.done(A)
    assert queue.depth_by_priority()[Priority.HIGH] == 1


async def test_done_of_a_key_that_is_not_being_processed_is_an_error() -> None:
    queue = new_queue()
    queue.add(A)
    with pytest.raises(ValueError, match="not in processing"):
        queue.done(A)


# Waiting for keys


async def test_a_waiting_getter_wakes_with_the_add() -> None:
    queue = new_queue()
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add(A)
    assert await getter == A
    assert now() == 1


async def test_each_of_several_waiting_getters_gets_a_key_of_its_own() -> None:
    queue = new_queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for each in (A, B, C):
        queue.add(each)
    assert set(await asyncio.gather(*getters)) == {A, B, C}


async def test_a_getter_cancelled_after_it_was_woken_passes_the_key_on() -> None:
    queue = new_queue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)  # wakes the first, which has not run yet
    first.cancel()
    assert await second == A
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_cancelled_getter_is_not_woken_instead_of_a_waiting_one() -> None:
    queue = new_queue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    queue.add(A)  # before the first could leave the line
    assert await second == A
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_getter_cancelled_while_waiting_leaves_the_queue_as_it_was() -> None:
    queue = new_queue()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await queue.get()
    assert not queue._getters
    queue.add(A)
    assert await take(queue) == A
    assert queue.unfinished() == {A: 0}


# Delays


async def test_a_delayed_key_is_ready_exactly_when_its_time_has_come() -> None:
    queue = new_queue()
    queue.add_after(A, 5)
    await asyncio.sleep(4.999)
    assert len(queue) == 0
    assert await queue.get() == A
    assert now() == pytest.approx(5)


async def test_of_two_delayed_adds_the_earlier_wins_in_either_order() -> None:
    queue = new_queue()
    queue.add_after(A, 5)
    queue.add_after(A, 50)
    queue.add_after(B, 50)
    queue.add_after(B, 6)
    assert await queue.get() == A
    assert now() == pytest.approx(5)
    assert await queue.get() == B
    assert now() == pytest.approx(6)
    queue.done(A)
    queue.done(B)
    await asyncio.sleep(100)
    assert len(queue) == 0


async def test_a_delayed_key_keeps_its_priority_and_takes_the_higher_of_two() -> None:
    queue = new_queue()
    queue.add_after(A, 5, Priority.LOW)
    queue.add_after(B, 5, Priority.HIGH)
    queue.add_after(B, 9, Priority.LOW)
    queue.add_after(C, 5, Priority.LOW)
    queue.add_after(C, 3, Priority.HIGH)
    await asyncio.sleep(6)
    assert queue.depth_by_priority() == {Priority.HIGH: 2, Priority.NORMAL: 0, Priority.LOW: 1}


async def test_an_immediate_add_promotes_a_delayed_key_and_cancels_the_delay() -> None:
    queue = new_queue()
    queue.add_after(A, 5, Priority.HIGH)
    queue.add(A, Priority.LOW)
    assert queue.depth_by_priority()[Priority.HIGH] == 1
    assert await take(queue) == A
    queue.done(A)
    await asyncio.sleep(10)
    assert len(queue) == 0


async def test_a_delay_without_length_is_an_immediate_add() -> None:
    queue = new_queue()
    queue.add_after(A, 0)
    queue.add_after(B, -3)
    assert len(queue) == 2


async def test_a_delayed_add_of_a_ready_key_only_raises_its_priority() -> None:
    queue = new_queue()
    queue.add(A, Priority.LOW)
    queue.add_after(A, 60, Priority.HIGH)
    assert queue.depth_by_priority() == {Priority.HIGH: 1, Priority.NORMAL: 0, Priority.LOW: 0}
    await take(queue)
    queue.done(A)
    await asyncio.sleep(100)
    assert len(queue) == 0


async def test_a_delay_asked_for_by_a_worker_runs_from_then_and_an_event_meanwhile_wins() -> None:
    queue = new_queue()
    queue.add(A)
    await take(queue)
    queue.add_after(A, 30)
    queue.done(A)
    assert len(queue) == 0
    await asyncio.sleep(10)
    queue.add(A)
    assert await take(queue) == A
    queue.add(A)
    queue.add_after(A, 30)  # the run that is due anyway will ask again
    queue.done(A)
    assert await take(queue) == A
    queue.done(A)
    await asyncio.sleep(100)
    assert len(queue) == 0


async def test_a_delay_that_ends_during_the_work_runs_the_key_again_after_it() -> None:
    queue = new_queue()
    queue.add(A)
    await take(queue)
    queue.add_after(A, 5)
    await asyncio.sleep(6)
    assert len(queue) == 0
    queue.done(A)
    assert await take(queue) == A


async def test_one_timer_serves_any_number_of_delayed_keys_in_order() -> None:
    queue = new_queue()
    delays = list(range(1, 301))
    random.Random(1).shuffle(delays)
    for delay in delays:
        queue.add_after(key(str(delay)), delay)
    loop = asyncio.get_running_loop()
    pending = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert len(pending) == 1
    order = []
    for _ in delays:
        taken = await queue.get()
        order.append(int(taken.name))
        assert now() == pytest.approx(order[-1])
        queue.done(taken)
    assert order == sorted(delays)


async def test_keys_promoted_repeatedly_do_not_fill_the_heap() -> None:
    queue = new_queue()
    queue.add_after(B, 5)  # a live head: behind it void entries can pile up
    for _ in range(1000):
        queue.add_after(A, 36_000)
        queue.add(A)
        queue.done(await take(queue))
    queue.add_after(A, 7)
    assert len(queue._heap) <= 70
    assert await queue.get() == B
    assert await queue.get() == A
    assert now() == pytest.approx(7)


async def test_a_delay_that_was_cancelled_by_a_promotion_does_not_shorten_the_next_one() -> None:
    queue = new_queue()
    queue.add_after(A, 5)
    queue.add(A)
    queue.done(await take(queue))
    queue.add_after(A, 8)
    assert await queue.get() == A
    assert now() == pytest.approx(8)


# Failures


async def test_failures_grow_the_delay_until_forgotten() -> None:
    queue = new_queue()
    queue.add(A)
    times = []
    for count in range(6):
        taken = await queue.get()
        times.append(now())
        assert queue.failures(A) == count
        queue.add_rate_limited(A, EXACT)
        queue.done(taken)
    assert times == pytest.approx([0, 1, 3, 7, 15, 23])
    queue.forget(A)
    assert queue.failures(A) == 0


async def test_forget_keeps_the_pending_wake_up() -> None:
    queue = new_queue()
    queue.add_rate_limited(A, EXACT)
    queue.forget(A)
    assert await queue.get() == A
    assert now() == pytest.approx(1)


async def test_the_jitter_comes_from_the_injected_random() -> None:
    queue = new_queue()
    backoff = Backoff(base=100, cap=100)
    queue.add_rate_limited(A, backoff)
    await queue.get()
    assert now() == pytest.approx(backoff.delay(0, random.Random(7)))


# Priority and fairness


async def test_priorities_are_served_from_the_highest_and_each_in_order_of_arrival() -> None:
    queue = new_queue()
    for name, priority in (
        ("low-1", Priority.LOW),
        ("normal-1", Priority.NORMAL),
        ("high-1", Priority.HIGH),
        ("low-2", Priority.LOW),
        ("normal-2", Priority.NORMAL),
    ):
        queue.add(key(name), priority)
    assert await drain(queue) == ["high-1", "normal-1", "normal-2", "low-1", "low-2"]


async def test_adding_a_ready_key_again_can_raise_its_priority_but_never_lower_it() -> None:
    queue = new_queue()
    queue.add(A)
    queue.add(B, Priority.LOW)
    queue.add(B, Priority.HIGH)
    queue.add(B, Priority.LOW)
    assert await drain(queue) == ["b", "a"]


async def test_the_initial_list_gets_its_turn_although_normal_keys_never_end() -> None:
    queue = new_queue()
    queue.add(key("low"), Priority.LOW)
    for number in range(100):
        queue.add(key(f"normal-{number}"))
    gets = 0
    while (taken := await take(queue)).name != "low":
        gets += 1
        queue.done(taken)
        queue.add(taken)
    assert gets == PATIENCE


async def test_two_starving_priorities_are_both_served_under_a_flood_of_the_highest() -> None:
    queue = new_queue()
    served = dict.fromkeys(Priority, 0)
    for priority in Priority:
        for number in range(50):
            queue.add(key(f"{priority.name}-{number}"), priority)
    for _ in range(18 * 20):
        taken = await take(queue)
        priority = Priority[taken.name.split("-")[0]]
        served[priority] += 1
        queue.done(taken)
        queue.add(taken, priority)
    assert served[Priority.NORMAL] >= 20
    assert served[Priority.LOW] >= 20
    assert served[Priority.HIGH] > 300


async def test_a_lane_that_ran_empty_resets_its_starvation_timer() -> None:
    queue = new_queue()
    for number in range(40):
        queue.add(key(f"normal-{number}"))
    for _ in range(30):
        queue.done(await take(queue))
    queue.add(key("low"), Priority.LOW)
    assert (await take(queue)).name != "low"


async def test_namespaces_take_turns_whatever_the_length_of_their_queues() -> None:
    queue = new_queue()
    for number in range(100):
        queue.add(key(f"big-{number}", "big"))
    queue.add(key("small", "small"))
    queue.add(key("other", "other"))
    names = []
    for _ in range(4):
        taken = await take(queue)
        names.append(taken.name)
        queue.done(taken)
    assert names == ["big-0", "small", "other", "big-1"]


async def test_a_namespace_holds_at_most_half_the_workers_while_another_waits() -> None:
    queue = new_queue(workers=5)
    for number in range(10):
        queue.add(key(f"slow-{number}", "slow"), Priority.HIGH)
        queue.add(key(f"quick-{number}", "quick"), Priority.LOW)
    taken = [(await take(queue)).namespace for _ in range(5)]
    assert sorted(taken) == ["quick"] * 2 + ["slow"] * 3


async def test_a_namespace_at_its_cap_is_served_first_when_one_of_its_keys_is_done() -> None:
    queue = new_queue(workers=2)
    queue.add(key("a-1", "a"))
    queue.add(key("a-2", "a"))
    first = await take(queue)
    queue.add(key("b-1", "b"))
    queue.add(key("b-2", "b"))
    second = await take(queue)
    assert (first.name, second.name) == ("a-1", "b-1")
    queue.done(first)
    assert (await take(queue)).name == "a-2"


async def test_a_namespace_that_waits_alone_may_use_all_workers() -> None:
    queue = new_queue(workers=4)
    for number in range(4):
        queue.add(key(str(number)))
    assert [(await take(queue)).name for _ in range(4)] == ["0", "1", "2", "3"]


async def test_a_single_worker_serves_all_namespaces() -> None:
    queue = new_queue(workers=1)
    queue.add(key("1", "a"))
    queue.add(key("2", "b"))
    assert await drain(queue) == ["1", "2"]


# Shutting down


async def test_shutdown_wakes_waiting_getters_and_refuses_later_ones() -> None:
    queue = new_queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shutdown()
    results = await asyncio.gather(*getters, return_exceptions=True)
    assert [type(result) for result in results] == [QueueShutDown] * 3
    with pytest.raises(QueueShutDown):
        await queue.get()


async def test_shutdown_drops_what_is_ready_or_delayed_and_ignores_adds() -> None:
    queue = new_queue()
    queue.add(A)
    await take(queue)
    queue.add(A)
    queue.add(B)
    queue.add_after(C, 5)
    queue.shutdown()
    queue.add(B)
    queue.add_after(C, 1)
    queue.add_rate_limited(B)
    queue.done(A)
    await asyncio.sleep(10)
    assert len(queue) == 0
    assert queue.failures(B) == 0
    assert queue.unfinished() == {}
    assert repr(queue) == "<WorkQueue 0 ready, 0 processing, 0 delayed, shut down>"


async def test_join_waits_for_processing_keys_and_returns_whether_they_ended() -> None:
    queue = new_queue()
    assert await queue.join(0)
    queue.add(A)
    queue.add(B)
    await take(queue)
    await take(queue)
    queue.shutdown()
    queue.done(B)
    assert not await queue.join(3)
    assert now() == pytest.approx(3)
    asyncio.get_running_loop().call_later(4, queue.done, A)
    assert await queue.join(10)
    assert now() == pytest.approx(7)


# Figures


async def test_ages_and_depths_distinguish_waiting_from_processing() -> None:
    queue = new_queue()
    assert queue.oldest_age() == 0
    await asyncio.sleep(10)
    queue.add(A, Priority.LOW)
    await asyncio.sleep(2)
    queue.add(B)
    queue.add_after(C, 100)
    await asyncio.sleep(1)
    queue.add(A, Priority.HIGH)  # a raise keeps the age
    assert queue.oldest_age() == pytest.approx(3)
    assert await take(queue) == A
    assert queue.oldest_age() == pytest.approx(1)
    await asyncio.sleep(5)
    assert queue.unfinished() == {A: pytest.approx(5)}
    assert repr(queue) == "<WorkQueue 1 ready, 1 processing, 1 delayed>"


async def test_the_observer_is_notified_of_adds_gets_ends_and_retries() -> None:
    recorder = Recorder()
    queue = new_queue(observer=recorder)
    queue.add(A)
    queue.add(A)
    await asyncio.sleep(2)
    await take(queue)
    queue.add(A)
    queue.add(A)
    await asyncio.sleep(3)
    queue.done(A)
    await take(queue)
    queue.add_rate_limited(A, EXACT)
    queue.done(A)
    await queue.get()
    assert recorder.reported == [
        ("add", A),
        ("get", A, pytest.approx(2)),
        ("add", A),
        ("done", A, pytest.approx(3)),
        ("get", A, pytest.approx(0)),
        ("retry", A),
        ("done", A, pytest.approx(0)),
        ("add", A),
        ("get", A, pytest.approx(0)),
    ]
