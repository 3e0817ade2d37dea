"""Rare statuses of a resource: rollbacks, maintenance, pending, records that are being deleted.

What the object reports in each, that it is polled to its end, and that no call is made twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import JOB_RECORD, RECONCILE_REQUESTED
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kinds.hooks.hosting import LAST_CONFIG
from sagemaker_operator.sandbox.sagemaker.behaviour import DELETE_FAILURE
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage
from tests.e2e.test_kinds_conditions import check, history

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = VIRTUAL

SLOW = 120
"""Seconds of a change, so that a poll every half minute observes each of its steps."""
LONG = 40_000
"""Longer than a resync."""
GUARDED = {"autoRollbackConfiguration": {"alarms": [{"alarmName": "errors"}]}}
BLOCKED = (
    "api error EndpointUpdateError: unable to update endpoint. check FailureReason. "
    "latest EndpointConfigName is churn-v1"
)


def tagged(stage: Stage, **tags: str) -> None:
    """Tags of the sandbox, without their prefix and with `_` for `-`."""
    wanted = {"change_seconds": str(SLOW)} | tags
    own = [{"key": f"sandbox/{key.replace('_', '-')}", "value": value} for key, value in wanted.items()]
    stage.manifest["spec"]["tags"] = own


def states_of(stage: Stage, states: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """(status, conditions by type) as reported, the first of each run of equal statuses."""
    reported: list[tuple[str, dict[str, dict[str, Any]]]] = []
    field = next(member.field for member in stage.kind.status_members if member.api == stage.kind.status_member)
    for _, state in history(stage, states):
        entry = (state.get(field, ""), {c["type"]: c for c in state["conditions"]})
        if not reported or reported[-1][0] != entry[0]:
            reported.append(entry)
    return reported


def statuses(stage: Stage, states: Sequence[dict[str, Any]]) -> list[str]:
    """What was reported, in order, and that no report was wrong."""
    check(stage, history(stage, states))
    reported = states_of(stage, states)
    for status, conditions in reported:
        if status and stage.kind.classify(status).in_transition:
            assert conditions["ACK.ResourceSynced"]["status"] == "False", status
            assert conditions["ACK.ResourceSynced"]["message"] == f"{stage.kind.name} is in {status} status."
            assert conditions["Ready"]["status"] == "False", status
            assert "Reconciling" in conditions, status
            assert not {"ACK.Terminal", "Stalled", "Complete", "Failed"} & conditions.keys(), status
    return [status for status, _ in reported if status]


async def until(stage: Stage, status: str) -> None:
    """Waits until that is what people read."""

    async def reached() -> bool:
        field = next(m.field for m in stage.kind.status_members if m.api == stage.kind.status_member)
        return (await stage.status()).get(field) == status

    await stage.cloud.until(reached)


async def quiet(stage: Stage, seconds: float = LONG) -> None:
    """No calls and no writes, however long one waits."""
    stage.cloud.forget()
    await stage.cloud.pass_time(seconds)
    assert (stage.mutating(), stage.writes()) == ([], [])


async def choose_configuration(stage: Stage, name: str) -> None:
    """Creates another endpoint configuration and names it in the spec."""
    config = Stage.manifest_of("EndpointConfig")
    config["metadata"]["name"] = config["spec"]["endpointConfigName"] = name
    await stage.cloud.apply(config)
    await stage.settled(config)
    await stage.edit({"endpointConfigName": name})


async def test_a_guarded_deployment_is_rolled_back() -> None:
    stage = Stage("Endpoint")
    tagged(stage)
    stage.manifest["spec"]["deploymentConfig"] = GUARDED
    async with operator(stage.cloud), stage.cloud.watching("Endpoint") as states:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await choose_configuration(stage, "churn-fails")
        await until(stage, "RollingBack")
        describes = len(stage.cloud.sagemaker.calls)
        await stage.cloud.pass_time(90)
        assert len(stage.cloud.sagemaker.calls) - describes >= 2, "it is followed"
        reported = await stage.condition("ACK.Terminal")
        await quiet(stage)
        assert statuses(stage, states) == ["Creating", "InService", "Updating", "RollingBack", "InService"]
        status = await stage.status()
        assert reported["message"] == BLOCKED
        assert "rolled back" in status["failureReason"]
        assert "pendingDeploymentSummary" not in status
        rolling = dict(states_of(stage, states))["RollingBack"]
        assert "ACK.Recoverable" not in rolling, "it moves because of our own update"
        assert rolling["Ready"]["message"] == "Endpoint is in RollingBack status."
        await stage.edit({"endpointConfigName": "churn-v1"})
        await stage.settled()
        await quiet(stage)
        assert (await stage.describe())["EndpointConfigName"] == "churn-v1"


async def test_a_failed_rollback_is_reported_and_not_retried_before_an_edit() -> None:
    stage = Stage("Endpoint")
    tagged(stage, update_outcome="RollbackFailed")
    async with operator(stage.cloud), stage.cloud.watching("Endpoint") as states:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        stage.cloud.forget()
        await choose_configuration(stage, "churn-v2")
        await until(stage, "UpdateRollbackFailed")
        reported = await stage.condition("ACK.Terminal")
        status, conditions = await stage.status(), await stage.conditions()
        assert reported["message"] == BLOCKED
        assert "its rollback failed" in status["failureReason"]
        assert (conditions["Ready"]["status"], conditions["ACK.ResourceSynced"]["status"]) == ("False", "False")
        assert (await stage.get())["metadata"]["annotations"][LAST_CONFIG] == "churn-v2"
        await stage.cloud.pass_time(LONG)
        assert stage.mutating().count("UpdateEndpoint") == 1, "the same update is not sent again"

        await choose_configuration(stage, "churn-v3")
        await stage.settled()
        assert stage.mutating().count("UpdateEndpoint") == 2
        await quiet(stage)
        assert (await stage.describe())["EndpointConfigName"] == "churn-v3"
        assert "failureReason" not in await stage.status()
    passed = ["Updating", "RollingBack", "UpdateRollbackFailed", "Updating", "InService"]
    assert statuses(stage, states) == ["Creating", "InService", *passed]


async def test_going_back_to_the_old_configuration_recovers_from_a_failed_rollback() -> None:
    stage = Stage("Endpoint")
    tagged(stage, update_outcome="RollbackFailed")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await choose_configuration(stage, "churn-v2")
        await stage.condition("ACK.Terminal")
        stage.cloud.forget()
        await stage.edit({"endpointConfigName": "churn-v1"})
        await stage.settled()
        assert stage.mutating() == ["UpdateEndpoint"]
        found = await stage.describe()
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "churn-v1")
        await quiet(stage)


async def test_an_endpoint_whose_rollback_failed_can_be_deleted() -> None:
    stage = Stage("Endpoint")
    tagged(stage, update_outcome="RollbackFailed")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await choose_configuration(stage, "churn-v2")
        await stage.condition("ACK.Terminal")
        stage.cloud.forget()
        await stage.delete()
    assert stage.mutating() == ["DeleteEndpoint"]


MAINTAINED = {"Endpoint": ["SystemUpdating"], "NotebookInstance": ["PendingMaintenance", "InMaintenance"]}


async def maintained(stage: Stage) -> None:
    """Created, ready, and then under maintenance, which the operator has just observed."""
    tagged(stage, maintenance_after="600")
    await stage.prepare()
    await stage.supply(stage.story.also)
    await stage.apply()
    await stage.settled()
    await stage.cloud.pass_time(620)
    stage.cloud.forget()


@pytest.mark.parametrize("kind", MAINTAINED)
async def test_maintenance_is_polled_to_its_end(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await maintained(stage)
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind=kind)
        await until(stage, MAINTAINED[kind][0])
        await stage.settled()
        assert stage.mutating() == []
        await quiet(stage)
    assert statuses(stage, states)[1:] == ["InService", *MAINTAINED[kind], "InService"]


@pytest.mark.parametrize("kind", MAINTAINED)
async def test_an_edit_waits_for_the_end_of_a_maintenance_and_is_made_once(kind: str) -> None:
    stage = Stage(kind)
    assert stage.story.edit is not None
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await maintained(stage)
        await stage.edit(stage.story.edit.spec)
        reported = await stage.condition("ACK.Recoverable")
        assert reported["message"] == f"{kind} in {MAINTAINED[kind][0]} state cannot be modified or deleted."
        assert stage.mutating() == []
        await stage.settled()
        assert stage.mutating() == list(stage.story.edit.calls)
        await quiet(stage)
    assert statuses(stage, states)[2 : 2 + len(MAINTAINED[kind])] == MAINTAINED[kind]


@pytest.mark.parametrize("kind", MAINTAINED)
async def test_a_deletion_waits_for_the_end_of_a_maintenance(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await maintained(stage)
        await stage.delete()
    stop = ["StopNotebookInstance"] if kind == "NotebookInstance" else []
    calls = [call for call in stage.cloud.sagemaker.calls.mutating() if not call.code]
    assert [call.operation for call in calls] == [*stop, stage.kind.delete]
    assert len(stage.mutating()) == len(calls) + 1, "the first one, of which the operator could not know"
    waiting = dict(states_of(stage, states))[MAINTAINED[kind][0]]["ACK.Recoverable"]["message"]
    assert waiting == f"{kind} in {MAINTAINED[kind][0]} state cannot be modified or deleted."


@pytest.mark.parametrize(
    ("kind", "passed"),
    [
        ("LabelingJob", ["Initializing", "InProgress", "Completed"]),
        ("ModelPackage", ["Pending", "InProgress", "Completed"]),
        ("ModelPackageGroup", ["Pending", "InProgress", "Completed"]),
        ("Project", ["Pending", "CreateInProgress", "CreateCompleted"]),
    ],
)
async def test_a_pending_resource_is_polled_until_complete_and_created_once(kind: str, passed: list[str]) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await quiet(stage)
    assert statuses(stage, states) == passed
    assert stage.cloud.sagemaker.made[kind] == 1


async def test_an_edit_of_a_pending_package_waits_until_it_is_complete() -> None:
    stage = Stage("ModelPackage")
    assert stage.story.edit is not None
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await until(stage, "Pending")
        await stage.edit(stage.story.edit.spec)
        reported = await stage.condition("ACK.Recoverable")
        await stage.settled()
        assert stage.mutating()[-2:] == ["CreateModelPackage", "UpdateModelPackage"]
        await quiet(stage)
    assert reported["message"] == "ModelPackage in Pending state cannot be modified or deleted."


@pytest.mark.parametrize("kind", ["ModelPackageGroup", "Project"])
async def test_a_deletion_of_a_pending_resource_waits_until_it_is_complete(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.apply()
        await until(stage, "Pending")
        await stage.delete()
    assert stage.mutating() == [stage.kind.create, stage.kind.delete]


def named(stage: Stage) -> dict[str, Any]:
    return {stage.kind.name_member: stage.manifest["spec"][stage.kind.identifiers[0].field]}


RECORDS = ("HyperParameterTuningJob", "TrainingJob")


def erased(stage: Stage, **tags: str) -> None:
    """With its object goes SageMaker's record of the job."""
    tagged(stage, **tags)
    stage.manifest["metadata"]["annotations"] = {JOB_RECORD: "delete"}


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("kind", RECORDS)
async def test_the_object_stays_until_the_record_of_its_job_is_gone(kind: str, running: bool) -> None:
    stage = Stage(kind)
    erased(stage)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await stage.apply()
        await until(stage, "InProgress")
        if not running:
            await stage.settled()
        stage.cloud.forget()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        await until(stage, "Deleting")
        reported = await stage.condition("ACK.Recoverable")
        assert (await stage.describe())[stage.kind.status_member] == "Deleting"
        assert stage.mutating()[-1] == stage.kind.delete
        for number in range(3):
            await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: str(number)}, kind=kind)
            await asyncio.sleep(5)
        await stage.cloud.until_gone(stage.name, kind=kind, step=5.0)
        assert stage.kind.arn_member not in await stage.cloud.ask(stage.kind.describe, **named(stage))
    assert reported["message"] == f"{kind} is Deleting."
    assert stage.mutating() == [*([stage.kind.stop] if running else []), stage.kind.delete]
    assert statuses(stage, states)[-1] == "Deleting"


async def test_a_tuning_job_that_could_not_be_deleted_is_reported_and_retried() -> None:
    stage = Stage("HyperParameterTuningJob")
    erased(stage, delete_outcome="Failed")
    async with operator(stage.cloud), stage.cloud.watching(stage.kind.name) as states:
        await stage.apply()
        await stage.settled()
        stage.cloud.forget()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        await until(stage, "DeleteFailed")
        reported = await stage.condition("ACK.Recoverable")
        describes = len(stage.cloud.sagemaker.calls)
        await stage.cloud.pass_time(200)
        assert len(stage.cloud.sagemaker.calls) == describes, "no calls meanwhile"
        await stage.cloud.until_gone(stage.name, kind=stage.kind.name, step=5.0)
    reason = DELETE_FAILURE.rstrip(".")
    assert reported["message"] == f"SageMaker could not delete it: {reason}. It is tried again every 5 minutes."
    assert stage.mutating() == [stage.kind.delete] * 2
    assert statuses(stage, states)[-3:] == ["Deleting", "DeleteFailed", "Deleting"]


@pytest.mark.parametrize("kind", RECORDS)
async def test_a_record_deleted_outside_the_operator_does_not_run_the_job_again(kind: str) -> None:
    stage = Stage(kind)
    tagged(stage)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await stage.apply()
        await stage.settled()
        stage.cloud.forget()
        await stage.cloud.ask(stage.kind.delete or "", **named(stage))
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind=kind)
        await until(stage, "Deleting")
        reported = await stage.condition("ACK.Terminal")
        assert stage.mutating() == [stage.kind.delete], "not ours"
        await quiet(stage)
    assert "A job is not run a second time by itself" in reported["message"]
    assert "Deleting" in statuses(stage, states)


async def test_a_tuning_job_whose_foreign_delete_failed_is_settled() -> None:
    stage = Stage("HyperParameterTuningJob")
    tagged(stage, delete_outcome="Failed")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        await stage.cloud.ask(stage.kind.delete or "", **named(stage))
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind=stage.kind.name)
        await until(stage, "DeleteFailed")
        conditions = await stage.conditions()
        assert stage.kind.classify("DeleteFailed") is StatusClass.DELETE_FAILED
        assert conditions["Ready"]["status"] == "False"
        assert DELETE_FAILURE in conditions["Ready"]["message"]
        await quiet(stage)
        stage.cloud.forget()
        await stage.delete()
    assert stage.mutating() == [], "the record stays, as it does for every job"
