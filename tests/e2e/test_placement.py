"""Accounts, regions and roles with the whole operator: which identity created what where, and that no other identity was used."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.annotations import (
    DEFAULT_REGION,
    DELETION_POLICY,
    NAMESPACE_DELETION_POLICY,
    OWNER_ACCOUNT_ID,
    REGION,
)
from sagemaker_operator.control.placement.namespace_config import CONFIG_MAPS, NAMESPACES, SELECTORS
from sagemaker_operator.control.placement.roles import ACCOUNT_MAP
from sagemaker_operator.crds.runtime import runtime_crds
from sagemaker_operator.kube.transport import Response, Transport
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import REGION as HOME
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.wire import Wire
from tests.transports import ForwardingTransport, Request

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=200_000)]

ONE, TWO = "111111111111", "222222222222"
SYSTEM = "default"
PATH = "/api/v1/namespaces/default/configmaps"


def role(account: str, name: str = "sagemaker") -> str:
    return f"arn:aws:iam::{account}:role/{name}"


async def cloud_with(*, accounts: dict[str, str] | None = None, **namespaces: dict[str, str]) -> Cloud:
    cloud = Cloud(kinds=["TrainingJob", "Model"])
    for name, message in namespaces.items():
        await namespace(cloud, name, message)
    if accounts is not None:
        await role_map(cloud, accounts)
    return cloud


async def namespace(cloud: Cloud, name: str, annotations: dict[str, str], **labels: str) -> None:
    metadata = {"name": name, "annotations": annotations, "labels": labels}
    await cloud.user.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


async def role_map(cloud: Cloud, data: dict[str, str], name: str = ACCOUNT_MAP) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    await cloud.user.create(CONFIG_MAPS, SYSTEM, manifest)


async def job(cloud: Cloud, name: str, where: str, **annotations: str) -> None:
    manifest = sample(trainingJobName=name)
    manifest["metadata"] = {"name": name, "namespace": where, "annotations": annotations}
    await cloud.apply(manifest)


async def status(cloud: Cloud, name: str, where: str) -> dict[str, Any]:
    return dict((await cloud.get(name, where)).get("status", {}))


async def condition(cloud: Cloud, name: str, where: str, type_: str) -> dict[str, Any]:
    conditions = (await status(cloud, name, where)).get("conditions", [])
    return next((dict(c) for c in conditions if c["type"] == type_), {})


async def reported(cloud: Cloud, name: str, where: str, type_: str, part: str) -> None:
    async def has_text() -> bool:
        return part in (await condition(cloud, name, where, type_)).get("message", "")

    await cloud.until(has_text, seconds=100)


async def reached(cloud: Cloud, name: str, where: str, state: str) -> None:
    async def has_status() -> bool:
        return (await status(cloud, name, where)).get("trainingJobStatus") == state

    await cloud.until(has_status, seconds=2000)


def callers(cloud: Cloud) -> set[tuple[str, str, str]]:
    """(account and name of the role or user, account, region) of every call to SageMaker."""
    sts = ("AssumeRole", "GetCallerIdentity")
    return {
        (call.caller.split(":")[4] + "/" + call.caller.split("/")[1], call.account, call.region)
        for call in cloud.sagemaker.calls.recent
        if call.operation not in sts
    }


async def test_two_accounts_and_two_regions_never_meet() -> None:
    cloud = await cloud_with(
        accounts={ONE: role(ONE), TWO: role(TWO) + "\n"},
        one={OWNER_ACCOUNT_ID: ONE},
        two={OWNER_ACCOUNT_ID: TWO, DEFAULT_REGION: "eu-west-1"},
    )
    async with operator(cloud):
        await job(cloud, "same", "one")
        await job(cloud, "same", "two")
        await job(cloud, "other", "one", **{REGION: "eu-west-1"})
        for name, where in (("same", "one"), ("same", "two"), ("other", "one")):
            await reached(cloud, name, where, "InProgress")
        made = {(c.account, c.region, c.name) for c in cloud.sagemaker.calls.of("CreateTrainingJob") if c.applied}
        assert made == {(ONE, HOME, "same"), (TWO, "eu-west-1", "same"), (ONE, "eu-west-1", "other")}
        metadata = (await status(cloud, "same", "two"))["ackResourceMetadata"]
        assert metadata == {
            "arn": f"arn:aws:sagemaker:eu-west-1:{TWO}:training-job/same",
            "ownerAccountID": TWO,
            "partition": "aws",
            "region": "eu-west-1",
        }
        # Asked to be elsewhere, it stays, says so, and is deleted where it is.
        change = {"metadata": {"annotations": {REGION: "ap-south-1"}}}
        await cloud.user.merge_patch(cloud.job, "two", "same", change)
        await reported(cloud, "same", "two", "ACK.Advisory", "exists in eu-west-1 and stays there")
        await cloud.user.delete(cloud.job, "two", "same")
        await cloud.until(lambda: cloud.sagemaker.calls.of("StopTrainingJob", "same"))
        (stopped,) = cloud.sagemaker.calls.of("StopTrainingJob", "same")
        assert (stopped.account, stopped.region) == (TWO, "eu-west-1")
    assert callers(cloud) == {
        (f"{ONE}/sagemaker", ONE, HOME),
        (f"{ONE}/sagemaker", ONE, "eu-west-1"),
        (f"{TWO}/sagemaker", TWO, "eu-west-1"),
    }


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (None, "ConfigMap default/ack-role-account-map does not exist"),
        ({}, f"has no key '{ONE}'"),
        ({ONE: ""}, f"key '{ONE}' of ConfigMap default/ack-role-account-map is empty"),
        ({ONE: "my-role"}, "is 'my-role': it must be arn:aws:iam::ACCOUNT:role/NAME"),
        ({ONE: role(TWO)}, f"a role of account {TWO}"),
    ],
    ids=["no map", "no key", "empty", "malformed", "another account"],
)
async def test_a_wrong_map_makes_no_call_until_it_is_fixed(data: dict[str, str] | None, cause: str) -> None:
    cloud = await cloud_with(accounts=data, one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud):
        await job(cloud, "waits", "one")
        await reported(cloud, "waits", "one", "ACK.Recoverable", cause)
        synced = await condition(cloud, "waits", "one", "ACK.ResourceSynced")
        assert (synced["status"], synced["message"]) == ("False", "IAM Role is not available")
        writes = len([r for r in cloud.kubernetes.requests if r.verb == "patch" and r.plural == "trainingjobs"])
        await cloud.pass_time(120)
        assert callers(cloud) == set()
        assert writes == len([r for r in cloud.kubernetes.requests if r.verb == "patch" and r.plural == "trainingjobs"])
        assert not (await cloud.get("waits", "one"))["metadata"].get("finalizers")
        if data is None:
            await role_map(cloud, {ONE: role(ONE)})
        else:
            await cloud.user.merge_patch(CONFIG_MAPS, SYSTEM, ACCOUNT_MAP, {"data": {ONE: role(ONE)}})
        await reached(cloud, "waits", "one", "InProgress")
        assert not await condition(cloud, "waits", "one", "ACK.Recoverable")
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}


async def test_a_namespace_that_changes_its_account_keeps_its_running_jobs_where_they_are() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE), TWO: role(TWO)}, one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud):
        await job(cloud, "before", "one")
        await reached(cloud, "before", "one", "InProgress")
        change = {"metadata": {"annotations": {OWNER_ACCOUNT_ID: TWO}}}
        await cloud.user.merge_patch(NAMESPACES, None, "one", change)
        await reported(cloud, "before", "one", "ACK.Advisory", f"exists in account {ONE}")
        await job(cloud, "after", "one")
        for name in ("before", "after"):
            await reached(cloud, name, "one", "Completed")
    made = {(c.account, c.name) for c in cloud.sagemaker.calls.of("CreateTrainingJob")}
    assert made == {(ONE, "before"), (TWO, "after")}
    assert {c.account for c in cloud.sagemaker.calls.of("DescribeTrainingJob", "before")} == {ONE}


async def test_a_map_that_breaks_and_is_fixed_during_a_job() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud):
        await job(cloud, "runs", "one")
        await reached(cloud, "runs", "one", "InProgress")
        await cloud.user.merge_patch(CONFIG_MAPS, SYSTEM, ACCOUNT_MAP, {"data": {ONE: None}})
        await reported(cloud, "runs", "one", "ACK.Recoverable", "has no key")
        before = await status(cloud, "runs", "one")
        cloud.forget()
        await cloud.pass_time(300)
        assert callers(cloud) == set()
        assert (await status(cloud, "runs", "one"))["ackResourceMetadata"] == before["ackResourceMetadata"]
        await cloud.user.merge_patch(CONFIG_MAPS, SYSTEM, ACCOUNT_MAP, {"data": {ONE: role(ONE, "new")}})
        await reached(cloud, "runs", "one", "Completed")
        assert not await condition(cloud, "runs", "one", "ACK.Recoverable")
    assert callers(cloud) == {(f"{ONE}/new", ONE, HOME)}


async def test_credentials_that_expire_are_renewed_as_the_same_role() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud):
        manifest = sample(trainingJobName="long", stoppingCondition={"maxRuntimeInSeconds": 20_000})
        manifest["metadata"] = {"name": "long", "namespace": "one"}
        manifest["spec"]["tags"] = [{"key": "sandbox/seconds", "value": "9000"}]
        await cloud.apply(manifest)
        await reached(cloud, "long", "one", "InProgress")
        await cloud.pass_time(8000)
        assert len(cloud.sagemaker.calls.of("AssumeRole")) >= 2
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}


async def test_while_sts_is_down_nothing_is_called_and_the_condition_does_not_flap() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud):
        await cloud.pass_time(10)
        down = cloud.sagemaker.faults.add(Fault(operation="AssumeRole", kind=FaultKind.SERVER_ERROR, times=None))
        await job(cloud, "waits", "one")
        await reported(cloud, "waits", "one", "ACK.Recoverable", f"cannot assume {role(ONE)}")
        first = await condition(cloud, "waits", "one", "ACK.Recoverable")
        await cloud.pass_time(300)
        assert await condition(cloud, "waits", "one", "ACK.Recoverable") == first
        assert callers(cloud) == set()
        cloud.sagemaker.faults.remove(down)
        await reached(cloud, "waits", "one", "InProgress")
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}


async def test_a_role_that_may_not_be_assumed_says_what_to_check_and_does_not_block_deletion() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    cloud.sagemaker.tokens.roles = {}
    async with operator(cloud):
        await job(cloud, "refused", "one")
        await reported(cloud, "refused", "one", "ACK.Recoverable", "trust policy")
        text = (await condition(cloud, "refused", "one", "ACK.Recoverable"))["message"]
        assert role(ONE) in text
        # Nothing can exist there: the finalizer must not hold the object back.
        await cloud.user.delete(cloud.job, "one", "refused")
        await cloud.until_gone("refused", seconds=5)
    assert callers(cloud) == set()


async def test_exactly_one_selector_may_match() -> None:
    cloud = await cloud_with(one={}, two={})
    cloud.kubernetes.install(runtime_crds()["iamroleselectors.yaml"])
    gates = FeatureGates(iam_role_selector=True)
    async with operator(cloud, enable_carm=False, feature_gates=gates):
        await selector(cloud, "first", role(ONE), namespaceSelector={"names": ["one"]})
        await selector(cloud, "second", role(TWO), namespaceSelector={"names": ["one", "three"]})
        await cloud.pass_time(1)
        await job(cloud, "torn", "one")
        await job(cloud, "own", "two")
        await reported(cloud, "torn", "one", "ACK.Recoverable", "first, second")
        await reached(cloud, "own", "two", "InProgress")
        assert {account for _, account, _ in callers(cloud)} == {"123456789012"}
        await cloud.user.delete(SELECTORS, None, "second")
        await reached(cloud, "torn", "one", "InProgress")
        chosen = await condition(cloud, "torn", "one", "ACK.IAMRoleSelected")
        assert (chosen["status"], chosen["reason"]) == ("True", "Selected")
        assert chosen["message"].startswith(f"roleARN: {role(ONE)}, selectorName: first, selectorResourceVersion: ")
    assert {(c.account, c.name) for c in cloud.sagemaker.calls.of("CreateTrainingJob")} == {
        (ONE, "torn"),
        ("123456789012", "own"),
    }


async def selector(cloud: Cloud, name: str, arn: str, **spec: Any) -> None:
    manifest = {
        "apiVersion": "services.k8s.aws/v1alpha1",
        "kind": "IAMRoleSelector",
        "metadata": {"name": name},
        "spec": {"arn": arn, **spec},
    }
    await cloud.user.create(SELECTORS, None, manifest)


@pytest.mark.parametrize("annotated", ["object", "namespace"])
async def test_a_region_that_does_not_exist_can_be_fixed_before_anything_is_created(annotated: str) -> None:
    own, default = ({REGION: "us-esat-1"}, {}) if annotated == "object" else ({}, {DEFAULT_REGION: "us-esat-1"})
    cloud = await cloud_with(one=default)
    async with operator(cloud):
        await job(cloud, "fixed", "one", **own)
        await reported(cloud, "fixed", "one", "ACK.Recoverable", "us-east-1")
        cloud.forget()
        await cloud.pass_time(600)
        assert [r for r in cloud.kubernetes.requests if r.verb == "patch" and r.plural == "trainingjobs"] == []
        assert len(cloud.sagemaker.calls) == 0
        right = {"metadata": {"annotations": {next(iter(own | default)): "us-east-1"}}}
        if own:
            await cloud.user.merge_patch(cloud.job, "one", "fixed", right)
        else:
            await cloud.user.merge_patch(NAMESPACES, None, "one", right)
        await reached(cloud, "fixed", "one", "InProgress")
        assert not await condition(cloud, "fixed", "one", "ACK.Recoverable")
    assert {c.region for c in cloud.sagemaker.calls.of("CreateTrainingJob")} == {"us-east-1"}


async def test_without_carm_no_namespaces_maps_or_selectors_are_read() -> None:
    cloud = await cloud_with(one={OWNER_ACCOUNT_ID: ONE})
    async with operator(cloud, enable_carm=False):
        await job(cloud, "own", "one")
        await reached(cloud, "own", "one", "InProgress")
    read = {request.plural for request in cloud.kubernetes.requests if request.user_agent == "sagemaker-operator"}
    assert not read & {"namespaces", "configmaps", "iamroleselectors"}


class Forbidding(ForwardingTransport):
    """Refuses to list one collection until it is allowed."""

    def __init__(self, inner: Transport, path: str) -> None:
        super().__init__(inner)
        self._path = path
        self.allowed = False

    async def answer(self, request: Request) -> Response:
        if request.path == self._path and not self.allowed:
            return Response(403, {}, b'{"kind": "Status", "reason": "Forbidden", "message": "not you"}')
        return await super().answer(request)


@pytest.mark.parametrize("path", ["/api/v1/namespaces", PATH], ids=["namespaces", "role map"])
async def test_no_replica_leads_before_namespaces_maps_and_selectors_are_synced(path: str) -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    doors: list[Forbidding] = []

    class Door(Wire):
        def transport(self, inner: Transport) -> Transport:
            doors.append(Forbidding(super().transport(inner), path))
            return doors[-1]

    async with operator(cloud, wire=Door()) as manager:
        await job(cloud, "waits", "one")
        await cloud.pass_time(600)
        assert "--enable-carm=false" in (manager.ready() or "")
        assert callers(cloud) == set()
        assert not await status(cloud, "waits", "one")
        assert not [request for request in cloud.kubernetes.requests if request.plural == "leases"]
        doors[0].allowed = True
        await reached(cloud, "waits", "one", "InProgress")
        assert manager.ready() is None
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}


async def test_an_installation_for_some_namespaces_reads_only_those() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE}, two={OWNER_ACCOUNT_ID: TWO})
    async with operator(cloud, watch_namespaces=("one", "default")):
        await job(cloud, "here", "one")
        await job(cloud, "there", "two")
        await reached(cloud, "here", "one", "InProgress")
        assert not await status(cloud, "there", "two")
    read = {r.name for r in cloud.kubernetes.requests if r.plural == "namespaces" and r.verb in ("list", "watch")}
    assert read == {"one", "default"}
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}


async def test_an_unknown_deletion_policy_keeps_the_resource_and_says_so() -> None:
    cloud = await cloud_with()
    async with operator(cloud):
        await job(cloud, "kept", "default", **{DELETION_POLICY: "orphan"})
        await reported(cloud, "kept", "default", "ACK.Advisory", "'orphan', which is not a deletion policy")
        await cloud.user.delete(cloud.job, "default", "kept")
        await cloud.until_gone("kept", seconds=5)
    assert not cloud.sagemaker.calls.of("StopTrainingJob")
    assert await cloud.training_job_status("kept") == "InProgress"


async def test_a_namespaces_policy_is_the_default_of_its_objects() -> None:
    cloud = await cloud_with(one={NAMESPACE_DELETION_POLICY: "retain"})
    async with operator(cloud):
        await job(cloud, "kept", "one")
        await job(cloud, "ended", "one", **{DELETION_POLICY: "delete"})
        for name in ("kept", "ended"):
            await reached(cloud, name, "one", "InProgress")
            await cloud.user.delete(cloud.job, "one", name)
            await cloud.until_gone(name)
    assert [call.name for call in cloud.sagemaker.calls.of("StopTrainingJob")] == ["ended"]


async def test_the_external_id_goes_with_the_role() -> None:
    cloud = await cloud_with(accounts={ONE: role(ONE)}, one={OWNER_ACCOUNT_ID: ONE})
    cloud.sagemaker.tokens.roles = {role(ONE): "shared"}
    async with operator(cloud, assume_role_external_id="shared"):
        await job(cloud, "runs", "one")
        await reached(cloud, "runs", "one", "InProgress")
    assert callers(cloud) == {(f"{ONE}/sagemaker", ONE, HOME)}
