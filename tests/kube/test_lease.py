from __future__ import annotations

import asyncio
import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.lease import LeaderElector, LeadershipLost

from .scripted import MemoryTransport, response, status_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.kube.transport import Response

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


class Leases:
    """The API server's side of one Lease: optimistic lock, and a network in front of it that can fail per client."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.writes: list[dict[str, Any]] = []
        self.requests = 0

    def handle(self, method: str, path: str, body: dict[str, Any]) -> Response:
        self.requests += 1
        if method == "GET":
            return (
                response(self.stored)
                if self.stored
                else response(status_body(404, "NotFound", name=path.rpartition("/")[2]), 404)
            )
        if method == "POST":
            if self.stored:
                return response(status_body(409, "AlreadyExists"), 409)
        elif not self.stored:
            return response(status_body(404, "NotFound", name=path.rpartition("/")[2]), 404)
        elif body["metadata"].get("resourceVersion") != self.stored["metadata"]["resourceVersion"]:
            return response(status_body(409, "Conflict"), 409)
        for name in ("renewTime", "acquireTime"):
            if not MICRO_TIME.match(body["spec"][name]):
                return response(status_body(400, "BadRequest"), 400)
        self.version += 1
        self.stored = json.loads(json.dumps(body))
        assert self.stored is not None
        self.stored["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append(self.stored["spec"])
        return response(self.stored)

    @property
    def holder(self) -> str:
        return self.stored["spec"]["holderIdentity"] if self.stored else ""


class Network:
    """One client's way to the server. `before` and `after` delay a request and its answer; `cut` swallows either."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self.before = 0.0
        self.after = 0.0
        self.cut = False
        self.error: Exception | None = None

    async def __call__(self, method: str, path: str, body: dict[str, Any]) -> Response:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(self.before)
        if self.cut:
            await asyncio.Event().wait()
        answer = self.leases.handle(method, path, body)
        await asyncio.sleep(self.after)
        if self.cut:
            await asyncio.Event().wait()
        return answer


class Candidate:
    def __init__(self, leases: Leases, identity: str, *, seed: int = 1, clock_offset: float = 0.0) -> None:
        self.network = Network(leases)
        self.elector = LeaderElector(
            KubeClient(MemoryTransport(self.network)),
            namespace="operators",
            name="ack-sagemaker.services.k8s.aws",
            identity=identity,
            clock=lambda: 1_800_000_000.0 + clock_offset + asyncio.get_running_loop().time(),
            rng=random.Random(seed),
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.elector.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def candidates() -> AsyncIterator[list[Candidate]]:
    made: list[Candidate] = []
    yield made
    for one in made:
        await one.stop()


@pytest.fixture
def leases() -> Leases:
    return Leases()


def add(candidates: list[Candidate], leases: Leases, identity: str, **options: Any) -> Candidate:
    one = Candidate(leases, identity, **options)
    candidates.append(one)
    one.start()
    return one


async def test_the_first_creates_the_lease_and_keeps_it(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    await one.elector.leading.wait()
    assert leases.stored is not None
    assert leases.stored["apiVersion"] == "coordination.k8s.io/v1"
    assert leases.stored["metadata"]["name"] == "ack-sagemaker.services.k8s.aws"
    first = leases.writes[0]
    assert (first["holderIdentity"], first["leaseDurationSeconds"], first["leaseTransitions"]) == ("one", 30, 0)
    await asyncio.sleep(600)
    assert one.elector.is_leader
    assert leases.holder == "one"
    assert len({spec["acquireTime"] for spec in leases.writes}) == 1
    assert {spec["leaseTransitions"] for spec in leases.writes} == {0}
    # One PUT each 4 to 4.8 s and nothing else: the fast path needs no GET.
    assert 600 / 4.8 <= leases.requests <= 600 / 4 + 2


async def test_a_time_on_a_whole_second_keeps_its_fraction(leases: Leases) -> None:
    elector = LeaderElector(
        KubeClient(MemoryTransport(Network(leases))),
        namespace="operators",
        name="x",
        identity="one",
        clock=lambda: 1_800_000_000.0,
        rng=random.Random(1),
    )
    task = asyncio.create_task(elector.run())
    await elector.leading.wait()
    assert leases.writes[0]["renewTime"] == "2027-01-15T08:00:00.000000Z"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_standby_waits_and_takes_over_a_dead_leaders_lease(candidates: list[Candidate], leases: Leases) -> None:
    one, two = add(candidates, leases, "one"), add(candidates, leases, "two", seed=2)
    await asyncio.sleep(100)
    assert (one.elector.is_leader, two.elector.is_leader) == (True, False)
    assert two.elector.holder == "one"
    await one.stop()
    stopped = asyncio.get_running_loop().time()
    await two.elector.leading.wait()
    # The lease of 30 s, observed at most 4.8 s late, and polled every 4.8 s.
    assert 24 <= asyncio.get_running_loop().time() - stopped <= 30 + 2 * 4.8
    assert leases.writes[-1]["leaseTransitions"] == 1
    assert leases.writes[-1]["acquireTime"] > leases.writes[0]["acquireTime"]


async def test_a_released_lease_is_taken_at_the_next_poll(candidates: list[Candidate], leases: Leases) -> None:
    one, two = add(candidates, leases, "one"), add(candidates, leases, "two", seed=2)
    await asyncio.sleep(50)
    await one.stop()
    assert await one.elector.release()
    assert not one.elector.fenced(0)
    assert (leases.writes[-1]["holderIdentity"], leases.writes[-1]["leaseDurationSeconds"]) == ("", 1)
    released = asyncio.get_running_loop().time()
    await two.elector.leading.wait()
    assert asyncio.get_running_loop().time() - released <= 4.8
    assert leases.writes[-1]["leaseTransitions"] == 1
    assert not await one.elector.release()
    assert leases.holder == "two"


async def test_release_survives_a_write_in_between_and_a_lease_that_is_not_ours(
    candidates: list[Candidate], leases: Leases
) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(1)
    await one.stop()
    one.network.before = 1.0  # a renewal that was cancelled half-way arrives between the GET and the PUT
    release = asyncio.create_task(one.elector.release())
    await asyncio.sleep(1.5)
    assert leases.stored is not None
    leases.handle("PUT", "", leases.stored)
    assert await release
    assert leases.holder == ""


async def test_a_lease_acquired_with_a_lost_answer_is_released(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    one.network.after = 0.1
    await asyncio.sleep(0.15)  # the GET is answered, the POST has been done
    assert leases.holder == "one"
    assert not one.elector.is_leader
    await one.stop()
    assert await one.elector.release()
    assert leases.holder == ""


async def test_release_without_a_server_gives_up_and_says_so(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(1)
    await one.stop()
    one.network.cut = True
    assert not await one.elector.release()
    assert not one.elector.is_leader


async def test_a_partitioned_leader_is_lost_at_its_deadline(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(10)
    one.network.cut = True
    cut = asyncio.get_running_loop().time()
    await one.elector.lost.wait()
    assert 20 - 4.8 <= asyncio.get_running_loop().time() - cut <= 20
    assert not one.elector.leading.is_set()
    assert one.task is not None
    with pytest.raises(LeadershipLost, match="no answer in time"):
        await one.task


@pytest.mark.parametrize("error", [OSError("odd"), RuntimeError("bug"), asyncio.IncompleteReadError(b"", 1)])
async def test_an_error_of_any_kind_is_one_failed_attempt(
    candidates: list[Candidate], leases: Leases, error: Exception
) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(1)
    one.network.error = error
    await asyncio.sleep(12)
    assert one.elector.is_leader
    assert one.elector.last_error == str(error)
    one.network.error = None
    await asyncio.sleep(60)
    assert one.elector.is_leader
    assert one.elector.last_error == ""


async def test_a_write_answered_after_the_deadline_does_not_prolong_it(
    candidates: list[Candidate], leases: Leases
) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(10)
    one.network.after = 40.0  # every write is done, and its answer comes too late
    with pytest.raises(LeadershipLost):
        await one.task  # type: ignore[misc]
    assert not one.elector.fenced(0)


async def test_the_budget_counts_from_before_the_write_was_sent(candidates: list[Candidate], leases: Leases) -> None:
    one = Candidate(leases, "one")
    candidates.append(one)
    one.network.after = 3.0
    one.start()
    await one.elector.leading.wait()
    # 3 s of the 20 went by while the answer was on its way.
    assert one.elector.fenced(16.9)
    assert not one.elector.fenced(17.0)


async def test_fencing_needs_the_whole_budget(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    assert not one.elector.fenced(0)
    await one.elector.leading.wait()
    one.network.cut = True
    assert one.elector.fenced(19)
    assert not one.elector.fenced(20)
    await asyncio.sleep(12)
    assert one.elector.is_leader
    assert one.elector.fenced(7)
    assert not one.elector.fenced(8)


async def test_a_lease_taken_by_somebody_else_ends_it_at_once(candidates: list[Candidate], leases: Leases) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(10)
    assert leases.stored is not None
    taken = leases.stored | {"spec": leases.stored["spec"] | {"holderIdentity": "kubectl"}}
    leases.handle("PUT", "", taken)
    at = asyncio.get_running_loop().time()
    with pytest.raises(LeadershipLost, match="kubectl holds it"):
        await one.task  # type: ignore[misc]
    assert asyncio.get_running_loop().time() - at <= 4.8
    assert leases.holder == "kubectl"


async def test_a_foreign_edit_of_the_lease_neither_ends_leadership_nor_is_overwritten(
    candidates: list[Candidate], leases: Leases
) -> None:
    one = add(candidates, leases, "one")
    await asyncio.sleep(10)
    assert leases.stored is not None
    leases.stored["metadata"]["labels"] = {"team": "ml"}
    leases.handle("PUT", "", leases.stored)
    await asyncio.sleep(10)
    assert one.elector.fenced(15)
    assert leases.stored["metadata"]["labels"] == {"team": "ml"}


async def test_a_deleted_lease_is_not_taken_while_the_leader_may_still_act(
    candidates: list[Candidate], leases: Leases
) -> None:
    one, two = add(candidates, leases, "one"), add(candidates, leases, "two", seed=2)
    await asyncio.sleep(20)
    one.network.cut = True
    leases.stored = None
    while not two.elector.is_leader:
        await asyncio.sleep(0.1)
        assert not (one.elector.is_leader and two.elector.is_leader)
    assert asyncio.get_running_loop().time() >= 20 + 30 - 4.8


async def test_the_holders_own_duration_counts(candidates: list[Candidate], leases: Leases) -> None:
    spec = {"holderIdentity": "ack", "leaseDurationSeconds": 15, "leaseTransitions": 7}
    times = {"renewTime": "2020-01-01T00:00:00.000000Z", "acquireTime": "2020-01-01T00:00:00.000000Z"}
    leases.handle("POST", "", {"metadata": {"name": "x"}, "spec": spec | times})
    one = add(candidates, leases, "one")
    await one.elector.leading.wait()
    # 15 s from when we first saw it, however old its timestamps claim it to be.
    assert 15 <= asyncio.get_running_loop().time() <= 15 + 4.8
    assert leases.writes[-1]["leaseTransitions"] == 8


@pytest.mark.parametrize("seed", range(12))
async def test_two_replicas_with_different_clocks_never_hold_the_fence_at_once(
    candidates: list[Candidate], leases: Leases, seed: int
) -> None:
    rng = random.Random(seed)
    names = iter(range(1000))

    def new() -> Candidate:
        identity = f"pod-{next(names)}"
        return add(candidates, leases, identity, seed=rng.randrange(1000), clock_offset=rng.uniform(-7200, 7200))

    def replace_the_lost() -> None:
        for index, one in enumerate(alive):
            if one.task is not None and one.task.done():
                assert isinstance(one.task.exception(), LeadershipLost)
                alive[index] = new()

    alive = [new(), new()]
    for _ in range(600):
        await asyncio.sleep(rng.uniform(0.2, 1.5))
        fenced = [one.elector.identity for one in candidates if one.elector.fenced(0.0)]
        assert len(fenced) <= 1, fenced
        victim = rng.choice(alive).network
        if rng.random() < 0.04:
            victim.cut = not victim.cut
        if rng.random() < 0.04:
            victim.before, victim.after = rng.choice([0.0, 2.0, 12.0, 25.0]), rng.choice([0.0, 2.0, 12.0, 25.0])
        replace_the_lost()
    for one in candidates:
        one.network.cut, one.network.before, one.network.after = False, 0.0, 0.0
    for _ in range(2):  # a leader that is past saving first has to find that out
        await asyncio.sleep(40)
        replace_the_lost()
    await asyncio.sleep(40)
    assert [one.elector.is_leader for one in candidates].count(True) == 1


async def test_intervals_that_cannot_work_are_refused(leases: Leases) -> None:
    for lease, deadline, retry in ((20, 20, 4), (30, 20, 17), (10, 20, 4)):
        with pytest.raises(ValueError, match="must hold"):
            LeaderElector(
                KubeClient(MemoryTransport(Network(leases))),
                namespace="n",
                name="x",
                identity="i",
                lease_seconds=lease,
                renew_deadline=deadline,
                retry_seconds=retry,
                clock=lambda: 0.0,
                rng=random.Random(1),
            )
