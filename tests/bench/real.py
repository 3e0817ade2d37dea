"""Benchmarks of CPU, memory and loop stalls: a real loop and real sockets, with the servers in a separate process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from sagemaker_operator.aws.calls import Aws
from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.cli.run import settle_memory
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import ClusterAccess, load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.manager import Manager
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.objects import ObjectKey
from sagemaker_operator.runtime.workqueue import WorkQueue
from sagemaker_operator.settings import Settings
from tests.bench.figures import Figures, percentile, progress
from tests.bench.machine import rss_mb
from tests.bench.servers import Remote, remote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from sagemaker_operator.control.controller import Controller

T = TypeVar("T")

CREDENTIALS = ("AKIA123456789012", "secret")
REGION = "us-west-2"


def run_real(main: Coroutine[Any, Any, T]) -> T:
    """On uvloop, as the operator runs."""
    return uvloop.run(main)


def settled(kind: str, status: str) -> dict[str, Any]:
    """Made in a process of its own: the simulators' memory is not the operator's."""
    command = [sys.executable, "-m", "tests.bench.stored", kind, status]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


@asynccontextmanager
async def running(
    kind: str, aws_url: str, access: ClusterAccess, *, rate: float = 1e6, **changes: Any
) -> AsyncIterator[Manager]:
    """The operator of one kind in this process, with real sockets on both sides."""
    settings = Settings(
        **{
            "aws_region": REGION,
            "aws_endpoint_url": aws_url,
            "aws_identity_endpoint_url": aws_url,
            "allow_unsafe_aws_endpoint_urls": True,
            "metrics_addr": "0",
            "healthz_addr": "0",
            "leader_election": False,
            **changes,
        }
    )
    rng = random.Random(1)
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(HttpTransport(access))
        sessions = await stack.enter_async_context(
            Sessions(clock=wall_clock, credentials=CREDENTIALS, sts_endpoint_url=aws_url)
        )
        manager = Manager(
            settings,
            kinds={kind: catalog()[kind]},
            kube=KubeClient(transport),
            sessions=sessions,
            aws=Aws(sessions, Limiter(rng=rng, ceilings={"": rate, "List": 2.0}), rng=rng),
            metrics=Metrics(),
            identity="bench",
            default_namespace="default",
            clock=wall_clock,
            rng=rng,
            on_synced=settle_memory,
        )
        task = asyncio.create_task(manager.run())
        try:
            yield manager
        finally:
            manager.stop()
            await task


def access_to(url: str) -> ClusterAccess:
    return ClusterAccess(server=url, source="bench")


class Stalls:
    """The longest time for which the loop did not turn, measured by a task that wants to run every 5 ms."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, loop.time() - before - 0.005)


@asynccontextmanager
async def stalls() -> AsyncIterator[Stalls]:
    found = Stalls()
    task = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def sampled(seconds: float = 0.001) -> Iterator[Counter[str]]:
    """Whose code the CPU is in, by sampling the stack every millisecond of CPU time."""
    shares: Counter[str] = Counter()

    def sample_stack(_: int, frame: Any) -> None:
        files = []
        while frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        shares[_owner(files)] += 1

    before = signal.signal(signal.SIGPROF, sample_stack)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield shares
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _owner(files: list[str]) -> str:
    if any("/aiobotocore/" in name or "/botocore/" in name for name in files):
        return "botocore"
    if any("/sagemaker_operator/kube/" in name for name in files):
        return "kubernetes"
    for name in files:
        if "/sagemaker_operator/" in name or "/structlog/" in name or "/tenacity/" in name:
            return "operator"
    if any("/aiohttp/" in name for name in files):
        return "http"
    return "loop"


async def idle(controller: Controller) -> None:
    """Until every key that is ready has been worked on. Raises TimeoutError after two minutes."""
    async with asyncio.timeout(120.0):
        await asyncio.sleep(0.05)
        while len(controller.queue) or controller.queue.unfinished():  # noqa: ASYNC110  the queue has no event for it
            await asyncio.sleep(0.01)


async def _throughput(given: dict[str, Any], *, seconds: float, workers: int, warmup: float) -> Figures:
    async with (
        remote("canned", given) as server,
        running(
            "Endpoint",
            server.up["url"],
            access_to(server.up["url"]),
            resync_seconds=0.001,
            max_concurrent_syncs=workers,
        ) as manager,
    ):
        await asyncio.sleep(warmup)
        queue = manager.controllers["Endpoint"].queue
        before = await server.ask({})
        begun, cpu = time.perf_counter(), time.process_time()
        after = before
        # More than once only where others take the machine meanwhile.
        async with asyncio.timeout(60.0 + seconds):
            while after["describes"] == before["describes"]:
                await asyncio.sleep(seconds)
                took, spent = time.perf_counter() - begun, time.process_time() - cpu
                after = await server.ask({})
        describes = after["describes"] - before["describes"]
        with sampled() as shares:
            await asyncio.sleep(seconds / 2)
        waiting = len(queue)
    total = shares.total() or 1
    return {
        "reconcilesPerSecond": round(describes / took),
        "reconcilesPerCpuSecond": round(describes / spent),
        "cpuUsed": round(spent / took, 2),
        "cpuShare": {owner: round(count / total, 3) for owner, count in shares.most_common()},
        "writes": after["writes"] - before["writes"],
        "queued": waiting,
    }


def throughput(
    *, objects: int = 4000, seconds: float = 10.0, workers: int = 16, warmup: float = 8.0, quiet: bool = False
) -> Figures:
    """Reconciles that make one Describe each and find nothing new, as fast as one core can.

    `warmup`: the limiter doubles its rate every second, 20 to 2,560 in seven.
    """
    made = settled("Endpoint", "InService")
    # Tags would be a second read of each.
    del made["template"]["spec"]["tags"], made["template"]["status"]["managedTagKeys"]
    given = {**made, "count": objects}
    return run_real(_throughput(given, seconds=seconds, workers=workers, warmup=warmup))


async def _coldstart(given: dict[str, Any], *, objects: int, after: float) -> Figures:
    begun, before = time.perf_counter(), rss_mb()
    async with remote("canned", given) as server:
        begun = time.perf_counter()
        async with (
            stalls() as first,
            running("TrainingJob", server.up["url"], access_to(server.up["url"])) as manager,
        ):
            controller = manager.controllers["TrainingJob"]
            await controller.informer.synced.wait()
            listed = time.perf_counter() - begun
            await idle(controller)
            done = time.perf_counter() - begun
            counts = await server.ask({})
            async with stalls() as later:
                await asyncio.sleep(after)
            pauses = []
            for _ in range(5):
                at = time.perf_counter()
                gc.collect()
                pauses.append((time.perf_counter() - at) * 1000)
            rss = rss_mb()
            gc.unfreeze()
            at = time.perf_counter()
            gc.collect()
            unfrozen = (time.perf_counter() - at) * 1000
            cached = len(controller.informer.store)
    return {
        "cached": cached,
        "secondsToListed": round(listed, 2),
        "secondsToAllReconciled": round(done, 2),
        "calls": counts,
        "rssMB": round(rss),
        "rssBeforeMB": round(before),
        "longestStallAtStartMs": round(first.longest * 1000, 1),
        "longestStallAfterMs": round(later.longest * 1000, 1),
        "fullCollectionMs": round(percentile(pauses, 0.5), 1),
        "fullCollectionUnfrozenMs": round(unfrozen, 1),
        "objects": objects,
    }


def coldstart(*, objects: int = 10_000, after: float = 5.0, quiet: bool = False) -> Figures:
    """A start with many synced objects: time, calls, memory, loop stalls until then and in the `after` seconds."""
    given = {**settled("TrainingJob", "Completed"), "count": objects}
    return run_real(_coldstart(given, objects=objects, after=after))


async def _watch_ours(server: Remote, events: int, warm: int) -> float:
    resource = catalog()["TrainingJob"].resource
    async with HttpTransport(access_to(server.up["url"])) as transport:
        stream = KubeClient(transport).watch(resource, resource_version="1", timeout_seconds=600)
        return await _drained(server, stream, events, warm)


async def _watch_library(server: Remote, events: int, warm: int) -> float:
    from kubernetes_asyncio import client as library
    from kubernetes_asyncio import watch as library_watch

    kind = catalog()["TrainingJob"].resource
    configuration = library.Configuration(host=server.up["url"])
    async with library.ApiClient(configuration) as api:
        objects = library.CustomObjectsApi(api)
        watch = library_watch.Watch()
        stream = watch.stream(
            objects.list_cluster_custom_object, kind.group, kind.version, kind.plural, resource_version="1"
        )
        try:
            return await _drained(server, stream, events, warm)
        finally:
            await watch.close()


async def _drained(server: Remote, stream: Any, events: int, warm: int) -> float:
    """CPU seconds of this process for the events after the first `warm`."""

    async def feed() -> None:
        await asyncio.sleep(0.5)
        await server.ask({"stream": events + warm, "each": 64})

    feeder = asyncio.create_task(feed())
    observed, cpu = 0, 0.0
    async for _ in stream:
        observed += 1
        if observed == warm:
            cpu = time.process_time()
        if observed == warm + events:
            break
    spent = time.process_time() - cpu
    await feeder
    with contextlib.suppress(AttributeError):
        await stream.aclose()
    return spent


async def _watch(given: dict[str, Any], *, events: int) -> Figures:
    best: dict[str, float] = {}
    size = 0
    for _ in range(3):
        for name, run in (("ours", _watch_ours), ("library", _watch_library)):
            async with remote("canned", given) as server:
                spent = await run(server, events, 500)
            best[name] = min(best.get(name, spent), spent)
    size = len(json.dumps(given["template"])) + 800
    return {
        "eventBytes": size,
        "microsecondsPerEvent": round(best["ours"] / events * 1e6, 1),
        "eventsPerCpuSecond": round(events / best["ours"]),
        "libraryMicrosecondsPerEvent": round(best["library"] / events * 1e6, 1),
        "timesFaster": round(best["library"] / best["ours"], 1),
    }


def watch(*, events: int = 10_000, quiet: bool = False) -> Figures:
    """Watch events decoded per CPU second, by us and by the library's own Watch in the same run; the best of three."""
    given = {**settled("TrainingJob", "Completed"), "count": 1000}
    return run_real(_watch(given, events=events))


async def _queue(*, keys: int, namespaces: int) -> Figures:
    made = [ObjectKey("TrainingJob", f"ns-{number % namespaces}", f"job-{number}") for number in range(keys)]
    best = float("inf")
    for _ in range(3):
        queue: WorkQueue[ObjectKey] = WorkQueue(
            namespace_of=lambda key: key.namespace, workers=10, rng=random.Random(1)
        )
        cpu = time.process_time()
        for key in made:
            queue.add(key)
        for _ in range(keys):
            queue.done(await queue.get())
        best = min(best, time.process_time() - cpu)
        delayed = time.process_time()
        for key in made:
            queue.add_after(key, 3600.0)
        later = time.process_time() - delayed
        queue.shutdown()
    return {
        "microsecondsPerKey": round(best / keys * 1e6, 2),
        "keysPerCpuSecond": round(keys / best),
        "microsecondsPerDelayedAdd": round(later / keys * 1e6, 2),
    }


def queue(*, keys: int = 100_000, namespaces: int = 100, quiet: bool = False) -> Figures:
    """Add, get and done of a key, with all keys waiting at once; the best of three."""
    return run_real(_queue(keys=keys, namespaces=namespaces))


async def _memory(given: dict[str, Any], *, objects: int, churn: int) -> Figures:
    async with (
        remote("canned", given) as server,
        running("TrainingJob", server.up["url"], access_to(server.up["url"])) as manager,
    ):
        controller = manager.controllers["TrainingJob"]
        await controller.informer.synced.wait()
        await idle(controller)
        gc.collect()
        full, points = rss_mb(), []
        for _ in range(10):
            await server.ask({"stream": churn // 10, "each": 64})
            await asyncio.sleep(0.2 + churn / 10 * 0.00005)
            gc.collect()
            points.append(rss_mb())
        cached = len(controller.informer.store)
    # The first tenth fills the allocator's arenas; what grows after it is a leak.
    return {
        "rssMB": round(full),
        "rssAfterChurnMB": round(points[-1]),
        "cached": cached,
        "churnMB": [round(p, 1) for p in points],
    }


def memory(*, objects: int = 10_000, churn: int = 100_000, quiet: bool = False) -> Figures:
    """Bytes per cached object, and what a hundred thousand changes (an hour at 28 a second) leave behind."""
    made = settled("TrainingJob", "Completed")
    run_real(_memory({**made, "count": 10}, objects=10, churn=100))
    gc.collect()
    empty = run_real(_memory({**made, "count": 10}, objects=10, churn=100))["rssMB"]
    figures = run_real(_memory({**made, "count": objects}, objects=objects, churn=churn))
    points = figures.pop("churnMB")
    return {
        **figures,
        "bytesPerObject": round((figures["rssMB"] - empty) * 2**20 / objects),
        "slopeBytesPerChange": round((points[-1] - points[2]) * 2**20 / (churn * 0.7), 1),
    }


async def _cpu(*, jobs: int, seconds: float, quiet: bool) -> Figures:
    async with remote("world") as server:
        access = await load_config(kubeconfig=server.up["kubeconfig"])
        # No measurement of stalls here: waking 200 times a second costs 4 s of CPU in these minutes.
        async with running("TrainingJob", server.up["aws"], access, rate=100.0) as manager:
            await manager.controllers["TrainingJob"].informer.synced.wait()
            begun, cpu = time.perf_counter(), time.process_time()
            await server.ask({"apply": jobs, "seconds": seconds})
            with sampled(0.005) as shares:
                while (state := await server.ask({}))["completed"] < jobs:
                    if not quiet:
                        progress(
                            f"cpu: {state['completed']} of {jobs} completed after {time.perf_counter() - begun:.0f} s"
                        )
                    await asyncio.sleep(10.0)
            spent = time.process_time() - cpu
    total = shares.total() or 1
    return {
        "cpuSeconds": round(spent, 2),
        "cpuMillisecondsPerJob": round(spent / jobs * 1000, 2),
        "wallSeconds": round(time.perf_counter() - begun),
        "cpuShare": {owner: round(count / total, 3) for owner, count in shares.most_common()},
        "callsByOperation": state["calls"],
    }


def cpu(*, jobs: int = 1000, seconds: float = 240.0, quiet: bool = False) -> Figures:
    """CPU of the operator alone, for jobs of four real minutes from apply to Completed, with the simulators elsewhere."""
    return run_real(_cpu(jobs=jobs, seconds=seconds, quiet=quiet))
