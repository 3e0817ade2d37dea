"""One kind at work: watchers fill stores, changes that matter become keys on the queue, workers reconcile them."""

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

# Passes of one worker between two turns of the loop: one over an object at rest waits for nothing, and 10,000 of them
# after a start would hold the loop for 0.7 s.
_BREATH = 8
_BACKOFFS = {When.BACKOFF: RECONCILE, When.SLOW_BACKOFF: SLOW}


class ObjectReconciler(Protocol):
    """What makes one pass over an object: a `Reconciler`, or anything in its place."""

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """`failures` counts the passes of this key that failed in a row. Raises OperatorError for the key's backoff."""

    def forget(self, obj: KubeObject) -> None:
        """The object is gone."""

    def remembered(self) -> int:
        """Entries that are kept of objects between reconciles."""


class Trouble(Protocol):
    """Tells an object's users what kept a pass from doing so itself."""

    async def internal_error(self, obj: KubeObject, error: BaseException) -> None:
        """A bug of the operator ended the pass."""

    def too_large(self, obj: KubeObject) -> None:
        """Kubernetes does not store what was to be written."""


class Controller:
    """Wires one collection. `attach` what reconciles, `watch()` always, `work()` only while leading."""

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
        """`owns` tells by its UID whether an object is this process's to reconcile: the cache has all of them, because what
        refers to what does not follow the shards. `timeout` is one pass's, in seconds. Needs a running loop."""
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

    def attach(self, passes: ObjectReconciler) -> None:
        self._reconciler = passes

    def explain_with(self, trouble: Trouble) -> None:
        """`trouble` tells an object's users what ended a pass that told them nothing itself."""
        self._trouble = trouble

    def _watch_failed(self, error: KubeError, delay: float) -> None:
        self._log.warning("Watch failed", controller=self._name, err=error.message, retryAfterSeconds=round(delay, 1))

    # --- the cache, as the reconciler sees it -----------------------------------------------------------------------

    def get(self, key: ObjectKey) -> KubeObject | None:
        return self.informer.store.get(key.namespace, key.name)

    async def read(self, key: ObjectKey) -> KubeObject | None:
        """The object past the watch and the store. Raises KubeError."""
        return await self.informer.read(key.namespace, key.name)

    def apply_own_write(self, obj: KubeObject) -> None:
        """What answers our write (or was read past the watch) also has what somebody else wrote just before it, and then the
        watch brings nothing new."""
        cached = self.get(obj.key)
        self.informer.apply_own_write(obj)
        if cached is not None and cached.version < obj.version and _matters(cached.metadata, obj.metadata):
            self._changed(Change(cached, obj), False)

    @property
    def synced(self) -> bool:
        return self.informer.synced.is_set()

    @property
    def degraded(self) -> str | None:
        """Why this kind is not served, or None."""
        return self.informer.degraded

    def explain(self) -> dict[str, int]:
        """What is held of objects, by number."""
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
        # Of an etcd that was restored: what the status recorded since is lost, and is found again by a reconcile.
        went_back = change.old is not None and 0 < new.version < change.old.version
        if change.old is not None and not went_back and not _matters(change.old.metadata, new.metadata):
            return
        waiting = Priority.LOW if listed else Priority.NORMAL
        urgent = new.metadata.deletion_timestamp is not None or (change.old is not None and _asks(change.old, new))
        priority = Priority.HIGH if urgent else waiting
        # An edit is a new chance: what failed before says nothing about it.
        self.queue.forget(new.key)
        self.add(new.key, priority)

    def add(self, key: ObjectKey, priority: Priority = Priority.NORMAL) -> None:
        """Want a pass over `key`. A standby keeps no queue: `work()` begins with every object that the cache has."""
        if self._working:
            self.queue.add(key, priority)

    def wake(self, concerned: Callable[[Meta], bool]) -> None:
        """Reconcile these objects when there is time: something around them has changed, and so failures count anew."""

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
            if number % _BREATH == 0:
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
        """One pass and the switch on its result: the only place that decides when a key comes back."""
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
            # The object went away during the reconcile; the watch reports when it is really gone.
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
            self._log.warning("Pass failed", kind=key.kind, namespace=key.namespace, name=key.name, err=what)
            large = isinstance(error, TooLarge)
            if large and self._trouble is not None and cached is not None:
                self._guard.call(self._name, self._trouble.too_large, cached, about=cached)
            self.queue.add_rate_limited(key, SLOW if large else RECONCILE)
            outcome = "error"
        except Exception as error:
            # One object's bug must not take a worker down, nor may it spin.
            self._guard.failed(self._name, error, about=self.get(key), key=key)
            self.queue.add_rate_limited(key, SLOW)
            await self._explain(key, error)
            outcome = "error"
        self.metrics.passed(outcome, loop.time() - started)

    async def _explain(self, key: ObjectKey, error: Exception) -> None:
        """A condition says why nothing happens to the object. Best effort: the log line and the metric are there."""
        obj = self.get(key)
        if obj is None or self._trouble is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._trouble.internal_error(obj, error)
        except (OperatorError, TimeoutError) as failure:
            what = str(failure) or "took too long"
            self._log.warning("Pass failed", kind=key.kind, namespace=key.namespace, name=key.name, err=what)
        except Exception as failure:
            self._guard.failed(self._name, failure, key=key)

    async def _refresh(self, key: ObjectKey) -> None:
        """Read an object of which the watch tells no news.

        A stalled watch is found after 90 s, or at its timeout of ten minutes: until then every pass would ask AWS and
        be refused by the API server, and a deletion would not be seen.
        """
        try:
            obj = await self.informer.read(key.namespace, key.name)
        except OperatorError:
            return  # the next pass meets the same trouble, and tells it
        if obj is not None:
            self.apply_own_write(obj)

    def _schedule(self, key: ObjectKey, requeue: Requeue) -> str:
        """Returns the label `result` of the reconcile's metrics."""
        if self.get(key) is None:
            # Our own write ended it: no event follows that would take the key off the queue.
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


def _matters(old: Meta, new: Meta) -> bool:
    """Whether a pass could come to another result.

    Status, labels and foreign annotations cannot change one. Finalizers must not count either: the watch may tell of our
    own write before its answer arrives, and a refused create would be tried again at once, for ever.
    """
    return (
        old.uid != new.uid
        or old.generation != new.generation
        or old.deletion_timestamp != new.deletion_timestamp
        or _instructions(old) != _instructions(new)
    )


def _asks(old: KubeObject, new: KubeObject) -> bool:
    """Somebody waits for an answer."""
    before, after = (obj.metadata.annotations.get(RECONCILE_REQUESTED) for obj in (old, new))
    return after is not None and after != before


def _instructions(meta: Meta) -> dict[str, str]:
    return {name: value for name, value in meta.annotations.items() if PREFIX in name and name not in OWN_RECORDS}
