"""The operator in this process, over real sockets and in real time; SageMaker's clock runs faster."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from sagemaker_operator.cli.run import operate
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.conditions import READY
from sagemaker_operator.errors import NotFound
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from sagemaker_operator.settings import Cadence, Settings
from tests.e2e.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kube.transport import Transport

SPEED = 100.0
"""A job of ten minutes takes six seconds, and is polled each 0.2 s."""
CREDENTIALS = ("AKIA123456789012", "secret")
REGION = "us-west-2"
JOB = catalog()["TrainingJob"].resource


def simulator() -> SageMakerSimulator:
    return SageMakerSimulator(clock=wall_clock, rng=random.Random(3), speed=SPEED)


def settings(**changes: Any) -> Settings:
    """One kind, fast polls, no ports."""
    defaults: dict[str, Any] = {
        "aws_region": REGION,
        "reconcile_resources": ("TrainingJob",),
        "cadence": Cadence().scaled(SPEED),
        "metrics_addr": "0",
        "healthz_addr": "0",
    }
    return Settings(**(defaults | changes))


@asynccontextmanager
async def operating(
    config: Settings, *, clock: Clock, through: Callable[[Transport], Transport] = lambda transport: transport
) -> AsyncIterator[None]:
    """An operator as `run` puts it together. What ends it early ends the block."""
    stop = asyncio.Event()
    running = asyncio.create_task(operate(config, credentials=CREDENTIALS, stop=stop, clock=clock, through=through))
    here = asyncio.current_task()
    assert here is not None
    running.add_done_callback(lambda _: None if stop.is_set() else here.cancel())
    try:
        yield
    finally:
        stop.set()
        await running


class User:
    """Somebody with a kubeconfig, in one namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    async def create(self, manifest: dict[str, Any]) -> None:
        manifest["metadata"]["namespace"] = self.namespace
        await self.client.create(JOB, self.namespace, manifest)

    async def get(self, name: str) -> dict[str, Any]:
        return await self.client.get_json(JOB.path(self.namespace, name))

    async def status(self, name: str) -> dict[str, Any]:
        return (await self.get(name)).get("status", {})

    async def until_status(self, name: str, status: str) -> None:
        async def reached() -> bool:
            return (await self.status(name)).get("trainingJobStatus") == status

        await until(reached, f"{name} {status}")

    async def until_ready(self, name: str) -> None:
        async def reached() -> bool:
            conditions = (await self.status(name)).get("conditions", [])
            return any(condition["type"] == READY and condition["status"] == "True" for condition in conditions)

        await until(reached, f"{name} ready")

    async def until_gone(self, name: str) -> None:
        async def gone() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await until(gone, f"no {name}")

    async def until_events(self, name: str, *reasons: str) -> None:
        """Until there are events with these reasons about the object; they are written beside the status."""

        async def reported() -> bool:
            items = (await self.client.get_json(EVENTS.path(self.namespace)))["items"]
            about = {event["reason"] for event in items if event["regarding"]["name"] == name}
            return about.issuperset(reasons)

        await until(reported, f"events {reasons}")


@asynccontextmanager
async def user_of(kubeconfig: Path, namespace: str = "default") -> AsyncIterator[User]:
    async with AsyncExitStack() as stack:
        access = await load_config(kubeconfig=str(kubeconfig))
        yield User(KubeClient(await stack.enter_async_context(HttpTransport(access))), namespace)
