"""Benchmarks of counts and simulated time: the whole operator on both simulators, on one virtual clock (tests/e2e/harness)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import looptime

from sagemaker_operator.listwatch import EventType
from sagemaker_operator.sandbox.sagemaker.faults import ANY, Fault, FaultKind, RateLimit
from tests.bench.figures import Figures, percentile, progress
from tests.e2e.harness import EPOCH, Cloud, build, operator, sample
from tests.e2e.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from sagemaker_operator.sandbox.sagemaker.calls import Call

T = TypeVar("T")

JOB_SECONDS = 600.0
_MODEL = "TrainingJob"


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Runs on a loop whose clock jumps to the next timer. What it costs is CPU, not time."""
    loop = looptime.new_event_loop(start=0.0)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def cloud_of_jobs(*, latency: float = 0.0) -> Cloud:
    """Checks types only: the cost of the emulator's validation is not what is measured here."""
    cloud = Cloud(kinds=[_MODEL], relaxed=True)
    if latency:
        cloud.sagemaker.faults.add(Fault(operation=ANY, kind=FaultKind.SLOW, times=None, seconds=latency))
    return cloud


def job(name: str, *, seconds: float = JOB_SECONDS, namespace: str = "default") -> dict[str, Any]:
    manifest = sample()
    manifest["metadata"] |= {"name": name, "namespace": namespace}
    manifest["spec"]["trainingJobName"] = name
    manifest["spec"]["stoppingCondition"] = {"maxRuntimeInSeconds": 400_000}
    manifest["spec"]["tags"] = [{"key": "sandbox/seconds", "value": str(int(seconds))}]
    return manifest


class Tally:
    """What one run has cost. The operator's own lease is left out: it belongs to no object and depends on time alone."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._calls = Counter(cloud.sagemaker.calls.operations)
        self._writes = Counter(self._written())

    def _written(self) -> dict[str, int]:
        count: Counter[str] = Counter()
        for (agent, written), times in self._cloud.kubernetes.writes.items():
            if agent == "sagemaker-operator" and written.plural != "leases":
                count[written.plural] += times
        return count

    def calls(self) -> dict[str, int]:
        """By operation. The one GetCallerIdentity of a start is none of SageMaker's."""
        states = Counter(self._cloud.sagemaker.calls.operations) - self._calls
        return {name: count for name, count in sorted(states.items()) if name != "GetCallerIdentity"}

    def writes(self) -> dict[str, int]:
        return dict(sorted((Counter(self._written()) - self._writes).items()))


class Watched:
    """What a user's watch of the jobs shows, and when, in simulated seconds."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.submitted: dict[str, float] = {}
        """When the object had an ARN."""
        self.ended: dict[str, float] = {}
        """When the object reported the end of the job."""

    async def follow(self) -> None:
        loop = asyncio.get_running_loop()
        async for event in self._cloud.user.watch(self._cloud.job, resource_version="", timeout_seconds=1_000_000):
            if event.type is EventType.BOOKMARK:
                continue
            name, status = event.object.metadata.name, event.object.decode_status()
            if (status.get("ackResourceMetadata") or {}).get("arn"):
                self.submitted.setdefault(name, loop.time())
            if status.get("trainingJobStatus") in ("Completed", "Failed", "Stopped"):
                self.ended.setdefault(name, loop.time())

    async def until(self, states: dict[str, float], wanted: int, what: str, *, quiet: bool, step: float = 1.0) -> None:
        loop = asyncio.get_running_loop()
        begun = reported = loop.time()
        while len(states) < wanted:
            if not quiet and loop.time() - reported >= 60.0:
                reported = loop.time()
                progress(f"{len(states)} of {wanted} {what} after {reported - begun:.0f} simulated seconds")
            await asyncio.sleep(step)

    async def lags(self) -> list[float]:
        """Seconds from each end, by SageMaker's time, to the moment the object showed it."""
        found = []
        for name, at in self.ended.items():
            described = await self._cloud.ask("DescribeTrainingJob", TrainingJobName=name)
            found.append(round(EPOCH + at - float(described["TrainingEndTime"]), 1))
        return found


@asynccontextmanager
async def watching(cloud: Cloud) -> AsyncIterator[Watched]:
    watched = Watched(cloud)
    task = asyncio.create_task(watched.follow())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lifecycle(
    *, jobs: int = 1000, seconds: float = JOB_SECONDS, latency: float = 0.1, quiet: bool = False
) -> Figures:
    """Jobs applied at once, followed to their end and deleted: calls and writes per job, everything counted."""
    cloud = cloud_of_jobs(latency=latency)
    tally = Tally(cloud)
    loop = asyncio.get_running_loop()
    started = time.process_time()
    async with watching(cloud) as watched, operator(cloud):
        begun = loop.time()
        for number in range(jobs):
            await cloud.apply(job(f"job-{number:05d}", seconds=seconds))
        await watched.until(watched.submitted, jobs, "submitted", quiet=quiet)
        await watched.until(watched.ended, jobs, "ended", quiet=quiet)
        spent = time.process_time() - started
        lags = await watched.lags()
        for number in range(jobs):
            await cloud.user.delete(cloud.job, "default", f"job-{number:05d}")
        await cloud.until(lambda: not cloud.kubernetes.list(cloud.job))
        # The event recorder flushes what it gathered.
        await asyncio.sleep(60.0)
    asked_by_us = jobs
    calls, writes = tally.calls(), tally.writes()
    calls["DescribeTrainingJob"] -= asked_by_us
    return {
        "callsPerJob": round(sum(calls.values()) / jobs, 2),
        "writesPerJob": round(sum(writes.values()) / jobs, 2),
        "callsByOperation": calls,
        "writesByResource": writes,
        "submittedAfterSeconds": spread([at - begun for at in watched.submitted.values()]),
        "detectionLagSeconds": spread(lags),
        "cpuSecondsWithSimulators": round(spent, 1),
    }


async def steady(*, jobs: int = 1000, seconds: float = 3600.0, quiet: bool = False) -> Figures:
    """Running jobs for one simulated hour, a hundredth of which end in it; their calls, and how late an end is observed."""
    cloud = cloud_of_jobs()
    ending = max(1, jobs // 100)
    async with watching(cloud) as watched, operator(cloud):
        for number in range(jobs):
            # The ends are spread over the hour; the others outlive it.
            life = 1800.0 + seconds * number / ending if number < ending else 40 * 3600.0
            await cloud.apply(job(f"job-{number:05d}", seconds=life))
        await watched.until(watched.submitted, jobs, "submitted", quiet=quiet)
        await asyncio.sleep(900.0)
        tally, started = Tally(cloud), time.process_time()
        for part in range(12):
            await asyncio.sleep(seconds / 12)
            if not quiet:
                progress(f"steady: {(part + 1) * seconds / 12:.0f} of {seconds:.0f} simulated seconds")
        spent = time.process_time() - started
        calls, writes = tally.calls(), tally.writes()
        lags = await watched.lags()
    return {
        "callsPerSecond": round(sum(calls.values()) / seconds, 3),
        "callsByOperation": calls,
        "writesByResource": writes,
        "ended": len(lags),
        "detectionLagSeconds": spread(lags),
        "cpuSecondsWithSimulators": round(spent, 1),
    }


async def throttle(
    *, jobs: int = 5000, creates: float = 4.0, lists: float = 2.0, latency: float = 0.1, quiet: bool = False
) -> Figures:
    """An account that allows few creates and lists, and many new jobs at once."""
    cloud = cloud_of_jobs(latency=latency)
    cloud.sagemaker.limits.set("CreateTrainingJob", RateLimit(creates, max(1.0, creates)))
    cloud.sagemaker.limits.set("ListTrainingJobs", RateLimit(lists, max(1.0, lists)))
    tally = Tally(cloud)
    refused = refusals(cloud)
    loop = asyncio.get_running_loop()
    async with watching(cloud) as watched, operator(cloud):
        begun = loop.time()
        for number in range(jobs):
            await cloud.apply(job(f"job-{number:05d}", seconds=36_000))
        await watched.until(watched.submitted, jobs, "submitted", quiet=quiet)
        took = loop.time() - begun
        calls = tally.calls()
    return {
        "submittedAfterSeconds": round(took, 1),
        "timesIdeal": round(took / (jobs / creates), 3),
        "refusedShare": round(refused.total() / sum(calls.values()), 4),
        "createsRefusedShare": round(refused["CreateTrainingJob"] / calls["CreateTrainingJob"], 4),
        "refusedByOperation": dict(refused),
        "callsByOperation": calls,
    }


async def restart(*, objects: int = 1000, quiet: bool = False) -> Figures:
    """An operator that starts before many finished and running jobs, with one new object among them."""
    cloud = cloud_of_jobs(latency=0.1)
    loop = asyncio.get_running_loop()
    async with watching(cloud) as watched:
        async with operator(cloud):
            for number in range(objects):
                await cloud.apply(job(f"job-{number:05d}", seconds=600 if number % 2 else 100_000))
            await watched.until(watched.ended, objects // 2, "ended", quiet=quiet)
            await asyncio.sleep(120.0)
        tally = Tally(cloud)
        async with operator(cloud) as manager:
            await cloud.until(lambda: manager.controllers[_MODEL].synced, step=0.01)
            begun = loop.time()
            await cloud.apply(job("new"))
            await cloud.until(lambda: "new" in watched.submitted, step=0.01)
            served = loop.time() - begun
            await asyncio.sleep(30.0)
            calls, writes = tally.calls(), tally.writes()
    return {"newObjectServedSeconds": round(served, 2), "callsByOperation": calls, "writesByResource": writes}


async def fairness(*, jobs: int = 5000, latency: float = 0.1, quiet: bool = False) -> Figures:
    """One create from a namespace of its own: alone, and behind a burst from another namespace."""
    loop = asyncio.get_running_loop()
    cloud = cloud_of_jobs(latency=latency)
    cloud.kubernetes.install({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quiet"}})

    async def single(name: str) -> float:
        begun = loop.time()
        await cloud.apply(job(name, namespace="quiet"))
        await cloud.until(lambda: name in watched.submitted, step=0.01)
        return watched.submitted[name] - begun

    async with watching(cloud) as watched, operator(cloud):
        await asyncio.sleep(5.0)
        alone = []
        for number in range(3):
            alone.append(await single(f"alone-{number}"))
            await asyncio.sleep(60.0)
        for number in range(jobs):
            await cloud.apply(job(f"burst-{number:05d}"))
        behind = []
        for number in range(5):
            behind.append(await single(f"behind-{number}"))
            if not quiet:
                progress(f"fairness: create {number + 1} behind the burst took {behind[-1]:.2f} s")
            await asyncio.sleep(1.0)
        left = jobs - sum(1 for name in watched.submitted if name.startswith("burst"))
    return {
        "aloneSeconds": round(max(alone), 3),
        "behindBurstSeconds": spread(behind),
        "delayTimesAlone": round((max(behind) - max(alone)) / max(alone), 2),
        "burstLeft": left,
    }


async def failover(*, jobs: int = 1000, latency: float = 0.1, quiet: bool = False) -> Figures:
    """The leader is killed with half of the jobs submitted; a standby takes over."""
    cloud = cloud_of_jobs(latency=latency)
    loop = asyncio.get_running_loop()
    creates = cloud.sagemaker.calls.operations
    async with watching(cloud) as watched, AsyncExitStack() as stack:
        wire = Wire()
        leader = asyncio.create_task(build(cloud, stack, wire=wire, identity="one").run())
        await asyncio.sleep(2.0)
        standby = build(cloud, stack, seed=8, identity="two")
        second = asyncio.create_task(standby.run())
        for number in range(jobs):
            await cloud.apply(job(f"job-{number:05d}"))
        await watched.until(watched.submitted, jobs // 2, "submitted", quiet=quiet, step=0.1)
        wire.kill()
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        killed, before = loop.time(), creates["CreateTrainingJob"]
        await cloud.until(lambda: creates["CreateTrainingJob"] > before, step=0.1)
        took = loop.time() - killed
        await watched.until(watched.submitted, jobs, "submitted", quiet=quiet, step=0.1)
        whole = loop.time() - killed
        standby.stop()
        await second
    return {
        "secondsToNextMutation": round(took, 1),
        "secondsToAllSubmitted": round(whole, 1),
        "createsPerJob": creates["CreateTrainingJob"] / jobs,
    }


def refusals(cloud: Cloud) -> Counter[str]:
    """Counts throttled calls by operation from now on (the simulator's own log keeps the last 10,000 only)."""
    refused: Counter[str] = Counter()
    log = cloud.sagemaker.calls
    add = log.add

    def counting(call: Call) -> None:
        if call.code == "ThrottlingException":
            refused[call.operation] += 1
        add(call)

    log.add = counting  # type: ignore[method-assign]
    return refused


def spread(values: Sequence[float]) -> Figures:
    return {
        "p50": round(percentile(values, 0.5), 2),
        "p99": round(percentile(values, 0.99), 2),
        "max": round(max(values, default=0.0), 2),
    }
