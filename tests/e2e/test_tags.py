"""Tags of every kind follow spec, and other tags are not changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED, UID_TAG
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import killed, operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

TAGGED = tuple(kind for kind in KINDS if Stage.manifest_of(kind)["spec"].get("tags") and kind != "ModelPackage")
"""All but what SageMaker takes no tags for: executions of pipelines, versions of model packages."""


def spec_tags(**tags: str) -> dict[str, Any]:
    return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


async def arn_of(stage: Stage) -> str:
    return str((await stage.status())["ackResourceMetadata"]["arn"])


async def actual(stage: Stage) -> dict[str, str]:
    answer = await stage.cloud.ask("ListTags", ResourceArn=await arn_of(stage))
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}


async def others(stage: Stage, **tags: str) -> None:
    """Somebody else tags the resource."""
    labels = [{"Key": key, "Value": value} for key, value in tags.items()]
    await stage.cloud.ask("AddTags", ResourceArn=await arn_of(stage), Tags=labels)


async def ready(stage: Stage, manager: Manager) -> None:
    await stage.prepare()
    stage.manifest["spec"] |= spec_tags(team="churn", stage="dev", old="1")
    await stage.apply()
    await stage.settled()
    await stage.idle(manager)
    assert (await stage.status())["managedTagKeys"] == ["old", "stage", "team"]
    stage.cloud.forget()


@pytest.mark.parametrize("kind", TAGGED)
async def test_an_edit_of_tags_adds_changes_and_removes_only_its_own(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud) as manager:
        await ready(stage, manager)
        uid = (await stage.get())["metadata"]["uid"]
        await others(stage, billing="42")
        stage.cloud.forget()
        await stage.edit(spec_tags(team="churn", stage="prod", new="2"))
        await stage.settled()
        await stage.idle(manager)
        tags = await actual(stage)
        assert {key: tags.get(key) for key in ("team", "stage", "new", "old", "billing")} == {
            "team": "churn",
            "stage": "prod",
            "new": "2",
            "old": None,
            "billing": "42",
        }
        assert tags[UID_TAG] == uid
        assert tags["services.k8s.aws/namespace"] == "default"
        assert stage.mutating() == ["DeleteTags", "AddTags"]
        assert (await stage.status())["managedTagKeys"] == ["new", "stage", "team"]
        conditions = await stage.conditions()
        assert {"ACK.Terminal", "ACK.Advisory", "ACK.Recoverable"}.isdisjoint(conditions)


async def test_tags_are_not_read_during_a_job_and_their_order_does_not_matter() -> None:
    stage = Stage("TrainingJob")
    stage.manifest["spec"] |= spec_tags(a="1", b="2")
    async with operator(stage.cloud) as manager:
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        assert stage.cloud.sagemaker.calls.of("ListTags") == []
        stage.cloud.forget()
        await stage.edit({"tags": list(reversed(stage.manifest["spec"]["tags"]))})
        await stage.settled()
        assert stage.mutating() == []
        assert len(stage.cloud.sagemaker.calls.of("ListTags")) == 1
        await stage.edit({"tags": None})
        await stage.settled()
        await stage.idle(manager)
        assert stage.mutating() == ["DeleteTags"], "of a finished job too"
        assert "managedTagKeys" not in await stage.status()
        stage.cloud.forget()
        await stage.cloud.annotate(stage.name, {"example.com/note": "1"})
        await stage.cloud.pass_time(40_000)
        assert stage.cloud.sagemaker.calls.total == 0
        assert stage.writes() == []


async def test_tag_drift_is_corrected_on_demand_and_at_the_resync() -> None:
    stage = Stage("Model")
    async with operator(stage.cloud, resync_seconds=600.0) as manager:
        await ready(stage, manager)
        arn = await arn_of(stage)
        await others(stage, team="somebody-elses")
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind="Model")
        await stage.cloud.pass_time(60)
        assert (await actual(stage))["team"] == "churn"
        await stage.cloud.ask("DeleteTags", ResourceArn=arn, TagKeys=["team", "stage"])
        stage.cloud.forget()
        await stage.cloud.pass_time(900)
        assert (await actual(stage))["team"] == "churn"
        assert stage.mutating() == ["AddTags"]
        assert stage.writes() == [], "the status says the same as before"


@pytest.mark.parametrize("operation", ["ListTags", "AddTags", "DeleteTags"])
async def test_without_the_permission_it_says_so_and_does_everything_else(operation: str) -> None:
    stage = Stage("Endpoint")
    async with operator(stage.cloud) as manager:
        await ready(stage, manager)
        stage.cloud.sagemaker.faults.add(Fault(operation=operation, kind=FaultKind.ACCESS_DENIED, times=None))
        await stage.supply(stage.story.also)
        stage.cloud.forget()
        assert stage.story.edit is not None
        await stage.edit({**stage.story.edit.spec, **spec_tags(stage="prod", new="2")})
        reported = await stage.condition("ACK.Advisory")
        assert f"sagemaker:{operation}" in reported["message"]
        await stage.cloud.pass_time(3600)
        assert (await stage.conditions())["Ready"]["status"] == "True"
        assert "UpdateEndpoint" in stage.mutating()
        assert len(stage.cloud.sagemaker.calls.of(operation)) < 30
        stage.cloud.sagemaker.faults.clear()
        await stage.cloud.pass_time(1200)
        tags = await actual(stage)
        assert (tags["stage"], tags["new"], tags.get("old")) == ("prod", "2", None)
        assert "ACK.Advisory" not in await stage.conditions()
        await stage.idle(manager)


@pytest.mark.parametrize("call", ["SageMaker.DeleteTags", "SageMaker.AddTags"])
@pytest.mark.parametrize("mode", [Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.FAIL_AFTER])
async def test_a_crash_or_a_lost_reply_between_the_calls_ends_in_the_same_state(call: str, mode: Mode) -> None:
    stage = Stage("Model")
    async with operator(stage.cloud) as manager:
        await ready(stage, manager)
    wire = Wire(call, mode)
    if mode.ends:
        await stage.edit(spec_tags(stage="prod", new="2"))
        await killed(stage.cloud, wire)
    async with operator(stage.cloud, wire=Wire() if mode.ends else wire) as manager:
        if not mode.ends:
            await stage.edit(spec_tags(stage="prod", new="2"))
        await stage.settled()
        await stage.idle(manager)
        tags = await actual(stage)
        assert {key: tags.get(key) for key in ("team", "stage", "new", "old")} == {
            "team": None,
            "stage": "prod",
            "new": "2",
            "old": None,
        }


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}], "spec.tags: 'a' is given twice"),
        ([{"key": "aws:cost", "value": "1"}], "begin with aws: are AWS's own"),
    ],
)
async def test_invalid_tags_are_named_and_make_no_call(tags: Any, text: str) -> None:
    stage = Stage("Model")
    async with operator(stage.cloud) as manager:
        await ready(stage, manager)
        await stage.edit({"tags": tags})
        assert text in (await stage.condition("ACK.Terminal"))["message"]
        assert stage.mutating() == []
        await stage.edit(spec_tags(team="churn", stage="dev", old="1"))
        await stage.settled()
        assert stage.mutating() == []
    fresh = Stage("Model")
    async with operator(fresh.cloud):
        await fresh.prepare()
        fresh.manifest["spec"]["tags"] = tags
        await fresh.apply()
        assert text in (await fresh.condition("ACK.Terminal"))["message"]
        assert fresh.mutating() == []


async def test_an_object_that_was_there_before_removes_nothing_it_did_not_set() -> None:
    """Stored by ACK, or before the status had the field."""
    stage = Stage("Model")
    async with operator(stage.cloud) as manager:
        await ready(stage, manager)
    await stage.cloud.patch(stage.name, {"status": {"managedTagKeys": None}}, kind="Model", subresource="status")
    async with operator(stage.cloud) as manager:
        await stage.edit(spec_tags(team="growth"))
        await stage.settled()
        await stage.idle(manager)
        tags = await actual(stage)
        assert (tags["team"], tags["old"]) == ("growth", "1")
        await stage.edit({"tags": None})
        await stage.settled()
        await stage.idle(manager)
        assert "team" not in await actual(stage)
