"""A Terminal condition because of a refusal by SageMaker is retried within the hour, with one call each and no new Events."""

from __future__ import annotations

import pytest

from sagemaker_operator.annotations import READ_ONLY
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

_HOURS = 2
# The first half hour is over when counting begins: one try every 30 to 60 minutes.
_EXPECTED_TRIES = range(_HOURS - 1, 2 * _HOURS + 1)
_WITHIN_THE_HOUR = 3600.0


def refusing(operation: str) -> Fault:
    """What no table of texts can know to be about something outside the object."""
    return Fault(operation=operation, kind=FaultKind.REJECT, times=None, message="The bucket policy forbids it.")


@pytest.mark.parametrize("kind", ["Model", "TrainingJob", "Domain", "ModelPackage"])
async def test_a_create_that_sagemaker_refused_recovers_within_the_hour_without_an_edit(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        fault = refusing(stage.kind.create)
        cloud.sagemaker.faults.add(fault)
        await stage.apply()
        terminal = await stage.condition("ACK.Terminal")
        assert terminal["reason"] == "ValidationFailed"
        assert "tried again within the hour" in terminal["message"]
        reported = cloud.kubernetes.list(EVENTS)
        cloud.forget()
        await cloud.pass_time(_HOURS * 3600)
        calls = [call.operation for call in cloud.sagemaker.calls.recent]
        assert set(calls) == {stage.kind.create}
        assert len(calls) in _EXPECTED_TRIES
        assert "patch status" not in stage.writes()
        assert cloud.kubernetes.list(EVENTS) == reported
        assert not (await stage.get())["metadata"].get("finalizers"), "deleting it never waits for anything"
        cloud.sagemaker.faults.clear()
        before = cloud.clock()
        await cloud.until(lambda: stage.creates(), seconds=_WITHIN_THE_HOUR)
        assert cloud.clock() - before <= _WITHIN_THE_HOUR
        await stage.settled()
        assert "ACK.Terminal" not in await stage.conditions()
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", ["Endpoint", "NotebookInstance", "Pipeline", "UserProfile"])
async def test_an_update_that_sagemaker_refused_recovers_within_the_hour_without_an_edit(kind: str) -> None:
    stage = Stage(kind)
    cloud, edit = stage.cloud, stage.story.edit
    assert edit is not None
    async with operator(cloud) as manager:
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        fault = refusing(edit.calls[0])
        cloud.sagemaker.faults.add(fault)
        await stage.edit(edit.spec)
        assert (await stage.condition("ACK.Terminal"))["reason"] == "ValidationFailed"
        cloud.forget()
        await cloud.pass_time(_HOURS * 3600)
        assert set(stage.mutating()) == {edit.calls[0]}
        assert len(stage.mutating()) in _EXPECTED_TRIES
        assert stage.writes() == []
        cloud.sagemaker.faults.clear()
        await stage.settled(seconds=_WITHIN_THE_HOUR + 1800)
        assert "ACK.Terminal" not in await stage.conditions()


async def test_a_read_only_object_is_described_again_too() -> None:
    stage = Stage("Endpoint", relaxed=True)
    cloud = stage.cloud
    async with operator(cloud) as manager:
        await stage.prepare()
        await cloud.ask("CreateEndpoint", **stage.create_input())
        stage.manifest["metadata"]["annotations"] = {READ_ONLY: "true"}
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        cloud.sagemaker.faults.add(refusing("DescribeEndpoint"))
        await stage.edit({"endpointConfigName": "another"})
        assert (await stage.condition("ACK.Terminal"))["reason"] == "ValidationFailed"
        cloud.sagemaker.faults.clear()
        await stage.settled(seconds=_WITHIN_THE_HOUR)


@pytest.mark.parametrize("kind", ["HyperParameterTuningJob", "EndpointConfig"])
async def test_an_error_that_needs_an_edit_makes_no_calls(kind: str) -> None:
    stage = Stage(kind, relaxed=True)
    cloud = stage.cloud
    async with operator(cloud) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        await stage.edit(stage.story.frozen)
        assert (await stage.condition("ACK.Terminal"))["reason"] == "ImmutableField"
        cloud.forget()
        await cloud.pass_time(_HOURS * 3600)
        assert cloud.sagemaker.calls.total == 0
        assert stage.writes() == []
