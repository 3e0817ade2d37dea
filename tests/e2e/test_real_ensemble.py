"""All kinds together on a real API server, through the shipped RBAC rules, checked in Kubernetes and in SageMaker."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator.annotations import DELETION_POLICY
from sagemaker_operator.conditions import LATE_INITIALIZED
from sagemaker_operator.control.features.adopted_resource import ACK_FINALIZER, ADOPTED_RESOURCES
from sagemaker_operator.control.features.field_export import CONFIG_MAPS, FIELD_EXPORTS, SECRETS
from sagemaker_operator.control.spec.create_input import desired_input
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.late_init import LATE_INIT
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.sandbox.sagemaker.http import serve
from sagemaker_operator.settings import FeatureGates
from tests.crds.support import CRDS, Client, client_of
from tests.e2e.ensemble import Ensemble, ask
from tests.e2e.harness import SAMPLES
from tests.e2e.kinds import KINDS, STORIES, adoptable, at, document
from tests.e2e.live import operating, settings, simulator
from tests.e2e.processes import ROOT, environment, run, until
from tests.e2e.rbac import Authorizer, shipped
from tests.kinds.facts import ACK_KINDS
from tests.servers import ApiServer, server_or_skip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sagemaker_operator.objects import Resource
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

pytestmark = [pytest.mark.asyncio, pytest.mark.real_apiserver, pytest.mark.timeout(180)]

FULL = {"App", "TransformJob"}
"""Kinds whose samples have all that could be filled."""

NAMESPACE = "ensemble"
HOME = "sagemaker-operator"
MANIFESTS = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))
CORPUS = Path(__file__).parent / "fixtures" / "ack"
# Nothing that can be switched on may ask for more than the manifests grant.
MAPS = FeatureGates(team_level_carm=True, service_level_carm=True)
SELECTORS = FeatureGates(iam_role_selector=True)
ACK_TAGS = [
    {"Key": "services.k8s.aws/controller-version", "Value": "sagemaker-v1.9.1"},
    {"Key": "services.k8s.aws/namespace", "Value": "default"},
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """A fresh one for each test: what one leaves behind would be found by the operator of the next."""
    yield from server_or_skip(tmp_path)


async def install(client: Client, manifests: list[dict[str, Any]]) -> None:
    """Creates the CRDs or puts them in the place of others, and waits until all are served."""
    for manifest in manifests:
        created = await client.ask("POST", CRDS, manifest)
        if created.status == 409:
            await client.replace(manifest)
        else:
            assert created.status == 201, created.body
    for manifest in manifests:
        spec = manifest["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"

        async def served(path: str = path) -> bool:
            return (await client.ask("GET", path)).status == 200

        await until(served, path)


@asynccontextmanager
async def stage(server: ApiServer, crds: list[dict[str, Any]]) -> AsyncIterator[tuple[Ensemble, SageMakerSimulator]]:
    """The CRDs, two namespaces, and the documents."""
    simulated = simulator()
    async with client_of(server) as client:
        await install(client, crds)
        for namespace in (NAMESPACE, HOME):
            made = await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            assert made.status in (201, 409), made.body
    async with HttpTransport(await load_config(kubeconfig=str(server.kubeconfig))) as transport:
        yield Ensemble(KubeClient(transport), NAMESPACE, simulated), simulated


@asynccontextmanager
async def authorized(
    server: ApiServer,
    simulated: SageMakerSimulator,
    authorizer: Authorizer | None = None,
    *,
    selectors: bool = False,
    **changes: Any,
) -> AsyncIterator[Authorizer]:
    """The operator with all kinds and features, allowed what the manifests allow: roles by maps, or by `selectors`."""
    authorizer = authorizer or Authorizer(shipped())
    async with serve(simulated) as aws:
        config = settings(
            kubeconfig=str(server.kubeconfig),
            reconcile_resources=(),
            leader_election_namespace=HOME,
            system_namespace=HOME,
            enable_carm=not selectors,
            feature_gates=SELECTORS if selectors else MAPS,
            aws_endpoint_url=aws.url,
            aws_identity_endpoint_url=aws.url,
            allow_unsafe_aws_endpoint_urls=True,
            **changes,
        )
        async with operating(config, clock=simulated.now, through=authorizer.through):
            yield authorizer


def committed() -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in MANIFESTS]


async def test_every_kind_runs_from_create_to_delete_within_the_shipped_roles(server: ApiServer) -> None:
    async with stage(server, committed()) as (ensemble, simulated):
        async with authorized(server, simulated) as authorizer:
            await ensemble.perform(ensemble.create)
            for kind in KINDS:
                stored = await ensemble.get(kind.lower())
                assert stored["spec"] == ensemble.manifests[kind.lower()]["spec"], "the spec belongs to the user"
                assert [name for name in STORIES[kind].status if not stored["status"].get(name)] == []
            editable = [(kind.lower(), edit) for kind in KINDS if (edit := STORIES[kind].edit) is not None]
            async with asyncio.TaskGroup() as group:
                for reference, edit in editable:
                    group.create_task(ensemble.edit(reference, dict(edit.spec)))
            for reference, edit in editable:
                assert at(await ensemble.describe(reference), edit.at) == edit.value, reference
            await repeat_an_event(ensemble)
            await export_a_field(ensemble)
            await adopt_everything(ensemble)
            await ensemble.perform(ensemble.delete, backwards=True)
        wanted = Counter(catalog()[manifest["kind"]].create for manifest in ensemble.manifests.values())
        made = Counter(call.operation for call in simulated.calls.mutating() if call.applied)
        assert {name: made[name] for name in wanted} == wanted, "one create per object"
        async with authorized(server, simulated, authorizer, selectors=True):
            await until(partial(_read, authorizer, "iamroleselectors"), "the selectors")
        assert authorizer.denied == []
        assert sorted(authorizer.unused) == [], "the manifests grant more than is used"


async def test_defaults_are_written_into_specs_within_the_shipped_roles_and_rules(server: ApiServer) -> None:
    """Most of the fields cannot change after creation, and the CRDs say so."""
    async with stage(server, committed()) as (ensemble, simulated):
        async with authorized(server, simulated, write_late_init=True) as authorizer:
            await ensemble.perform(ensemble.create)
            for kind in KINDS:
                stored = await ensemble.get(kind.lower())
                conditions = {condition["type"]: condition for condition in stored["status"]["conditions"]}
                reported = conditions.get(LATE_INITIALIZED, {}).get("status")
                assert reported == ("True" if kind in LATE_INIT else None), conditions.get(LATE_INITIALIZED)
                written = stored["spec"] != ensemble.manifests[kind.lower()]["spec"]
                assert written == (kind in LATE_INIT and kind not in FULL), kind
                assert stored["metadata"]["generation"] == (2 if written else 1)
        assert authorizer.denied == []
        updates = [call.operation for call in simulated.calls.mutating() if call.operation.startswith("Update")]
        assert updates == []


async def _read(authorizer: Authorizer, plural: str) -> bool:
    return all(grant.resource != plural for grant in authorizer.unused)


async def repeat_an_event(ensemble: Ensemble) -> None:
    """The same refusal twice: the second time the event that is there is patched."""
    endpoint, manifest = catalog()["Endpoint"].resource, document("endpoint")
    manifest["metadata"] = {"name": "refused", "namespace": NAMESPACE}
    manifest["spec"] |= {"endpointName": "refused", "endpointConfigName": "nowhere"}
    await ensemble.client.create(endpoint, NAMESPACE, manifest)

    async def refused(generation: int) -> bool:
        stored = await ensemble.client.get_json(endpoint.path(NAMESPACE, "refused"))
        conditions = stored.get("status", {}).get("conditions", ())
        return any(
            found["type"] == "Ready" and found["status"] == "False" and found["observedGeneration"] == generation
            for found in conditions
        )

    for generation, config in enumerate(("nowhere", "elsewhere", "nowhere"), start=1):
        if generation > 1:
            await ensemble.client.merge_patch(endpoint, NAMESPACE, "refused", {"spec": {"endpointConfigName": config}})
        await until(lambda generation=generation: refused(generation), f"a refusal of {config}")
    await ensemble.client.delete(endpoint, NAMESPACE, "refused")

    async def event_repeated() -> bool:
        items = (await ensemble.client.get_json(EVENTS.path(NAMESPACE)))["items"]
        return any(event["regarding"]["name"] == "refused" and event.get("series") for event in items)

    await until(event_repeated, "a series of events")


async def export_a_field(ensemble: Ensemble) -> None:
    """One into a ConfigMap and one into a Secret, and out of them again."""
    client, name = ensemble.client, ensemble.manifests["trainingjob"]["metadata"]["name"]
    source = {"group": "sagemaker.services.k8s.aws", "kind": "TrainingJob", "name": name}
    for target in (CONFIG_MAPS, SECRETS):
        kind = target.kind.lower()
        body = {"apiVersion": "v1", "kind": target.kind, "metadata": {"name": "target"}}
        await client.create(target, NAMESPACE, body)
        spec = {
            "from": {"path": ".status.ackResourceMetadata.arn", "resource": source},
            "to": {"kind": kind, "name": "target", "key": "arn"},
        }
        body = {
            "apiVersion": FIELD_EXPORTS.api_version,
            "kind": "FieldExport",
            "metadata": {"name": kind},
            "spec": spec,
        }
        await client.create(FIELD_EXPORTS, NAMESPACE, body)

        async def has_key(target: Resource = target) -> bool:
            return "arn" in ((await client.get_json(target.path(NAMESPACE, "target"))).get("data") or {})

        async def has_none(has_key: Callable[[], Awaitable[bool]] = has_key) -> bool:
            return not await has_key()

        await until(has_key, f"the key in the {kind}")
        await client.delete(FIELD_EXPORTS, NAMESPACE, kind)
        await until(has_none, f"the key to leave the {kind}")


async def adopt_everything(ensemble: Ensemble) -> None:
    """A second object of each kind, in another namespace, which takes what the first one made and gives it back."""
    client = ensemble.client
    for kind in KINDS:
        stored = await ensemble.get(kind.lower())
        aws = adoptable(catalog()[kind], stored["spec"], stored["status"]["ackResourceMetadata"]["arn"])
        retain = {DELETION_POLICY: "retain"}
        target = {"name": f"second-{kind.lower()}", "namespace": HOME, "annotations": retain}
        group = "sagemaker.services.k8s.aws"
        body = {
            "apiVersion": ADOPTED_RESOURCES.api_version,
            "kind": "AdoptedResource",
            "metadata": {"name": kind.lower(), "finalizers": [ACK_FINALIZER]},
            "spec": {"aws": aws, "kubernetes": {"group": group, "kind": kind, "metadata": target}},
        }
        await client.create(ADOPTED_RESOURCES, NAMESPACE, body)
    reported: dict[str, Any] = {}

    async def adopted() -> bool:
        for item in (await client.get_json(ADOPTED_RESOURCES.path(NAMESPACE)))["items"]:
            conditions = item.get("status", {}).get("conditions", ())
            reported[item["metadata"]["name"]] = {found["type"]: found for found in conditions}.get("ACK.Adopted", {})
        return all(condition.get("status") == "True" for condition in reported.values())

    try:
        await until(adopted, "everything to be adopted")
    except AssertionError as error:
        missing = {name: found for name, found in reported.items() if found.get("status") != "True"}
        raise AssertionError(f"{error}: {missing}") from None
    for kind in KINDS:
        await client.delete(ADOPTED_RESOURCES, NAMESPACE, kind.lower())
        await client.delete(catalog()[kind].resource, HOME, f"second-{kind.lower()}")

    async def gone() -> bool:
        left = [*(catalog()[kind].resource.path(HOME) for kind in KINDS), ADOPTED_RESOURCES.path(NAMESPACE)]
        return not any([(await client.get_json(path))["items"] for path in left])

    await until(gone, "the second objects to go")


@pytest.mark.kubectl
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
async def test_kubectl_explains_tries_and_waits(server: ApiServer, tmp_path: Path) -> None:
    env = environment(tmp_path, KUBECONFIG=str(server.kubeconfig))

    async def kubectl(*arguments: str) -> str:
        result = await run("kubectl", *arguments, env=env)
        assert result.code == 0, result
        return result.out

    async with stage(server, committed()) as (ensemble, simulated):
        for field, text in (
            ("trainingjob.spec.algorithmSpecification.metricDefinitions.regex", "<string>"),
            ("endpointconfig.spec.productionVariants.managedInstanceScaling.maxInstanceCount", "<integer>"),
            ("hyperparametertuningjob.spec.trainingJobDefinitions.tuningObjective.metricName", "<string>"),
            ("notebookinstance.status.conditions.lastTransitionTime", "<string>"),
        ):
            explained = await kubectl("explain", field)
            assert f"FIELD: {field.rpartition('.')[2]} {text}" in explained
            assert "DESCRIPTION:" in explained
        for way in ((), ("--server-side",)):
            tried = await kubectl("apply", "-n", "default", "--dry-run=server", *way, "-f", str(SAMPLES))
            documents = [text for path in SAMPLES.glob("*.yaml") for text in path.read_text().split("\n---\n")]
            assert tried.count("(server dry run)") == len(documents)
        async with authorized(server, simulated):
            path = str(SAMPLES / "trainingjob.yaml")
            await kubectl("apply", "-n", NAMESPACE, "--server-side", "-f", path)
            await kubectl("wait", "-n", NAMESPACE, "--for=condition=Complete", "--timeout=30s", "-f", path)
            applied = await kubectl("apply", "-n", NAMESPACE, "--server-side", "-f", path)
            assert "serverside-applied" in applied, "the operator's writes conflict with no manifest"
            assert (await ensemble.get("trainingjob"))["status"]["trainingJobStatus"] == "Completed"
            job = document("trainingjob")["spec"]["trainingJobName"]
            spec = {
                "aws": {"nameOrID": job},
                "kubernetes": {"group": "sagemaker.services.k8s.aws", "kind": "TrainingJob"},
            }
            request = {"apiVersion": ADOPTED_RESOURCES.api_version, "kind": "AdoptedResource", "spec": spec}
            (tmp_path / "request.json").write_text(json.dumps(request | {"metadata": {"name": "taken"}}))
            await kubectl("apply", "-n", HOME, "-f", str(tmp_path / "request.json"))
            await kubectl("wait", "-n", HOME, "--for=condition=ACK.Adopted", "--timeout=30s", "adoptedresource/taken")
            shown = await kubectl("get", "-n", HOME, "adoptedresources")
            assert "TrainingJob" in shown
            assert "True" in shown
            await kubectl("get", "-n", HOME, "trainingjob/taken")
            await kubectl("delete", "-n", NAMESPACE, "--wait", "--timeout=30s", "-f", path)


async def test_objects_that_ack_stored_are_taken_over_under_our_crds(server: ApiServer) -> None:
    relaxed = [crd_manifest(kind, relaxed=True) for kind in catalog().values()]
    async with stage(server, relaxed) as (ensemble, simulated):
        stored = await stored_by_ack(ensemble, simulated)
        async with client_of(server) as client:
            await install(client, committed())
        simulated.calls.clear()
        async with authorized(server, simulated) as authorizer, asyncio.TaskGroup() as group:
            for reference in stored:
                group.create_task(ensemble.ready(reference))
        assert [call.operation for call in simulated.calls.mutating()] == []
        for reference, before in stored.items():
            after = await ensemble.get(reference)
            assert after["spec"] == before["spec"]
            assert after["metadata"]["finalizers"] == before["metadata"]["finalizers"]
            arns = [obj["status"]["ackResourceMetadata"]["arn"] for obj in (before, after)]
            assert arns[0] == arns[1]
        assert authorizer.denied == []


async def stored_by_ack(ensemble: Ensemble, simulated: SageMakerSimulator) -> dict[str, dict[str, Any]]:
    """Every resource with what it needs, made as ACK would, and the object of each kind as ACK leaves it; by reference."""
    arns: dict[str, str] = {}
    domain = ""

    async def make(reference: str) -> None:
        nonlocal domain
        manifest = ensemble.manifests[reference]
        kind = catalog()[manifest["kind"]]
        spec = dict(manifest["spec"]) | ({"domainID": domain} if "domainID" in manifest["spec"] else {})
        request = desired_input(kind, spec)
        if kind.tags_on_create:
            request["Tags"] = [*request.get("Tags", ()), *ACK_TAGS]
        if kind.token_member is not None:
            request[kind.token_member] = "6f1c4a52-9a3e-4d57-8f51-0f4a1d2c3b4e"
        answer = await ask(simulated, kind.create, **request)
        assert "__type" not in answer, answer
        arns[reference] = str(answer[kind.arn_member])
        # Long enough for every job, and for hourly schedules half-way between two executions.
        simulated.advance(5400)
        if kind.name == "Domain":
            domain = arns[reference].rpartition("/")[2]

    await ensemble.perform(make)
    stored: dict[str, dict[str, Any]] = {}
    for reference in (kind.lower() for kind in ACK_KINDS):
        text = Template((CORPUS / f"{reference}.yaml").read_text()).substitute(ARN=arns[reference], DOMAIN_ID=domain)
        manifest = yaml.safe_load(text)
        manifest["metadata"]["namespace"] = NAMESPACE
        status = manifest.pop("status")
        if reference == "featuregroup":
            # AWS's path has the second of the create in it, which the fixture cannot know.
            group = await ask(simulated, "DescribeFeatureGroup", FeatureGroupName=manifest["spec"]["featureGroupName"])
            resolved = group["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
            manifest["spec"]["offlineStoreConfig"]["s3StorageConfig"]["resolvedOutputS3URI"] = resolved
        resource: Resource = catalog()[manifest["kind"]].resource
        await ensemble.client.create(resource, NAMESPACE, manifest)
        name = manifest["metadata"]["name"]
        await ensemble.client.merge_patch(resource, NAMESPACE, name, {"status": status}, subresource="status")
        stored[reference] = await ensemble.get(reference)
    return stored
