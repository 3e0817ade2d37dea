"""SageMaker's reads lag behind its writes: a resource that they do not show yet is neither gone nor uncreated."""

from __future__ import annotations

import pytest

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, NAMELESS, VIRTUAL, Stage

pytestmark = VIRTUAL

GOING = (StatusClass.DELETING, StatusClass.GONE)
OF_EACH = pytest.mark.parametrize("kind", KINDS)
# Longer than any lag that people report, and shorter than the operator's patience.
_LAG_SECONDS = 12.0
_LONG = 1000.0
"""Longer than an object is thought to be young."""


def lag(stage: Stage) -> None:
    assert stage.kind.listing is not None
    for operation in (stage.kind.describe, stage.kind.listing.operation):
        stage.cloud.sagemaker.faults.add(
            Fault(operation=operation, kind=FaultKind.EVENTUAL_CONSISTENCY, seconds=_LAG_SECONDS)
        )


def made(stage: Stage) -> int:
    return stage.cloud.sagemaker.made.get(stage.kind.name, 0)


async def wait_for_the_quota(stage: Stage) -> None:
    """Applied, refused for long, and at last accepted."""
    faults, before = stage.cloud.sagemaker.faults, made(stage)
    exhausted = faults.add(Fault(operation=stage.kind.create, kind=FaultKind.QUOTA, times=None))
    await stage.apply()
    await stage.cloud.pass_time(_LONG)
    faults.remove(exhausted)
    lag(stage)
    await stage.cloud.until(lambda: made(stage) > before, step=0.05)


def is_left(stage: Stage) -> bool:
    """Whether SageMaker has one that somebody would pay for."""
    now = stage.cloud.sagemaker.now()
    mine = [record for record in stage.cloud.sagemaker.resources() if record.kind.name == stage.kind.name]
    if stage.kind.stop_on_delete:
        return any(not record.finished(now) for record in mine)
    return any(stage.kind.classify(record.status(now)) not in GOING for record in mine)


@OF_EACH
async def test_a_create_accepted_after_a_long_wait_has_not_vanished(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        before = made(stage)
        await wait_for_the_quota(stage)
        await stage.settled()
    assert made(stage) == before + 1


@OF_EACH
async def test_a_resource_accepted_after_a_long_wait_is_deleted_with_its_object(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await wait_for_the_quota(stage)
        await stage.delete()
    assert not is_left(stage)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if catalog()[kind].token_member or kind in NAMELESS])
@pytest.mark.parametrize("delete", [False, True])
async def test_a_create_with_a_lost_reply_that_is_not_visible_yet_leaves_one_resource(kind: str, delete: bool) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        before = made(stage)
        lag(stage)
        stage.cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.LOST_REPLY))
        await stage.apply()
        await stage.cloud.until(lambda: made(stage) > before, step=0.05)
        if delete:
            await stage.delete()
        else:
            await stage.settled()
    assert made(stage) == before + 1
    assert not (delete and is_left(stage))


async def test_a_job_that_vanished_before_it_was_described_is_reported() -> None:
    stage = Stage("TrainingJob")
    async with operator(stage.cloud):
        await wait_for_the_quota(stage)
        hidden = Fault(operation="DescribeTrainingJob", kind=FaultKind.EVENTUAL_CONSISTENCY, seconds=1e6)
        stage.cloud.sagemaker.faults.add(hidden)
        assert (await stage.condition("ACK.Terminal"))["reason"] == "Vanished"
    assert made(stage) == 1


async def test_the_deletion_of_an_object_whose_name_belongs_to_another_ends() -> None:
    """A finalizer without an ARN may mean a lost reply; the create by token that brings that back is refused here."""
    stage = Stage("Pipeline")
    await stage.cloud.ask(stage.kind.create, **stage.create_input())
    stage.manifest["metadata"]["finalizers"] = [stage.kind.finalizer]
    await stage.apply()
    await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
    stage.cloud.forget()
    async with operator(stage.cloud):
        await stage.cloud.until_gone(stage.name, kind="Pipeline")
    assert stage.mutating() == ["CreatePipeline"]
    assert is_left(stage), "it was never ours"
