"""/metrics of a whole operator in virtual time, and that docs/metrics.md is true."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sagemaker_operator.annotations import OWNER_ACCOUNT_ID
from sagemaker_operator.control.placement.namespace_config import CONFIG_MAPS, NAMESPACES
from sagemaker_operator.control.placement.roles import ACCOUNT_MAP
from sagemaker_operator.kube.layout import LEASE_NAME
from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import Cloud, build, operator, sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import Metric

    from sagemaker_operator.manager import Manager

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=200_000)]

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ACCOUNT = "111111111111"
PER_OBJECT = "sagemaker_operator_object_status"


def families(manager: Manager) -> dict[str, Metric]:
    """The values of a scrape, by the name of the samples."""
    found = list(text_string_to_metric_families(generate_latest(manager.metrics.registry).decode()))
    assert len({family.name for family in found}) == len(found), "two collectors export the same name"
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in found}


def values(manager: Manager, name: str, *labels: str) -> dict[Any, float]:
    """The values of one metric by these labels; with one label its value alone is the key."""
    rows = {
        tuple(sample.labels[label] for label in labels): sample.value
        for sample in families(manager)[name].samples
        if sample.name == name
    }
    return {key[0]: value for key, value in rows.items()} if len(labels) == 1 else rows


def value(manager: Manager, name: str, /, **labels: str) -> float:
    (found,) = [
        sample.value
        for sample in families(manager)[name].samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def series(manager: Manager) -> int:
    return sum(len(family.samples) for family in families(manager).values())


def kube_object(name: str, status: Mapping[str, Any]) -> KubeObject:
    meta = Meta(name=name, namespace="default", uid=name, resource_version="1")
    return KubeObject(kind="TrainingJob", metadata=meta, status=msgspec.Raw(msgspec.json.encode(status)))


async def cloud_of_two_accounts() -> Cloud:
    """What is in the namespace `theirs` belongs to another account, and so to a role whose credentials expire."""
    cloud = Cloud(kinds=["TrainingJob"])
    metadata = {"name": "theirs", "annotations": {OWNER_ACCOUNT_ID: ACCOUNT}}
    await cloud.user.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    roles = {ACCOUNT: f"arn:aws:iam::{ACCOUNT}:role/sagemaker"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ACCOUNT_MAP}, "data": roles}
    await cloud.user.create(CONFIG_MAPS, "default", body)
    return cloud


async def test_counts_equal_those_of_the_two_servers() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    cloud.sagemaker.faults.add(Fault(operation="DescribeTrainingJob", kind=FaultKind.SERVER_ERROR, nth=3, times=2))
    async with operator(cloud) as manager:
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
        calls = cloud.sagemaker.calls.operations - Counter(["GetCallerIdentity"])
        assert values(manager, "ack_outbound_api_requests_total", "op_id") == calls
        assert value(manager, "ack_outbound_api_requests_total", op_id="CreateTrainingJob", op_type="CREATE") == 1
        assert (
            value(manager, "ack_outbound_api_requests_error_total", op_id="DescribeTrainingJob", status_code="500") == 2
        )
        answered = Counter(
            (record.status, {"create": "POST", "patch": "PATCH", "update": "PUT"}.get(record.verb, "GET"))
            for record in cloud.kubernetes.requests
            if record.user_agent == "sagemaker-operator"
        )
        reported = values(manager, "rest_client_requests_total", "code", "method")
        assert reported == {(str(status), method): count for (status, method), count in answered.items()}
        reconciles = values(manager, "controller_runtime_reconcile_total", "controller", "result")
        job = {result: count for (controller, result), count in reconciles.items() if controller == "trainingjob"}
        assert job.keys() == {"success", "error", "requeue", "requeue_after"}
        taken = {s.labels["controller"]: s.value for s in families(manager)["workqueue_work_duration_seconds"].samples
                 if s.name.endswith("_count")}  # fmt: skip
        assert taken["trainingjob"] == sum(job.values()) == value(manager, "workqueue_adds_total", name="trainingjob")
        assert value(manager, "sagemaker_operator_transitions_total", event="job.completed") == 1
        assert value(manager, "sagemaker_operator_transitions_total", event="resource.deleted") == 1


async def test_watch_events_are_counted() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    async with operator(cloud) as manager, cloud.watching() as states:
        await cloud.until(lambda: manager.ready() is None)
        await cloud.apply(manifest)
        await cloud.until_status(manifest["metadata"]["name"], "Completed")
        await cloud.pass_time(1.0)
        assert value(manager, "sagemaker_operator_watch_events_total", resource="trainingjobs") == len(states)
        assert value(manager, "sagemaker_operator_watch_lists_total", resource="trainingjobs") == 1
        assert value(manager, "sagemaker_operator_watch_errors_total", resource="trainingjobs") == 0
        assert value(manager, "sagemaker_operator_watch_degraded", resource="trainingjobs") == 0


async def test_every_documented_name_is_exported_with_its_type_and_labels_and_no_other() -> None:
    cloud = await cloud_of_two_accounts()
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.THROTTLE))
    manifest = sample()
    manifest["metadata"]["namespace"] = "theirs"
    async with operator(cloud, object_metrics=True) as manager:
        await cloud.apply(manifest)
        await cloud.until(lambda: cloud.sagemaker.calls.operations["DescribeTrainingJob"] > 2)
        exported = families(manager)
    assert all(family.samples for family in exported.values()), "every metric has a series in this life"
    documented = {name: (type_, frozenset(re.findall(r"`(\w+)`", labels))) for name, type_, labels in _rows()}
    assert documented == {name: (family.type, _labels(family)) for name, family in exported.items()}


def _rows() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) ?\|", PAGE.read_text(), re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows)
    # The client library has process metrics on Linux only.
    linux = Path("/proc/self/stat").exists()
    return [row for row in rows if linux or not row[0].startswith("process_")]


def _labels(family: Metric) -> frozenset[str]:
    (labels,) = {frozenset(sample.labels) - {"le"} for sample in family.samples}
    return labels


async def test_names_follow_prometheus() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with AsyncExitStack() as stack:
        exported = families(build(cloud, stack, object_metrics=True))
    for name, family in exported.items():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
        assert family.documentation
        assert (family.type == "counter") == name.endswith("_total"), name
        if family.type == "histogram":
            assert name.endswith("_seconds"), f"{name}: the base unit of time"
        assert not re.search(r"_(milliseconds|ms|minutes|hours|kilobytes|percent|count|sum|bucket|created)(_|$)", name)
        if not name.startswith(("process_", "python_", "controller_runtime_", "workqueue_", "rest_client_", "ack_")):
            assert name.startswith("sagemaker_operator_") or name == "leader_election_master_status"


async def test_objects_are_counted_by_state_and_named_only_on_request() -> None:
    for switch in (False, True):
        cloud = Cloud(kinds=["TrainingJob"])
        manifest = sample()
        name = manifest["metadata"]["name"]
        async with operator(cloud, object_metrics=switch) as manager:

            def count(state: str, manager: Manager = manager) -> float:
                return value(manager, "sagemaker_operator_objects", controller="trainingjob", state=state)

            def named(manager: Manager = manager) -> dict[Any, float]:
                return values(manager, PER_OBJECT, "kind", "namespace", "name", "state", "reason")

            await cloud.apply(manifest)
            await cloud.until_status(name, "InProgress")
            assert count("InProgress") == 1
            if switch:
                assert named() == {("TrainingJob", "default", name, "InProgress", "InProgress"): 1}
            await cloud.until_status(name, "Completed")
            assert (count("InProgress"), count("Current")) == (0, 1)
            if switch:
                assert named() == {("TrainingJob", "default", name, "Current", "Completed"): 1}
            await cloud.user.delete(cloud.job, "default", name)
            await cloud.until_gone(name)
            assert count("Current") == count("Terminating") == 0
            if switch:
                assert named() == {}
            else:
                assert PER_OBJECT not in families(manager)
                assert name not in generate_latest(manager.metrics.registry).decode()


async def test_an_object_that_needs_an_edit_is_failed_and_counted_once() -> None:
    cloud = Cloud(kinds=["TrainingJob"], relaxed=True)
    manifest = sample(roleARN="no-role")
    async with operator(cloud, object_metrics=True) as manager:
        await cloud.apply(manifest)
        await cloud.until(
            lambda: value(manager, "sagemaker_operator_objects", controller="trainingjob", state="Failed")
        )
        await cloud.pass_time(3600.0)
        assert value(manager, "controller_runtime_terminal_reconcile_errors_total", controller="trainingjob") == 1
        assert value(manager, PER_OBJECT)


@pytest.mark.parametrize("number", [100, 10_000])
async def test_the_number_of_series_does_not_grow_with_objects(number: int) -> None:
    cloud = Cloud()
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "Completed"}]}
    async with AsyncExitStack() as stack:
        for each, grown in ((False, 0), (True, number)):
            manager = build(cloud, stack, object_metrics=each)
            before = series(manager)
            assert before < 125 * len(manager.controllers)
            store = manager.controllers["TrainingJob"].informer.store
            store.replace([kube_object(f"job-{i}", ready) for i in range(number)], "1")
            assert series(manager) == before + grown
            assert value(manager, "sagemaker_operator_cached_objects", resource="trainingjobs") == number


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ({}, "Unknown", ""),
        ({"conditions": None}, "Unknown", ""),
        ({"conditions": "odd"}, "Unknown", ""),
        ({"conditions": [{"type": "Ready", "status": "False", "reason": 'a "b"\\\n{c="d"}'}]},
         "InProgress", 'a "b"\\\n{c="d"}'),
        ({"conditions": [{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": "False"}]}, "Failed", ""),
        ({"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Ж"}]}, "InProgress", "Ж"),
    ],
)  # fmt: skip
async def test_states_of_odd_objects(status: dict[str, Any], state: str, reason: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with AsyncExitStack() as stack:
        manager = build(cloud, stack, object_metrics=True)
        manager.controllers["TrainingJob"].informer.store.replace([kube_object('x"y\\n', status)], "1")
        assert values(manager, PER_OBJECT, "name", "state", "reason") == {('x"y\\n', state, reason): 1}


async def test_a_shard_counts_its_own_objects() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    reported: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        for shard in range(3):
            manager = build(cloud, stack, object_metrics=True, shard=shard, total_shards=3)
            objects = [kube_object(f"job-{i}", {}) for i in range(30)]
            manager.controllers["TrainingJob"].informer.store.replace(objects, "1")
            reported.update(values(manager, PER_OBJECT, "name"))
    assert reported == Counter(f"job-{i}" for i in range(30))


async def test_throttling_shows_in_the_limiter() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.THROTTLE, times=2))
    manifest = sample()
    async with operator(cloud) as manager:
        await cloud.apply(manifest)
        await cloud.until(cloud.creates)
        assert values(manager, "sagemaker_operator_aws_throttled_total", "operation")["CreateTrainingJob"] == 2
        assert value(manager, "sagemaker_operator_aws_rate_limit_lowest", operation="CreateTrainingJob") < 10
        errors = values(manager, "sagemaker_operator_aws_errors_total", "operation", "category", "code")
        assert errors["CreateTrainingJob", "Throttled", "ThrottlingException"] == 2


async def test_a_poll_without_an_answer_shows_as_lag() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    async with operator(cloud) as manager:

        def lag() -> float:
            return value(manager, "sagemaker_operator_poll_lag_seconds", controller="trainingjob")

        await cloud.apply(manifest)
        await cloud.until_status(manifest["metadata"]["name"], "InProgress")
        assert value(manager, "sagemaker_operator_polled_resources", controller="trainingjob") == 1
        assert lag() == 0
        cloud.sagemaker.faults.add(Fault(operation="DescribeTrainingJob", kind=FaultKind.SLOW, seconds=18.0))
        await cloud.until(lambda: lag() > 10, seconds=100)
        await cloud.until(lambda: lag() == 0, seconds=100)


async def test_the_earliest_expiry_of_credentials_is_exported() -> None:
    cloud = await cloud_of_two_accounts()
    manifest = sample()
    manifest["metadata"]["namespace"] = "theirs"
    async with operator(cloud) as manager:

        def remaining() -> float:
            return value(manager, "sagemaker_operator_aws_credentials_remaining_seconds")

        await cloud.apply(manifest)
        await cloud.until(lambda: cloud.sagemaker.calls.operations["CreateTrainingJob"])
        first = remaining()
        assert 3000 < first <= 3600, "AssumeRole's hour"
        await cloud.pass_time(300.0)
        assert remaining() == pytest.approx(first - 300, abs=1)


async def test_a_standby_has_warm_caches_and_empty_queues_and_does_not_lead() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud, identity="one") as first:
        await cloud.until(lambda: first.elector.is_leader)
        async with operator(cloud, identity="two", seed=8) as second:
            await cloud.apply(sample())
            await cloud.pass_time(100.0)
            for manager, leads in ((first, 1), (second, 0)):
                assert value(manager, "leader_election_master_status", name=LEASE_NAME) == leads
                assert (value(manager, "sagemaker_operator_lease_remaining_seconds", name=LEASE_NAME) > 0) == leads
                assert value(manager, "sagemaker_operator_watch_synced", resource="trainingjobs") == 1
                assert value(manager, "sagemaker_operator_cached_objects", resource="trainingjobs") == 1
            assert sum(values(second, "workqueue_depth", "controller", "priority").values()) == 0
            for manager in (first, second):
                assert value(manager, "sagemaker_operator_queue_oldest_seconds", controller="trainingjob") == 0


async def test_without_a_lease_it_leads_and_no_lease_has_seconds() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud, leader_election=False) as manager:
        assert value(manager, "leader_election_master_status", name=LEASE_NAME) == 1
        assert not families(manager)["sagemaker_operator_lease_remaining_seconds"].samples
        assert not families(manager)["sagemaker_operator_aws_credentials_remaining_seconds"].samples, "keys that last"
