"""manifests/rbac.yaml grants the requests that the operator makes, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from sagemaker_operator.control.features.adopted_resource import ACK_FINALIZER, ADOPTED_RESOURCES
from sagemaker_operator.control.features.field_export import CONFIG_MAPS, FIELD_EXPORTS, SECRETS
from sagemaker_operator.crds.runtime import runtime_crds
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATOR = "sagemaker-operator"
GROUP = "sagemaker.services.k8s.aws"


class Permission(NamedTuple):
    """What RBAC decides about. `name` is empty where the rule holds for every name."""

    verb: str
    group: str
    resource: str
    name: str = ""


FIELD_EXPORT = "rbac-field-export"
ADOPTED_RESOURCE = "rbac-adopted-resource"


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "manifests" / f"{file}.yaml").read_text()))


def granted(kind: str, name: str, *, file: str = "rbac") -> Iterator[Permission]:
    for document in documents(file):
        if (document["kind"], document["metadata"]["name"]) != (kind, name):
            continue
        for rule in document["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for only in rule.get("resourceNames", [""]):
                            yield Permission(verb, group, resource, only)


_BY_NAME = {("leases", "get"), ("leases", "update"), ("configmaps", "list"), ("configmaps", "watch")}
"""Where a rule can, and so must, be about one name."""


def used(cloud: Cloud) -> set[Permission]:
    return {
        Permission(
            request.verb,
            request.group,
            f"{request.plural}/{request.subresource}" if request.subresource else request.plural,
            # A create has its name in the body, which RBAC does not read; a list has one only if it selects by it.
            request.name if (request.plural, request.verb) in _BY_NAME else "",
        )
        for request in cloud.kubernetes.requests
        if request.user_agent == OPERATOR
    }


async def everything() -> Cloud:
    """Two operators in turn: a job to its end, one deleted while it runs, and one refused twice for the same mistake."""
    cloud = Cloud(relaxed=True)
    async with operator(cloud):
        for name in ("finished", "deleted"):
            await cloud.apply(job(name))
            await cloud.until_status(name, "InProgress")
        await cloud.user.delete(cloud.job, "default", "deleted")
        await cloud.until_gone("deleted")
        await cloud.until_status("finished", "Completed")
    async with operator(cloud, identity="two"):
        manifest = job("refused")
        manifest["spec"]["stoppingCondition"]["maxRuntimeInSeconds"] = 0
        await cloud.apply(manifest)
        # A second mistake beside the first, and then only the first again: that event is recorded a second time.
        for count in (1, -1, 1):
            change = {"spec": {"resourceConfig": {"instanceCount": count}}}
            await cloud.user.merge_patch(cloud.job, "default", "refused", change)
            generation = (await cloud.get("refused"))["metadata"]["generation"]
            await cloud.until(partial(_terminal, cloud, generation))
        await cloud.user.delete(cloud.job, "default", "refused")
        await cloud.until_gone("refused")
    # All that surrounds objects: roles by account and team, and then by selector.
    cloud.kubernetes.install(runtime_crds()["iamroleselectors.yaml"])
    gates = FeatureGates(team_level_carm=True), FeatureGates(iam_role_selector=True)
    for enable_carm, feature_gates in zip((True, False), gates, strict=True):
        async with operator(cloud, identity="three", enable_carm=enable_carm, feature_gates=feature_gates):
            await cloud.pass_time(60)
    return cloud


def job(name: str) -> dict[str, Any]:
    manifest = sample(trainingJobName=name)
    manifest["metadata"]["name"] = name
    return manifest


async def _terminal(cloud: Cloud, generation: int) -> bool:
    return (await cloud.conditions("refused")).get("ACK.Terminal", {}).get("observedGeneration") == generation


@pytest.mark.asyncio
@pytest.mark.looptime(end=100_000)
async def test_every_grant_is_used_and_every_request_is_granted() -> None:
    observed = used(await everything())
    # One code serves all kinds: what it does to one of them it may have to do to each.
    jobs = {permission for permission in observed if permission.resource.partition("/")[0] == "trainingjobs"}
    plurals = {kind.plural for kind in catalog().values()}
    others = {
        permission._replace(resource=permission.resource.replace("trainingjobs", plural))
        for permission in jobs
        for plural in plurals
    }
    assert {permission for permission in observed if permission.group == GROUP} <= others
    leases = {permission for permission in observed if permission.resource == "leases"}
    exports = {permission for permission in observed if permission.resource.startswith("fieldexports")}
    requests = {permission for permission in observed if permission.resource.startswith("adoptedresources")}
    maps = {permission for permission in observed if permission.resource == "configmaps"} - exports
    assert set(granted("ClusterRole", OPERATOR)) == (observed | others) - leases - exports - requests - maps
    assert set(granted("Role", f"{OPERATOR}-role-maps")) == maps
    assert set(granted("Role", f"{OPERATOR}-leader")) == leases


@pytest.mark.asyncio
@pytest.mark.looptime(end=100_000)
async def test_every_grant_for_field_exports_is_used_and_every_request_is_granted() -> None:
    """In a role of its own, which can be left out."""
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(job("source"))
    source = {"group": GROUP, "kind": "TrainingJob", "name": "source"}
    for target in (CONFIG_MAPS, SECRETS):
        await cloud.user.create(target, "default", {"metadata": {"name": "target"}})
        metadata = {"name": target.plural}
        to = {"kind": target.kind.lower(), "name": "target"}
        spec = {"from": {"path": ".status.trainingJobStatus", "resource": source}, "to": to}
        body = {"apiVersion": FIELD_EXPORTS.api_version, "kind": "FieldExport", "metadata": metadata, "spec": spec}
        await cloud.user.create(FIELD_EXPORTS, "default", body)
    async with operator(cloud):
        await cloud.until_status("source", "Completed")
        await cloud.pass_time(60)
    observed = used(cloud)
    mine = {FIELD_EXPORTS.plural, f"{FIELD_EXPORTS.plural}/status", CONFIG_MAPS.plural, SECRETS.plural}
    asked = {permission for permission in observed if permission.resource in mine and not permission.name}
    assert set(granted("ClusterRole", f"{OPERATOR}-field-export", file=FIELD_EXPORT)) == asked
    assert observed - asked <= {
        *beside(),
        *granted("ClusterRole", f"{OPERATOR}-adopted-resource", file=ADOPTED_RESOURCE),
    }


def beside() -> set[Permission]:
    """What every operator is granted, whichever features it has."""
    roles = {*granted("Role", f"{OPERATOR}-leader"), *granted("Role", f"{OPERATOR}-role-maps")}
    return {*granted("ClusterRole", OPERATOR), *roles}


@pytest.mark.asyncio
@pytest.mark.looptime(end=100_000)
async def test_every_grant_for_adopted_resources_is_used_and_every_request_is_granted() -> None:
    """In a role of its own too: nothing else lets the operator create objects of our kinds."""
    cloud = Cloud(kinds=["Model"])
    body = {
        "apiVersion": ADOPTED_RESOURCES.api_version,
        "kind": "AdoptedResource",
        "metadata": {"name": "churn", "finalizers": [ACK_FINALIZER]},
        "spec": {"aws": {"nameOrID": "typo"}, "kubernetes": {"group": GROUP, "kind": "Model"}},
    }
    await cloud.user.create(ADOPTED_RESOURCES, "default", body)
    async with operator(cloud):
        await cloud.pass_time(60)
        await cloud.user.merge_patch(ADOPTED_RESOURCES, "default", "churn", {"spec": {"aws": {"nameOrID": "churn"}}})
        await cloud.pass_time(60)
        await cloud.user.delete(ADOPTED_RESOURCES, "default", "churn")
        await cloud.pass_time(60)
    observed = used(cloud)
    plurals = {kind.plural for kind in catalog().values()}
    asked = {found for found in observed if found.resource.partition("/")[0] == ADOPTED_RESOURCES.plural}
    creates = {found for found in observed if (found.verb, found.group) == ("create", GROUP)}
    assert {found.resource for found in creates} == {"models"}
    wanted = asked | {Permission("create", GROUP, plural) for plural in plurals}
    assert set(granted("ClusterRole", f"{OPERATOR}-adopted-resource", file=ADOPTED_RESOURCE)) == wanted
    exports = {*granted("ClusterRole", f"{OPERATOR}-field-export", file=FIELD_EXPORT)}
    assert observed - asked - creates <= beside() | exports


def test_people_may_edit_every_kind_but_not_its_status() -> None:
    roles = {document["metadata"]["name"]: document for document in documents("user-roles")}
    edit = roles["sagemaker-operator-edit"]
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    (rule,) = edit["rules"]
    assert rule["apiGroups"] == [GROUP]
    assert sorted(rule["resources"]) == sorted(kind.plural for kind in catalog().values())
    (view,) = roles["sagemaker-operator-view"]["rules"]
    assert set(view["verbs"]) == {"get", "list", "watch"}


@pytest.mark.parametrize("file", ["rbac", FIELD_EXPORT, ADOPTED_RESOURCE])
def test_the_roles_are_bound_to_the_deployments_account(file: str) -> None:
    pod = yaml.safe_load((ROOT / "manifests" / "deployment.yaml").read_text())
    account = pod["spec"]["template"]["spec"]["serviceAccountName"]
    bindings = [document for document in documents(file) if document["kind"].endswith("Binding")]
    roles = {(document["kind"], document["metadata"]["name"]) for document in documents(file) if "rules" in document}
    assert {(binding["roleRef"]["kind"], binding["roleRef"]["name"]) for binding in bindings} == roles
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": pod["metadata"]["namespace"]}
