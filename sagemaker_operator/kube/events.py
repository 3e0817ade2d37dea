"""Kubernetes Events about our objects.

Guarantees:
- `EventRecorder.record` neither waits nor raises; one task (`EventRecorder.run`) writes the Events.
- Memory is bounded: at most 1,000 waiting events, 4,096 series and 4,096 objects.
- Identical events about one object within 10 minutes are one Event with a count.

Caveat: best effort. An event is dropped (`EventRecorder.dropped`) when too many wait or when it is refused twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sagemaker_operator.clock import rfc3339_micro
from sagemaker_operator.errors import Conflict, KubeError, NotFound, TooManyRequests, Unavailable
from sagemaker_operator.guard import Guard
from sagemaker_operator.kube.refusals import is_rbac
from sagemaker_operator.logs import get_logger
from sagemaker_operator.objects import Resource

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kube.client import KubeClient

EVENTS = Resource("events.k8s.io", "v1", "events", "Event")

# client-go's limits: 1,000 waiting events, and per object 25 at once, then one each five minutes.
_QUEUE_LIMIT = 1000
_BURST = 25.0
_REFILL_SECONDS = 300.0
# client-go remembers as many series and objects (LRU), and calls events within 10 minutes one series.
_REMEMBERED = 4096
_SERIES_SECONDS = 600.0
# The API server's limits: 1,024 bytes of note, 253 of name (of which ".<16 hex digits>" are ours).
_NOTE_BYTES = 1024
_NAME_LIMIT = 253 - 17
_TRIES = 2
_PAUSE_SECONDS = 1.0
_PAUSE_LIMIT = 5.0

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True, eq=False)
class _Series:
    """Identical events about one object: one Event in the cluster, with a count."""

    namespace: str
    name: str
    body: dict[str, Any]
    last_at: float
    """Loop time of the last occurrence."""
    last_observed: str
    count: int = 1
    written: bool = False
    queued: bool = False


@dataclass(slots=True)
class _Bucket:
    updated_at: float
    tokens: float = field(default=_BURST)

    def take(self, now: float) -> bool:
        self.tokens = min(_BURST, self.tokens + (now - self.updated_at) / _REFILL_SECONDS)
        self.updated_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class EventRecorder:
    """`record` queues events; the task `run` writes them. See the module for guarantees."""

    def __init__(
        self,
        client: KubeClient,
        *,
        component: str,
        instance: str,
        clock: Clock,
        rng: random.Random,
        guard: Guard | None = None,
    ) -> None:
        """`component` and `instance` name the reporter: a controller, and its pod."""
        self._client = client
        self._component = component
        self._instance = instance[:128]
        self._clock = clock
        self._rng = rng
        self._queue: deque[_Series] = deque()
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._guard = guard or Guard(rng=rng)
        self._log = get_logger("events")
        self._refused: set[tuple[str, str]] = set()
        """(verb, namespace) of the 403 answers that were logged."""
        self.dropped = 0
        """Events that were not written: too many waiting, or refused twice."""

    def record(
        self,
        regarding: Mapping[str, str],
        *,
        type: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        action: str,
    ) -> None:
        """Queues one event. `regarding` has apiVersion, kind, namespace, name and uid.

        `reason` and `action` are CamelCase; `note` is text, cut at 1,024 bytes. The same (object, reason, note) within
        ten minutes raises the count of one Event.
        """
        # An error here must not end a reconcile that has just created a resource.
        if not self._guard.call("events", self._record, regarding, type, reason, note, action):
            self.dropped += 1

    def _record(self, regarding: Mapping[str, str], type_: str, reason: str, note: str, action: str) -> None:
        now = asyncio.get_running_loop().time()
        about = regarding.get("uid") or f"{regarding['kind']}/{regarding.get('namespace')}/{regarding['name']}"
        observed = rfc3339_micro(self._clock())
        key = (about, reason, note)
        series = self._series.get(key)
        if series is not None and now - series.last_at < _SERIES_SECONDS:
            series.count += 1
            series.last_at = now
            series.last_observed = observed
        else:
            series = self._new_series(regarding, type_, reason, note, action, observed, now)
        _remember(self._series, key, series)
        # A queued series is written with the new count. Without a token only the count rises; the next write has it.
        if not series.queued and self._bucket(about, now).take(now):
            self._enqueue(series)

    async def run(self) -> None:
        """Writes recorded events until cancelled."""
        while True:
            if not self._queue:
                self._idle.set()
                self._wanted.clear()
                await self._wanted.wait()
            series = self._queue.popleft()
            series.queued = False
            try:
                written = await self._write(series)
            except Exception as error:
                # An event that cannot be encoded must not keep the others from being written.
                self._guard.failed("events", error)
                written = False
            if not written:
                self.dropped += 1

    async def flush(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds until `run` has written everything. False: something is left."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _new_series(
        self,
        regarding: Mapping[str, str],
        type_: str,
        reason: str,
        note: str,
        action: str,
        observed: str,
        now: float,
    ) -> _Series:
        # An Event is in the namespace of its object; for cluster-scoped objects it is `default`.
        namespace = regarding.get("namespace") or "default"
        name = f"{regarding['name'][:_NAME_LIMIT]}.{self._rng.getrandbits(64):016x}"
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": observed,
            "type": type_,
            "reason": reason[:128],
            "action": action[:128],
            "note": _cut(note),
            "regarding": dict(regarding),
            "reportingController": self._component,
            "reportingInstance": self._instance,
        }
        return _Series(namespace, name, body, now, observed)

    def _bucket(self, about: str, now: float) -> _Bucket:
        bucket = self._buckets.get(about) or _Bucket(now)
        _remember(self._buckets, about, bucket)
        return bucket

    def _enqueue(self, series: _Series) -> None:
        if len(self._queue) >= _QUEUE_LIMIT:
            # Drop the oldest: newer events are worth more.
            self._queue.popleft().queued = False
            self.dropped += 1
        self._queue.append(series)
        series.queued = True
        self._idle.clear()
        self._wanted.set()

    async def _write(self, series: _Series) -> bool:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._write_once(series)
            except Conflict:
                # Its name is random: an earlier try succeeded and only its answer was lost.
                series.written = True
                return True
            except NotFound:
                # The Event has expired or was deleted (or its namespace was): create it again.
                series.written = False
            except (Unavailable, TooManyRequests) as error:
                if attempt < _TRIES:
                    await asyncio.sleep(min(error.retry_after or _PAUSE_SECONDS, _PAUSE_LIMIT))
            except KubeError as error:
                if is_rbac(error):
                    self._log_forbidden("patch" if series.written else "create", series.namespace, error)
                return False
            else:
                return True
        return False

    async def _write_once(self, series: _Series) -> None:
        counted = {"series": {"count": series.count, "lastObservedTime": series.last_observed}}
        if series.written:
            await self._client.merge_patch(EVENTS, series.namespace, series.name, counted)
            return
        # A series begins with the second occurrence: the API server rejects a count of 1.
        await self._client.create(EVENTS, series.namespace, series.body | (counted if series.count > 1 else {}))
        series.written = True

    def _log_forbidden(self, verb: str, namespace: str, error: KubeError) -> None:
        """Log once per verb and namespace: all further events there are forbidden too."""
        if (verb, namespace) in self._refused:
            return
        self._refused.add((verb, namespace))
        text = f"not allowed to {verb} events.events.k8s.io in namespace {namespace}: apply manifests/rbac.yaml"
        self._log.warning("Kubernetes Events are refused", namespace=namespace, err=f"{text} ({error.message})")

    def __repr__(self) -> str:
        return f"<EventRecorder waiting={len(self._queue)} series={len(self._series)} dropped={self.dropped}>"


def _remember(cache: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > _REMEMBERED:
        cache.popitem(last=False)


def _cut(note: str) -> str:
    # A lone surrogate, as JSON may hold it, cannot be sent.
    note = note.encode(errors="replace").decode()
    encoded = note.encode()
    if len(encoded) <= _NOTE_BYTES:
        return note
    # The ellipsis takes three bytes; a character cut in two is dropped.
    return f"{encoded[: _NOTE_BYTES - 3].decode(errors='ignore')}…"
