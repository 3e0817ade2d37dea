"""Prometheus metrics under the names that controller-runtime, client-go and ACK dashboards already read."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# controller-runtime's buckets, cut to the ones that separate a cached pass (1 ms) from an AWS call (100 ms) and a slow one.
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One registry per operator, so that two operators in one process (tests, the demo) do not share counters."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.reconciles = Counter(
            "controller_runtime_reconcile", "Reconciles by result", ("controller", "result"), registry=registry
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors", "Reconciles that raised", ("controller",), registry=registry
        )
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Seconds per reconcile",
            ("controller",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers", ("controller",), registry=registry
        )
        self.queue_adds = Counter("workqueue_adds", "Keys added", ("name", "controller"), registry=registry)
        self.queue_retries = Counter("workqueue_retries", "Keys retried", ("name", "controller"), registry=registry)
        self.queue_depth = Gauge("workqueue_depth", "Keys waiting", ("name", "controller"), registry=registry)
        self.queue_oldest = Gauge(
            "sagemaker_operator_queue_oldest_seconds",
            "Age of the oldest key waiting",
            ("controller",),
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "workqueue_queue_duration_seconds",
            "Seconds from add to get",
            ("name", "controller"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.work_seconds = Histogram(
            "workqueue_work_duration_seconds",
            "Seconds from get to done",
            ("name", "controller"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.kube_requests = Counter(
            "rest_client_requests", "Requests to Kubernetes", ("code", "method"), registry=registry
        )
        self.kube_seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Seconds per request",
            ("verb",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.aws_requests = Counter(
            "ack_outbound_api_requests", "AWS calls", ("service", "op_type", "op_id"), registry=registry
        )
        self.aws_errors = Counter(
            "ack_outbound_api_requests_error",
            "AWS calls that failed",
            ("service", "op_id", "status_code"),
            registry=registry,
        )
        self.polled = Gauge(
            "sagemaker_operator_polled_resources",
            "In-flight resources followed by the poller",
            ("kind",),
            registry=registry,
        )
        self.leader = Gauge("leader_election_master_status", "1 while this process leads", ("name",), registry=registry)
