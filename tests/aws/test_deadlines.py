"""How long a call may take, in virtual time: the real limits against the simulator, on a machine of any speed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.aws.calls import MUTATION_DEADLINE, READ_PATIENCE, Aws
from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.sandbox.sagemaker.http import in_process_session
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(noop_cycles=2)]

TARGET = Target("123456789012", "us-east-1")
EPOCH = 1_790_000_000.0


class Door:
    def __init__(self, simulator: SageMakerSimulator, sessions: Sessions) -> None:
        self.simulator = simulator
        self.fenced: list[float] = []
        self._aws = Aws(sessions, Limiter(rng=random.Random(1)), rng=random.Random(1), fence=self._fence)

    def _fence(self, seconds: float) -> bool:
        self.fenced.append(seconds)
        return True

    def slow(self, operation: str, seconds: float, *, nth: int = 1, times: int = 1) -> None:
        self.simulator.faults.add(
            Fault(operation=operation, kind=FaultKind.SLOW, seconds=seconds, nth=nth, times=times)
        )

    def count(self, operation: str) -> int:
        return self.simulator.calls.operations[operation]

    async def call(self, operation: str, **params: object) -> tuple[AwsError | None, float]:
        """Its failure, and the seconds that it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._aws.call(TARGET, operation, params)
        except AwsError as error:
            return error, loop.time() - started
        return None, loop.time() - started


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    simulator = SageMakerSimulator(clock=lambda: EPOCH, rng=random.Random(1))
    async with Sessions(
        clock=lambda: EPOCH,
        credentials=("AKIA123456789012", "secret"),
        http_session_cls=in_process_session(simulator),
        read_timeout=60.0,
    ) as sessions:
        async with sessions.client("sagemaker", TARGET):
            pass  # the model is parsed in a thread, by the real clock
        yield Door(simulator, sessions)


async def test_a_mutation_without_an_answer_ends_at_its_deadline(door: Door) -> None:
    door.slow("CreateModelPackageGroup", 60.0)
    failure, seconds = await door.call("CreateModelPackageGroup", ModelPackageGroupName="g")
    assert failure is not None
    assert (failure.category, failure.sent) == (ErrorCategory.TRANSIENT, True)
    assert seconds == pytest.approx(MUTATION_DEADLINE, abs=0.1)
    assert door.fenced == [MUTATION_DEADLINE], "the lease covers just this long"
    assert door.count("CreateModelPackageGroup") == 1


async def test_a_read_without_an_answer_ends_at_its_deadline_and_begins_no_further_attempt(door: Door) -> None:
    """25 s are more than the eight after which another attempt belongs to the work queue."""
    door.slow("ListModels", 60.0, times=5)
    failure, seconds = await door.call("ListModels")
    assert failure is not None
    assert failure.category is ErrorCategory.TRANSIENT
    assert seconds == pytest.approx(25.0, abs=0.1)
    assert door.count("ListModels") == 1


async def test_a_read_that_fails_early_is_repeated_and_may_be_slow_then(door: Door) -> None:
    door.simulator.faults.add(Fault(operation="ListModels", kind=FaultKind.SERVER_ERROR))
    door.slow("ListModels", 20.0, nth=2)
    failure, seconds = await door.call("ListModels")
    assert failure is None
    assert seconds > READ_PATIENCE
    assert door.count("ListModels") == 2
