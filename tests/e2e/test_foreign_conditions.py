"""Conditions of other writers survive the write that records the ARN, which must succeed in all cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage
from tests.e2e.test_metrics import values

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes import Request

pytestmark = VIRTUAL

BUDGET = {
    "type": "example.com/Budget",
    "status": "True",
    "reason": "Ok",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


async def write(stage: Stage, *conditions: dict[str, Any]) -> None:
    """As another controller does it: what is there, and its own."""
    there = (await stage.status()).get("conditions", [])
    kept = [condition for condition in there if condition["type"] != BUDGET["type"]]
    patch = {"status": {"conditions": [*kept, *conditions]}}
    await stage.cloud.patch(stage.name, patch, kind=stage.kind.name, subresource="status")


@pytest.mark.parametrize("kind", ["TrainingJob", "ModelPackage"])
@pytest.mark.parametrize("before", [False, True])
async def test_a_foreign_condition_written_during_the_create_is_kept(kind: str, before: bool) -> None:
    """A model package gets an annotation between its create and its status: a write that is not locked on a version."""
    stage = Stage(kind)
    slow = Fault(operation=stage.kind.create, kind=FaultKind.SLOW, seconds=5.0)
    stage.cloud.sagemaker.faults.add(slow)
    async with operator(stage.cloud) as manager:
        await stage.cloud.until(lambda: manager.ready() is None)
        await stage.prepare()
        await stage.apply()
        if before:
            await write(stage, BUDGET | {"status": "Unknown"})
        await stage.cloud.until(stage.creates, step=0.1)
        assert not (await stage.status()).get("ackResourceMetadata")
        await write(stage, BUDGET)
        await stage.settled(seconds=7200)
        assert (await stage.conditions())[BUDGET["type"]]["status"] == "True"
    assert stage.creates() == 1


async def test_a_foreign_condition_removed_during_the_create_stays_removed() -> None:
    stage = Stage("TrainingJob")
    stage.cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.SLOW, seconds=5.0))
    async with operator(stage.cloud) as manager:
        await stage.cloud.until(lambda: manager.ready() is None)
        await stage.apply()
        await write(stage, BUDGET)
        await stage.cloud.until(stage.creates, step=0.1)
        await write(stage)
        await stage.settled(seconds=7200)
        assert BUDGET["type"] not in await stage.conditions()


async def test_without_a_foreign_condition_the_arn_is_one_write() -> None:
    stage = Stage("TrainingJob")
    async with operator(stage.cloud) as manager:
        await stage.cloud.until(lambda: manager.ready() is None)
        stage.cloud.forget()
        await stage.apply()
        await stage.cloud.until(stage.creates)
        await stage.cloud.pass_time(2)
        reads = [
            request
            for request in stage.cloud.kubernetes.requests
            if request.verb == "get" and request.name == stage.name
        ]
        assert stage.writes() == ["patch trainingjobs", "patch status"]
        assert [request for request in reads if request.user_agent == "sagemaker-operator"] == []


async def test_a_reconcile_request_removed_during_the_reconcile_is_not_an_error() -> None:
    stage = Stage("ModelPackage")
    stage.cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.SLOW, seconds=5.0))
    async with operator(stage.cloud) as manager:
        await stage.cloud.until(lambda: manager.ready() is None)
        await stage.prepare()
        stage.manifest["metadata"]["annotations"] = {RECONCILE_REQUESTED: "now"}
        await stage.apply()
        await stage.cloud.until(stage.creates, step=0.1)
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: None}, kind=stage.kind.name)  # type: ignore[dict-item]
        await stage.cloud.pass_time(6)
        assert (await stage.status())["ackResourceMetadata"]["arn"], "in this very reconcile"
        await stage.settled()
        panics = values(manager, "controller_runtime_reconcile_panics_total", "controller")
        assert panics["modelpackage"] == 0
    assert stage.creates() == 1


async def test_a_request_is_recorded_although_the_first_write_of_it_conflicts() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud) as manager:
        await stage.cloud.until(lambda: manager.ready() is None)
        await stage.prepare()
        await stage.apply()
        await stage.settled()

        async def intercept(request: Request) -> None:
            if (request.verb, request.subresource, request.name) == ("patch", "status", stage.name):
                stage.cloud.kubernetes.intercept = None
                await write(stage, BUDGET)

        stage.cloud.kubernetes.intercept = intercept
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind="Model")
        await stage.cloud.pass_time(10)
        assert stage.cloud.kubernetes.intercept is None
        status = await stage.status()
        assert status["lastHandledReconcileAt"] == "now"
        assert BUDGET["type"] in await stage.conditions()
