"""A role that IAM has not propagated to SageMaker yet: the create is refused for some seconds, and no edit is needed."""

from __future__ import annotations

import pytest

from sagemaker_operator.conditions import TERMINAL
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL


@pytest.mark.parametrize("text", ["The execution role ARN is invalid.", "Invalid S3Uri provided"])
async def test_the_create_is_retried_within_minutes(text: str) -> None:
    stage = Stage("FeatureGroup")
    refused = Fault(
        operation="CreateFeatureGroup", kind=FaultKind.REJECT, code="ValidationException", message=text, times=4
    )
    stage.cloud.sagemaker.faults.add(refused)
    async with operator(stage.cloud):
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "DependencyNotReady"
        assert text.rstrip(".") in waiting["message"]
        assert TERMINAL not in await stage.conditions()
        await stage.settled(seconds=300)
    assert stage.creates() == 1
