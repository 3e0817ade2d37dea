"""References between objects: resolved, waited for, requeued; and recorded, for when the other object is gone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.conditions import READY, RECOVERABLE, TERMINAL
from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.harness import Cloud, operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage, document

pytestmark = VIRTUAL

CHAIN = [document(f"chain-endpoint-refs#{number}") for number in range(3)]
HOSTING = ("Model", "EndpointConfig", "Endpoint")

# Kind -> (path of the reference in its sample, the object that the sample needs, where the sample has the name).
USES: dict[str, tuple[str, str, str]] = {
    "App": ("domainRef", "domain", "domainID"),
    "Endpoint": ("endpointConfigRef", "endpointconfig", "endpointConfigName"),
    "EndpointConfig": ("productionVariants.0.modelRef", "model", "productionVariants.0.modelName"),
    "InferenceComponent": ("endpointRef", "chain-inferencecomponent#2", "endpointName"),
    "ModelPackage": ("modelPackageGroupRef", "modelpackagegroup", "modelPackageGroupName"),
    "MonitoringSchedule": (
        "monitoringScheduleConfig.monitoringJobDefinitionRef",
        "dataqualityjobdefinition",
        "monitoringScheduleConfig.monitoringJobDefinitionName",
    ),
    "PipelineExecution": ("pipelineRef", "pipeline", "pipelineName"),
    "Space": ("domainRef", "domain", "domainID"),
    "TransformJob": ("modelRef", "model", "modelName"),
    "UserProfile": ("domainRef", "domain", "domainID"),
}


assert {kind for kind in KINDS if STORIES[kind].needs} == set(USES), "every sample that needs another object is here"


def place(spec: Any, path: str) -> tuple[Any, str]:
    *parents, last = path.split(".")
    for name in parents:
        spec = spec[int(name)] if isinstance(spec, list) else spec[name]
    return spec, last


def refer(stage: Stage) -> None:
    """The sample's name becomes a reference to the object that it needs."""
    ref, needed, name = USES[stage.kind.name]
    parent, last = place(stage.manifest["spec"], name)
    del parent[last]
    parent, last = place(stage.manifest["spec"], ref)
    parent[last] = {"from": {"name": document(needed)["metadata"]["name"]}}


async def recoverable(cloud: Cloud, kind: str, name: str) -> str:
    async def reported() -> Any:
        return (await cloud.conditions(name, kind=kind)).get("ACK.Recoverable")

    return str((await cloud.until(reported))["message"])


@pytest.mark.parametrize("kind", USES)
async def test_a_reference_resolves_to_the_same_value_as_the_name(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        refer(stage)
        await stage.apply()
        await stage.settled()
        conditions = await stage.conditions()
        assert conditions["ACK.ReferencesResolved"]["status"] == "True"
        status = await stage.status()
        (remembered,) = status["resolvedReferences"]
        assert remembered.partition("=")[0] == "spec." + _indexed(USES[kind][0])
        assert stage.creates() == 1
        assert (await stage.get())["spec"] == stage.manifest["spec"]
        stage.cloud.forget()
        await stage.cloud.pass_time(1000)
        assert stage.mutating() == []
        assert stage.writes() == []
        # What it refers to may go first: its own identity is recorded.
        _, needed, _ = USES[kind]
        other = document(needed)
        await stage.cloud.user.delete(catalog()[other["kind"]].resource, "default", other["metadata"]["name"])
        await stage.cloud.pass_time(30)
        await stage.delete()


def _indexed(path: str) -> str:
    return path.replace(".0.", "[0].")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_chain_applied_in_any_order_is_created_once_each(order: tuple[int, ...]) -> None:
    cloud = Cloud(kinds=HOSTING)
    async with operator(cloud):
        for number in order:
            await cloud.apply(CHAIN[number])
            await cloud.pass_time(1)

        async def ready() -> bool:
            found = [await cloud.conditions("churn-by-ref", kind=kind) for kind in HOSTING]
            return all(conditions.get("Ready", {}).get("status") == "True" for conditions in found)

        await cloud.until(ready, seconds=900)
    creates = [call.operation for call in cloud.sagemaker.calls.mutating()]
    assert creates == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


async def test_a_missing_dependency_is_named_and_its_readiness_requeues_at_once() -> None:
    cloud = Cloud(kinds=HOSTING)
    async with operator(cloud):
        await cloud.apply(CHAIN[1])
        text = await recoverable(cloud, "EndpointConfig", "churn-by-ref")
        assert text == ("spec.productionVariants[0].modelRef waits for Model churn-by-ref, which does not exist yet.")
        assert (await cloud.get("churn-by-ref", kind="EndpointConfig"))["metadata"].get("finalizers", []) == []
        assert (await cloud.conditions("churn-by-ref", kind="EndpointConfig"))["ACK.ReferencesResolved"][
            "status"
        ] == "Unknown"
        await cloud.pass_time(600)
        cloud.forget()
        await cloud.apply(CHAIN[0])
        await cloud.until(lambda: cloud.sagemaker.calls.of("CreateEndpointConfig"), seconds=8)
    assert [call.operation for call in cloud.sagemaker.calls.mutating()] == ["CreateModel", "CreateEndpointConfig"]


async def test_a_reference_to_an_object_that_needs_an_edit_says_so() -> None:
    cloud = Cloud(kinds=HOSTING, relaxed=True)
    async with operator(cloud):
        broken = document("chain-endpoint-refs#0")
        broken["spec"]["executionRoleARN"] = "nonsense"
        await cloud.apply(broken)
        await cloud.apply(CHAIN[1])

        async def reported() -> bool:
            return "has a terminal error" in await recoverable(cloud, "EndpointConfig", "churn-by-ref")

        await cloud.until(reported)
        await cloud.patch(
            "churn-by-ref", {"spec": {"executionRoleARN": CHAIN[0]["spec"]["executionRoleARN"]}}, kind="Model"
        )
        await cloud.until(lambda: cloud.sagemaker.calls.of("CreateEndpointConfig"), seconds=15)


async def test_both_a_value_and_a_reference_are_refused() -> None:
    cloud = Cloud(kinds=HOSTING, relaxed=True)
    async with operator(cloud):
        both = document("chain-endpoint-refs#2")
        both["spec"]["endpointConfigName"] = "some"
        await cloud.apply(both)

        async def reported() -> Any:
            return (await cloud.conditions("churn-by-ref", kind="Endpoint")).get("ACK.Terminal")

        terminal = await cloud.until(reported)
        assert terminal["message"] == "spec.endpointConfigName and spec.endpointConfigRef: give one of them"
    assert not cloud.sagemaker.calls.mutating()


@pytest.mark.parametrize("allowed", [True, False])
async def test_another_namespace_by_flag(allowed: bool) -> None:
    cloud = Cloud(kinds=HOSTING)
    async with operator(cloud, enable_cross_namespace=allowed):
        await cloud.user.create(
            _namespaces(), None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far"}}
        )
        model = document("chain-endpoint-refs#0")
        model["metadata"]["namespace"] = "far"
        await cloud.apply(model)
        config = document("chain-endpoint-refs#1")
        config["spec"]["productionVariants"][0]["modelRef"]["from"]["namespace"] = "far"
        await cloud.apply(config)
        if allowed:
            await cloud.until(lambda: cloud.sagemaker.calls.of("CreateEndpointConfig"), seconds=15)
            return

        async def reported() -> Any:
            return (await cloud.conditions("churn-by-ref", kind="EndpointConfig")).get("ACK.Terminal")

        terminal = await cloud.until(reported)
        assert "spec.productionVariants[0].modelRef.from.namespace: 'far'" in terminal["message"]
        assert not cloud.sagemaker.calls.of("CreateEndpointConfig")


async def test_errors_in_another_namespace_are_not_shown_in_this_one() -> None:
    cloud = Cloud(kinds=HOSTING, relaxed=True)
    async with operator(cloud):
        await cloud.user.create(
            _namespaces(), None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far"}}
        )
        broken = document("chain-endpoint-refs#0")
        broken["metadata"]["namespace"] = "far"
        broken["spec"]["executionRoleARN"] = "arn-of-a-project-that-nobody-may-know"
        await cloud.apply(broken)
        config = document("chain-endpoint-refs#1")
        config["spec"]["productionVariants"][0]["modelRef"]["from"]["namespace"] = "far"
        await cloud.apply(config)

        async def reported() -> str | None:
            text = await recoverable(cloud, "EndpointConfig", "churn-by-ref")
            return text if "has a terminal error" in text else None

        assert (await cloud.until(reported)).endswith("in namespace far, which has a terminal error.")


def _namespaces() -> Any:
    from sagemaker_operator.objects import Resource

    return Resource("", "v1", "namespaces", "Namespace", namespaced=False)


async def test_a_reference_that_names_another_is_an_edit() -> None:
    cloud = Cloud(kinds=HOSTING)
    async with operator(cloud):
        for manifest in CHAIN:
            await cloud.apply(manifest)
        await cloud.until(lambda: cloud.sagemaker.calls.of("CreateEndpoint"), seconds=60)
        second = document("chain-endpoint-refs#1")
        second["metadata"]["name"] = second["spec"]["endpointConfigName"] = "second"
        await cloud.apply(second)
        await cloud.pass_time(600)
        change = {"spec": {"endpointConfigRef": {"from": {"name": "second"}}}}
        await cloud.patch("churn-by-ref", change, kind="Endpoint")
        await cloud.until(lambda: cloud.sagemaker.calls.of("UpdateEndpoint"), seconds=60)
        await cloud.pass_time(600)
        status = await cloud.status("churn-by-ref", kind="Endpoint")
        assert status["resolvedReferences"] == {"spec.endpointConfigRef=default/second": "second"}
    described = await cloud.ask("DescribeEndpoint", EndpointName="churn-by-ref")
    assert described["EndpointConfigName"] == "second"
    assert len(cloud.sagemaker.calls.of("UpdateEndpoint")) == 1


async def test_a_reference_edited_to_a_missing_object_waits_for_it() -> None:
    cloud = Cloud(kinds=HOSTING)
    async with operator(cloud):
        for manifest in CHAIN:
            await cloud.apply(manifest)
        await cloud.until(lambda: cloud.sagemaker.calls.of("CreateEndpoint"), seconds=60)
        await cloud.pass_time(600)
        for name in ("late", "churn-by-ref"):
            change = {"spec": {"endpointConfigRef": {"from": {"name": name}}}}
            await cloud.patch("churn-by-ref", change, kind="Endpoint")
            await cloud.pass_time(600)
            conditions = await cloud.conditions("churn-by-ref", kind="Endpoint")
            assert (conditions[READY]["status"] == "True") == (name != "late")
            assert ("spec.endpointConfigRef waits for" in str(conditions)) == (name == "late")
        assert cloud.sagemaker.calls.of("UpdateEndpoint") == []
        cloud.forget()
        await cloud.pass_time(600)
        assert [r.verb for r in cloud.kubernetes.requests if r.verb == "patch" and r.plural == "endpoints"] == []
        assert cloud.sagemaker.calls.of("DescribeEndpoint") == []


async def test_an_edit_waits_until_its_reference_resolves() -> None:
    stage = Stage("InferenceComponent")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        memory = {"computeResourceRequirements": {"minMemoryRequiredInMb": 2048}}
        await stage.edit({"specification": {"modelName": None, "modelRef": {"from": {"name": "late"}}, **memory}})
        reported = await stage.condition(RECOVERABLE)
        assert reported["message"] == "spec.specification.modelRef waits for Model late, which does not exist yet."
        await stage.cloud.pass_time(600)
        assert (await stage.conditions())[READY]["status"] == "False"
        assert "UpdateInferenceComponent" not in stage.mutating()
        late = document("model")
        late["metadata"]["name"] = late["spec"]["modelName"] = "late"
        await stage.cloud.apply(late)
        await stage.settled()
        described = (await stage.describe())["Specification"]
        assert described["ModelName"] == "late"
        assert described["ComputeResourceRequirements"]["MinMemoryRequiredInMb"] == 2048
        assert stage.mutating().count("UpdateInferenceComponent") == 1


@pytest.mark.parametrize("allowed", [True, False])
async def test_an_endpoint_whose_configuration_waits_is_not_updated(allowed: bool) -> None:
    stage = Stage("Endpoint")
    stage.manifest["spec"] |= _rollout(60)
    async with operator(stage.cloud, enable_cross_namespace=allowed):
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()
        await stage.edit({"endpointConfigName": "shared"})
        await stage.settled()
        elsewhere = {"from": {"name": "late", "namespace": "far"}}
        await stage.edit({"endpointConfigName": None, "endpointConfigRef": elsewhere, **_rollout(120)})
        reported = await stage.condition(RECOVERABLE if allowed else TERMINAL)
        assert reported["message"].startswith("spec.endpointConfigRef")
        assert stage.mutating().count("UpdateEndpoint") == 1


def _rollout(seconds: int) -> dict[str, Any]:
    traffic = {"type_": "ALL_AT_ONCE", "waitIntervalInSeconds": seconds}
    return {"deploymentConfig": {"blueGreenUpdatePolicy": {"trafficRoutingConfiguration": traffic}}}


async def test_a_reference_to_a_kind_that_is_not_reconciled_says_so() -> None:
    cloud = Cloud(kinds=("EndpointConfig",))
    async with operator(cloud):
        await cloud.apply(CHAIN[1])
        assert "(--reconcile-resources)" in await recoverable(cloud, "EndpointConfig", "churn-by-ref")


def another_model(name: str) -> dict[str, Any]:
    """The sample of a Model, under another name in SageMaker."""
    model = document("model")
    model["spec"]["modelName"] = name
    return model


async def replace_model(stage: Stage, name: str) -> None:
    model = another_model(name)
    await stage.cloud.user.delete(catalog()["Model"].resource, "default", model["metadata"]["name"])
    await stage.cloud.until_gone(model["metadata"]["name"], kind="Model")
    await stage.cloud.pass_time(30)
    await stage.cloud.apply(model)
    await stage.settled(model)


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "made by ACK"])
async def test_a_changed_model_does_not_affect_a_job_that_ran_on_it(recorded: bool) -> None:
    """It was ImmutableField and not Ready: what a job was made from is history. ACK does not record what it was."""
    stage = Stage("TransformJob")
    async with operator(stage.cloud):
        await stage.prepare()
        refer(stage)
        await stage.apply()
        await stage.settled()
    if not recorded:
        forgotten = {"status": {"resolvedReferences": None, "observedGeneration": None}}
        await stage.cloud.patch(stage.name, forgotten, kind="TransformJob", subresource="status")
    before = await stage.status()
    async with operator(stage.cloud):
        await replace_model(stage, "churn-v2")
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind="TransformJob")
        await stage.cloud.pass_time(600)
        after = await stage.status()
    assert stage.creates() == 1
    assert {c["type"]: c["status"] for c in after["conditions"]} == {
        c["type"]: c["status"] for c in before["conditions"]
    }
    assert after.get("resolvedReferences") == before.get("resolvedReferences")


async def test_a_running_job_is_polled_to_its_end_whatever_happens_to_its_model() -> None:
    stage = Stage("TransformJob")
    stage.manifest["spec"]["tags"] = [{"key": "sandbox/seconds", "value": "3000"}]
    async with operator(stage.cloud):
        await stage.prepare()
        refer(stage)
        await stage.apply()
        await stage.cloud.pass_time(60)
        await replace_model(stage, "churn-v2")
        conditions = await stage.conditions()
        assert TERMINAL not in conditions
        assert conditions["Reconciling"]["reason"] == "InProgress"
        await stage.settled(seconds=7200)
    assert stage.creates() == 1


async def test_a_job_whose_reference_is_edited_says_that_it_cannot_be_changed() -> None:
    """An edit of the job itself is not history."""
    stage = Stage("TransformJob", relaxed=True)
    second = another_model("churn-v2") | {"metadata": {"name": "second", "namespace": "default"}}
    async with operator(stage.cloud):
        await stage.prepare()
        refer(stage)
        await stage.apply()
        await stage.settled()
        await stage.cloud.apply(second)
        await stage.settled(second)
        await stage.edit({"modelRef": {"from": {"name": "second"}}})
        terminal = await stage.condition(TERMINAL)
        assert terminal["reason"] == "ImmutableField"
        assert "spec.modelName" in terminal["message"]
