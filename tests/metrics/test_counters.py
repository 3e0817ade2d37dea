"""Counters: each action changes one number."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.control.controller import Controller
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import Conflict, NotFound, OperatorError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.objects import KubeObject, Meta, ObjectKey

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sagemaker_operator.listwatch import ListPage, WatchEvent

KEY = ObjectKey("TrainingJob", "default", "a")


def reported(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, values of the labels in the order of their names) -> value, of everything that is not 0."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in metrics.registry.collect()
        if not family.name.startswith(("process_", "python_"))
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_bucket", "_sum"))
    }


@pytest.mark.parametrize(
    ("method", "status", "code", "verb", "timed"),
    [("GET", 200, "200", "GET", 1), ("PATCH", 409, "409", "PATCH", 1), ("POST", 0, "<error>", "POST", 1),
     ("WATCH", 200, "200", "GET", 0), ("WATCH", 0, "<error>", "GET", 0)],
)  # fmt: skip
def test_a_request_to_the_api_server(method: str, status: int, code: str, verb: str, timed: int) -> None:
    metrics = Metrics()
    metrics.kube_request("server:6443", method, status, 0.1)
    expected = {("rest_client_requests_total", code, "server:6443", verb): 1}
    if timed:
        expected[("rest_client_request_duration_seconds_count", "server:6443", verb)] = timed
    assert reported(metrics) == expected


@pytest.mark.parametrize(
    ("operation", "op_type"),
    [("DescribeTrainingJob", "READ_ONE"), ("ListTrainingJobs", "READ_MANY"), ("CreateModel", "CREATE"),
     ("UpdateEndpoint", "UPDATE"), ("DeleteModel", "DELETE"), ("StopTrainingJob", "STOP"),
     ("StartNotebookInstance", "START"), ("ListTags", "GET"), ("AddTags", "UPDATE"), ("DeleteTags", "UPDATE"),
     ("RetryPipelineExecution", "OTHER")],
)  # fmt: skip
def test_ack_names_the_types_of_operations(operation: str, op_type: str) -> None:
    metrics = Metrics()
    metrics.aws_call(operation, requests=1, failures=(), seconds=0.1)
    assert reported(metrics)["ack_outbound_api_requests_total", operation, op_type, "sagemaker"] == 1


def test_every_attempt_of_a_read_is_a_request() -> None:
    metrics = Metrics()
    failures = [("Transient", "InternalFailure", 500), ("Transient", "", 0)]
    metrics.aws_call("DescribeModel", requests=3, failures=failures, seconds=0.1)
    assert reported(metrics) == {
        ("ack_outbound_api_requests_total", "DescribeModel", "READ_ONE", "sagemaker"): 3,
        ("ack_outbound_api_requests_error_total", "DescribeModel", "sagemaker", "500"): 1,
        ("ack_outbound_api_requests_error_total", "DescribeModel", "sagemaker", "-1"): 1,
        ("sagemaker_operator_aws_errors_total", "Transient", "InternalFailure", "DescribeModel"): 1,
        ("sagemaker_operator_aws_errors_total", "Transient", "", "DescribeModel"): 1,
        ("sagemaker_operator_aws_call_duration_seconds_count", "DescribeModel"): 1,
    }


def test_a_call_refused_by_the_own_rate_limit_is_not_a_request() -> None:
    metrics = Metrics()
    metrics.aws_call("CreateModel", requests=0, failures=(), seconds=0.0)
    assert reported(metrics) == {}


class _Nowhere:
    name = "trainingjobs"

    async def list_page(self, namespace: str | None, *, continue_: str | None, limit: int) -> ListPage:
        raise AssertionError("not watched here")

    async def read(self, namespace: str, name: str) -> KubeObject | None:
        raise AssertionError("not watched here")

    def watch(
        self, namespace: str | None, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        raise AssertionError("not watched here")


class _Pass:
    """A reconcile with a given result."""

    def __init__(self, end: Requeue | Exception | float) -> None:
        self._end = end

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        if isinstance(self._end, Exception):
            raise self._end
        if isinstance(self._end, Requeue):
            return self._end
        await asyncio.sleep(self._end)
        return Requeue.SETTLED

    def forget(self, obj: KubeObject) -> None: ...


@pytest.mark.looptime(end=1000)
@pytest.mark.parametrize(
    ("end", "result", "also"),
    [
        (Requeue.SETTLED, "success", ()),
        (Requeue.after(5000.0), "requeue_after", ()),
        (Requeue.SLOW_BACKOFF, "requeue", ("workqueue_retries_total",)),
        (NotFound("gone"), "success", ()),
        (Conflict("somebody wrote"), "requeue", ("workqueue_retries_total",)),
        (OperatorError("no"), "error", ("workqueue_retries_total", "controller_runtime_reconcile_errors_total")),
        (ValueError("a bug"), "error", ("workqueue_retries_total", "controller_runtime_reconcile_errors_total",
                                        "controller_runtime_reconcile_panics_total")),
        # It outlives the queue, and so will not be tried again.
        (100.0, "error", ("controller_runtime_reconcile_errors_total", "controller_runtime_reconcile_timeouts_total")),
    ],
)  # fmt: skip
async def test_a_reconcile_is_counted(end: Requeue | Exception | float, result: str, also: tuple[str, ...]) -> None:
    metrics = Metrics()
    resource = catalog()["TrainingJob"].resource
    controller = Controller(resource, _Nowhere(), workers=1, timeout=60.0, rng=random.Random(1), metrics=metrics)
    controller.attach(_Pass(end))
    if isinstance(end, NotFound):
        controller.queue.add(KEY)
    else:
        # Only what is in the store is scheduled again. Its arrival puts its key into the queue.
        meta = Meta(name=KEY.name, namespace=KEY.namespace, uid="u", resource_version="1")
        controller.informer.apply_own_write(KubeObject(kind=KEY.kind, metadata=meta))
    work = asyncio.create_task(controller.work())
    await asyncio.sleep(0.01)
    controller.queue.shutdown()
    await work
    name = "trainingjob"
    once = {
        ("controller_runtime_reconcile_total", name, result),
        ("controller_runtime_reconcile_time_seconds_count", name),
    }
    queue = ("workqueue_adds_total", "workqueue_queue_duration_seconds_count", "workqueue_work_duration_seconds_count")
    once |= {(metric, name, name) for metric in (*queue, *also) if metric.startswith("workqueue_")}
    once |= {(metric, name) for metric in also if metric.startswith("controller_")}
    assert reported(metrics) == dict.fromkeys(once, 1)
