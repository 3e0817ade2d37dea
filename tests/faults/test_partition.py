"""Two processes, one lease, different clocks: never two creates, a standby that takes over, a lease that is released."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube.lease import LeadershipLost
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from tests.e2e.harness import Cloud, build, operator, sample
from tests.e2e.kinds import VIRTUAL
from tests.e2e.wire import Mode, Wire
from tests.transports import ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.kube.transport import Response, StreamingResponse

pytestmark = VIRTUAL


class Cable(ForwardingTransport):
    """Can be cut: requests get no answer, and what is being watched goes on."""

    cut = False

    async def answer(self, request: Request) -> Response:
        if self.cut:
            await asyncio.sleep(request.timeout)
            raise Unavailable("cut")
        return await super().answer(request)

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        if self.cut:
            raise Unavailable("cut")
        async with super().open(request) as stream:
            yield stream


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.LATE, None], ids=["unsent", "late", "answered"])
@pytest.mark.parametrize("apart", [-3600.0, 3600.0], ids=["clock-behind", "clock-ahead"])
async def test_a_leader_that_is_cut_off_while_it_creates_makes_no_second_job(mode: Mode | None, apart: float) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cable = Cable(InMemoryTransport(cloud.kubernetes))

    def cut(_: int, name: str) -> Mode | None:
        if name != "SageMaker.CreateTrainingJob":
            return None
        cable.cut = True
        return mode

    wire = Wire(script=cut)
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with AsyncExitStack() as stack:
        one = build(cloud, stack, wire=wire, transport=cable, identity="one")
        leader = asyncio.create_task(one.run())
        await cloud.until(lambda: one.elector.is_leader)
        async with operator(cloud, identity="two", seed=8, clock=lambda: cloud.clock() + apart) as two:
            await cloud.until(lambda: two.ready() is None)
            await cloud.apply(manifest)
            await cloud.until(lambda: cable.cut)
            began = cloud.clock()
            await cloud.until(lambda: two.elector.is_leader, seconds=60.0)
            assert not one.elector.is_leader, "the old leader stopped before the new one began"
            assert 20.0 < cloud.clock() - began <= 36.0, "lease duration, and one retry"
            with pytest.raises(LeadershipLost):
                await leader
            calls = len(wire.calls)
            await cloud.until_status(name, "Completed")
    assert len(wire.calls) == calls, "who lost the lease does nothing more"
    assert cloud.sagemaker.made == {"TrainingJob": 1}


async def test_a_leader_that_stops_hands_over_at_once_to_a_warm_standby() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud, identity="two", seed=8) as two:
        await cloud.until(lambda: two.elector.is_leader)
        async with operator(cloud, identity="three", seed=9) as three:
            await cloud.until(lambda: three.ready() is None)
            await cloud.apply(manifest)
            await cloud.until_status(name, "InProgress")
            assert not three.elector.is_leader
            cloud.forget()
            two.stop()
            began = cloud.clock()
            await cloud.until(lambda: three.elector.is_leader, step=0.1)
            assert cloud.clock() - began < 6.0, "one retry of 4 s with its jitter, and not a lease of 30"
            lists = [r for r in cloud.kubernetes.requests if r.verb == "list" and r.plural == "trainingjobs"]
            lists = [r for r in lists if r.user_agent == "sagemaker-operator"]
            assert lists == [], "its caches were warm"
            await cloud.until_status(name, "Completed")
    assert cloud.sagemaker.made == {"TrainingJob": 1}
