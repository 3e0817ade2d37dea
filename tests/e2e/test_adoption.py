"""Adoption and read-only observation of every kind: resources that existed before their object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import (
    ADOPTED,
    ADOPTION_FIELDS,
    ADOPTION_POLICY,
    READ_ONLY,
    RECONCILE_REQUESTED,
    UID_TAG,
)
from sagemaker_operator.control.spec.adoption import adoption_keys
from tests.e2e.harness import killed, operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

RESYNC_SECONDS = 60.0
PASSES = 5


async def made(stage: Stage, **more: Any) -> str:
    """Creates the resource directly in SageMaker and waits until it is settled; returns its ARN."""
    answer = await stage.cloud.ask(stage.kind.create, **{**stage.create_input(), **more})
    arn = str(answer[stage.kind.arn_member])
    await stage.cloud.pass_time(1800)
    stage.cloud.forget()
    return arn


def fields(stage: Stage, arn: str) -> str:
    known = {**stage.manifest["spec"], "arn": arn}
    if stage.kind.id_in_arn:
        known["domainID"] = arn.rpartition("/")[2]
    required, optional = adoption_keys(stage.kind)
    return json.dumps({key: known[key] for key in (*required, *optional) if key in known})


async def apply(stage: Stage, **annotations: str) -> None:
    stage.manifest["metadata"]["annotations"] = annotations
    await stage.apply()


async def silence(stage: Stage, manager: Manager) -> None:
    """Five more reconciles change nothing."""
    await stage.idle(manager)
    before = await stage.get()
    stage.cloud.forget()
    for number in range(PASSES):
        await stage.cloud.annotate(stage.name, {"example.com/note": str(number)}, kind=stage.kind.name)
        await stage.cloud.pass_time(1.2 * RESYNC_SECONDS)
    assert stage.mutating() == []
    assert stage.writes() == []
    after = await stage.get()
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["adopt", "adopt-or-create"])
async def test_a_resource_is_adopted_without_a_mutating_call(kind: str, policy: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud, resync_seconds=RESYNC_SECONDS) as manager:
        await stage.prepare()
        arn = await made(stage)
        await apply(stage, **{ADOPTION_POLICY: policy, ADOPTION_FIELDS: fields(stage, arn)})
        await stage.settled()
        assert stage.mutating() == []
        adopted = await stage.get()
        assert adopted["metadata"]["annotations"][ADOPTED] == "true"
        assert adopted["metadata"]["finalizers"] == [stage.kind.finalizer]
        assert adopted["status"]["ackResourceMetadata"]["arn"] == arn
        if policy == "adopt-or-create":
            assert adopted["spec"] == stage.manifest["spec"], "the spec stays the user's"
        conditions = await stage.conditions()
        assert conditions["ACK.Adopted"]["status"] == "True"
        assert "ACK.Terminal" not in conditions
        assert "ACK.Advisory" not in conditions
        await silence(stage, manager)
        await stage.delete()
        assert stage.kind.stop_on_delete or stage.kind.delete in stage.mutating()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_read_only_object_only_reads(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud, resync_seconds=RESYNC_SECONDS) as manager:
        await stage.prepare()
        arn = await made(stage)
        await apply(stage, **{READ_ONLY: "true", ADOPTION_FIELDS: fields(stage, arn)})
        await stage.settled()
        observed = await stage.get()
        assert "finalizers" not in observed["metadata"]
        assert observed["status"]["ackResourceMetadata"]["arn"] == arn
        await silence(stage, manager)
        await stage.delete()
        assert stage.mutating() == []
        assert stage.kind.arn_member in await stage.ask_about(
            {**stage.manifest["spec"], **json.loads(fields(stage, arn))}, arn
        )


async def test_a_missing_resource_is_created_only_by_adopt_or_create() -> None:
    for policy, creates in (("adopt", 0), ("adopt-or-create", 1)):
        stage = Stage("Model")
        async with operator(stage.cloud):
            await stage.prepare()
            name = json.dumps({"modelName": stage.manifest["spec"]["modelName"]})
            await apply(stage, **{ADOPTION_POLICY: policy, ADOPTION_FIELDS: name})
            await stage.cloud.pass_time(3600)
            assert stage.creates() == creates
            conditions = await stage.conditions()
            if creates:
                assert "ACK.Adopted" not in conditions
                assert conditions["Ready"]["status"] == "True"
            else:
                assert "no such Model" in conditions["ACK.Recoverable"]["message"]
                assert len(stage.cloud.sagemaker.calls.of("DescribeModel")) < 30
                await made(stage)
                await stage.settled()


async def test_a_read_only_object_without_a_resource_says_so_and_creates_nothing() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await apply(stage, **{READ_ONLY: "true"})
        assert "no such Model" in (await stage.condition("ACK.Recoverable"))["message"]
        assert stage.mutating() == []
        await stage.cloud.annotate(stage.name, {READ_ONLY: "false"}, kind="Model")
        await stage.settled()
        assert stage.creates() == 1


async def test_drift_under_read_only_is_reported_until_the_spec_agrees() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await made(stage)
        stage.manifest["spec"]["enableNetworkIsolation"] = True
        await apply(stage, **{READ_ONLY: "true"})
        assert "spec.enableNetworkIsolation" in (await stage.condition("ACK.Advisory"))["message"]
        await stage.edit({"enableNetworkIsolation": False})
        await stage.settled()
        assert "ACK.Advisory" not in await stage.conditions()
        assert stage.mutating() == []


async def test_a_terminal_object_is_adopted_as_soon_as_it_is_annotated() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await made(stage, Tags=[{"Key": UID_TAG, "Value": "another"}])
        await stage.apply()
        assert "Resource already exists" in (await stage.condition("ACK.Terminal"))["message"]
        name = json.dumps({"modelName": stage.manifest["spec"]["modelName"]})
        for wrong, message in (
            ({ADOPTION_POLICY: "yes"}, "must be adopt or adopt-or-create"),
            ({ADOPTION_POLICY: "adopt"}, 'write {"modelName": "..."}'),
            ({ADOPTION_FIELDS: "nonsense"}, "JSON object of strings"),
            ({ADOPTION_FIELDS: '{"name": "x"}'}, "has no name; its keys are modelName"),
        ):
            await stage.cloud.annotate(stage.name, wrong, kind="Model")
            await stage.cloud.pass_time(5)
            assert message in (await stage.condition("ACK.Terminal"))["message"]
        await stage.cloud.annotate(stage.name, {ADOPTION_FIELDS: name}, kind="Model")
        await stage.settled()
        conditions = await stage.conditions()
        assert conditions["ACK.Advisory"]["reason"] == "CreatedForAnotherObject"
        assert "ACK.Terminal" not in conditions
        assert stage.creates() == 0


async def test_adopted_by_the_user_never_creates() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await apply(stage, **{ADOPTED: "true"})
        await stage.cloud.pass_time(3600)
        assert stage.mutating() == []
        assert "never created" in (await stage.condition("ACK.Recoverable"))["message"]


async def test_adopt_takes_the_spec_of_the_resource_and_keeps_the_users_tags() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud):
        await made(stage)
        live = stage.manifest["spec"]
        stage.manifest["spec"] = {
            **live,
            "enableNetworkIsolation": True,
            "tags": [{"key": "team", "value": "churn"}],
        }
        await apply(stage, **{ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: json.dumps({"modelName": live["modelName"]})})
        await stage.settled()
        spec = (await stage.get())["spec"]
        assert not spec.get("enableNetworkIsolation")
        assert spec["tags"] == [{"key": "team", "value": "churn"}]


@pytest.mark.parametrize("kind", ["Model", "Space", "PipelineExecution"])
@pytest.mark.parametrize("policy", ["adopt", "adopt-or-create"])
async def test_a_kill_at_any_call_of_an_adoption_ends_in_the_same_state(kind: str, policy: str) -> None:
    async def begun() -> tuple[Stage, str]:
        stage = Stage(kind)
        async with operator(stage.cloud):
            await stage.prepare()
        arn = await made(stage)
        await apply(stage, **{ADOPTION_POLICY: policy, ADOPTION_FIELDS: fields(stage, arn)})
        return stage, arn

    stage, _ = await begun()
    wire = Wire()
    async with operator(stage.cloud, wire=wire, seed=11):
        await stage.settled()
    expected = (await stage.get())["spec"]
    calls = [
        number
        for number, call in enumerate(wire.calls, start=1)
        if call.startswith(("SageMaker.", f"PATCH {stage.kind.resource.path('default', stage.name)}"))
    ]
    assert len(calls) >= 4
    for number in calls:
        for mode in (Mode.KILL_BEFORE, Mode.KILL_AFTER):
            stage, arn = await begun()
            await killed(stage.cloud, Wire(number, mode), seed=11)
            async with operator(stage.cloud, identity="two", seed=8):
                await stage.settled()
            found = await stage.get()
            assert found["spec"].keys() == expected.keys()
            assert found["status"]["ackResourceMetadata"]["arn"] == arn
            assert found["metadata"]["annotations"][ADOPTED] == "true"
            assert stage.mutating() == []


@pytest.mark.parametrize("kind", ["TrainingJob", "Model", "Endpoint"])
async def test_a_reconcile_request_describes_once_and_records_the_time(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.cloud.pass_time(600)
        stage.cloud.forget()
        for number in ("one", "two"):
            await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: number}, kind=kind)
            await stage.cloud.pass_time(2)
            status = await stage.status()
            assert status["lastHandledReconcileAt"] == number
            assert status["observedAt"].endswith("Z")
        assert len(stage.cloud.sagemaker.calls.of(stage.kind.describe)) == 2
        assert stage.writes() == ["patch status"] * 2
        assert stage.mutating() == []
