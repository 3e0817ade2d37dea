"""An object in deletion: what it reports while a finalizer or SageMaker delays its removal."""

from __future__ import annotations

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.errors import NotFound
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import DELETE_FAILURE
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage

pytestmark = VIRTUAL

FAILING = tuple(
    name
    for name, kind in catalog().items()
    if StatusClass.DELETE_FAILED in kind.classes.values() and not kind.stop_on_delete
)
OTHERS = "example.com/other"


async def ready(stage: Stage) -> str:
    return str((await stage.conditions())["Ready"]["status"])


@pytest.mark.parametrize("kind", FAILING)
async def test_a_deletion_that_failed_in_sagemaker_is_reported_and_retried_in_minutes(kind: str) -> None:
    stage = Stage(kind)
    stage.manifest["spec"]["tags"] = [{"key": "sandbox/delete-outcome", "value": "Failed"}]
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        stage.cloud.forget()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)

        async def reported() -> bool:
            return "could not delete" in (await stage.condition("ACK.Recoverable"))["message"]

        await stage.cloud.until(reported)
        conditions = await stage.conditions()
        reason = f": {DELETE_FAILURE.rstrip('.')}" if stage.kind.failure_member else ""
        text = f"SageMaker could not delete it{reason}. It is tried again every 5 minutes."
        assert conditions["Ready"]["message"] == text
        assert stage.kind.classify(conditions["ACK.Recoverable"]["reason"]) is StatusClass.DELETE_FAILED
        calls = len(stage.cloud.sagemaker.calls)
        await stage.cloud.pass_time(200)
        assert len(stage.cloud.sagemaker.calls) == calls, "no calls meanwhile"
        await stage.cloud.until_gone(stage.name, kind=kind, step=5.0)
    assert stage.mutating() == [stage.kind.delete] * 2


@pytest.mark.parametrize("kind", [name for name, kind in catalog().items() if kind.status_member])
async def test_events_of_the_object_cause_no_second_delete(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.cloud.until(lambda: stage.creates(), step=0.5)
        await stage.cloud.pass_time(3)
        if not stage.kind.stop_on_delete:
            await stage.settled()
        stage.cloud.forget()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        for number in range(3):
            await stage.cloud.pass_time(1.5)
            try:
                await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: str(number)}, kind=kind)
            except NotFound:
                break
        await stage.cloud.until_gone(stage.name, kind=kind, step=5.0)
    assert len(stage.mutating()) == len(set(stage.mutating())), stage.mutating()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_that_another_finalizer_holds_is_not_ready(kind: str) -> None:
    stage = Stage(kind)
    stage.manifest["metadata"]["finalizers"] = [OTHERS]
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        before = await stage.get()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)

        async def released() -> bool:
            return (await stage.get())["metadata"]["finalizers"] == [OTHERS]

        await stage.cloud.until(released)
        stage.cloud.forget()
        await stage.cloud.pass_time(1200)
        assert await ready(stage) == "False"
        assert (await stage.get())["spec"] == before["spec"]
        assert stage.writes() == []
        assert len(stage.cloud.sagemaker.calls) == 0


async def test_an_object_whose_delete_is_throttled_is_not_ready() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        stage.cloud.sagemaker.faults.add(Fault(operation="DeleteModel", kind=FaultKind.THROTTLE, times=8))
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        stage.cloud.forget()
        await stage.cloud.pass_time(5)
        assert await ready(stage) == "False"
        await stage.cloud.until_gone(stage.name, kind="Model")
        assert stage.writes() == ["patch status", "patch models"], "reported once"
