"""Conditions for users of ACK during and after problems: updates, failed deployments, taken names, held objects."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.annotations import DELETION_PROTECTION, RECONCILE_REQUESTED
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.control.argo import health
from tests.control.kstatus import contradictions
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage, document

pytestmark = VIRTUAL

HOLDER = "example.com/do-not-delete"
ACKS = "api error EndpointUpdateError: unable to update endpoint. check FailureReason. latest EndpointConfigName is churn-v1"


async def configured(stage: Stage, name: str, **variant: Any) -> None:
    """An endpoint configuration, there already, is written into the spec."""
    config = document("endpointconfig")
    config["metadata"]["name"] = config["spec"]["endpointConfigName"] = name
    config["spec"]["productionVariants"][0] |= variant
    await stage.cloud.apply(config)
    await stage.settled(config)
    await stage.edit({"endpointConfigName": name})


async def until(stage: Stage, field: str, value: str | None, *, step: float = 1.0) -> dict[str, Any]:
    """The status, as soon as this field of it has this value."""

    async def reached() -> Any:
        status = await stage.status()
        return status if status.get(field) == value else None

    return dict(await stage.cloud.until(reached, step=step))


async def quiet(stage: Stage, seconds: float = 600.0) -> None:
    stage.cloud.forget()
    await stage.cloud.pass_time(seconds)
    assert (stage.mutating(), stage.writes()) == ([], [])


def by_type(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert contradictions(status["conditions"]) == []
    return {condition["type"]: condition for condition in status["conditions"]}


async def test_an_endpoint_is_updating_as_soon_as_the_update_was_accepted() -> None:
    stage = Stage("Endpoint")
    async with operator(stage.cloud), stage.cloud.watching("Endpoint") as states:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await configured(stage, "churn-v2")
        await stage.settled()
    reported = [(o["status"]["endpointStatus"], by_type(o["status"])) for o in states if o["status"]]
    words = [status for status, _ in reported]
    assert list(dict.fromkeys(words)) == ["Creating", "InService", "Updating"]
    assert words[-1] == "InService"
    for status, conditions in reported:
        assert not {"ACK.Recoverable", "ACK.Terminal"} & conditions.keys()
        assert conditions["ACK.ResourceSynced"]["status"] == ("True" if status == "InService" else "False")
        assert conditions["ACK.ResourceSynced"]["message"] == f"Endpoint is in {status} status."


@pytest.mark.parametrize("kind", [kind for kind in KINDS if STORIES[kind].edit is not None])
async def test_an_accepted_update_is_never_reported_as_an_error(kind: str) -> None:
    """The objects that an edit needs of its kind's own may wait; the update itself never does."""
    stage, edit = Stage(kind), STORIES[kind].edit
    assert edit is not None
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()
        before = len(states)
        await stage.edit(edit.spec)
        await stage.settled()
    reported = [by_type(o["status"]) for o in states[before:] if o["metadata"].name == stage.name]
    troubles = {c["ACK.Recoverable"]["message"] for c in reported if "ACK.Recoverable" in c}
    assert not {text for text in troubles if "is updating." in text} - {"FeatureGroup is updating."}
    assert any(c["Ready"]["status"] == "False" for c in reported), "while it is carried out it is not Ready"


async def test_a_deployment_that_was_rolled_back_has_acks_message_and_says_what_to_do() -> None:
    stage = Stage("Endpoint")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await configured(stage, "churn-fails")
        terminal = await stage.condition("ACK.Terminal")
        status = await stage.status()
        ready = by_type(status)["Ready"]
        assert (terminal["reason"], terminal["message"]) == ("DeploymentFailed", ACKS)
        assert ready["message"].startswith(f"{ACKS}. The update was rolled back")
        assert status["failureReason"] in ready["message"]
        assert health(status) == "Degraded"
        await quiet(stage)


async def test_an_endpoint_that_failed_at_creation_says_how_to_recover_and_keeps_the_cause() -> None:
    stage = Stage("Endpoint")
    stage.manifest["spec"]["tags"] = [{"key": "sandbox/outcome", "value": "Failed"}]
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.condition("ACK.Terminal")
        assert health(await stage.status()) == "Degraded"
        await configured(stage, "churn-v2")

        async def edited() -> Any:
            found = by_type(await stage.status())["ACK.Terminal"]
            return found if found["reason"] == "DeploymentFailed" else None

        reported = await stage.cloud.until(edited)
        failure = (await stage.status())["failureReason"]
        assert reported["message"].startswith(ACKS)
        assert "delete this object and create it again" in reported["message"]
        assert reported["message"].endswith(failure)
        await quiet(stage)


@pytest.mark.parametrize("kind", ["Model", "TrainingJob", "Endpoint"])
async def test_a_name_that_is_taken_costs_no_write_and_no_create_at_a_restart(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.cloud.ask(stage.kind.create, **stage.create_input())
        await stage.apply()
        assert (await stage.condition("ACK.Terminal"))["message"].startswith("Resource already exists")
        await stage.cloud.pass_time(5)
    before = await stage.get()
    assert "finalizers" not in before["metadata"]
    stage.cloud.forget()
    async with operator(stage.cloud):
        await stage.cloud.pass_time(30)
        assert (stage.mutating(), stage.writes()) == ([], [])
        if kind == "Model":
            # It is created when the name is free.
            await stage.cloud.ask("DeleteModel", ModelName=stage.manifest["spec"]["modelName"])
            await stage.settled(seconds=10_000)


@pytest.mark.parametrize("status", ["False", "True"])
async def test_acks_stale_late_initialisation_condition_is_removed(status: str) -> None:
    stage = Stage("Model")
    text = "Late initialization did not complete, requeuing with delay of 5 seconds"
    late = {"type": "ACK.LateInitialized", "status": status, "message": text}
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    stored = await stage.status()
    theirs = [c for c in stored["conditions"] if c["type"] == "ACK.ResourceSynced"]
    acks = {"observedGeneration": None, "conditions": [late, *theirs]}
    await stage.cloud.patch(stage.name, {"status": acks}, kind="Model", subresource="status")
    async with operator(stage.cloud):
        await stage.cloud.pass_time(5)
        found = await stage.conditions()
    assert ("ACK.LateInitialized" in found) == (status == "True"), "what was completed stays so"


async def test_an_app_that_was_closed_in_studio_stays_closed_until_its_user_asks_for_it() -> None:
    stage = Stage("App")
    async with operator(stage.cloud, leader_election=False):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        spec = (await stage.get())["spec"]
        names = {m.api: spec[m.field] for m in stage.kind.identifiers if m.field in spec}
        await stage.cloud.ask("DeleteApp", **names)
        await stage.cloud.pass_time(60)
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "1"}, kind="App")
        await until(stage, "status", "Deleted")
        reported = by_type(await stage.status())
        assert reported["ACK.Terminal"]["reason"] == "Vanished"
        assert "not created again by itself" in reported["ACK.Terminal"]["message"]
        assert "Reconciling" not in reported
        assert health(await stage.status()) == "Degraded"
        await quiet(stage, 3600.0)
        assert stage.creates() == 0, "calls were forgotten: none since"
    async with operator(stage.cloud, leader_election=False):
        await quiet(stage, 3600.0)
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "2"}, kind="App")
        await stage.settled()
        assert stage.creates() == 1


async def held(stage: Stage) -> dict[str, dict[str, Any]]:
    """Deletes the object, which another finalizer holds; the conditions when ours is off."""
    await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)

    async def off() -> bool:
        return bool((await stage.get())["metadata"]["finalizers"] == [HOLDER])

    await stage.cloud.until(off)
    await stage.cloud.pass_time(5)
    return by_type(await stage.status())


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("ModelPackageGroup", "ModelPackageGroup is gone in SageMaker."),
        ("Model", "Model is gone in SageMaker."),
        ("TrainingJob", "TrainingJob has ended, and SageMaker keeps its record."),
    ],
)
async def test_an_object_that_another_finalizer_holds_says_so(kind: str, what: str) -> None:
    stage = Stage(kind)
    stage.manifest["metadata"]["finalizers"] = [HOLDER]
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        reported = await held(stage)
        status = await stage.status()
        for type_ in ("Ready", "ACK.ResourceSynced"):
            assert reported[type_]["status"] == "False"
            assert reported[type_]["message"].startswith(what)
            assert reported[type_]["message"].endswith(f": {HOLDER}.")
        assert "ACK.Recoverable" not in reported
        if kind == "ModelPackageGroup":
            assert "modelPackageGroupStatus" not in status
        await quiet(stage)
    async with operator(stage.cloud):
        await quiet(stage)


async def test_a_retained_object_held_by_a_finalizer_says_that_its_resource_stays() -> None:
    stage = Stage("Model")
    stage.manifest["metadata"] |= {
        "finalizers": [HOLDER],
        "annotations": {"services.k8s.aws/deletion-policy": "retain"},
    }
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        reported = await held(stage)
    assert "stays in SageMaker: the deletion policy is retain." in reported["Ready"]["message"]
    assert (await stage.describe())["ModelArn"]


@pytest.mark.parametrize("kind", ["Endpoint", "TrainingJob", "Model"])
async def test_deletion_protection_keeps_the_resource_until_it_is_taken_off(kind: str) -> None:
    stage = Stage(kind)
    stage.manifest["metadata"]["annotations"] = {DELETION_PROTECTION: "true"}
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.cloud.pass_time(30)
        stage.cloud.forget()
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        await stage.cloud.pass_time(3600)
        assert stage.mutating() == []
        status = await stage.status()
        reported = by_type(status)
        assert reported["ACK.Recoverable"]["reason"] == "DeletionProtected"
        assert DELETION_PROTECTION in reported["ACK.Recoverable"]["message"]
        if stage.story.ends:
            described = await stage.describe()
            assert described[stage.kind.status_member or ""] == stage.story.ends, "it was followed to its end"
            assert stage.story.ends in status.values()
        await quiet(stage)
        await stage.cloud.annotate(stage.name, {DELETION_PROTECTION: "false"}, kind=kind)
        await stage.cloud.until_gone(stage.name, kind=kind, step=5.0)


async def test_weights_that_an_update_does_not_apply_are_named_with_the_field_that_decides() -> None:
    stage = Stage("Endpoint")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await configured(stage, "churn-v2", initialVariantWeight=0.25, initialInstanceCount=3)
        await stage.settled()
        reported = by_type(await stage.status())
        assert reported["Ready"]["status"] == "True"
        text = reported["ACK.Advisory"]["message"]
        assert "AllTraffic keeps weight 1, not 0.25" in text
        assert "AllTraffic keeps instance count 1, not 3" in text
        assert "spec.retainAllVariantProperties to false" in text
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "1"}, kind="Endpoint")
        await stage.cloud.pass_time(60)
        assert by_type(await stage.status())["ACK.Advisory"]["message"] == text, "until the next edit"
        await stage.edit({"retainAllVariantProperties": False})
        await configured(stage, "churn-v3", initialVariantWeight=0.25, initialInstanceCount=3)
        await stage.settled()
        assert "ACK.Advisory" not in by_type(await stage.status())
        variant = (await stage.describe())["ProductionVariants"][0]
        assert (variant["CurrentWeight"], variant["CurrentInstanceCount"]) == (0.25, 3)


@pytest.mark.parametrize("trouble", [FaultKind.ACCESS_DENIED, FaultKind.THROTTLE, FaultKind.SLOW])
async def test_an_update_is_recorded_even_if_the_advisory_cannot_be_computed(trouble: FaultKind) -> None:
    stage = Stage("Endpoint")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await configured(stage, "churn-v2")
        await stage.settled()
        fault = Fault(operation="DescribeEndpointConfig", kind=trouble, nth=2, times=None, seconds=60.0)
        stage.cloud.sagemaker.faults.add(fault)
        await configured(stage, "churn-v3", initialVariantWeight=0.25)
        await stage.settled()
        assert "ACK.Advisory" not in by_type(await stage.status())
        assert (await stage.describe())["EndpointConfigName"] == "churn-v3"
    assert stage.mutating().count("UpdateEndpoint") == 2
