"""FieldExport with the whole operator, in virtual time: written, kept up to date, removed, refused, and the number of requests."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.control.features.field_export import CONFIG_MAPS, FIELD_EXPORTS, FINALIZER, SECRETS
from sagemaker_operator.errors import NotFound
from tests.e2e.harness import Cloud, operator, sample

if TYPE_CHECKING:
    from sagemaker_operator.objects import Resource

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=200_000, noop_cycles=2)]

ARN = ".status.ackResourceMetadata.arn"
JOB = sample()["metadata"]["name"]


class Exports:
    """A cloud with a job, a ConfigMap, a Secret, and exports between them."""

    def __init__(self) -> None:
        self.cloud = Cloud(kinds=["TrainingJob"])

    async def targets(self) -> None:
        for resource, content in ((CONFIG_MAPS, {"mine": "kept"}), (SECRETS, {"mine": "a2VwdA=="})):
            body = {"apiVersion": "v1", "kind": resource.kind, "metadata": {"name": "target"}, "data": content}
            await self.cloud.user.create(resource, "default", body)

    async def export(
        self,
        name: str = "export",
        *,
        path: str = ARN,
        group: str = "sagemaker.services.k8s.aws",
        kind: str = "TrainingJob",
        annotations: dict[str, str] | None = None,
        **to: Any,
    ) -> None:
        body = {
            "apiVersion": "services.k8s.aws/v1alpha1",
            "kind": "FieldExport",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {
                "from": {"path": path, "resource": {"group": group, "kind": kind, "name": JOB}},
                "to": {"kind": "configmap", "name": "target"} | to,
            },
        }
        await self.cloud.user.create(FIELD_EXPORTS, "default", body)

    async def data(self, resource: Resource = CONFIG_MAPS, namespace: str = "default") -> dict[str, str]:
        return dict((await self.cloud.user.get_json(resource.path(namespace, "target"))).get("data") or {})

    async def get(self, name: str = "export") -> dict[str, Any]:
        return await self.cloud.user.get_json(FIELD_EXPORTS.path("default", name))

    async def conditions(self, name: str = "export") -> dict[str, dict[str, Any]]:
        status = (await self.get(name)).get("status", {})
        return {condition["type"]: condition for condition in status.get("conditions", ())}

    async def until(self, type_: str, name: str = "export", *, reason: str = "") -> str:
        """Waits until a condition is True; its message."""

        async def reached() -> Any:
            found = (await self.conditions(name)).get(type_, {})
            return found if found.get("status") == "True" and reason in found.get("reason", "") else None

        return str((await self.cloud.until(reached))["message"])

    async def until_data(self, key: str, value: str | None, resource: Resource = CONFIG_MAPS) -> None:
        async def reached() -> bool:
            return (await self.data(resource)).get(key) == value

        await self.cloud.until(reached)

    async def gone(self, name: str = "export") -> None:
        async def reached() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await self.cloud.until(reached)

    async def arn(self) -> str:
        return str((await self.cloud.status(JOB))["ackResourceMetadata"]["arn"])

    def requests(self, plural: str) -> list[str]:
        """The operator's requests about a collection."""
        return [
            f"{r.verb} {r.subresource or r.plural}"
            for r in self.cloud.kubernetes.requests
            if r.user_agent == "sagemaker-operator" and r.plural == plural and r.verb not in ("list", "watch")
        ]

    async def events(self) -> list[dict[str, Any]]:
        page = await self.cloud.user.get_json("/apis/events.k8s.io/v1/namespaces/default/events")
        return [event for event in page["items"] if event["regarding"]["kind"] == "FieldExport"]


@pytest.fixture
async def exports() -> Exports:
    made = Exports()
    await made.targets()
    return made


async def test_a_field_is_written_when_its_object_is_synced_and_removed_with_the_export(exports: Exports) -> None:
    cloud = exports.cloud
    async with operator(cloud):
        await exports.export()
        await exports.export("weight", path=".status.trainingJobStatus", kind="TrainingJob", key="state")
        assert "no TrainingJob" in await exports.until("ACK.Recoverable")
        await cloud.apply(sample())
        await cloud.until_status(JOB, "InProgress")
        assert "is not synced" in await exports.until("ACK.Recoverable", reason="SourceNotSynced")
        assert await exports.data() == {"mine": "kept"}
        await exports.until("Ready")
        await exports.until("Ready", "weight")
        assert await exports.data() == {"mine": "kept", "default.export": await exports.arn(), "state": "Completed"}
        assert FINALIZER in (await exports.get())["metadata"]["finalizers"]
        assert (await exports.conditions()).keys() == {"Ready", "ACK.ResourceSynced"}
        for name in ("export", "weight"):
            await cloud.user.delete(FIELD_EXPORTS, "default", name)
            await exports.gone(name)
    assert await exports.data() == {"mine": "kept"}


async def test_a_secret_gets_base64_and_its_value_is_shown_nowhere(
    exports: Exports, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud = exports.cloud
    path = ".spec.hyperParameters.token"
    job = sample()
    job["spec"]["hyperParameters"]["token"] = "hush-hush"
    async with operator(cloud):
        await cloud.apply(job)
        await exports.export(kind="TrainingJob", path=path)
        await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", {"spec": {"to": {"kind": "secret"}}})
        await exports.until("Ready")
        await cloud.pass_time(60)
    assert (await exports.data(SECRETS))["default.export"] == base64.b64encode(b"hush-hush").decode()
    reported = str(await exports.events()) + str((await exports.get())["status"]) + "".join(capfd.readouterr())
    assert "hush" not in reported
    assert base64.b64encode(b"hush-hush").decode() not in reported


async def settled(exports: Exports, **changes: Any) -> None:
    await exports.cloud.apply(sample())
    await exports.export(**changes)
    await exports.until("Ready")
    await exports.cloud.pass_time(120)
    exports.cloud.forget()


async def test_a_settled_export_makes_no_calls(exports: Exports) -> None:
    cloud = exports.cloud
    async with operator(cloud):
        await settled(exports)
        for number in range(5):
            await cloud.annotate(JOB, {"services.k8s.aws/reconcile-requested-at": str(number)})
            await cloud.pass_time(30)
        assert exports.requests("configmaps") == []
        assert exports.requests("fieldexports") == []
        await cloud.pass_time(3700)
        assert exports.requests("configmaps") == ["get configmaps"], "one read an hour"
        assert exports.requests("fieldexports") == []
        assert not [r for r in cloud.kubernetes.requests if r.plural == "fieldexports" and r.verb == "list"]


async def test_a_restart_reads_once_and_writes_nothing(exports: Exports) -> None:
    cloud = exports.cloud
    async with operator(cloud):
        await settled(exports)
    cloud.forget()
    async with operator(cloud, identity="two"):
        await cloud.pass_time(300)
    assert exports.requests("configmaps") == ["get configmaps"]
    assert exports.requests("fieldexports") == []


async def test_a_removed_key_is_restored_within_the_hour(exports: Exports) -> None:
    async with operator(exports.cloud):
        await settled(exports)
        await exports.cloud.user.merge_patch(CONFIG_MAPS, "default", "target", {"data": {"default.export": None}})
        await exports.cloud.pass_time(3700)
    assert (await exports.data())["default.export"] == await exports.arn()


async def test_another_key_or_target_leaves_nothing_behind(exports: Exports) -> None:
    cloud = exports.cloud
    async with operator(cloud):
        await settled(exports)
        await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", {"spec": {"to": {"key": "arn"}}})
        await exports.until_data("default.export", None)
        await exports.until_data("arn", await exports.arn())
        await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", {"spec": {"to": {"kind": "secret"}}})
        await exports.until_data("arn", None)
        await exports.until_data("arn", base64.b64encode((await exports.arn()).encode()).decode(), SECRETS)
    assert await exports.data() == {"mine": "kept"}


@pytest.mark.parametrize("why", ["the export says so", "somebody else changed it", "another export writes it"])
async def test_when_a_key_is_kept(exports: Exports, why: str) -> None:
    cloud = exports.cloud
    async with operator(cloud):
        await settled(exports, key="arn")
        if why == "the export says so":
            change = {"metadata": {"annotations": {"services.k8s.aws/deletion-policy": "retain"}}}
            await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", change)
        elif why == "somebody else changed it":
            await cloud.user.merge_patch(CONFIG_MAPS, "default", "target", {"data": {"arn": "theirs"}})
        else:
            await exports.export("renamed", key="arn")
            await exports.until("Ready", "renamed")
        await cloud.user.delete(FIELD_EXPORTS, "default", "export")
        await exports.gone()
    assert "arn" in await exports.data()


async def test_an_export_that_ack_made_is_taken_over_and_cleaned_up(exports: Exports) -> None:
    """ACK puts its finalizer on, and records nothing."""
    cloud = exports.cloud
    async with operator(cloud):
        await cloud.apply(sample())
        await cloud.until_status(JOB, "Completed")
    arn = await exports.arn()
    await cloud.user.merge_patch(CONFIG_MAPS, "default", "target", {"data": {"default.export": arn}})
    await exports.export()
    await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", {"metadata": {"finalizers": [FINALIZER]}})
    await cloud.user.merge_patch(
        FIELD_EXPORTS, "default", "export", {"status": {"conditions": []}}, subresource="status"
    )
    await cloud.user.delete(FIELD_EXPORTS, "default", "export")
    async with operator(cloud, identity="two"):
        await exports.gone()
    assert await exports.data() == {"mine": "kept"}


@pytest.mark.parametrize(
    ("change", "condition", "text"),
    [
        ({"path": ".status.ackResourceMetadata"}, "ACK.Recoverable", "gives an object"),
        ({"path": ".status.nothing"}, "ACK.Recoverable", "gives nothing"),
        ({"path": ".status.trainingJobStatus.deeper"}, "ACK.Terminal", "spec.from.path: the jq path"),
        ({"kind": "TrainingJobs"}, "ACK.Terminal", "did you mean TrainingJob?"),
        ({"key": "a/b"}, "ACK.Terminal", "spec.to.key"),
        ({"name": "elsewhere"}, "ACK.Recoverable", "There is no ConfigMap default/elsewhere"),
    ],
)
async def test_an_error_is_reported_once_and_makes_no_write(
    exports: Exports, change: dict[str, Any], condition: str, text: str
) -> None:
    cloud = exports.cloud
    to = {name: value for name, value in change.items() if name in ("key", "name")}
    rest = {name: value for name, value in change.items() if name not in to}
    async with operator(cloud):
        await cloud.apply(sample())
        await cloud.until_status(JOB, "Completed")
        if to.get("name"):
            await exports.export()
            await cloud.user.merge_patch(FIELD_EXPORTS, "default", "export", {"spec": {"to": to}})
        else:
            await exports.export(**rest, **to)

        async def reported() -> bool:
            return text in (await exports.conditions()).get(condition, {}).get("message", "")

        await cloud.until(reported)
        assert (await exports.conditions())["Ready"]["status"] == "False"
        cloud.forget()
        await cloud.pass_time(1800)
        assert exports.requests("fieldexports") == []
        await cloud.user.delete(FIELD_EXPORTS, "default", "export")
        await exports.gone()
    (warning,) = [event for event in await exports.events() if event["type"] == "Warning" and text in event["note"]]
    assert warning["regarding"]["name"] == "export"


async def test_another_namespace_only_where_it_is_allowed(exports: Exports) -> None:
    cloud = exports.cloud
    await cloud.user.create(CONFIG_MAPS, "kube-system", {"metadata": {"name": "target"}})
    await cloud.apply(sample())
    async with operator(cloud, enable_cross_namespace=False):
        await exports.export(namespace="kube-system", key="arn")
        assert "spec.to.namespace" in await exports.until("ACK.Terminal")
    assert await exports.data(namespace="kube-system") == {}
    async with operator(cloud, identity="two"):
        await exports.until("Ready")
        assert (await exports.conditions())["ACK.Advisory"]["reason"] == "CrossNamespaceOptInRequired"
    assert await exports.data(namespace="kube-system") == {"arn": await exports.arn()}


async def test_an_export_of_another_controllers_kind_is_ignored(exports: Exports) -> None:
    async with operator(exports.cloud):
        await exports.export(group="s3.services.k8s.aws", kind="Bucket")
        await exports.cloud.pass_time(60)
        stored = await exports.get()
    assert "status" not in stored
    assert "finalizers" not in stored["metadata"]
    assert exports.requests("fieldexports") == []


async def test_without_its_crd_only_this_feature_is_missing(exports: Exports) -> None:
    cloud = exports.cloud
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fieldexports.services.k8s.aws"
    assert (await cloud.kubernetes.handle("DELETE", path)).status == 200
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await cloud.apply(sample())
        await cloud.until_status(JOB, "Completed")
        assert manager.ready() is None
        assert manager.features["FieldExport"].degraded


async def test_switched_off_no_request_is_made(exports: Exports) -> None:
    async with operator(exports.cloud, enable_field_export=False):
        await exports.export()
        await exports.cloud.pass_time(60)
    assert [r for r in exports.cloud.kubernetes.requests if r.plural == "fieldexports" and r.verb == "watch"] == []
