"""Counters and histograms, with the names that dashboards of controller-runtime, client-go and ACK use.

Depths, ages and rates are not here: `scrape` reads them when Prometheus scrapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client import disable_created_metrics as _disable_created_metrics
from prometheus_client import values as _values

if TYPE_CHECKING:
    from collections.abc import Iterable

# Creation times of counters would be 50 % more series, and Go clients have none.
_disable_created_metrics()  # type: ignore[no-untyped-call]

# PROMETHEUS_MULTIPROC_DIR, which images for web servers set, would put each counter into a file.
_values.ValueClass = _values.MutexValue

# controller-runtime's.
_RECONCILE_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(
        1.25,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        3.5,
        4.0,
        4.5,
        5.0,
        6.0,
        7.0,
        8.0,
        9.0,
        10.0,
        15.0,
        20.0,
        25.0,
        30.0,
        40.0,
        50.0,
        60.0,
    ),
)
# controller-runtime's ExponentialBuckets(10e-9, 10, 12).
_QUEUE_SECONDS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
# Kubernetes' own for rest_client_request_duration_seconds.
_REST_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
# A Describe takes 50 to 200 ms; a read is given up after 25 s.
_AWS_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
# A turn of the loop: at most 50 ms by design; after 15 s the liveness probe fails.
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)

_SERVICE = "sagemaker"
_RESULTS = ("success", "error", "requeue", "requeue_after")

# ACK's, by operation or leading verb, the longest match wins.
_OP_TYPES = {
    "Describe": "READ_ONE",
    "List": "READ_MANY",
    "Create": "CREATE",
    "Update": "UPDATE",
    "Delete": "DELETE",
    "Stop": "STOP",
    "Start": "START",
    "ListTags": "GET",
    "AddTags": "UPDATE",
    "DeleteTags": "UPDATE",
    "": "OTHER",
}


class Metrics:
    """One registry per operator, so that two operators in one process (tests, the demo) do not share counters."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=registry)

        def histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, help_, labels, buckets=buckets, registry=registry)

        self.reconciles = counter("controller_runtime_reconcile_total", "Reconciles by result", "controller", "result")
        self.reconcile_errors = counter(
            "controller_runtime_reconcile_errors_total",
            "Reconciles that failed and are retried with a backoff",
            "controller",
        )
        self.reconcile_terminal = counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciles that found an error which only an edit of spec can fix",
            "controller",
        )
        self.reconcile_panics = counter(
            "controller_runtime_reconcile_panics_total", "Unexpected exceptions that were caught", "controller"
        )
        self.reconcile_timeouts = counter(
            "controller_runtime_reconcile_timeouts_total", "Reconciles that timed out", "controller"
        )
        self.reconcile_seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Seconds per reconcile", _RECONCILE_SECONDS, "controller"
        )
        self.queue_adds = counter("workqueue_adds_total", "Keys added", "name", "controller")
        self.queue_retries = counter(
            "workqueue_retries_total", "Keys added again after a failure", "name", "controller"
        )
        self.queue_seconds = histogram(
            "workqueue_queue_duration_seconds", "Seconds from ready to taken", _QUEUE_SECONDS, "name", "controller"
        )
        self.work_seconds = histogram(
            "workqueue_work_duration_seconds", "Seconds from taken to done", _QUEUE_SECONDS, "name", "controller"
        )
        self.kube_requests = counter(
            "rest_client_requests_total", "Requests to the API server", "code", "method", "host"
        )
        self.kube_seconds = histogram(
            "rest_client_request_duration_seconds",
            "Seconds per request, watches left out",
            _REST_SECONDS,
            "verb",
            "host",
        )
        self.aws_requests = counter("ack_outbound_api_requests_total", "AWS requests", "service", "op_type", "op_id")
        self.aws_request_errors = counter(
            "ack_outbound_api_requests_error_total", "AWS requests that failed", "service", "op_id", "status_code"
        )
        self.aws_errors = counter(
            "sagemaker_operator_aws_errors_total",
            "AWS requests that failed, by AWS's code",
            "operation",
            "category",
            "code",
        )
        self.aws_long_waits = counter(
            "sagemaker_operator_aws_long_retry_after_total",
            "Answers whose Retry-After is longer than the operator waits",
            "operation",
        )
        self.aws_seconds = histogram(
            "sagemaker_operator_aws_call_duration_seconds",
            "Seconds waiting for AWS per call, over its attempts",
            _AWS_SECONDS,
            "operation",
        )
        self.transitions = counter(
            "sagemaker_operator_transitions_total",
            "Changes of objects, by the event of their log line",
            "controller",
            "event",
        )
        self.loop_lag = histogram(
            "sagemaker_operator_event_loop_lag_seconds", "How late a timer of the event loop was", _LAG_SECONDS
        )

    def controller(self, name: str) -> ControllerMetrics:
        """The instruments of one controller, all of them at 0 from the start as controller-runtime's are."""
        return ControllerMetrics(self, name)

    def panicked(self, part: str) -> None:
        """An unexpected exception was caught in a controller, or in another part of the operator (a closed list)."""
        self.reconcile_panics.labels(part).inc()

    def kube_request(self, host: str, method: str, status: int, seconds: float) -> None:
        """A finished request to the API server, or an opened WATCH; `status` 0: no answer."""
        watch = method == "WATCH"
        # client-go's terms for both.
        self.kube_requests.labels(str(status) if status else "<error>", "GET" if watch else method, host).inc()
        if not watch:
            self.kube_seconds.labels(method, host).observe(seconds)

    def aws_call(
        self,
        operation: str,
        *,
        requests: int,
        failures: Iterable[tuple[str, str, int]],
        seconds: float,
        long_waits: int = 0,
    ) -> None:
        """A finished call: what was sent for it, and the (category, code, HTTP status or 0) of each failure.

        `long_waits`: answers whose Retry-After was cut.
        """
        self.aws_long_waits.labels(operation).inc(long_waits)
        if requests:
            self.aws_requests.labels(_SERVICE, _op_type(operation), operation).inc(requests)
            self.aws_seconds.labels(operation).observe(seconds)
        for category, code, status in failures:
            # ACK prints the SDK's fault enum here by mistake, and -1 where there was no answer.
            self.aws_request_errors.labels(_SERVICE, operation, str(status or -1)).inc()
            self.aws_errors.labels(operation, category, code).inc()


class ControllerMetrics:
    """The metrics of one controller and its queue (a `QueueObserver`)."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._results = {result: metrics.reconciles.labels(name, result) for result in _RESULTS}
        self._errors = metrics.reconcile_errors.labels(name)
        self._terminal = metrics.reconcile_terminal.labels(name)
        self._panics = metrics.reconcile_panics.labels(name)
        self._timeouts = metrics.reconcile_timeouts.labels(name)
        self._seconds = metrics.reconcile_seconds.labels(name)
        self._adds = metrics.queue_adds.labels(name, name)
        self._retries = metrics.queue_retries.labels(name, name)
        self._queued = metrics.queue_seconds.labels(name, name)
        self._worked = metrics.work_seconds.labels(name, name)
        self._name = name
        self._transitions = metrics.transitions

    def reconciled(self, result: str, seconds: float) -> None:
        """A reconcile has ended; `result` is one of controller-runtime's four."""
        self._results[result].inc()
        self._seconds.observe(seconds)
        if result == "error":
            self._errors.inc()

    def timed_out(self) -> None:
        self._timeouts.inc()

    def panicked(self) -> None:
        self._panics.inc()

    def count_transition(self, event: str, *, terminal: bool) -> None:
        """A transition was logged as `event`. `terminal`: only an edit of the object helps."""
        self._transitions.labels(self._name, event).inc()
        if terminal:
            self._terminal.inc()

    def on_add(self, key: object) -> None:
        self._adds.inc()

    def on_get(self, key: object, queue_seconds: float) -> None:
        self._queued.observe(queue_seconds)

    def on_done(self, key: object, work_seconds: float) -> None:
        self._worked.observe(work_seconds)

    def on_retry(self, key: object) -> None:
        self._retries.inc()


def _op_type(operation: str) -> str:
    return _OP_TYPES[max((prefix for prefix in _OP_TYPES if operation.startswith(prefix)), key=len)]
