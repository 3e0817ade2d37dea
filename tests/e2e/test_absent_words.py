"""An error about something absent does not prove that the resource itself is gone."""

from __future__ import annotations

import pytest

from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL


@pytest.mark.parametrize(
    ("kind", "operation"), [("Model", "DeleteModel"), ("TrainingJob", "StopTrainingJob"), ("Domain", "DeleteDomain")]
)
async def test_the_object_stays_until_the_resource_is_gone(kind: str, operation: str) -> None:
    stage = Stage(kind)
    if kind == "TrainingJob":
        stage.manifest["spec"]["tags"] = [{"key": "sandbox/seconds", "value": "40000"}]
    refused = Fault(
        operation=operation,
        kind=FaultKind.REJECT,
        code="ValidationException",
        message="Could not find the key that encrypts it.",
        times=3,
    )
    async with operator(stage.cloud):
        await stage.apply()
        if kind == "TrainingJob":
            await stage.cloud.until_status(stage.name, "InProgress")
        else:
            await stage.settled()
        stage.cloud.sagemaker.faults.add(refused)
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        waiting = await stage.condition("ACK.Recoverable")
        assert "Could not find the key" in waiting["message"]
        await stage.cloud.until_gone(stage.name, kind=kind)
    done = [call for call in stage.cloud.sagemaker.calls.of(operation) if call.applied]
    assert len(done) == 1, "the resource did not stay behind"


async def test_a_resource_that_somebody_else_deleted_does_not_hold_the_object() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        await stage.cloud.ask("DeleteModel", ModelName=stage.manifest["spec"]["modelName"])
        await stage.delete()
