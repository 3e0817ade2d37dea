"""An exception in any part affects one object, or one task until its restart: never the process, another kind or another object.

The parts are enumerated: listeners by what registers with an informer, tasks by what an operator in fact runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
from contextlib import AsyncExitStack, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.awsidentity import AwsIdentity
from sagemaker_operator.control.controller import Controller
from sagemaker_operator.control.features.adopted_resource import ADOPTED_RESOURCES
from sagemaker_operator.control.features.adopted_resource_controller import Adopter
from sagemaker_operator.control.features.field_export import CONFIG_MAPS, FIELD_EXPORTS
from sagemaker_operator.control.features.field_export_controller import Exporter
from sagemaker_operator.control.placement.namespace_config import NAMESPACES, SELECTORS, NamespaceConfigs
from sagemaker_operator.control.polling.poller import Poller
from sagemaker_operator.control.reconcile.reconciler import Reconciler
from sagemaker_operator.errors import KubeError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.events import EventRecorder
from sagemaker_operator.logs import configure
from sagemaker_operator.manager import Manager
from sagemaker_operator.runtime.informer import Informer
from sagemaker_operator.runtime.watcher import Watcher
from sagemaker_operator.scrape import AwsState, ControllerState, ObjectStates, ProcessState, WatchState
from tests.e2e.harness import Cloud, build, sample
from tests.e2e.kinds import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sagemaker_operator.runtime.store import Change

pytestmark = VIRTUAL

SECRET = "hunter2"


class Bug(Exception):
    """An error of the operator: of no type that any code expects, with a text that must not be shown."""


@asynccontextmanager
async def running(cloud: Cloud, **changes: Any) -> AsyncIterator[Manager]:
    """As the harness's, but what ended the operator early is the test's failure, and not hidden by the test's own."""
    async with AsyncExitStack() as stack:
        manager = build(cloud, stack, **changes)
        task = asyncio.create_task(manager.run())
        try:
            yield manager
            assert not task.done(), task
        finally:
            manager.stop()
            await task


def panics(manager: Manager, part: str) -> float:
    name = "controller_runtime_reconcile_panics_total"
    return manager.metrics.registry.get_sample_value(name, {"controller": part}) or 0.0


def all_panics(manager: Manager) -> float:
    return sum(
        sample.value
        for family in manager.metrics.registry.collect()
        if family.name == "controller_runtime_reconcile_panics"
        for sample in family.samples
    )


def job(name: str) -> dict[str, Any]:
    manifest = sample(trainingJobName=name)
    manifest["metadata"] = {"name": name, "namespace": "default"}
    return manifest


def export(name: str, source: str = "healthy") -> dict[str, Any]:
    where = {"path": ".status.trainingJobStatus", "resource": {"group": "sagemaker.services.k8s.aws"}}
    where["resource"] |= {"kind": "TrainingJob", "name": source}  # type: ignore[operator]
    spec = {"from": where, "to": {"kind": "configmap", "name": "target", "key": name}}
    return {"apiVersion": "services.k8s.aws/v1alpha1", "kind": "FieldExport", "metadata": {"name": name}, "spec": spec}


def adopted(name: str) -> dict[str, Any]:
    spec = {
        "aws": {"nameOrID": name},
        "kubernetes": {"group": "sagemaker.services.k8s.aws", "kind": "Model", "metadata": {"name": name}},
    }
    kind = {"apiVersion": "services.k8s.aws/v1alpha1", "kind": "AdoptedResource"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


async def targets(cloud: Cloud) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "target"}}
    await cloud.user.create(CONFIG_MAPS, "default", body)


async def apply_pair(cloud: Cloud, name: str) -> None:
    """Objects of that name of every collection that the operator watches here."""
    await cloud.apply(job(name))
    model = sample("model", modelName=name)
    model["metadata"] = {"name": name, "namespace": "default"}
    await cloud.apply(model)
    await cloud.user.create(FIELD_EXPORTS, "default", export(name))
    await cloud.user.create(ADOPTED_RESOURCES, "default", adopted(name))
    await cloud.user.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await cloud.user.create(
        CONFIG_MAPS, "default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-map"}}
    )


async def healthy(cloud: Cloud) -> None:
    """The job and what is exported of it, and the model, end as they should."""
    await cloud.until_status("healthy", "Completed")

    async def is_exported() -> bool:
        stored = await cloud.user.get_json(CONFIG_MAPS.path("default", "target"))
        return bool((stored.get("data") or {}).get("healthy") == "Completed")

    async def is_made() -> bool:
        return (await cloud.conditions("healthy", kind="Model")).get("Ready", {}).get("status") == "True"

    await cloud.until(is_exported)
    await cloud.until(is_made)


# --- listeners -------------------------------------------------------------------------------------------------------


def sabotage_listener(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """The listener that registers as `number` raises at every object named poison. Returns who registered, in order."""
    registered: list[str] = []
    original = Informer.listen

    def listen(self: Informer, listener: Callable[[Change, bool], None], *, own_writes: bool = False) -> None:
        registered.append(f"{getattr(listener, '__qualname__', listener)} of {self.name}")
        if len(registered) - 1 != number:
            original(self, listener, own_writes=own_writes)
            return

        def raising(change: Change, listed: bool) -> None:
            obj = change.new or change.old
            assert obj is not None
            if "poison" in obj.metadata.name or "account-map" in obj.metadata.name:
                raise Bug(SECRET)
            listener(change, listed)

        original(self, raising, own_writes=own_writes)

    monkeypatch.setattr(Informer, "listen", listen)
    return registered


KINDS = ["TrainingJob", "Model"]
LISTENERS = 14
"""Two of each kind's own (its controller, its dependants), two of the features at each, two of each feature, two of what
surrounds them."""


@pytest.mark.parametrize("number", range(LISTENERS))
async def test_an_exception_in_a_listener_affects_only_its_object(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    out = io.StringIO()
    registered = sabotage_listener(monkeypatch, number)
    cloud = Cloud(kinds=KINDS)
    configure(level="info", format_="json", clock=cloud.clock, stream=out)
    await targets(cloud)
    account_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ack-role-account-map"}}
    await cloud.user.create(CONFIG_MAPS, "default", account_map)
    async with running(cloud) as manager:
        assert len(registered) == LISTENERS, registered
        await apply_pair(cloud, "poison")
        await apply_pair(cloud, "healthy")
        await healthy(cloud)
        assert all_panics(manager) > 0, registered[number]
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    found = [line for line in lines if line["msg"] == "Internal error"]
    assert found
    assert {line.get("name") for line in found} <= {"poison", "ack-role-account-map"}
    assert all(line["err"].startswith("Bug at raising (test_isolation.py:") for line in found)
    assert SECRET not in out.getvalue()


# --- everything else -------------------------------------------------------------------------------------------------


def of_poison(method: Callable[..., Any]) -> Callable[..., Any]:
    """As `method`, but raises where any argument is about an object named poison."""

    @wraps(method)
    def changed(self: Any, *args: Any, **named: Any) -> Any:
        if any("poison" in repr(getattr(arg, "key", arg)) for arg in args):
            raise Bug(SECRET)
        return method(self, *args, **named)

    return changed


def at_first(method: Callable[..., Any], times: int = 3) -> Callable[..., Any]:
    """As `method`, but the first calls raise."""
    left = times

    @wraps(method)
    def changed(self: Any, *args: Any, **named: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise Bug(SECRET)
        return method(self, *args, **named)

    return changed


def always(method: Callable[..., Any]) -> Callable[..., Any]:
    return at_first(method, 1_000_000)


PLACES: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    # what: (class, method, how it fails, under which part it is counted)
    "a reconcile of an object, with its hooks": (Reconciler, "reconcile", of_poison, "trainingjob"),
    "what is forgotten of a deleted object": (Reconciler, "forget", of_poison, "trainingjob"),
    "a reconcile of a FieldExport": (Exporter, "reconcile", of_poison, "fieldexport"),
    "a reconcile of an AdoptedResource": (Adopter, "reconcile", of_poison, "adoptedresource"),
    "an Event that is recorded": (EventRecorder, "_record", of_poison, "events"),
    "an Event that is written": (EventRecorder, "_write_once", at_first, "events"),
    "metrics of controllers": (ControllerState, "collect", always, "metrics"),
    "metrics of watches": (WatchState, "collect", always, "metrics"),
    "metrics of objects": (ObjectStates, "collect", always, "metrics"),
    "metrics of AWS": (AwsState, "collect", always, "metrics"),
    "metrics of the process": (ProcessState, "collect", always, "metrics"),
    "the watches of a collection": (Informer, "run", at_first, "trainingjob"),
    "a watch": (Watcher, "step", at_first, "trainingjob"),
    "the workers of a kind": (Controller, "work", at_first, "trainingjob"),
    "a worker": (Controller, "_worker", at_first, "trainingjob"),
    "the watches of namespaces and maps": (NamespaceConfigs, "run", at_first, "namespace-config"),
    "the writing of Events": (EventRecorder, "run", at_first, "events"),
    "the watch over the credentials": (AwsIdentity, "watch", at_first, "operator"),
    "the heartbeat": (Manager, "_heartbeat", at_first, "operator"),
    "the announcement of readiness": (Manager, "_announce_ready", at_first, "operator"),
    "what follows the first lists": (Manager, "_synced", at_first, "operator"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_an_exception_anywhere_is_counted_and_the_rest_continues(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    owner, method, fails, part = PLACES[place]
    monkeypatch.setattr(owner, method, fails(getattr(owner, method)))
    out = io.StringIO()
    cloud = Cloud(kinds=KINDS)
    configure(level="info", format_="json", clock=cloud.clock, stream=out)
    await targets(cloud)
    async with running(cloud) as manager:
        await apply_pair(cloud, "poison")
        await apply_pair(cloud, "healthy")
        await cloud.pass_time(30)
        await cloud.user.delete(cloud.job, "default", "poison")
        families = {family.name for family in manager.metrics.registry.collect()}
        assert "controller_runtime_reconcile_panics" in families
        await healthy(cloud)
        assert all_panics(manager) > 0
        assert panics(manager, part) > 0 or part == "trainingjob"
        await cloud.pass_time(300)
        assert manager.ready() is None
    assert '"msg":"Internal error"' in out.getvalue()
    assert SECRET not in out.getvalue()


async def test_a_sweep_that_raises_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poller, "_poll", at_first(Poller._poll))
    cloud = Cloud(kinds=["TrainingJob"])
    async with running(cloud):
        await cloud.apply(job("healthy"))
        await cloud.until_status("healthy", "Completed")


async def test_readiness_names_a_task_that_keeps_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NamespaceConfigs, "run", at_first(NamespaceConfigs.run))
    cloud = Cloud(kinds=["TrainingJob"])
    async with running(cloud) as manager:
        await cloud.until(lambda: manager.guard.degraded, step=0.05)
        assert manager.guard.degraded == (
            "watch namespace configuration: failed with Bug, an error of the operator; it is restarted (see the log)"
        )
        await cloud.until(lambda: manager.ready() is None)
        assert manager.guard.degraded is None


KEPT = {"heartbeat", "credentials", "watch namespace configuration", "events", "ready"}


async def test_every_task_of_an_operator_is_supervised() -> None:
    """A task beside them needs `Guard.keep`, and a row in PLACES. `lease` and `manager` may end the process."""
    cloud = Cloud(kinds=["TrainingJob"])
    before = asyncio.all_tasks()
    async with running(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None and manager.elector.is_leader)
        names = {task.get_name() for task in asyncio.all_tasks() - before}
    known = KEPT | {"manager", "lease", "stop signal"}
    kinds = ("TrainingJob", "FieldExport", "AdoptedResource")
    known |= {f"{what} {kind}" for what in ("watch", "work") for kind in kinds}
    others = {name for name in names - known if not name.startswith(("Task-", "watch ", "worker "))}
    assert others == set()
    assert names >= KEPT


# --- a bug in a reconcile is reported on the object ------------------------------------------------------------------


async def test_an_object_says_that_the_operator_failed_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reconciler, "reconcile", at_first(Reconciler.reconcile, 1))
    cloud = Cloud(kinds=["TrainingJob"])
    async with running(cloud) as manager:
        await cloud.apply(job("poison"))

        async def reported() -> Any:
            return (await cloud.conditions("poison")).get("ACK.Recoverable")

        found = await cloud.until(reported)
        assert (found["status"], found["reason"]) == ("True", "InternalError")
        assert "Bug" in found["message"]
        assert SECRET not in found["message"]
        assert (await cloud.conditions("poison"))["Ready"]["status"] == "False"
        assert panics(manager, "trainingjob") == 1
        await cloud.until_status("poison", "Completed")
        assert "ACK.Recoverable" not in await cloud.conditions("poison")
        events = await cloud.user.get_json("/apis/events.k8s.io/v1/namespaces/default/events")
        assert "InternalError" in {event["reason"] for event in events["items"]}


# --- objects of any shape --------------------------------------------------------------------------------------------

JUNK: tuple[Any, ...] = (
    None, "", "text", 0, -1, 1.5, True, [], {}, [None], ["text"], {"": ""}, [{}], [{"type": 1}], {"a": {"b": [1]}},
)  # fmt: skip


def loose(crd: dict[str, Any]) -> dict[str, Any]:
    """The same CRD with a schema that stores anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for version in crd["spec"]["versions"]:
        version["schema"] = {"openAPIV3Schema": schema}
    return crd


def spoil(value: Any, rng: random.Random) -> Any:
    """`value` with one member, somewhere, that is of another type or missing."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {key: one for key, one in value.items() if key != name}
        return value | {name: spoil(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        return [spoil(value[0], rng), *value[1:]]
    return rng.choice(JUNK)


def status_of_ack() -> dict[str, Any]:
    condition = {"type": "ACK.ResourceSynced", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    where = {"arn": "arn:aws:sagemaker:us-west-2:123456789012:training-job/x", "ownerAccountID": "123456789012"}
    return {
        "ackResourceMetadata": {**where, "region": "us-west-2"},
        "conditions": [condition, {**condition, "type": "ACK.Adopted", "message": "m", "reason": "r"}],
        "exported": {"kind": "configmap", "namespace": "default", "name": "target", "key": "k", "digest": "d"},
        "observedGeneration": 1,
        "trainingJobStatus": "InProgress",
        "managedTagKeys": ["a"],
    }


def shapes(manifest: dict[str, Any], rng: random.Random, count: int) -> list[dict[str, Any]]:
    """The object without a spec, with none of its parts' types, and `count` with one mistake each."""
    spec = manifest.get("spec", {})
    made: list[dict[str, Any]] = [{}, *({"spec": junk, "status": junk} for junk in JUNK)]
    made += [{"spec": spoil(spec, rng), "status": spoil(status_of_ack(), rng)} for _ in range(count)]
    kind = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
    return [{**kind, "metadata": {"name": f"poison-{number}"}, **one} for number, one in enumerate(made)]


SELECTOR = {
    "apiVersion": "services.k8s.aws/v1alpha1",
    "kind": "IAMRoleSelector",
    "spec": {"arn": "arn:aws:iam::123456789012:role/x", "namespaceSelector": {"names": ["none"]}},
}


@pytest.mark.parametrize("seed", range(3))
async def test_malformed_objects_do_not_affect_others(seed: int) -> None:
    """As ACK's CRDs store them, which are looser than ours, and as a CRD without a schema would."""
    rng = random.Random(seed)
    cloud = Cloud(kinds=[*KINDS, "Endpoint", "EndpointConfig", "NotebookInstance"])
    for manifest in list(cloud_crds(cloud)):
        cloud.kubernetes.install(loose(manifest))
    await targets(cloud)
    collections = [
        *((catalog()[name].resource, sample(name.lower())) for name in cloud.kinds),
        (FIELD_EXPORTS, export("x")),
        (ADOPTED_RESOURCES, adopted("x")),
    ]

    async def store(number: int) -> None:
        for resource, manifest in collections:
            every = shapes(manifest, random.Random(seed), 25)
            for body in every[number::2]:
                await cloud.user.create(resource, "default", body)
                with contextlib.suppress(KubeError):  # a status that is not an object cannot be stored
                    status = {"status": body.get("status")}
                    await cloud.user.merge_patch(
                        resource, "default", body["metadata"]["name"], status, subresource="status"
                    )

    # Half of them exist before the operator starts, half are delivered by the watch; then all are edited and deleted.
    await store(0)
    async with running(cloud) as manager:
        await cloud.until(lambda: manager.elector.is_leader)
        await store(1)
        await apply_pair(cloud, "healthy")
        await healthy(cloud)
        for resource, _ in collections:
            for obj in (await cloud.user.list_page(resource)).items:
                if obj.metadata.name.startswith("poison") and rng.random() < 0.5:
                    await cloud.user.delete(resource, "default", obj.metadata.name)
        await cloud.pass_time(900)
        assert manager.ready() is None
        await cloud.apply(job("later"))
        await cloud.until_status("later", "Completed")
        assert all_panics(manager) == 0, "each shape has an answer of its own"


async def test_a_malformed_selector_does_not_affect_others() -> None:
    from sagemaker_operator.settings import FeatureGates

    cloud = Cloud(kinds=["TrainingJob"])
    for manifest in list(cloud_crds(cloud)):
        cloud.kubernetes.install(loose(manifest))
    async with running(cloud, enable_carm=False, feature_gates=FeatureGates(iam_role_selector=True)) as manager:
        await cloud.until(lambda: manager.ready() is None)
        names = []
        for body in shapes(SELECTOR, random.Random(1), 25):
            names.append(body["metadata"]["name"])
            await cloud.user.create(SELECTORS, None, body)
        for name in names:
            await cloud.user.delete(SELECTORS, None, name)
        await cloud.apply(job("healthy"))
        await cloud.until_status("healthy", "Completed")


def cloud_crds(cloud: Cloud) -> list[dict[str, Any]]:
    from sagemaker_operator.crds.generate import crd_manifest
    from sagemaker_operator.crds.runtime import runtime_crds

    return [*(crd_manifest(kind) for kind in cloud.kinds.values()), *runtime_crds().values()]


# --- FieldExports with mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "spec.from.resource.group: required"),
        ({"spec": None}, "spec.from.resource.group: required"),
        ({"spec": "text"}, "spec.from.resource.group: required"),
        ({"spec": {"from": "x"}}, "spec.from: must be an object, not a string"),
    ],
)
async def test_an_export_says_which_field_is_wrong(body: dict[str, Any], problem: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    for manifest in cloud_crds(cloud):
        cloud.kubernetes.install(loose(manifest))
    async with running(cloud):
        kind = {"apiVersion": "services.k8s.aws/v1alpha1", "kind": "FieldExport", "metadata": {"name": "x"}}
        await cloud.user.create(FIELD_EXPORTS, "default", {**kind, **body})

        async def reported() -> Any:
            status = (await cloud.user.get_json(FIELD_EXPORTS.path("default", "x"))).get("status", {})
            found = [one for one in status.get("conditions", ()) if one["type"] == "ACK.Terminal"]
            return found[0]["message"] if found else None

        assert await cloud.until(reported) == problem
