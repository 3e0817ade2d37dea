"""An edit of identifying fields never makes the operator act on another resource.

Our CRDs refuse such an edit; ACK's do not, so these run under the relaxed ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.conditions import RECOVERABLE, TERMINAL
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.sagemaker.calls import Call

pytestmark = VIRTUAL


async def described(stage: Stage, **changes: str | None) -> dict[str, Any]:
    """Describe output of a resource of this kind, by the sample's identifiers with these changed."""
    spec = {name: value for name, value in (stage.manifest["spec"] | changes).items() if value is not None}
    return await stage.ask_about(spec, None)


def changed(stage: Stage) -> list[Call]:
    return [call for call in stage.cloud.sagemaker.calls.mutating() if call.operation != "GetCallerIdentity"]


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("App", {"appType": "KernelGateway"}),
        ("App", {"appName": "other"}),
        ("App", {"domainID": "d-other0other0"}),
        ("App", {"userProfileName": "bob"}),
        ("App", {"userProfileName": "bob", "appType": "KernelGateway", "appName": "other"}),
        ("Space", {"domainID": "d-other0other0"}),
        ("Space", {"spaceName": "other"}),
        ("UserProfile", {"domainID": "d-other0other0"}),
        ("UserProfile", {"userProfileName": "other"}),
    ],
)
async def test_an_edited_identity_is_refused_and_never_followed(kind: str, edit: dict[str, str]) -> None:
    stage = Stage(kind, relaxed=True)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        arn = (await stage.status())["ackResourceMetadata"]["arn"]
        stage.cloud.forget()
        await stage.edit(edit)
        condition = await stage.condition(TERMINAL)
        assert all(f"spec.{name}" in condition["message"] for name in edit)
        assert "immutable: the SageMaker API cannot update" in condition["message"]
        await stage.cloud.pass_time(7200)
        assert changed(stage) == []
        assert (await stage.status())["ackResourceMetadata"]["arn"] == arn
        await stage.delete()
    assert [call.operation for call in changed(stage)] == [stage.kind.delete]
    gone = await described(stage)
    assert "__type" in gone or gone.get("Status") == "Deleted", "its own resource went, whatever the spec says"


async def test_the_app_that_the_edited_spec_names_is_left_alone() -> None:
    stage = Stage("App", relaxed=True)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        victim = stage.create_input() | {"AppType": "KernelGateway", "AppName": "precious"}
        await stage.cloud.ask("CreateApp", **victim)
        await stage.cloud.pass_time(600)
        await stage.edit({"appType": "KernelGateway", "appName": "precious"})
        await stage.condition(TERMINAL)
        await stage.delete()
        assert (await described(stage, appType="KernelGateway", appName="precious"))["Status"] == "InService"
        assert (await described(stage)).get("Status") in (None, "Deleted")


async def test_a_taken_name_is_tried_once_per_reconcile_when_the_own_resource_is_gone() -> None:
    stage = Stage("ModelPackageGroup", relaxed=True)
    async with operator(stage.cloud, resync_seconds=60.0):
        await stage.apply()
        await stage.settled()
        name = stage.manifest["spec"]["modelPackageGroupName"]
        await stage.cloud.ask("CreateModelPackageGroup", ModelPackageGroupName="taken")
        await stage.cloud.pass_time(600)
        await stage.cloud.ask("DeleteModelPackageGroup", ModelPackageGroupName=name)
        stage.cloud.forget()
        await stage.edit({"modelPackageGroupName": "taken"})
        condition = await stage.condition(RECOVERABLE)
        assert condition["reason"] == "AlreadyExists"
        assert "the name in spec is taken by another ModelPackageGroup" in condition["message"]
        assert len(changed(stage)) == 1
        await stage.edit({"modelPackageGroupName": name})
        await stage.settled()


async def test_an_app_whose_owner_became_ambiguous_waits_until_the_spec_names_it() -> None:
    """The ARN says `alice` and not whether that is a user or a space: what is not found may be there all the same."""
    stage = Stage("App", relaxed=True)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        owner = stage.manifest["spec"]["userProfileName"]
        stage.cloud.forget()
        await stage.cloud.pass_time(600)
        await stage.edit({"userProfileName": None, "spaceName": "elsewhere"})
        condition = await stage.condition(TERMINAL)
        assert condition["message"].startswith(
            "spec.userProfileName or spec.spaceName identifies the resource and is immutable"
        )
        assert repr(owner) in condition["message"]
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        await stage.cloud.pass_time(7200)
        assert (await stage.get())["metadata"]["finalizers"]
        assert [call.operation for call in changed(stage) if call.applied] == []
        assert (await described(stage))["Status"] == "InService"
        await stage.edit({"userProfileName": owner, "spaceName": None})
        await stage.cloud.until_gone(stage.name, kind="App", step=5.0)
        assert (await described(stage)).get("Status") in (None, "Deleted")
