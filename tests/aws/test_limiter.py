"""The rate limiter in virtual time: which calls it admits, and when."""

from __future__ import annotations

import asyncio
import random

import pytest

from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.errors import AwsError, ErrorCategory

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

ACCOUNT, REGION = "111122223333", "us-east-1"


class NoJitter(random.Random):
    """The lower end of every range, so that times are exact."""

    def uniform(self, a: float, b: float) -> float:
        return a


def limiter(rate: float, *, shards: int = 1) -> Limiter:
    return Limiter(rng=NoJitter(), ceilings={"": rate, "List": rate}, shards=shards)


def now() -> float:
    return asyncio.get_running_loop().time()


async def taken(limits: Limiter, operation: str = "DescribeTrainingJob", *, max_wait: float = 10.0) -> float:
    await limits.acquire(ACCOUNT, REGION, operation, max_wait=max_wait)
    return now()


def throttle(limits: Limiter, operation: str = "DescribeTrainingJob", retry_after: float | None = None) -> float:
    return limits.throttled(ACCOUNT, REGION, operation, retry_after=retry_after)


def rate(limits: Limiter) -> float:
    (state,) = limits.snapshot()
    return state.rate


async def drain(limits: Limiter) -> None:
    """Take the whole burst."""
    (state,) = limits.snapshot() or [None]
    assert state is not None
    for _ in range(int(max(1.0, state.rate))):
        await taken(limits)


async def test_a_full_bucket_admits_one_second_of_requests_at_once_and_the_rest_at_the_rate() -> None:
    limits = limiter(4.0)
    times = await asyncio.gather(*(taken(limits) for _ in range(8)))
    assert times == pytest.approx([0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0])


async def test_an_idle_bucket_saves_no_more_than_one_second_of_requests() -> None:
    limits = limiter(4.0)
    await taken(limits)
    await asyncio.sleep(100)
    times = await asyncio.gather(*(taken(limits) for _ in range(5)))
    assert times == pytest.approx([100, 100, 100, 100, 100.25])


async def test_a_rate_below_one_per_second_still_has_a_first_token() -> None:
    limits = limiter(0.5)
    times = await asyncio.gather(*(taken(limits) for _ in range(3)))
    assert times == pytest.approx([0, 2, 4])


async def test_waiters_are_served_in_order_of_arrival() -> None:
    limits = limiter(1.0)
    served: list[int] = []

    async def one(n: int) -> None:
        await taken(limits)
        served.append(n)

    async with asyncio.TaskGroup() as group:
        for n in range(6):
            group.create_task(one(n))
    assert served == list(range(6))


async def test_callers_take_turns_so_that_a_burst_of_one_delays_another_by_one_token() -> None:
    limits = limiter(1.0)
    served: list[str] = []

    async def one(caller: str, name: str) -> None:
        await limits.acquire(ACCOUNT, REGION, "CreateTrainingJob", caller=caller)
        served.append(name)

    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(one("busy", f"busy {n}"))
        await asyncio.sleep(0.5)
        group.create_task(one("quiet", "quiet 0"))
    assert served == ["busy 0", "busy 1", "quiet 0", "busy 2", "busy 3", "busy 4"]


async def test_a_caller_without_waiters_is_not_refused_for_those_of_others() -> None:
    limits = limiter(1.0)
    waiting = [
        asyncio.create_task(limits.acquire(ACCOUNT, REGION, "StopTrainingJob", caller="busy")) for _ in range(10)
    ]
    await asyncio.sleep(0)
    await limits.acquire(ACCOUNT, REGION, "StopTrainingJob", caller="quiet", max_wait=2.5)
    assert now() == pytest.approx(2.0)
    await asyncio.gather(*waiting)


async def test_a_newcomer_does_not_overtake_a_waiter_when_the_loop_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = limiter(1.0)
    await taken(limits)
    served: list[str] = []

    async def one(name: str) -> None:
        await taken(limits)
        served.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(one("early"))
        await asyncio.sleep(0.1)
        group.create_task(one("late"))
        # The next thing to run is the newcomer, and by its clock the token is there; the bucket's timer comes after it.
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as late:
            late.setattr(loop, "time", lambda: 1.5)
            await asyncio.sleep(0)
    assert served == ["early", "late"]


async def test_operations_regions_and_accounts_do_not_share_a_bucket() -> None:
    limits = limiter(1.0)
    await limits.acquire(ACCOUNT, REGION, "ListTrainingJobs")
    await limits.acquire(ACCOUNT, REGION, "CreateTrainingJob")
    await limits.acquire(ACCOUNT, "eu-west-1", "ListTrainingJobs")
    await limits.acquire("999", REGION, "ListTrainingJobs")
    assert now() == 0
    throttle(limits, "ListTrainingJobs")
    assert {s.operation: s.rate for s in limits.snapshot() if s.account == ACCOUNT and s.region == REGION} == {
        "ListTrainingJobs": 0.5,
        "CreateTrainingJob": 1.0,
    }


async def test_the_longest_matching_ceiling_counts_and_shards_divide_it() -> None:
    limits = Limiter(rng=NoJitter(), ceilings={"": 8, "List": 2, "ListTrainingJobs": 1}, shards=2)
    for operation in ("CreateModel", "ListModels", "ListTrainingJobs"):
        await limits.acquire(ACCOUNT, REGION, operation)
    assert [s.ceiling for s in limits.snapshot()] == [4, 1, 0.5]


async def test_a_wait_beyond_the_limit_is_refused_at_once_and_says_when_to_come_back() -> None:
    limits = limiter(1.0)
    waiting = [asyncio.create_task(taken(limits)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(AwsError) as refused:
        await taken(limits, max_wait=2.5)
    assert now() == 0
    assert refused.value.category is ErrorCategory.THROTTLED
    assert not refused.value.sent
    assert refused.value.retry_after == pytest.approx(3.0)
    assert await asyncio.gather(*waiting) == pytest.approx([0, 1, 2])


async def test_refused_callers_get_staggered_retry_times() -> None:
    limits = limiter(2.0)
    waiting = [asyncio.create_task(taken(limits)) for _ in range(4)]
    await asyncio.sleep(0)
    returns = []
    for _ in range(4):
        with pytest.raises(AwsError) as refused:
            await taken(limits, max_wait=0.1)
        returns.append(refused.value.retry_after)
    assert returns == pytest.approx([1.5, 2.0, 2.5, 3.0])
    (state,) = limits.snapshot()
    assert (state.waiting, state.turned_away, state.throttled) == (2, 4, 0)
    await asyncio.gather(*waiting)


async def test_the_retry_time_is_bounded_however_many_are_refused() -> None:
    limits = limiter(0.5)
    await taken(limits)
    for _ in range(1000):
        with pytest.raises(AwsError) as refused:
            await taken(limits, max_wait=0.1)
    assert refused.value.retry_after == pytest.approx(2.0 + 60.0)


async def test_throttling_halves_the_rate_once_per_second_however_many_calls_were_in_flight() -> None:
    limits = limiter(8.0)
    await taken(limits)
    for _ in range(5):
        throttle(limits)
    assert rate(limits) == 4.0
    await asyncio.sleep(0.99)
    throttle(limits)
    assert rate(limits) == 4.0
    await asyncio.sleep(0.01)
    throttle(limits)
    assert rate(limits) == 2.0


async def test_the_rate_never_falls_below_the_minimum() -> None:
    limits = limiter(8.0)
    await taken(limits)
    for _ in range(20):
        throttle(limits)
        await asyncio.sleep(1.0)
    assert rate(limits) == 0.1


async def test_a_throttle_pauses_all_callers_for_half_a_second_and_drops_the_saved_burst() -> None:
    limits = limiter(8.0)
    await taken(limits)
    slot = throttle(limits)
    assert slot == pytest.approx(0.5)
    assert await taken(limits) == pytest.approx(slot)


async def test_the_service_may_ask_for_a_longer_pause() -> None:
    limits = limiter(8.0)
    await taken(limits)
    assert throttle(limits, retry_after=5.0) == pytest.approx(5.0)
    assert await taken(limits) == pytest.approx(5.0)


async def test_the_pause_is_jittered_so_that_shards_do_not_return_together() -> None:
    pauses = set()
    for seed in range(5):
        limits = Limiter(rng=random.Random(seed), ceilings={"": 80.0, "List": 80.0})
        pauses.add(limits.throttled(ACCOUNT, REGION, "ListModels"))
    assert len(pauses) == 5
    assert all(0.5 <= pause <= 1.0 for pause in pauses)


async def test_the_rate_recovers_to_the_ceiling_and_no_further() -> None:
    limits = limiter(8.0)
    await taken(limits)
    throttle(limits)
    while now() < 60:
        await taken(limits)
    assert rate(limits) == 8.0


async def test_an_unused_bucket_does_not_recover() -> None:
    limits = limiter(8.0)
    await taken(limits)
    throttle(limits)
    await asyncio.sleep(1000)
    await taken(limits)
    # At most the one second in which its last call counts as use.
    assert rate(limits) <= 4.4


class Account:
    """What AWS is to a limiter: a token bucket of its own, 100 ms away, and callers who always have something to ask."""

    def __init__(self, limits: Limiter, per_second: float, *, callers: int = 10) -> None:
        self.per_second = per_second
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self._limits = limits
        self._tokens = max(1.0, per_second)
        self._at = now()
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(callers)]

    async def _ask(self) -> None:
        while True:
            try:
                await taken(self._limits)
            except AwsError as error:
                await asyncio.sleep(error.retry_after or 0.0)
                continue
            await asyncio.sleep(0.05)
            admitted = self._admit()
            await asyncio.sleep(0.05)
            if not admitted:
                throttle(self._limits)

    def _admit(self) -> bool:
        self._tokens = min(max(1.0, self.per_second), self._tokens + (now() - self._at) * self.per_second)
        self._at = now()
        if self._tokens < 1.0:
            self.refused.append(now())
            return False
        self._tokens -= 1.0
        self.accepted.append(now())
        return True

    def rate(self, since: float, until: float) -> float:
        return sum(since <= at < until for at in self.accepted) / (until - since)

    def refused_share(self, since: float) -> float:
        refused = sum(at >= since for at in self.refused)
        return refused / (refused + sum(at >= since for at in self.accepted))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.parametrize("allowed", [2.0, 4.0, 10.0, 50.0])
async def test_the_rate_that_the_account_allows_is_found_within_seconds_and_kept(allowed: float) -> None:
    account = Account(Limiter(rng=random.Random(1)), allowed)
    await asyncio.sleep(120)
    await account.close()
    assert account.rate(0, 10) > 0.7 * allowed, "found within ten seconds"
    assert account.rate(10, 120) > 0.85 * allowed, "and used"
    assert account.refused_share(10) < 0.05
    assert sum(at < 10 for at in account.refused) <= 40, "finding it costs about one per caller and halving"


@pytest.mark.parametrize(
    ("before", "after"), [(50.0, 2.0), (10.0, 2.0), (4.0, 2.0), (2.0, 4.0), (2.0, 50.0), (4.0, 10.0)]
)
async def test_a_rate_that_changes_is_followed_in_both_directions(before: float, after: float) -> None:
    account = Account(Limiter(rng=random.Random(2)), before)
    await asyncio.sleep(60)
    account.per_second = after
    await asyncio.sleep(60)
    await account.close()
    assert account.rate(80, 120) > 0.8 * after
    if after < before:
        assert sum(60 <= at < 70 for at in account.refused) <= 40, "about one per caller and halving"
    assert account.refused_share(80) < 0.08


async def test_without_throttling_the_rate_doubles_every_second_up_to_the_ceiling() -> None:
    account = Account(Limiter(rng=random.Random(3)), 1e6, callers=50)
    await asyncio.sleep(20)
    await account.close()
    assert not account.refused
    assert len([at for at in account.accepted if at < 20.0]) >= 1000
    assert account.rate(10, 20) == pytest.approx(100.0, rel=0.02)


async def test_a_waiter_whose_slot_a_throttle_pushed_past_its_deadline_is_refused_at_once() -> None:
    limits = limiter(2.0)
    tasks = [asyncio.create_task(taken(limits, max_wait=2.0)) for _ in range(6)]
    await asyncio.sleep(0.1)
    throttle(limits)
    await asyncio.sleep(0)
    failed = [task for task in tasks if task.done() and task.exception() is not None]
    # Two had their tokens; at 1/s the next comes at 1.1 s, and the one after it past the limit of 2.0 s.
    assert len(failed) == 3
    tasks = failed
    assert now() == pytest.approx(0.1)
    for task in failed:
        error = task.exception()
        assert isinstance(error, AwsError)
        assert error.category is ErrorCategory.THROTTLED
        assert not error.sent


async def test_a_waiter_with_time_left_survives_a_throttle() -> None:
    limits = limiter(2.0)
    await taken(limits)
    await taken(limits)
    waiter = asyncio.create_task(taken(limits))
    await asyncio.sleep(0.1)
    throttle(limits)
    assert await waiter == pytest.approx(0.1 + 1.0, abs=0.1)


async def test_a_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    limits = limiter(1.0)
    await taken(limits)
    first, second = (asyncio.create_task(taken(limits)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == pytest.approx(1.0)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_the_token_back() -> None:
    limits = limiter(1.0)
    await taken(limits)
    loop = asyncio.get_running_loop()
    first, second = (asyncio.create_task(taken(limits)) for _ in range(2))
    await asyncio.sleep(0)

    # In the batch of timers that serves the first waiter, after it: the token is its own and it has not run yet.
    loop.call_at(1.0, first.cancel)
    assert await second == pytest.approx(1.0)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cancelling_all_waiters_leaves_nothing_behind() -> None:
    limits = limiter(1.0)
    tasks = [asyncio.create_task(taken(limits)) for _ in range(5)]
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    (state,) = limits.snapshot()
    assert state.waiting == 0
    assert await taken(limits) == pytest.approx(1.0)


async def test_the_snapshot_shows_the_state_of_a_bucket() -> None:
    limits = limiter(1.0)
    await taken(limits)
    waiter = asyncio.create_task(taken(limits))
    await asyncio.sleep(0)
    throttle(limits)
    (state,) = limits.snapshot()
    assert (state.account, state.region, state.operation) == (ACCOUNT, REGION, "DescribeTrainingJob")
    assert (state.rate, state.ceiling, state.waiting, state.throttled) == (0.5, 1.0, 1, 1)
    assert "1 waiting" in repr(limits)
    await waiter


async def test_idle_time_does_not_lower_the_measured_rate() -> None:
    """Two refusals with a quiet minute between them: few calls were made in that minute because there was no demand."""
    limits = limiter(10.0)
    await taken(limits)
    await drain(limits)
    throttle(limits)
    for _ in range(10):
        await taken(limits)
    used = rate(limits)
    await asyncio.sleep(100)
    await taken(limits)
    throttle(limits)
    assert rate(limits) == pytest.approx(used / 2)


async def test_a_pause_of_a_day_is_five_minutes() -> None:
    limits = limiter(4.0)
    await taken(limits)
    assert throttle(limits, retry_after=86400.0) <= 300.0
    with pytest.raises(AwsError) as failed:
        await taken(limits)
    assert failed.value.retry_after is not None
    assert failed.value.retry_after <= 360.0
    await asyncio.sleep(300)
    assert await taken(limits) == pytest.approx(300, abs=1)
