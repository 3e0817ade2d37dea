"""A fault at every call of a job's lifecycle: one create, and the same final state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.harness import Cloud, killed, operator, sample
from tests.e2e.wire import Mode, Wire

# Each test runs forty lifecycles of a job: ten seconds alone, and five times that on a busy machine.
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


def _short() -> dict[str, Any]:
    """Two minutes long: every state is observed, and each poll returns another one."""
    return sample(tags=[{"key": "sandbox/seconds", "value": "120"}])


async def _life(cloud: Cloud, name: str, *, finish: bool) -> None:
    """What the user does: wait for the end (or not), delete, wait until it is gone."""
    if finish:
        await cloud.until_status(name, "Completed", step=5.0)
    else:
        await cloud.until_status(name, "InProgress")
    await cloud.user.delete(cloud.job, "default", name)
    await cloud.until_gone(name, step=5.0)


async def _calls(*, finish: bool) -> list[str]:
    cloud, wire = Cloud(kinds=["TrainingJob"]), Wire()
    manifest = _short()
    async with operator(cloud, wire=wire):
        await cloud.apply(manifest)
        await _life(cloud, manifest["metadata"]["name"], finish=finish)
    return wire.calls


async def _killed_at(number: int, mode: Mode, *, finish: bool) -> None:
    cloud, wire = Cloud(kinds=["TrainingJob"]), Wire(number, mode)
    manifest = _short()
    name = manifest["metadata"]["name"]
    await cloud.apply(manifest)
    user = asyncio.create_task(_life(cloud, name, finish=finish))
    await killed(cloud, wire)
    async with operator(cloud, identity="two", seed=8):
        await user
    assert cloud.creates() == 1, wire.calls[-1]
    assert not cloud.kubernetes.list(cloud.job)
    # Nothing may be left running: what SageMaker says a day later is what it ends with.
    cloud.sagemaker.advance(86_400)
    assert await cloud.training_job_status(name) == ("Completed" if finish else "Stopped"), wire.calls[-1]


@pytest.mark.looptime(end=100_000)
@pytest.mark.parametrize("finish", [True, False], ids=["to-the-end", "deleted-while-running"])
@pytest.mark.parametrize("mode", [Mode.KILL_BEFORE, Mode.KILL_AFTER], ids=["before", "after"])
async def test_a_kill_at_any_call_ends_in_the_same_state(mode: Mode, finish: bool) -> None:
    calls = await _calls(finish=finish)
    assert len(calls) > 8
    for number in range(1, len(calls) + 1):
        await _killed_at(number, mode, finish=finish)


async def _fails_at(number: int, mode: Mode, *, finish: bool, usual: int) -> None:
    """The process continues; one call fails."""
    cloud, wire = Cloud(kinds=["TrainingJob"]), Wire(number, mode)
    manifest = _short()
    name = manifest["metadata"]["name"]
    async with operator(cloud, wire=wire) as manager:
        await cloud.apply(manifest)
        await _life(cloud, name, finish=finish)
        await cloud.until(lambda: not manager.controllers["TrainingJob"].queue.unfinished())
    assert wire.struck.is_set()
    assert cloud.creates() == 1, wire.calls[number - 1]
    cloud.sagemaker.advance(86_400)
    assert await cloud.training_job_status(name) == ("Completed" if finish else "Stopped"), wire.calls[number - 1]
    assert len(wire.calls) <= usual + 6, "one fault costs a handful of calls, and no storm"


@pytest.mark.looptime(end=100_000)
@pytest.mark.parametrize("finish", [True, False], ids=["to-the-end", "deleted-while-running"])
@pytest.mark.parametrize(
    "mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG], ids=["unsent", "unanswered", "hanging"]
)
async def test_a_fault_at_any_call_ends_in_the_same_state(mode: Mode, finish: bool) -> None:
    calls = await _calls(finish=finish)
    for number in range(1, len(calls) + 1):
        await _fails_at(number, mode, finish=finish, usual=len(calls))
