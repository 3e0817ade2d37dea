"""The poller against a List that filters after paging: every change is noticed within a bound, for a bounded number of calls."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.aws.target import Target
from sagemaker_operator.control.interfaces import Handle
from sagemaker_operator.control.observation import Missed, Observation
from sagemaker_operator.control.polling.poller import Poller
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.guard import Guard
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.objects import ObjectKey
from sagemaker_operator.settings import Cadence
from tests.control.listing_service import DESCRIBE, EPOCH, LIST, Service, refusal
from tests.e2e.kinds import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

pytestmark = VIRTUAL

KIND = catalog()["TrainingJob"]
HERE = Target("123456789012", "us-west-2")
RUNNING = Observation({"TrainingJobStatus": "InProgress"}, complete=False)
SOON = 120.0
"""A change is noticed within two minutes, whatever a page costs ..."""
REFUSED = 300.0
"""... within five where three calls of ten are refused: a first page without an answer is tried again half a minute later ..."""
AT_LAST = 900.0
"""... and one that no List of changes can show, by the sweep of all, within a quarter of an hour."""


class Follower:
    """Does with news what a reconcile does: takes it, and follows on with what is known now."""

    def __init__(self, service: Service, *, skew: float = 0.0, count: Any = None, names: Any = dict) -> None:
        """`names` makes the identifiers of a handle."""
        self.service = service
        self._names = names
        self.noticed: dict[str, list[tuple[float, str]]] = {}
        self.handles: dict[ObjectKey, Handle] = {}
        self.missed: dict[str, int] = {}
        rng = random.Random(1)
        guard = Guard(rng=rng, count=count or (lambda part: None))
        self.poller = Poller(
            service, enqueue=self._wake, cadence=Cadence(), clock=lambda: service.now() + skew, rng=rng, guard=guard
        )

    def follow(self, obj: str, job: str | None = None, *, last: Observation | None = RUNNING, **facts: Any) -> None:
        key = ObjectKey("TrainingJob", "d", obj)
        names = self._names({"TrainingJobName": job or obj})
        facts = {"uid": obj, "created_at": EPOCH - 90_000.0, **facts}
        handle = self.handles[key] = Handle(KIND, HERE, names, last=last, **facts)
        self.poller.track(key, handle)

    def forget(self, obj: str) -> None:
        key = ObjectKey("TrainingJob", "d", obj)
        del self.handles[key]
        self.poller.untrack(key)

    def when(self, obj: str, status: str) -> float | None:
        return next((at for at, observed in self.noticed.get(obj, ()) if observed == status), None)

    def _wake(self, key: ObjectKey) -> None:
        # As from the work queue: later than the poller's own step.
        asyncio.get_running_loop().call_soon(self._reconcile, key)

    def _reconcile(self, key: ObjectKey) -> None:
        handle = self.handles.get(key)
        if handle is None:
            return
        found = self.poller.take(key, handle.uid, handle.identifiers)
        if isinstance(found, Missed):
            self.missed[key.name] = self.missed.get(key.name, 0) + 1
        elif found is not None:
            status = found.status(KIND) if found.found else "absent"
            self.noticed.setdefault(key.name, []).append((asyncio.get_running_loop().time(), status))
            if status == "InProgress":
                self.follow(key.name, str(handle.identifiers["TrainingJobName"]), last=found, uid=handle.uid)
            else:
                self.forget(key.name)


@asynccontextmanager
async def following(service: Service, **facts: Any) -> AsyncIterator[Follower]:
    follower = Follower(service, **facts)
    try:
        yield follower
    finally:
        await follower.poller.close()


def now() -> float:
    return asyncio.get_running_loop().time()


async def noticed(follower: Follower, names: list[str], status: str, within: float) -> float:
    """Seconds until the last of them; fails with those that are missing after `within`."""
    begin = now()
    while missing := [name for name in names if follower.when(name, status) is None]:
        assert now() - begin < within, f"{len(missing)} of {len(names)} were not noticed: {missing[:3]}"
        await asyncio.sleep(1.0)
    return now() - begin


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  virtual time
        await asyncio.sleep(0.01)


def many(follower: Follower, count: int) -> list[str]:
    names = [f"job-{number}" for number in range(count)]
    for number, name in enumerate(names):
        follower.service.add(name, created=EPOCH - 80_000.0 - number)
        follower.follow(name)
    return names


class Refusing:
    """A share of the List calls is refused."""

    def __init__(self, share: float, rng: random.Random) -> None:
        self._share, self._rng = share, rng

    def __call__(self, operation: str, params: Mapping[str, Any]) -> AwsError | None:
        if operation != LIST or self._rng.random() >= self._share:
            return None
        category = self._rng.choice([ErrorCategory.THROTTLED, ErrorCategory.TRANSIENT])
        return refusal(operation, category, retry_after=1.0)


@pytest.mark.parametrize("seed", range(25))
async def test_every_change_is_noticed_in_time_and_within_the_budget(seed: int) -> None:
    rng = random.Random(seed)
    pace = rng.choice([0.1, 0.5, 2.0])
    share = rng.choice([0.0, 0.1, 0.3])
    service = Service(
        seconds=lambda operation: pace * rng.uniform(0.5, 1.5),
        refuse=Refusing(share, rng),
        hidden_seconds=rng.choice([0.0, 5.0, 30.0]),
    )
    count = rng.choice([3, 30, 150, 700])
    async with following(service, skew=rng.choice([-250.0, 0.0, 250.0])) as follower:
        names = many(follower, count)
        for number in range(rng.choice([0, 200])):
            # Other people's, and some of those with an impossible time.
            others = service.add(f"other-{number}", created=EPOCH - 80_000.0 - rng.randrange(count))
            others.modified = rng.choice([others.created, EPOCH + 10 * 86_400.0])
        for twin in names[:2]:
            follower.follow(f"view-of-{twin}", twin)
        await asyncio.sleep(rng.uniform(0.0, 100.0))
        begin = now()
        alive = list(names)
        for _ in range(10):
            # Several in one moment: equal times, wherever the border of a page is.
            ended = rng.sample(alive, min(len(alive), rng.choice([1, 5])))
            for name in ended:
                alive.remove(name)
                service.set(name, "Completed")
            await noticed(follower, ended, "Completed", REFUSED if share else SOON)
            if alive and rng.random() < 0.5:
                # Another object takes the name while calls are on their way.
                name = rng.choice(alive)
                alive.remove(name)
                service.set(name, "Failed")
                job = f"next-{name}-{now()}"
                service.add(job)
                follower.follow(name, job, last=None, uid="another", created_at=service.now())
                await asyncio.sleep(rng.uniform(0.0, 60.0))
                assert follower.when(name, "Failed") is None, "that was the former resource"
                follower.forget(name)
        seconds = now() - begin
        for twin in set(names[:2]) - set(alive):
            assert follower.when(f"view-of-{twin}", "Completed") or service.jobs[twin].status == "Failed"
        assert service.count(LIST) <= 60 + 1.4 * (now() + 30.0)
        assert service.count(DESCRIBE) <= 200 + 12 * seconds / 15.0


async def test_several_objects_of_one_resource_cost_what_one_costs() -> None:
    service = Service()
    async with following(service) as follower:
        names = many(follower, 5)
        for name in names:
            follower.follow(f"view-of-{name}", name)
        await asyncio.sleep(600.0)
        assert service.count(LIST) + service.count(DESCRIBE) <= 2 * 600 / 20
        service.set("job-3", "Completed")
        await noticed(follower, ["job-3", "view-of-job-3"], "Completed", SOON)


@pytest.mark.parametrize("operation", [DESCRIBE, LIST])
async def test_an_answer_about_a_previous_resource_is_dropped(operation: str) -> None:
    service = Service(seconds=lambda operation: 8.0)
    async with following(service) as follower:
        many(follower, 1 if operation == DESCRIBE else 5)
        await until(lambda: service.count(operation) > 0)
        service.add("second")
        service.set("job-0", "Failed")
        follower.forget("job-0")
        follower.follow("job-0", "second", last=None)
        await asyncio.sleep(100.0)
        assert {status for _, status in follower.noticed["job-0"]} == {"InProgress"}


@pytest.mark.parametrize("operation", [DESCRIBE, LIST])
async def test_an_answer_to_a_call_from_before_the_job_was_recreated_is_dropped(
    operation: str,
) -> None:
    service = Service(seconds=lambda operation: 8.0)
    async with following(service) as follower:
        many(follower, 1 if operation == DESCRIBE else 5)
        service.set("job-0", "Failed")
        await until(lambda: service.count(operation) > 0)
        service.add("job-0")
        follower.forget("job-0")
        follower.follow("job-0", last=None, uid="another")
        await asyncio.sleep(100.0)
        assert {status for _, status in follower.noticed["job-0"]} == {"InProgress"}


@pytest.mark.parametrize("same", ["uid", "resource"])
async def test_a_pending_observation_belongs_to_one_object_and_one_resource(same: str) -> None:
    woken: list[ObjectKey] = []
    service = Service()
    service.add("one")
    rng = random.Random(1)
    poller = Poller(service, enqueue=woken.append, cadence=Cadence(), clock=service.now, rng=rng, guard=Guard(rng=rng))
    key = ObjectKey("TrainingJob", "d", "obj")
    poller.track(key, Handle(KIND, HERE, {"TrainingJobName": "one"}, EPOCH, None, uid="1"))
    await until(lambda: bool(woken))
    if same == "uid":
        assert poller.take(key, "1", {"TrainingJobName": "two"}) is None
    else:
        assert poller.take(key, "2", {"TrainingJobName": "one"}) is None
    await poller.close()


async def test_an_answer_that_was_asked_for_before_an_update_does_not_count() -> None:
    service = Service(seconds=lambda operation: 5.0)
    async with following(service) as follower:
        many(follower, 1)
        service.set("job-0", "Stopping")
        await until(lambda: bool(service.calls))
        service.set("job-0", "InProgress")
        follower.follow("job-0", last=None, mutated=True)
        await asyncio.sleep(60.0)
        assert {status for _, status in follower.noticed["job-0"]} == {"InProgress"}


async def test_an_observation_from_before_an_update_is_dropped() -> None:
    woken: list[ObjectKey] = []
    service = Service()
    service.add("one")
    rng = random.Random(1)
    poller = Poller(service, enqueue=woken.append, cadence=Cadence(), clock=service.now, rng=rng, guard=Guard(rng=rng))
    key, names = ObjectKey("TrainingJob", "d", "one"), {"TrainingJobName": "one"}
    poller.track(key, Handle(KIND, HERE, names, EPOCH, None, uid="1"))
    await until(lambda: bool(woken))
    poller.track(key, Handle(KIND, HERE, names, EPOCH, None, uid="1", mutated=True))
    assert poller.take(key, "1", names) is None
    await poller.close()


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
async def test_a_sweep_resumes_where_it_was_refused(share: float) -> None:
    """3,000 jobs are 30 pages; starting over at each refusal took 4,300 s at 20 %."""
    service = Service(seconds=lambda operation: 0.6, refuse=Refusing(share, random.Random(5)))
    async with following(service) as follower:
        names = many(follower, 3000)
        await asyncio.sleep(60.0)
        for name in names[-100:]:
            service.set(name, "Completed")
        await noticed(follower, names[-100:], "Completed", 180.0 if share < 0.5 else 600.0)
        assert service.count(LIST) <= 1.4 * now()
        assert service.count(DESCRIBE) <= now()


async def test_the_unreached_are_described_where_a_page_is_refused_again_and_again() -> None:
    def refuse(operation: str, params: Mapping[str, Any]) -> AwsError | None:
        blocked = operation == LIST and "NextToken" in params
        return refusal(operation, ErrorCategory.THROTTLED, retry_after=1.0) if blocked else None

    service = Service(refuse=refuse)
    async with following(service) as follower:
        names = many(follower, 250)
        await asyncio.sleep(60.0)
        for name in names[-20:]:
            service.set(name, "Completed")
        await noticed(follower, names[-20:], "Completed", 600.0)
        assert service.count(DESCRIBE) <= 1.0 * now()


async def test_an_expired_token_starts_the_sweep_over_at_once_and_once() -> None:
    def refuse(operation: str, params: Mapping[str, Any]) -> AwsError | None:
        return refusal(operation, ErrorCategory.VALIDATION) if "NextToken" in params and now() < 40.0 else None

    service = Service(refuse=refuse)
    async with following(service) as follower:
        many(follower, 150)
        await until(lambda: service.count(LIST) >= 4)
        await asyncio.sleep(20.0)
        tokens = ["NextToken" in params for _, operation, params in service.calls if operation == LIST]
        assert tokens == [False, True, False, True]


@pytest.mark.parametrize("skew", [-280.0, 0.0, 280.0])
async def test_a_time_in_the_future_hides_no_change(skew: float) -> None:
    service = Service()
    async with following(service, skew=skew) as follower:
        many(follower, 50)
        service.add("odd", created=EPOCH - 80_000.0, modified=EPOCH + 86_400.0)
        await asyncio.sleep(100.0)
        service.set("job-5", "Completed")
        await noticed(follower, ["job-5"], "Completed", SOON)


async def test_a_change_behind_a_slow_sweep_is_in_the_next_one() -> None:
    """A page that was read before the change; a later one that shows a time after it. The clock is ahead: no help."""
    service = Service(seconds=lambda operation: 25.0)
    async with following(service, skew=280.0) as follower:
        names = many(follower, 600)
        await until(lambda: service.count(LIST) >= 20)

        def begins_changes() -> bool:
            _, _, params = service.calls[-1]
            return "LastModifiedTimeAfter" in params and "NextToken" not in params

        await until(begins_changes)
        await asyncio.sleep(3.0)
        service.set(names[0], "Completed")
        await asyncio.sleep(110.0)
        service.jobs[names[-1]].modified = service.now()
        await noticed(follower, names[:1], "Completed", 400.0)


async def test_a_list_that_lags_hides_no_change() -> None:
    """Others' changes show at once and raise the watermark; this one reaches the List 45 s late."""
    service = Service()
    async with following(service) as follower:
        many(follower, 60)
        await asyncio.sleep(100.0)
        job, at = service.jobs["job-5"], service.now()
        for _ in range(45):
            await asyncio.sleep(1.0)
            service.jobs["job-6"].modified = service.now()
        job.status, job.modified = "Completed", at
        await noticed(follower, ["job-5"], "Completed", SOON)


async def test_a_sweep_does_not_read_all_names_again_when_members_change() -> None:
    """Indexing 3,000 names takes 28 ms; doing that for each page was most of the cost of polling."""
    reads = [0]

    class Names(dict[str, Any]):
        def get(self, *args: Any) -> Any:
            reads[0] += 1
            return super().get(*args)

    service = Service()
    async with following(service, names=Names) as follower:
        many(follower, 500)
        before, changes = reads[0], 120
        for number in range(changes):
            service.add(f"new-{number}")
            follower.follow(f"new-{number}")
            await asyncio.sleep(1.0)
            follower.forget(f"new-{number}")
        assert service.count(LIST) >= 20
        assert reads[0] - before <= 2 * changes


async def test_a_created_job_that_no_sweep_of_changes_shows_is_described() -> None:
    """Nothing was observed of it yet, so its absence from a List does not mean that it is unchanged."""
    service = Service()
    async with following(service) as follower:
        many(follower, 50)
        await asyncio.sleep(100.0)
        follower.follow("lost", last=None)
        await noticed(follower, ["lost"], "absent", SOON)
        assert service.count(DESCRIBE) <= 1, "the others are unchanged"


async def test_a_full_sweep_finds_deletions_and_changes_without_a_time() -> None:
    service = Service()
    async with following(service) as follower:
        names = many(follower, 60)
        await asyncio.sleep(100.0)
        del service.jobs[names[7]]
        service.jobs[names[8]].status = "Completed"
        await noticed(follower, [names[7]], "absent", AT_LAST)
        await noticed(follower, [names[8]], "Completed", AT_LAST)


async def test_a_list_that_repeats_its_token_ends_and_the_rest_is_described() -> None:
    service = Service(repeats_token=True)
    async with following(service) as follower:
        names = many(follower, 350)
        await asyncio.sleep(100.0)
        service.set(names[300], "Completed")
        await noticed(follower, [names[300]], "Completed", AT_LAST)
        assert service.count(LIST) <= 0.5 * now()


async def test_a_long_sweep_leaves_half_of_the_quota_to_others() -> None:
    service = Service()
    async with following(service) as follower:
        many(follower, 1500)
        await asyncio.sleep(600.0)
        assert 300 < service.count(LIST) <= 1.05 * 600


async def test_each_is_described_once_an_hour_whatever_the_lists_say() -> None:
    service = Service()
    async with following(service) as follower:
        names = many(follower, 40)
        await asyncio.sleep(3600.0 * 1.3)
        described = {params["TrainingJobName"] for _, operation, params in service.calls if operation == DESCRIBE}
        assert described == set(names)
        assert service.count(DESCRIBE) <= 2 * len(names)
        assert service.count(LIST) <= 4680 / 13


async def test_an_exception_in_the_poller_costs_one_poll_and_is_counted() -> None:
    failed: list[str] = []

    def refuse(operation: str, params: Mapping[str, Any]) -> AwsError | None:
        if not failed:
            raise RuntimeError("a mistake")
        return None

    service = Service(refuse=refuse)
    async with following(service, count=failed.append) as follower:
        many(follower, 5)
        await asyncio.sleep(10.0)
        assert failed == ["poller"]
        service.set("job-2", "Completed")
        await noticed(follower, ["job-2"], "Completed", SOON)


async def test_a_sweep_that_ended_half_way_leaves_the_watermark() -> None:
    """Its first page shows later times than the change on a page that was never answered."""
    broken = [False]

    def refuse(operation: str, params: Mapping[str, Any]) -> AwsError | None:
        if broken[0] and "NextToken" in params:
            raise RuntimeError("a mistake")
        return None

    service = Service(refuse=refuse)
    async with following(service) as follower:
        names = many(follower, 150)
        await asyncio.sleep(60.0)
        broken[0] = True
        service.set(names[-1], "Completed")
        for _ in range(150):
            await asyncio.sleep(1.0)
            service.jobs[names[0]].modified = service.now()
        broken[0] = False
        await noticed(follower, names[-1:], "Completed", SOON)
