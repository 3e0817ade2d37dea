"""What the controller does at the end of a reconcile whose change the watch does not deliver."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.control.controller import Controller
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import Conflict, Gone, Unavailable
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.listwatch import ListPage
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.objects import KubeObject, Meta, ObjectKey

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sagemaker_operator.listwatch import WatchEvent

KEY = ObjectKey("TrainingJob", "default", "a")
RESOURCE = catalog()["TrainingJob"].resource


def version(number: int, **changes: Any) -> KubeObject:
    meta = Meta(name="a", namespace="default", uid="u", resource_version=str(number), **changes)
    return KubeObject(metadata=meta, api_version=RESOURCE.api_version, kind=RESOURCE.kind)


class Stalled:
    """A collection whose watch says nothing after the list."""

    name = "trainingjobs"

    def __init__(self, *reads: KubeObject | None) -> None:
        self._reads = list(reads)
        self.asked = 0

    async def list_page(self, namespace: str | None, *, continue_: str | None, limit: int) -> ListPage:
        return ListPage([version(1)], "1", None)

    async def read(self, namespace: str, name: str) -> KubeObject | None:
        self.asked += 1
        if not self._reads:
            raise Unavailable("no server")
        return self._reads.pop(0)

    async def watch(
        self, namespace: str | None, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        await asyncio.sleep(timeout_seconds)
        return
        yield


class ObjectReconciler:
    """Writes on version 1 are refused."""

    def __init__(self, controller: Controller, *, refused: int) -> None:
        self._controller = controller
        self._refused = refused
        self.reconciled: list[tuple[float, str]] = []

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        obj = self._controller.get(key)
        assert obj is not None
        self.reconciled.append((asyncio.get_running_loop().time(), obj.metadata.resource_version))
        if obj.version == 1 and len(self.reconciled) <= self._refused:
            raise Conflict("somebody wrote")
        return Requeue.SETTLED

    def forget(self, obj: KubeObject) -> None: ...


async def reconciles(source: Stalled, *, refused: int = 1000, seconds: float = 20.0) -> list[tuple[float, str]]:
    controller = Controller(RESOURCE, source, workers=1, timeout=60.0, rng=random.Random(1), metrics=Metrics())
    done = ObjectReconciler(controller, refused=refused)
    controller.attach(done)
    tasks = [asyncio.create_task(controller.watch()), asyncio.create_task(controller.work())]
    await asyncio.sleep(seconds)
    controller.queue.shutdown()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done.reconciled


@pytest.mark.asyncio
@pytest.mark.looptime(end=1000)
class TestConflict:
    async def test_the_first_conflict_waits_for_the_watch(self) -> None:
        source = Stalled()
        assert [number for _, number in await reconciles(source, refused=1)] == ["1", "1"]
        assert source.asked == 0

    async def test_the_second_conflict_reads_the_object_from_the_server(self) -> None:
        source = Stalled(version(2, deletion_timestamp="2026-01-01T00:00:00Z", finalizers=("f",)))
        reconciled = await reconciles(source)
        assert [number for _, number in reconciled][:3] == ["1", "1", "2"]
        assert reconciled[2][0] < 2.0
        assert source.asked == 1

    async def test_a_missing_or_unreadable_object_waits_for_the_watch(self) -> None:
        source = Stalled(None)
        reconciled = await reconciles(source)
        assert {number for _, number in reconciled} == {"1"}
        assert source.asked == len(reconciled) - 1


class Restored(Stalled):
    """An etcd that is restored after 5 s: the object is there in an older version, and no watch knows the newer one."""

    lists = 0

    async def list_page(self, namespace: str | None, *, continue_: str | None, limit: int) -> ListPage:
        self.lists += 1
        return ListPage([version(9)], "9", None) if self.lists == 1 else ListPage([version(4)], "4", None)

    async def watch(
        self, namespace: str | None, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        if resource_version == "9":
            await asyncio.sleep(5.0)
            raise Gone("too large", status=504, reason="ResourceVersionTooLarge")
        await asyncio.sleep(timeout_seconds)
        return
        yield


@pytest.mark.asyncio
@pytest.mark.looptime(end=1000)
async def test_an_object_that_a_restored_etcd_reverted_is_reconciled_without_an_edit() -> None:
    assert [number for _, number in await reconciles(Restored(), seconds=60.0)] == ["9", "4"]
