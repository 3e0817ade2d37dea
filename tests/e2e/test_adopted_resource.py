"""AdoptedResource with the whole operator, in virtual time: the result for every kind, and the number of calls and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import ADOPTED, ADOPTED_RESOURCE, ADOPTION_FIELDS
from sagemaker_operator.control.features.adopted_resource import ACK_FINALIZER, ADOPTED_RESOURCES
from sagemaker_operator.errors import NotFound
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from sagemaker_operator.settings import FeatureGates
from tests.control.kstatus import contradictions
from tests.e2e.harness import killed, operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage, adoptable
from tests.e2e.rbac import Authorizer, shipped
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sagemaker_operator.objects import Resource

pytestmark = VIRTUAL

GROUP = "sagemaker.services.k8s.aws"
NAME = "take-it"
MODEL = "DescribeModel"


class Request:
    """One AdoptedResource on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cloud = stage.cloud

    async def made(self) -> str:
        """Creates the resource directly in SageMaker and waits until it is settled; returns its ARN."""
        answer = await self.cloud.ask(self.stage.kind.create, **self.stage.create_input())
        await self.cloud.pass_time(1800)
        self.cloud.forget()
        return str(answer[self.stage.kind.arn_member])

    def aws(self, arn: str) -> dict[str, Any]:
        return adoptable(self.stage.kind, self.stage.manifest["spec"], arn)

    async def apply(self, aws: dict[str, Any], *, group: str = GROUP, kind: str = "", **metadata: Any) -> None:
        spec = {
            "aws": aws,
            "kubernetes": {
                "group": group,
                "kind": kind or self.stage.kind.name,
                "metadata": {"name": self.stage.name} | metadata,
            },
        }
        body = {
            "apiVersion": ADOPTED_RESOURCES.api_version,
            "kind": "AdoptedResource",
            "metadata": {"name": NAME},
            "spec": spec,
        }
        await self.cloud.user.create(ADOPTED_RESOURCES, "default", body)

    async def edit(self, aws: dict[str, Any]) -> None:
        await self.cloud.user.merge_patch(ADOPTED_RESOURCES, "default", NAME, {"spec": {"aws": aws}})

    async def get(self) -> dict[str, Any]:
        return await self.cloud.user.get_json(ADOPTED_RESOURCES.path("default", NAME))

    async def reported(self) -> dict[str, dict[str, Any]]:
        status = (await self.get()).get("status", {})
        # Before the operator's first condition there is none, or ACK's.
        assert "observedGeneration" not in status or contradictions(status["conditions"]) == []
        return {condition["type"]: condition for condition in status.get("conditions", ())}

    async def until(self, status: str, text: str = "") -> str:
        """Waits until ACK.Adopted has this status and text; the whole text."""

        async def reached() -> Any:
            found = (await self.reported()).get("ACK.Adopted", {})
            return found if found.get("status") == status and text in found["message"] else None

        try:
            return str((await self.cloud.until(reached, seconds=1800, step=2.0))["message"])
        except AssertionError:
            raise AssertionError(f"no {status} {text!r}: {await self.get()}") from None

    async def exists(self, resource: Resource, name: str, namespace: str = "default") -> bool:
        try:
            await self.cloud.user.get_json(resource.path(namespace, name))
        except NotFound:
            return False
        return True

    async def until_gone(self) -> None:
        async def gone() -> bool:
            return not await self.exists(ADOPTED_RESOURCES, NAME)

        await self.cloud.until(gone)

    def writes(self) -> list[str]:
        """What the operator wrote to Kubernetes, Events aside."""
        return [
            f"{r.verb} {r.plural}" + (f"/{r.subresource}" if r.subresource else "")
            for r in self.cloud.kubernetes.requests
            if r.user_agent == "sagemaker-operator"
            and r.verb in ("create", "update", "patch", "delete")
            and r.plural not in ("events", "leases")
        ]

    async def events(self) -> list[tuple[str, str]]:
        page = await self.cloud.user.get_json("/apis/events.k8s.io/v1/namespaces/default/events")
        return [
            (event["reason"], event["note"])
            for event in page["items"]
            if event["regarding"]["kind"] == "AdoptedResource"
        ]


def staged(kind: str = "Model") -> Request:
    return Request(Stage(kind))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_adopted_without_a_mutating_call(kind: str) -> None:
    request = staged(kind)
    stage, cloud = request.stage, request.cloud
    async with operator(cloud, resync_seconds=60.0) as manager:
        await stage.prepare()
        arn = await request.made()
        await request.apply(request.aws(arn), labels={"team": "churn"})
        await request.until("True", stage.name)
        await stage.settled()
        found = await stage.get()
        assert found["status"]["ackResourceMetadata"]["arn"] == arn
        assert found["metadata"]["labels"] == {"team": "churn"}
        assert found["metadata"]["annotations"][ADOPTED] == "true"
        assert found["metadata"]["annotations"][ADOPTED_RESOURCE] == f"default/{NAME}"
        assert found["metadata"]["finalizers"] == [stage.kind.finalizer]
        assert all(found["spec"].get(name) for name in stage.kind.required)
        conditions = await request.reported()
        assert conditions.keys() == {"Ready", "ACK.ResourceSynced", "ACK.Adopted"}
        assert "finalizers" not in (await request.get())["metadata"]
        await stage.idle(manager)
        cloud.forget()
        await cloud.pass_time(600)
        assert request.writes() == [], "nothing changed"
        await cloud.user.delete(ADOPTED_RESOURCES, "default", NAME)
        await request.until_gone()
        await cloud.pass_time(60)
        assert await request.exists(stage.kind.resource, stage.name), "only the request went"
        assert stage.mutating() == []


async def test_calls_events_and_metrics_of_an_adoption() -> None:
    request = staged()
    async with operator(request.cloud):
        arn = await request.made()
        await request.apply(request.aws(arn))
        await request.until("True")
        await request.cloud.pass_time(60)
        mine = [write for write in request.writes() if write != "patch models" and write != "patch models/status"]
    assert mine[0] == "create models"
    assert set(mine[1:]) == {"patch adoptedresources/status"}
    assert len(mine) <= 3, "the object, ACK.Adopted Unknown, ACK.Adopted True"
    assert [reason for reason, _ in await request.events()] == ["Created", "Adopted"]


async def test_not_found_is_reported_and_an_edit_fixes_it() -> None:
    request = staged()
    cloud = request.cloud
    async with operator(cloud):
        arn = await request.made()
        await request.apply({"nameOrID": "typo"})
        assert "SageMaker has no such Model" in await request.until("False", "Model default/")
        assert (await request.reported())["Ready"]["status"] == "False"
        cloud.forget()
        await cloud.pass_time(3600)
        assert request.writes() == []
        assert len(cloud.sagemaker.calls.of(MODEL)) <= 15, "searched for every 1 to 15 minutes, by adoption alone"
        await request.edit(request.aws(arn))
        await request.until("True")
        await request.stage.settled()
        assert request.stage.mutating() == []
    assert '"typo"' not in (await request.stage.get())["metadata"]["annotations"][ADOPTION_FIELDS]
    (warning,) = [note for reason, note in await request.events() if reason == "NotFound"]
    assert "no such Model" in warning


async def test_an_existing_object_is_not_changed() -> None:
    request = staged()
    stage, cloud = request.stage, request.cloud
    async with operator(cloud):
        await stage.apply()
        await stage.settled()
        before = await stage.get()
        await request.apply({"nameOrID": "another"})
        await request.until("False", "was not created for this")
        await cloud.pass_time(600)
        assert await stage.get() == before
        # Its deletion lets the request proceed at once.
        await request.edit({"nameOrID": stage.manifest["spec"]["modelName"]})
        await cloud.annotate(stage.name, {"services.k8s.aws/deletion-policy": "retain"}, kind="Model")
        await cloud.user.delete(stage.kind.resource, "default", stage.name)
        await request.until("True")
        assert stage.creates() == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "Models"}, "did you mean Model?"),
        ({"aws": {}}, "spec.aws.nameOrID: required"),
        ({"aws": {"nameOrID": "arn:aws:sagemaker:us-west-2:1:model/x"}}, "not its ARN"),
        ({"namespace": "nowhere"}, "there is no namespace nowhere"),
        ({"name": "Not A Name"}, "spec.kubernetes.metadata.name: is not the name of an object"),
    ],
)
async def test_an_error_is_reported_once_and_makes_no_write(change: dict[str, Any], text: str) -> None:
    request = staged()
    async with operator(request.cloud):
        await request.apply(**({"aws": {"nameOrID": "x"}} | change))
        await request.until("False", text)
        request.cloud.forget()
        await request.cloud.pass_time(1800)
        assert set(request.writes()) <= {"create models"}, "refused again every 1 to 15 minutes"
        assert request.cloud.sagemaker.calls.of(MODEL) == []
        await request.cloud.user.delete(ADOPTED_RESOURCES, "default", NAME)
        await request.until_gone()


async def test_another_namespace_only_where_it_is_allowed() -> None:
    request = staged()
    model = request.stage.kind.resource
    async with operator(request.cloud, enable_cross_namespace=False):
        arn = await request.made()
        await request.apply(request.aws(arn), namespace="kube-system")
        await request.until("False", "spec.kubernetes.metadata.namespace")
        await request.cloud.pass_time(60)
    assert not await request.exists(model, request.stage.name, "kube-system")
    async with operator(request.cloud, identity="two"):
        await request.until("True")
    assert await request.exists(model, request.stage.name, "kube-system")


async def no_adoption(request: Request) -> None:
    async with operator(request.cloud, enable_adopted_resource=False):
        await request.cloud.pass_time(60)


async def another_group(request: Request) -> None:
    async with operator(request.cloud):
        await request.cloud.pass_time(60)


@pytest.mark.parametrize(
    ("group", "run"), [(GROUP, no_adoption), ("s3.services.k8s.aws", another_group)], ids=["switched off", "not ours"]
)
async def test_adopted_resources_are_ignored_when_switched_off(
    group: str, run: Callable[[Request], Awaitable[None]]
) -> None:
    request = staged()
    await request.apply({"nameOrID": "x"}, group=group)
    await run(request)
    assert "status" not in await request.get()
    assert request.writes() == []


async def test_without_its_crd_only_this_feature_is_missing() -> None:
    request = staged()
    cloud = request.cloud
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/adoptedresources.services.k8s.aws"
    assert (await cloud.kubernetes.handle("DELETE", path)).status == 200
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await request.stage.apply()
        await request.stage.settled()
        assert manager.features["AdoptedResource"].degraded


async def test_without_the_right_to_create_it_says_which_file_is_missing() -> None:
    request = staged()
    cloud = request.cloud
    grants = frozenset(grant for grant in shipped() if (grant.verb, grant.group) != ("create", GROUP))
    transport = Authorizer(grants).through(InMemoryTransport(cloud.kubernetes))
    async with operator(cloud, transport=transport, leader_election=False, enable_carm=False):
        arn = await request.made()
        await request.apply(request.aws(arn))
        await request.until("False", "manifests/rbac-adopted-resource.yaml")
        assert (await request.reported())["ACK.Adopted"]["reason"] == "AccessDenied"
    async with operator(cloud, identity="two"):
        await request.until("True")


async def test_an_edit_after_the_adoption_changes_nothing_and_is_observed() -> None:
    request = staged()
    async with operator(request.cloud):
        arn = await request.made()
        await request.apply(request.aws(arn))
        await request.until("True")
        await request.cloud.pass_time(60)
        request.cloud.forget()
        await request.edit({"nameOrID": "another"})
        await request.until("True", "before this edit")
        await request.cloud.pass_time(600)
        assert request.writes() == ["patch adoptedresources/status"]
    stored = await request.get()
    assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]


async def test_the_adoption_gate_applies_to_adopted_resources() -> None:
    request = staged()
    async with operator(request.cloud, feature_gates=FeatureGates(resource_adoption=False)):
        arn = await request.made()
        await request.apply(request.aws(arn))
        await request.until("False", "ResourceAdoption=false")
        await request.cloud.pass_time(60)
    assert not await request.exists(request.stage.kind.resource, request.stage.name)


@pytest.mark.parametrize("status", ["True", "False"])
async def test_adopted_resources_stored_by_ack_are_kept_or_resumed(status: str) -> None:
    """ACK writes the condition without a reason, and its finalizer once it is True."""
    request = staged()
    cloud = request.cloud
    arn = await request.made()
    await request.apply(request.aws(arn))
    condition = {"type": "ACK.Adopted", "status": status} | ({"message": "AccessDenied"} if status == "False" else {})
    change = {"status": {"conditions": [condition]}}
    await cloud.user.merge_patch(ADOPTED_RESOURCES, "default", NAME, change, subresource="status")
    if status == "True":
        change = {"metadata": {"finalizers": [ACK_FINALIZER]}}
        await cloud.user.merge_patch(ADOPTED_RESOURCES, "default", NAME, change)
    before = await request.get()
    async with operator(cloud):
        if status == "False":
            await request.until("True")
            return
        await cloud.pass_time(600)
        assert request.writes() == []
        assert await request.get() == before
        assert not await request.exists(request.stage.kind.resource, request.stage.name), "ACK's way: once is enough"
        await cloud.user.delete(ADOPTED_RESOURCES, "default", NAME)
        await request.until_gone()


@pytest.mark.parametrize("kind", ["Model", "Space", "ModelPackage"])
async def test_a_kill_at_any_call_ends_in_the_same_state(kind: str) -> None:
    async def begun() -> Request:
        request = staged(kind)
        async with operator(request.cloud):
            await request.stage.prepare()
        await request.apply(request.aws(await request.made()))
        return request

    request = await begun()
    wire = Wire()
    async with operator(request.cloud, wire=wire, seed=11):
        await request.until("True")
    calls = [
        number
        for number, call in enumerate(wire.calls, start=1)
        if call.startswith((f"POST {request.stage.kind.resource.path('default')}", "PATCH ", "SageMaker."))
        and "/events" not in call
    ]
    assert len(calls) >= 5, wire.calls
    for number in calls:
        for mode in (Mode.KILL_BEFORE, Mode.KILL_AFTER):
            request = await begun()
            await killed(request.cloud, Wire(number, mode), seed=11)
            async with operator(request.cloud, identity="two", seed=8):
                await request.until("True")
                await request.stage.settled()
            assert request.stage.mutating() == []
            assert len((await request.cloud.user.list_page(request.stage.kind.resource)).items) == 1


async def test_an_object_deleted_before_its_adoption_is_created_again() -> None:
    request = staged()
    model = request.stage.kind.resource
    async with operator(request.cloud):
        await request.apply({"nameOrID": "later"})
        await request.until("False", "no such Model")
        old = (await request.stage.get())["metadata"]["uid"]
        await request.cloud.user.delete(model, "default", request.stage.name)

        async def anew() -> bool:
            return (
                await request.exists(model, request.stage.name)
                and (await request.stage.get())["metadata"]["uid"] != old
            )

        await request.cloud.until(anew)


async def test_an_object_without_the_selected_labels_is_reported_as_not_watched() -> None:
    request = staged()
    async with operator(request.cloud, watch_selectors="team=churn"):
        arn = await request.made()
        await request.apply(request.aws(arn))
        await request.until("Unknown", "--watch-selectors")
        await request.edit({"nameOrID": "edited"})
        await request.until("False", "--watch-selectors")
