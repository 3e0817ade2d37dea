"""Collects depths, ages, rates and leases from their owners when Prometheus scrapes. Between scrapes it costs nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sagemaker_operator.conditions import READY, RECONCILING, STALLED, ObjectState
from sagemaker_operator.logs import dropped_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from sagemaker_operator.aws.calls import Aws
    from sagemaker_operator.aws.sessions import Sessions
    from sagemaker_operator.control.controller import Controller
    from sagemaker_operator.control.polling.poller import Poller
    from sagemaker_operator.guard import Guard
    from sagemaker_operator.kube.events import EventRecorder
    from sagemaker_operator.kube.lease import LeaderElector
    from sagemaker_operator.objects import KubeObject
    from sagemaker_operator.runtime.informer import Informer

_Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""


class Guarded(Collector):
    """A collector whose exceptions do not fail the scrape: only its own rows are missing."""

    def __init__(self, inner: Collector, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    def collect(self) -> Iterator[Metric]:
        families: list[Metric] = []
        self._guard.call("metrics", lambda: families.extend(self._inner.collect()))
        yield from families


class ControllerState(Collector):
    """Every controller's workers, queue and objects. Labels come from the kinds that are served, never from a user."""

    def __init__(self, controllers: Mapping[str, Controller]) -> None:
        self._controllers = controllers

    def collect(self) -> Iterator[Metric]:
        queues = {name.lower(): controller.queue for name, controller in self._controllers.items()}
        working = {name: queue.unfinished().values() for name, queue in queues.items()}

        def gauge(name: str, help_: str, values: Mapping[str, float]) -> Metric:
            return _gauge(name, help_, ("controller",), (((key,), value) for key, value in values.items()))

        def queue_gauge(name: str, help_: str, values: Mapping[str, float]) -> Metric:
            return _gauge(name, help_, ("name", "controller"), (((key, key), value) for key, value in values.items()))

        yield gauge(
            "controller_runtime_active_workers",
            "Workers in a reconcile",
            {name: len(seconds) for name, seconds in working.items()},
        )
        yield gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Workers",
            {name.lower(): controller.workers for name, controller in self._controllers.items()},
        )
        yield _gauge(
            "workqueue_depth",
            "Keys that are ready, by priority",
            ("name", "controller", "priority"),
            (
                ((name, name, str(priority.value)), depth)
                for name, queue in queues.items()
                for priority, depth in queue.depth_by_priority().items()
            ),
        )
        yield queue_gauge(
            "workqueue_unfinished_work_seconds",
            "Seconds of work in progress, summed",
            {name: sum(seconds) for name, seconds in working.items()},
        )
        yield queue_gauge(
            "workqueue_longest_running_processor_seconds",
            "Seconds of the longest work in progress",
            {name: max(seconds, default=0.0) for name, seconds in working.items()},
        )
        yield gauge(
            "sagemaker_operator_queue_oldest_seconds",
            "How long the oldest ready key has waited",
            {name: queue.oldest_age() for name, queue in queues.items()},
        )
        yield gauge(
            "sagemaker_operator_queue_delayed_keys",
            "Keys that wait for their time",
            {name: queue.delayed for name, queue in queues.items()},
        )
        yield gauge(
            "sagemaker_operator_queue_failing_keys",
            "Keys whose last reconcile failed",
            {name: queue.failing for name, queue in queues.items()},
        )


class WatchState(Collector):
    """Every watched collection, those of namespaces and role maps included."""

    def __init__(self, informers: Callable[[], Iterable[Informer]], *, now: Callable[[], float]) -> None:
        self._informers = informers
        self._now = now

    def collect(self) -> Iterator[Metric]:
        # Several watchers of one collection (one per namespace) are one row: namespace is not a label.
        informers: defaultdict[str, list[Informer]] = defaultdict(list)
        for informer in self._informers():
            informers[informer.name].append(informer)
        watchers = {name: [w for one in group for w in one.watchers] for name, group in informers.items()}
        now = self._now()
        label = ("resource",)
        yield _gauge(
            "sagemaker_operator_cached_objects",
            "Objects in the cache",
            label,
            (((name,), sum(len(one.store) for one in group)) for name, group in informers.items()),
        )
        yield _gauge(
            "sagemaker_operator_watch_synced",
            "1 once everything watched was listed",
            label,
            (((name,), all(one.synced.is_set() for one in group)) for name, group in informers.items()),
        )
        yield _gauge(
            "sagemaker_operator_watch_degraded",
            "1 while the collection cannot be watched",
            label,
            (((name,), any(one.degraded for one in group)) for name, group in informers.items()),
        )
        yield _gauge(
            "sagemaker_operator_watch_silence_seconds",
            "Since the last event or list of the API server (bookmarks come about every 60 s)",
            label,
            (
                ((name,), max(now - watcher.last_contact for watcher in group if watcher.last_contact is not None))
                for name, group in watchers.items()
                if any(watcher.last_contact is not None for watcher in group)
            ),
        )
        for what, help_ in (
            ("lists", "Complete lists read"),
            ("events", "Changes that a watch reported"),
            ("errors", "Lists and watches that failed"),
        ):
            yield _counter(
                f"sagemaker_operator_watch_{what}_total",
                help_,
                label,
                (((name,), sum(getattr(one, what) for one in group)) for name, group in watchers.items()),
            )


class AwsState(Collector):
    """The poller, the rate limits and the credentials.

    Rate limits are reported by operation, over all accounts and regions: a user can name any of those.
    """

    def __init__(self, aws: Aws, sessions: Sessions, poller: Poller, kinds: Iterable[str]) -> None:
        self._aws = aws
        self._sessions = sessions
        self._poller = poller
        self._kinds = tuple(kinds)

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "sagemaker_operator_polled_resources",
            "Resources in transition that the poller follows",
            ("controller",),
            (((kind.lower(),), self._poller.tracked(kind)) for kind in self._kinds),
        )
        yield _gauge(
            "sagemaker_operator_poll_lag_seconds",
            "How late the most overdue poll is",
            ("controller",),
            (((kind.lower(),), self._poller.lag(kind)) for kind in self._kinds),
        )
        lowest: dict[str, float] = {}
        waiting: Counter[str] = Counter()
        throttled: Counter[str] = Counter()
        turned_away: Counter[str] = Counter()
        for state in self._aws.rates():
            lowest[state.operation] = min(state.rate, lowest.get(state.operation, state.rate))
            waiting[state.operation] += state.waiting
            throttled[state.operation] += state.throttled
            turned_away[state.operation] += state.turned_away
        label = ("operation",)
        yield _gauge(
            "sagemaker_operator_aws_rate_limit_lowest",
            "Calls per second allowed now, where it is lowest",
            label,
            _rows(lowest),
        )
        yield _gauge("sagemaker_operator_aws_rate_limit_waiting_calls", "Calls in line", label, _rows(waiting))
        yield _counter("sagemaker_operator_aws_throttled_total", "Requests that AWS throttled", label, _rows(throttled))
        yield _counter(
            "sagemaker_operator_aws_rate_limit_turned_away_total",
            "Calls deferred without asking AWS",
            label,
            _rows(turned_away),
        )
        remaining = self._sessions.seconds_to_expiry()
        yield _gauge(
            "sagemaker_operator_aws_credentials_remaining_seconds",
            "Until the first of the credentials in use expires; absent if none does",
            (),
            () if remaining is None else (((), remaining),),
        )


class ProcessState(Collector):
    """The process: version, leadership, dropped events and log lines."""

    def __init__(self, *, version: str, lease: str, elector: LeaderElector | None, recorder: EventRecorder) -> None:
        """`elector` None: leader election is off."""
        self._version = version
        self._lease = lease
        self._elector = elector
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        yield _gauge("sagemaker_operator_build_info", "1", ("version",), [((self._version,), 1)])
        leads = self._elector is None or self._elector.is_leader
        yield _gauge(
            "leader_election_master_status", "1 while this process leads", ("name",), [((self._lease,), leads)]
        )
        yield _gauge(
            "sagemaker_operator_lease_remaining_seconds",
            "Until leadership ends if no renewal succeeds; absent without a lease",
            ("name",),
            [] if self._elector is None else [((self._lease,), self._elector.remaining)],
        )
        yield _counter(
            "sagemaker_operator_lease_errors_total",
            "Attempts to acquire or renew the lease that failed",
            ("name",),
            [] if self._elector is None else [((self._lease,), self._elector.errors)],
        )
        yield _counter(
            "sagemaker_operator_dropped_log_lines_total",
            "Log lines that could not be written",
            (),
            [((), dropped_lines())],
        )
        yield _counter(
            "sagemaker_operator_dropped_events_total",
            "Kubernetes Events that were not written",
            (),
            [((), self._recorder.dropped)],
        )


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""


class _Status(msgspec.Struct):
    conditions: tuple[_Condition, ...] | None = None


_status_decoder = msgspec.json.Decoder(_Status)


class ObjectStates(Collector):
    """The state of every object, counted by controller; with `each` also one series per object.

    Other shards report their own objects. Read from the caches, so that a deleted object has no series.
    10,000 objects block the loop for 18 ms, and for 33 ms with `each`.
    """

    def __init__(self, controllers: Mapping[str, Controller], *, each: bool) -> None:
        self._controllers = controllers
        self._each = each

    def collect(self) -> Iterator[Metric]:
        counts = {(name.lower(), state): 0 for name in self._controllers for state in ObjectState}
        rows: list[_Row] = []
        for name, controller in self._controllers.items():
            for obj in controller.informer.store.objects():
                if not controller.owns(obj.metadata.uid):
                    continue
                state, reason = state_of(obj)
                counts[name.lower(), state] += 1
                if self._each:
                    meta = obj.metadata
                    rows.append(((name, meta.namespace, meta.name, state.value, reason), 1))
        yield _gauge(
            "sagemaker_operator_objects",
            "Objects by state (kstatus's names)",
            ("controller", "state"),
            (((name, state.value), count) for (name, state), count in counts.items()),
        )
        if self._each:
            yield _gauge(
                "sagemaker_operator_object_status",
                "1 for every object, with its state and the reason of its condition Ready",
                ("kind", "namespace", "name", "state", "reason"),
                rows,
            )


def state_of(obj: KubeObject) -> tuple[ObjectState, str]:
    """The object's state by kstatus, and the reason of its condition Ready."""
    try:
        conditions = {one.type: one for one in _status_decoder.decode(obj.status).conditions or ()}
    except msgspec.DecodeError:  # no status yet, or not one of ours
        conditions = {}
    ready = conditions.get(READY)
    reason = ready.reason if ready is not None else ""
    if obj.metadata.deletion_timestamp is not None:
        return ObjectState.TERMINATING, reason
    if ready is None:
        return ObjectState.UNKNOWN, reason
    if _is_true(conditions.get(RECONCILING)):
        return ObjectState.IN_PROGRESS, reason
    if _is_true(conditions.get(STALLED)):
        return ObjectState.FAILED, reason
    return (ObjectState.CURRENT if _is_true(ready) else ObjectState.IN_PROGRESS), reason


def _is_true(condition: _Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _rows(by_label: Mapping[str, float]) -> Iterator[_Row]:
    return (((name,), value) for name, value in by_label.items())


def _gauge(name: str, help_: str, labels: tuple[str, ...], rows: Iterable[_Row]) -> Metric:
    return _filled(GaugeMetricFamily(name, help_, labels=labels), rows)


def _counter(name: str, help_: str, labels: tuple[str, ...], rows: Iterable[_Row]) -> Metric:
    return _filled(CounterMetricFamily(name, help_, labels=labels), rows)


def _filled(family: Any, rows: Iterable[_Row]) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, float(value))
    filled: Metric = family
    return filled
