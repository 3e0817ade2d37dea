"""A namespace that is deleted and created again is another namespace: annotations of the first do not apply to new objects."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import OWNER_ACCOUNT_ID
from sagemaker_operator.control.placement.namespace_config import NAMESPACES
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL
from tests.e2e.test_placement import ONE, TWO, cloud_with, job, namespace, reached, role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = VIRTUAL

LAG = 2.0


class LateNamespaces(InMemoryTransport):
    """While it is `late`, the watch of namespaces delivers events two seconds after the other watches."""

    late = False

    def stream(self, path: str, **kwargs: Any) -> Any:
        stream = super().stream(path, **kwargs)
        return self._delayed(stream) if path.endswith("/namespaces") else stream

    @asynccontextmanager
    async def _delayed(self, stream: Any) -> AsyncIterator[Any]:
        async with stream as response:
            yield _Delayed(response, self)


class _Delayed:
    def __init__(self, response: Any, transport: LateNamespaces) -> None:
        self._response = response
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.chunks():
            if self._transport.late:
                await asyncio.sleep(LAG)
            yield chunk


@pytest.mark.parametrize("late", [False, True])
async def test_a_new_object_waits_for_the_new_namespace(late: bool) -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE), TWO: role(TWO)}, team={OWNER_ACCOUNT_ID: ONE})
    transport = LateNamespaces(cloud.kubernetes)
    async with operator(cloud, transport=transport) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await job(cloud, "first", "team")
        await reached(cloud, "first", "team", "Completed")
        await cloud.user.delete(cloud.job, "team", "first")
        await cloud.until_gone("first")
        await cloud.user.delete(NAMESPACES, None, "team")
        await cloud.pass_time(10)
        transport.late = late
        await namespace(cloud, "team", {OWNER_ACCOUNT_ID: TWO})
        await job(cloud, "second", "team")
        await reached(cloud, "second", "team", "InProgress")
    made = {(call.account, call.name) for call in cloud.sagemaker.calls.of("CreateTrainingJob") if call.applied}
    assert made == {(ONE, "first"), (TWO, "second")}


async def test_an_object_left_in_the_old_namespace_is_still_cleaned_up() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, team={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await job(cloud, "first", "team")
        await reached(cloud, "first", "team", "InProgress")
        await cloud.user.delete(NAMESPACES, None, "team")
        await cloud.pass_time(10)
        await cloud.user.delete(cloud.job, "team", "first")
        await cloud.until_gone("first")
    (stopped,) = cloud.sagemaker.calls.of("StopTrainingJob", "first")
    assert stopped.account == ONE


async def test_deleted_namespaces_are_not_kept_indefinitely() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, team={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        for number in range(1100):
            await namespace(cloud, f"pull-request-{number}", {})
            await cloud.user.delete(NAMESPACES, None, f"pull-request-{number}")
        await cloud.pass_time(10)
        before = int(repr(manager.namespace_configs).split()[1])
        assert 1000 <= before < 1010
