"""A create without an answer may have taken effect: the place that it was sent to is searched before a create elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.annotations import CREATE_SENT, OWNER_ACCOUNT_ID, REGION
from sagemaker_operator.control.placement.namespace_config import NAMESPACES
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import REGION as HOME
from tests.e2e.harness import Cloud, killed, operator, sample
from tests.e2e.kinds import NAMELESS, VIRTUAL, Stage
from tests.e2e.test_placement import ONE, TWO, cloud_with, job, reached, role
from tests.e2e.wire import Mode, Wire

pytestmark = VIRTUAL

AWAY = "eu-west-1"


def one_job(**annotations: str) -> dict[str, Any]:
    manifest = sample(trainingJobName="one")
    manifest["metadata"] = {"name": "obj", "namespace": "default", "annotations": annotations}
    return manifest


def made(cloud: Cloud) -> list[tuple[str, str]]:
    return [(call.region, call.name) for call in cloud.sagemaker.calls.of("CreateTrainingJob") if call.applied]


async def test_a_region_edited_after_a_lost_reply_finds_the_job() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.LOST_REPLY))
    async with operator(cloud):
        await cloud.apply(one_job())
        await cloud.until(lambda: cloud.creates() == 1, step=0.01)
        await cloud.annotate("obj", {REGION: AWAY})
        await cloud.until_status("obj", "Completed")
        status = await cloud.status("obj")
        assert status["ackResourceMetadata"]["region"] == HOME
    assert made(cloud) == [(HOME, "one")]


async def test_a_region_edited_after_a_lost_reply_and_a_crash_finds_the_job() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(one_job())
    await killed(cloud, Wire("SageMaker.CreateTrainingJob", Mode.KILL_AFTER))
    assert made(cloud) == [(HOME, "one")]
    await cloud.annotate("obj", {REGION: AWAY})
    async with operator(cloud, identity="two"):
        await cloud.until_status("obj", "Completed")
    assert made(cloud) == [(HOME, "one")]


async def test_an_object_deleted_after_a_lost_reply_stops_the_job_where_it_is() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(one_job())
    await killed(cloud, Wire("SageMaker.CreateTrainingJob", Mode.KILL_AFTER))
    await cloud.annotate("obj", {REGION: AWAY})
    await cloud.user.delete(cloud.job, "default", "obj")
    async with operator(cloud, identity="two"):
        await cloud.until_gone("obj")
    (stopped,) = cloud.sagemaker.calls.of("StopTrainingJob")
    assert stopped.region == HOME


async def test_a_create_that_never_took_effect_is_made_where_the_annotations_say() -> None:
    """After a crash the outcome is unknown: the first region is searched, and then the resource is created in the other."""
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(one_job())
    await killed(cloud, Wire("SageMaker.CreateTrainingJob", Mode.KILL_BEFORE))
    await cloud.annotate("obj", {REGION: AWAY})
    async with operator(cloud, identity="two"):
        await cloud.until_status("obj", "InProgress", seconds=600)
        assert (await cloud.status("obj"))["ackResourceMetadata"]["region"] == AWAY
    assert made(cloud) == [(AWAY, "one")]


async def test_a_region_edited_while_creates_fail_is_used() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    moved = False

    def script(_: int, name: str) -> Mode | None:
        return Mode.FAIL_BEFORE if name == "SageMaker.CreateTrainingJob" and not moved else None

    async with operator(cloud, wire=Wire(script=script)):
        await cloud.apply(one_job())
        await cloud.pass_time(5)
        moved = True
        await cloud.annotate("obj", {REGION: AWAY})
        await cloud.until_status("obj", "InProgress", seconds=600)
    assert made(cloud) == [(AWAY, "one")]


async def test_a_namespaces_account_edited_after_a_lost_reply() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE), TWO: role(TWO)}, team={OWNER_ACCOUNT_ID: ONE})
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.LOST_REPLY))
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await job(cloud, "one", "team")
        await cloud.until(lambda: cloud.creates() == 1, step=0.01)
        change = {"metadata": {"annotations": {OWNER_ACCOUNT_ID: TWO}}}
        await cloud.user.merge_patch(NAMESPACES, None, "team", change)
        await reached(cloud, "one", "team", "Completed")
    assert {call.account for call in cloud.sagemaker.calls.of("CreateTrainingJob")} == {ONE}


@pytest.mark.parametrize("kind", NAMELESS)
async def test_a_resource_named_by_aws_is_found_again(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
    stage.cloud.forget()
    await stage.apply()
    await killed(stage.cloud, Wire(f"SageMaker.{stage.kind.create}", Mode.KILL_AFTER))
    await stage.cloud.annotate(stage.name, {REGION: AWAY}, kind=kind)
    async with operator(stage.cloud, identity="two"):
        await stage.settled()
        assert (await stage.status())["ackResourceMetadata"]["region"] == HOME
    assert {call.region for call in stage.cloud.sagemaker.calls.of(stage.kind.create)} == {HOME}


async def test_the_annotation_costs_no_write_and_is_removed_with_the_finalizer() -> None:
    stage = Stage("TrainingJob")
    refused = Fault(operation="CreateTrainingJob", kind=FaultKind.REJECT, code="ValidationException", message="no")
    stage.cloud.sagemaker.faults.add(refused)
    async with operator(stage.cloud):
        await stage.apply()
        await stage.condition("ACK.Terminal")
        await stage.cloud.pass_time(5)
        assert stage.writes() == ["patch trainingjobs", "patch status", "patch trainingjobs"]
        assert CREATE_SENT not in (await stage.get())["metadata"].get("annotations", {})


async def test_the_annotation_reveals_and_changes_nothing_elsewhere() -> None:
    """A user points it, with a finalizer and the right UID, at an account where somebody else's job has the name."""
    cloud = await cloud_with(
        accounts={ONE: role(ONE), TWO: role(TWO)}, one={OWNER_ACCOUNT_ID: ONE}, two={OWNER_ACCOUNT_ID: TWO}
    )
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await job(cloud, "shared", "two")
        await reached(cloud, "shared", "two", "InProgress")
    await job(cloud, "shared", "one")
    uid = (await cloud.get("shared", "one"))["metadata"]["uid"]
    pointed = {
        "finalizers": ["finalizers.sagemaker.services.k8s.aws/TrainingJob"],
        "annotations": {CREATE_SENT: f"{uid} aws {HOME} {TWO}"},
    }
    await cloud.user.merge_patch(cloud.job, "one", "shared", {"metadata": pointed})
    async with operator(cloud, identity="two"):
        await reached(cloud, "shared", "one", "InProgress")
        status = (await cloud.get("shared", "one"))["status"]
        assert status["ackResourceMetadata"]["ownerAccountID"] == ONE
    made_in = [call.account for call in cloud.sagemaker.calls.of("CreateTrainingJob") if call.applied]
    assert sorted(made_in) == [ONE, TWO]


@pytest.mark.parametrize(
    "value", ["", "nonsense", f"another-uid aws {AWAY} {ONE}", "{uid} aws no-such-region-9 123456789012"]
)
async def test_a_value_that_is_not_the_operators_own_is_ignored(value: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(one_job())
    uid = (await cloud.get("obj"))["metadata"]["uid"]
    change = {
        "finalizers": ["finalizers.sagemaker.services.k8s.aws/TrainingJob"],
        "annotations": {CREATE_SENT: value.replace("{uid}", uid)},
    }
    await cloud.patch("obj", {"metadata": change}, kind="TrainingJob")
    async with operator(cloud):
        await cloud.until_status("obj", "InProgress")
    assert made(cloud) == [(HOME, "one")]
