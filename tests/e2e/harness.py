"""The whole operator against both simulators, in one process and in virtual time: a ten-minute job takes milliseconds.

Nothing is mocked: the real manager, client, watch, queue, aiobotocore and poller run; only sockets are left out.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sagemaker_operator.aws.calls import Aws
from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.crds.runtime import runtime_crds
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.listwatch import EventType
from sagemaker_operator.manager import Manager, observe_aws, observe_kube
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.sandbox.kubernetes.emulator import KubernetesEmulator
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from sagemaker_operator.settings import Settings
from tests.aws.models import models
from tests.e2e.order import default_order, ordered
from tests.e2e.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from sagemaker_operator.kube.transport import Transport
    from tests.e2e.order import Order

REGION = "us-west-2"
EPOCH = 1_790_000_000.0
USER_KEY = "ASIA123456789012"
"""The access key of calls that bypass the operator: a different one, so that faults can distinguish them."""
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


def sample(name: str = "trainingjob", **spec: Any) -> dict[str, Any]:
    """A sample manifest, with these spec fields replaced (None removes one)."""
    manifest: dict[str, Any] = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
    manifest["metadata"].setdefault("namespace", "default")
    manifest["spec"] = {key: value for key, value in (manifest["spec"] | spec).items() if value is not None}
    return manifest


class Cloud:
    """A Kubernetes API and SageMaker on one virtual clock. They continue to run when an operator ends."""

    def __init__(self, seed: int = 1, *, relaxed: bool = False, kinds: Iterable[str] = ()) -> None:
        """`relaxed`: the CRDs check types only, as ACK's do. `kinds`: the installed kinds; empty: all."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.clock: Callable[[], float] = lambda: EPOCH + loop.time() - started
        self.rng = random.Random(seed)
        self.kubernetes = KubernetesEmulator(clock=self.clock, rng=random.Random(seed + 1))
        self.sagemaker = SageMakerSimulator(clock=self.clock, rng=random.Random(seed + 2))
        self.kinds = {name: kind for name, kind in catalog().items() if name in (tuple(kinds) or catalog())}
        for kind in self.kinds.values():
            self.kubernetes.install(crd_manifest(kind, relaxed=relaxed))
        for manifest in runtime_crds().values():
            self.kubernetes.install(manifest)
        self.user = KubeClient(InMemoryTransport(self.kubernetes, user_agent="kubectl"))
        self.job = catalog()["TrainingJob"].resource

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        resource = catalog()[manifest["kind"]].resource
        await self.user.create(resource, manifest["metadata"]["namespace"], manifest)

    async def get(self, name: str, namespace: str = "default", *, kind: str = "TrainingJob") -> dict[str, Any]:
        return await self.user.get_json(catalog()[kind].resource.path(namespace, name))

    async def status(self, name: str, *, kind: str = "TrainingJob") -> dict[str, Any]:
        return (await self.get(name, kind=kind)).get("status", {})

    async def conditions(self, name: str, *, kind: str = "TrainingJob") -> dict[str, dict[str, Any]]:
        status = await self.status(name, kind=kind)
        return {condition["type"]: condition for condition in status.get("conditions", [])}

    async def until(self, reached: Callable[[], Any], *, seconds: float = 3600.0, step: float = 1.0) -> Any:
        """Advances virtual time until `reached()` (awaited if it is a coroutine) is true; fails after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            value = reached()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            assert loop.time() < deadline, f"not reached within {seconds} virtual seconds"
            await asyncio.sleep(step)

    async def until_status(self, name: str, status: str, **kwargs: Any) -> None:
        async def reached() -> bool:
            return (await self.status(name)).get("trainingJobStatus") == status

        await self.until(reached, **kwargs)

    async def until_gone(self, name: str, *, kind: str = "TrainingJob", **kwargs: Any) -> None:
        async def gone() -> bool:
            page = await self.user.list_page(catalog()[kind].resource)
            return name not in {obj.metadata.name for obj in page.items}

        await self.until(gone, **kwargs)

    async def patch(self, name: str, change: Mapping[str, Any], *, kind: str, subresource: str | None = None) -> None:
        await self.user.merge_patch(catalog()[kind].resource, "default", name, change, subresource=subresource)

    async def annotate(self, name: str, annotations: Mapping[str, str], *, kind: str = "TrainingJob") -> None:
        await self.patch(name, {"metadata": {"annotations": dict(annotations)}}, kind=kind)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def forget(self) -> None:
        """Clears the recorded calls and requests."""
        self.sagemaker.calls.clear()
        self.kubernetes.requests.clear()

    @asynccontextmanager
    async def watching(self, kind: str = "TrainingJob") -> AsyncIterator[list[dict[str, Any]]]:
        """Records every state of every object of a kind that the watch delivers, in order."""
        states: list[dict[str, Any]] = []
        resource = catalog()[kind].resource

        async def follow() -> None:
            async for event in self.user.watch(resource, resource_version="", timeout_seconds=100_000):
                if event.type is EventType.BOOKMARK:
                    continue
                states.append({"metadata": event.object.metadata, "status": event.object.decode_status()})

        task = asyncio.create_task(follow())
        try:
            yield states
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        """Calls SageMaker directly, not through the operator. An error is returned as `{"__type": code, "message": text}`."""
        credential = f"AWS4-HMAC-SHA256 Credential={USER_KEY}/20260101/{REGION}/sagemaker/aws4_request"
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": credential}
        answer = await self.sagemaker.handle("POST", "/", headers, json.dumps(params).encode())
        return dict(json.loads(answer.body)) if answer.body else {}

    async def training_job_status(self, name: str) -> str:
        return str((await self.ask("DescribeTrainingJob", TrainingJobName=name)).get("TrainingJobStatus"))

    def creates(self) -> int:
        """Creates that took effect."""
        return sum(1 for call in self.sagemaker.calls.of("CreateTrainingJob") if call.applied)


def settings(**changes: Any) -> Settings:
    defaults: dict[str, Any] = {"metrics_addr": "0", "healthz_addr": "0", "aws_region": REGION}
    return Settings(**(defaults | changes))


def build(
    cloud: Cloud,
    stack: AsyncExitStack,
    *,
    seed: int = 7,
    identity: str = "one",
    wire: Wire | None = None,
    transport: Transport | None = None,
    order: Order | None = None,
    clock: Callable[[], float] | None = None,
    credentials: tuple[str, str] | None = ("AKIA123456789012", "secret"),
    **changes: Any,
) -> Manager:
    """Builds an operator for the cloud; the stack closes its AWS clients. The `wire` injects faults.

    `transport` is its connection to the API server; `order` decides whether the watch delivers the operator's own writes before
    their answers; `clock` is its wall clock.
    """
    wire = wire or Wire()
    config = settings(**changes)
    rng = random.Random(seed)
    clock = clock or cloud.clock
    sessions = Sessions(
        clock=clock,
        credentials=credentials,
        external_id=config.assume_role_external_id or None,
        http_session_cls=wire.session(cloud.sagemaker),
        loader=models(),
    )
    stack.push_async_exit(sessions)
    metrics = Metrics()
    kube = KubeClient(
        wire.transport(ordered(transport or InMemoryTransport(cloud.kubernetes), order or default_order())),
        observer=partial(observe_kube, metrics, "kubernetes.default.svc"),
    )
    limiter = Limiter(rng=rng, shards=config.total_shards)

    def fence(budget: float) -> bool:
        return not config.leader_election or manager.elector.fenced(budget)

    manager = Manager(
        config,
        kinds=cloud.kinds,
        kube=kube,
        sessions=sessions,
        aws=Aws(sessions, limiter, rng=rng, observe=partial(observe_aws, metrics), fence=fence),
        metrics=metrics,
        identity=identity,
        default_namespace="default",
        clock=clock,
        rng=rng,
    )
    return manager


async def killed(cloud: Cloud, wire: Wire, **changes: Any) -> None:
    """Runs an operator until the wire's fault kills it, as kill -9 would: no further call is sent."""
    async with AsyncExitStack() as stack:
        manager = build(cloud, stack, wire=wire, **changes)
        task = asyncio.create_task(manager.run())
        await wire.struck.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def operator(cloud: Cloud, **changes: Any) -> AsyncIterator[Manager]:
    """A running operator that is stopped gracefully at the end of the block."""
    async with AsyncExitStack() as stack:
        manager = build(cloud, stack, **changes)
        task = asyncio.create_task(manager.run())
        try:
            yield manager
        finally:
            manager.stop()
            await task
