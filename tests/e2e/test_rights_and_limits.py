"""Missing or revoked permissions, a lease held by another process, objects too large for etcd: all are reported."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import ADOPTION_FIELDS, ADOPTION_POLICY, DELETION_POLICY
from sagemaker_operator.kube.lease import LEASES
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from tests.e2e.harness import Cloud, build, operator, sample
from tests.e2e.kinds import VIRTUAL
from tests.transports import ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

LEASE = "not allowed to get leases.coordination.k8s.io default/"


class Door(ForwardingTransport):
    """The way to the API server; `refuse` answers in its place where it has an answer."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(InMemoryTransport(cloud.kubernetes))
        self.refuse: Callable[[str, str], Response | None] = lambda method, path: None

    async def answer(self, request: Request) -> Response:
        refused = self.refuse(request.method, request.path)
        return refused if refused is not None else await super().answer(request)


def answer(code: int, reason: str, message: str) -> Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return Response(code, {}, json.dumps({**body, "message": message}).encode())


def forbidden(verb: str, plural: str) -> Response:
    return answer(403, "Forbidden", f'{plural} is forbidden: User "sa" cannot {verb} resource "{plural}"')


def job(name: str) -> dict[str, Any]:
    manifest = sample(trainingJobName=name)
    manifest["metadata"] = {"name": name, "namespace": "default", "annotations": {DELETION_POLICY: "retain"}}
    return manifest


def lines(out: io.StringIO, **wanted: Any) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    return [line for line in found if wanted.items() <= line.items()]


@asynccontextmanager
async def standing_by(cloud: Cloud, **changes: Any) -> AsyncIterator[tuple[Manager, Door, io.StringIO]]:
    out = io.StringIO()
    configure(level="info", format_="json", clock=cloud.clock, stream=out)
    door = Door(cloud)
    async with AsyncExitStack() as stack:
        manager = build(cloud, stack, transport=door, identity="two", **changes)
        task = asyncio.create_task(manager.run())
        try:
            yield manager, door, out
        finally:
            manager.stop()
            await task


async def test_a_standby_says_who_leads_once_and_then_every_ten_minutes() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud, identity="one") as leader:
        await cloud.until(lambda: leader.elector.is_leader)
        async with standing_by(cloud) as (standby, _, out):
            await cloud.until(lambda: standby.ready() is None)
            await cloud.pass_time(60)
            (line,) = lines(out, event="operator.standby")
            assert (line["level"], line["holder"], line["identity"]) == ("info", "one", "two")
            assert line["lease"].startswith("default/")
            await cloud.pass_time(1200)
            assert len(lines(out, event="operator.standby")) == 3


async def test_a_lease_that_is_refused_is_a_warning_and_not_ready() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with standing_by(cloud) as (manager, door, out):
        door.refuse = lambda method, path: forbidden("get", "leases") if LEASES.plural in path else None
        await cloud.until(lambda: manager.elector.refused)
        await cloud.pass_time(60)
        assert str(manager.ready()).startswith(LEASE)
        (line,) = lines(out, event="operator.leaseError")
        assert line["level"] == "warning"
        assert line["err"].startswith(LEASE)
        errors = "sagemaker_operator_lease_errors_total"
        assert any(
            found.name == errors and found.value > 5
            for family in manager.metrics.registry.collect()
            for found in family.samples
        )
        door.refuse = lambda method, path: None
        await cloud.until(lambda: manager.elector.is_leader)
        assert manager.ready() is None


async def test_a_standby_keeps_no_queue_and_a_new_leader_has_every_object() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with AsyncExitStack() as first:
        leader = await first.enter_async_context(operator(cloud, identity="one"))
        await cloud.until(lambda: leader.elector.is_leader)
        async with operator(cloud, identity="two") as standby:
            await cloud.until(lambda: standby.ready() is None)
            for number in range(20):
                await cloud.apply(job(f"run-{number}"))
            await cloud.pass_time(60)
            for number in range(19):
                await cloud.user.delete(cloud.job, "default", f"run-{number}")
            await cloud.pass_time(60)
            queue = standby.controllers["TrainingJob"].queue
            assert (len(queue), queue.delayed) == (0, 0)
            await first.aclose()
            await cloud.until_status("run-19", "Completed")
            assert standby.elector.is_leader


async def test_revoked_permissions_are_named_within_a_minute() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with standing_by(cloud) as (manager, door, out):
        await cloud.until(lambda: manager.elector.is_leader)

        def refuse(method: str, path: str) -> Response | None:
            return forbidden("patch", "trainingjobs") if method == "PATCH" and "/trainingjobs/" in path else None

        door.refuse = refuse
        await cloud.apply(job("late"))
        await cloud.pass_time(60)
        wrong = "not allowed to patch trainingjobs in namespace default: apply manifests/rbac.yaml for this identity"
        assert manager.ready() == wrong
        assert [line["err"] for line in lines(out, event="operator.degraded")] == [wrong]
        door.refuse = lambda method, path: None
        await cloud.until_status("late", "Completed")
        assert manager.ready() is None


async def test_events_that_are_refused_are_logged_once_per_verb_and_namespace() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with standing_by(cloud) as (manager, door, out):
        door.refuse = lambda method, path: forbidden("create", "events") if path.endswith("/events") else None
        for name in ("a", "b", "c"):
            await cloud.apply(job(name))
            await cloud.until_status(name, "Completed")
        assert manager.events.dropped > 3
        (line,) = lines(out, msg="Kubernetes Events are refused")
        assert (line["level"], line["namespace"]) == ("warning", "default")
        assert line["err"].startswith("not allowed to create events.events.k8s.io in namespace default")
        assert manager.ready() is None


@pytest.mark.parametrize(
    ("code", "message"),
    [(500, "etcdserver: request is too large"), (413, "Request entity too large: limit is 3145728")],
)
async def test_an_object_too_large_for_etcd_gets_an_event_and_is_tried_slowly(code: int, message: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with standing_by(cloud) as (manager, door, _):
        tries = 0

        def refuse(method: str, path: str) -> Response | None:
            nonlocal tries
            if method != "PATCH" or "/trainingjobs/large" not in path:
                return None
            tries += 1
            return answer(code, "InternalError", message)

        door.refuse = refuse
        await cloud.apply(job("large"))
        await cloud.pass_time(3600)
        assert tries < 15
        events = await cloud.user.get_json("/apis/events.k8s.io/v1/namespaces/default/events")
        found = [event for event in events["items"] if event["reason"] == "ObjectTooLarge"]
        assert 0 < len(found) <= tries
        assert {event["regarding"]["name"] for event in found} == {"large"}
        assert "1.5 MiB" in found[0]["note"]
        assert manager.ready() is None


async def test_an_adoption_that_the_rules_of_the_crd_refuse_quotes_the_rule() -> None:
    cloud = Cloud(kinds=["Model"])
    async with standing_by(cloud) as (manager, door, _):
        await cloud.until(lambda: manager.elector.is_leader)
        container = {"Image": "123456789012.dkr.ecr.us-west-2.amazonaws.com/x:1"}
        role = "arn:aws:iam::123456789012:role/sagemaker"
        await cloud.ask("CreateModel", ModelName="there", PrimaryContainer=container, ExecutionRoleArn=role)

        def refuse(method: str, path: str) -> Response | None:
            if method != "PATCH" or not path.endswith("/models/mine"):
                return None
            rule = "exactly one of spec.primaryContainer, spec.containers must be set"
            causes = [{"field": "spec", "reason": "FieldValueInvalid", "message": f'Invalid value: "object": {rule}'}]
            text = f'Model "mine" is invalid: spec: Invalid value: "object": {rule}'
            body = {"kind": "Status", "code": 422, "reason": "Invalid", "message": text, "details": {"causes": causes}}
            return Response(422, {}, json.dumps(body).encode())

        door.refuse = refuse
        fields = json.dumps({"modelName": "there"})
        kind = {"apiVersion": "sagemaker.services.k8s.aws/v1alpha1", "kind": "Model"}
        annotations = {ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: fields}
        await cloud.apply({**kind, "metadata": {"name": "mine", "namespace": "default", "annotations": annotations}})

        async def reported() -> Any:
            return (await cloud.conditions("mine", kind="Model")).get("Ready", {}).get("message", "")

        async def quoted() -> bool:
            return "spec: exactly one of spec.primaryContainer, spec.containers must be set" in await reported()

        await cloud.until(quoted, seconds=120)
