"""The controller of one kind: watchers fill stores, relevant changes add keys to the queue, workers reconcile them."""

from __future__ import annotations

import asyncio
import itertools
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from sagemaker_operator.annotations import OWN_RECORDS, PREFIX, RECONCILE_REQUESTED
from sagemaker_operator.backoff import CONFLICT, RECONCILE, SLOW
from sagemaker_operator.control.requeue import When
from sagemaker_operator.errors import Conflict, NotFound, OperatorError, TooLarge
from sagemaker_operator.guard import Guard
from sagemaker_operator.logs import get_logger
from sagemaker_operator.runtime.informer import Informer
from sagemaker_operator.runtime.store import Change
from sagemaker_operator.runtime.workqueue import Priority, QueueShutDown, WorkQueue

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    from sagemaker_operator.control.requeue import Requeue
    from sagemaker_operator.errors import KubeError
    from sagemaker_operator.metrics import Metrics
    from sagemaker_operator.objects import KubeObject, Meta, ObjectKey, Resource
    from sagemaker_operator.runtime.informer import Source

# Reconciles of one worker before it yields to the event loop. That of a settled object awaits nothing, and 10,000 of them
# after a start would block the loop for 0.7 s.
_RECONCILES_PER_TURN = 8
_BACKOFFS = {When.BACKOFF: RECONCILE, When.SLOW_BACKOFF: SLOW}


class ObjectReconciler(Protocol):
    """Reconciles one object at a time: a `Reconciler` or a feature controller."""

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """`failures` counts the reconciles of this key that failed in a row. Raises OperatorError, for which the key backs off."""

    def forget(self, obj: KubeObject) -> None:
        """The object does not exist any more."""

    def remembered(self) -> int:
        """Entries that are kept of objects between reconciles."""


class Trouble(Protocol):
    """Reports on an object why its reconcile ended without writing a status."""

    async def internal_error(self, obj: KubeObject, error: BaseException) -> None:
        """A bug of the operator ended the reconcile."""

    def too_large(self, obj: KubeObject) -> None:
        """Kubernetes refused the write because the object would be too large."""


class Controller:
    """Connects watch, queue and reconciler of one collection: `attach` a reconciler, `watch()` always, `work()` while leading."""

    def __init__(
        self,
        resource: Resource,
        source: Source,
        *,
        namespaces: Collection[str] = (),
        workers: int,
        timeout: float,
        rng: random.Random,
        metrics: Metrics,
        owns: Callable[[str], bool] = lambda uid: True,
        guard: Guard | None = None,
    ) -> None:
        """Needs a running loop.

        `owns` returns by its UID whether this process reconciles an object: the cache has the objects of all shards, because
        references cross them. `timeout` is that of one reconcile, in seconds.
        """
        self.resource = resource
        self._name = resource.kind.lower()
        self.workers = workers
        self._timeout = timeout
        self.metrics = metrics.controller(self._name)
        self.owns = owns
        self._reconciler: ObjectReconciler | None = None
        self._log = get_logger(self._name)
        self._guard = guard or Guard(rng=rng, count=lambda part: self.metrics.panicked())
        self._trouble: Trouble | None = None
        self._working = False
        self.informer = Informer(
            source, namespaces=namespaces, rng=rng, on_error=self._watch_failed, guard=self._guard, part=self._name
        )
        self.informer.listen(self._changed)
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            namespace_of=attrgetter("namespace"), workers=workers, rng=rng, observer=self.metrics
        )

    def __repr__(self) -> str:
        return f"<Controller {self.resource.kind} {self.queue!r}>"

    def attach(self, reconciler: ObjectReconciler) -> None:
        self._reconciler = reconciler

    def explain_with(self, trouble: Trouble) -> None:
        """`trouble` reports on the object what ended a reconcile before it wrote a status."""
        self._trouble = trouble

    def _watch_failed(self, error: KubeError, delay: float) -> None:
        self._log.warning("Watch failed", controller=self._name, err=error.message, retryAfterSeconds=round(delay, 1))

    # --- the cache that the reconciler uses ------------------------------------------------------------------------

    def get(self, key: ObjectKey) -> KubeObject | None:
        return self.informer.store.get(key.namespace, key.name)

    async def read(self, key: ObjectKey) -> KubeObject | None:
        """The object from the API server, not from the store. Raises KubeError."""
        return await self.informer.read(key.namespace, key.name)

    def apply_own_write(self, obj: KubeObject) -> None:
        """Stores the answer to a write of ours, or an object that `read` returned.

        It may contain what another client wrote just before. The watch does not report that again, so it is handled here.
        """
        cached = self.get(obj.key)
        self.informer.apply_own_write(obj)
        if cached is not None and cached.version < obj.version and _is_relevant(cached.metadata, obj.metadata):
            self._changed(Change(cached, obj), False)

    @property
    def synced(self) -> bool:
        return self.informer.synced.is_set()

    @property
    def degraded(self) -> str | None:
        """Why this kind is not served, or None."""
        return self.informer.degraded

    def explain(self) -> dict[str, int]:
        """Numbers of the objects and entries that are held in memory."""
        return {
            "cached": len(self.informer.store),
            "queued": len(self.queue) + self.queue.delayed + len(self.queue.unfinished()),
            "failing": self.queue.failing,
            "remembered": self._reconciler.remembered() if self._reconciler is not None else 0,
        }

    # --- events to keys ---------------------------------------------------------------------------------------------

    def _changed(self, change: Change, listed: bool) -> None:
        new = change.new
        if new is None:
            assert change.old is not None  # noqa: S101
            if self._reconciler is not None:
                self._guard.call(self._name, self._reconciler.forget, change.old, about=change.old)
            self.queue.forget(change.old.key)
            self.add(change.old.key)
            return
        if not self.owns(new.metadata.uid):
            return
        # Etcd was restored from a backup: what status recorded since then is lost, and a reconcile finds it again.
        went_back = change.old is not None and 0 < new.version < change.old.version
        if change.old is not None and not went_back and not _is_relevant(change.old.metadata, new.metadata):
            return
        waiting = Priority.LOW if listed else Priority.NORMAL
        urgent = new.metadata.deletion_timestamp is not None or (
            change.old is not None and _reconcile_requested(change.old, new)
        )
        priority = Priority.HIGH if urgent else waiting
        # After an edit, earlier failures do not count.
        self.queue.forget(new.key)
        self.add(new.key, priority)

    def add(self, key: ObjectKey, priority: Priority = Priority.NORMAL) -> None:
        """Queue `key`. A standby keeps no queue: `work()` begins with all objects of the cache."""
        if self._working:
            self.queue.add(key, priority)

    def wake(self, concerned: Callable[[Meta], bool]) -> None:
        """Reconcile these objects with low priority, because what they depend on has changed; earlier failures do not count."""

        def wake(obj: KubeObject) -> None:
            if self.owns(obj.metadata.uid) and concerned(obj.metadata):
                self.queue.forget(obj.key)
                self.add(obj.key, Priority.LOW)

        for obj in self.informer.store.objects():
            self._guard.call(self._name, wake, obj, about=obj)

    # --- the two loops ----------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Runs until cancelled."""
        await self.informer.run()

    async def work(self) -> None:
        """Runs until the queue is shut down."""
        self._working = True
        for obj in self.informer.store.objects():
            self._guard.call(self._name, self._changed, Change(None, obj), True, about=obj)
        async with asyncio.TaskGroup() as group:
            for number in range(self.workers):
                name = f"worker {self.resource.kind} {number}"
                group.create_task(self._guard.keep(self._name, name, self._worker), name=name)

    async def _worker(self) -> None:
        for number in itertools.count(1):
            if number % _RECONCILES_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                key = await self.queue.get()
            except QueueShutDown:
                return
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: ObjectKey) -> None:
        """One reconcile, and what follows from its result or error: the only place that requeues a key."""
        assert self._reconciler is not None, "work() before attach()"  # noqa: S101
        cached = self.get(key)
        if cached is not None and not self.owns(cached.metadata.uid):
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome = "success"
        try:
            async with asyncio.timeout(self._timeout):
                requeue = await self._reconciler.reconcile(key, self.queue.failures(key))
            outcome = self._schedule(key, requeue)
        except NotFound:
            # The object was deleted during the reconcile; the watch reports when it is removed.
            self.queue.forget(key)
            if self.get(key) is not None:
                self.queue.add_rate_limited(key, RECONCILE)
                outcome = "requeue"
        except Conflict:
            if self.queue.failures(key):
                await self._refresh(key)
            self.queue.add_rate_limited(key, CONFLICT)
            outcome = "requeue"
        except (OperatorError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            if late:
                self.metrics.timed_out()
            what = "took too long" if late else str(error)
            self._log.warning("Reconcile failed", kind=key.kind, namespace=key.namespace, name=key.name, err=what)
            large = isinstance(error, TooLarge)
            if large and self._trouble is not None and cached is not None:
                self._guard.call(self._name, self._trouble.too_large, cached, about=cached)
            self.queue.add_rate_limited(key, SLOW if large else RECONCILE)
            outcome = "error"
        except Exception as error:
            # A bug with one object must not end the worker, and must not make it spin.
            self._guard.failed(self._name, error, about=self.get(key), key=key)
            self.queue.add_rate_limited(key, SLOW)
            await self._report_internal_error(key, error)
            outcome = "error"
        self.metrics.reconciled(outcome, loop.time() - started)

    async def _report_internal_error(self, key: ObjectKey, error: Exception) -> None:
        """Write a condition about the internal error. Best effort: the log line and the metric exist already."""
        obj = self.get(key)
        if obj is None or self._trouble is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._trouble.internal_error(obj, error)
        except (OperatorError, TimeoutError) as failure:
            what = str(failure) or "took too long"
            self._log.warning("Reconcile failed", kind=key.kind, namespace=key.namespace, name=key.name, err=what)
        except Exception as failure:
            self._guard.failed(self._name, failure, key=key)

    async def _refresh(self, key: ObjectKey) -> None:
        """Read an object whose version in the cache is old, because its watch may be stalled.

        A stalled watch is detected after 90 s, or at its timeout of ten minutes. Until then every reconcile would call AWS and
        be refused by the API server, and a deletion would go unnoticed.
        """
        try:
            obj = await self.informer.read(key.namespace, key.name)
        except OperatorError:
            return  # the next reconcile meets the same error, and reports it
        if obj is not None:
            self.apply_own_write(obj)

    def _schedule(self, key: ObjectKey, requeue: Requeue) -> str:
        """Returns the label `result` of the reconcile's metrics."""
        if self.get(key) is None:
            # Our own write removed the object: no event follows that would remove the key from the queue.
            self.queue.forget(key)
            return "success"
        if requeue.when in _BACKOFFS:
            self.queue.add_rate_limited(key, _BACKOFFS[requeue.when])
            return "requeue"
        self.queue.forget(key)
        if requeue.seconds is not None:
            self.queue.add_after(key, requeue.seconds, Priority.LOW if requeue.seconds > 60 else Priority.NORMAL)
            return "requeue_after"
        return "success"


def _is_relevant(old: Meta, new: Meta) -> bool:
    """Whether a reconcile could have another result.

    It does not depend on status, labels and annotations of others. Finalizers must not count either: the watch may deliver our
    own write before its answer arrives, and a refused create would be tried again at once, indefinitely.
    """
    return (
        old.uid != new.uid
        or old.generation != new.generation
        or old.deletion_timestamp != new.deletion_timestamp
        or _instructions(old) != _instructions(new)
    )


def _reconcile_requested(old: KubeObject, new: KubeObject) -> bool:
    """The annotation that requests a reconcile has a new value: a user waits for it."""
    before, after = (obj.metadata.annotations.get(RECONCILE_REQUESTED) for obj in (old, new))
    return after is not None and after != before


def _instructions(meta: Meta) -> dict[str, str]:
    return {name: value for name, value in meta.annotations.items() if PREFIX in name and name not in OWN_RECORDS}
