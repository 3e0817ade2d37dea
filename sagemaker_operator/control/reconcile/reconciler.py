"""One reconcile of one object: load its context, carry out the actions of the plan, write what changed.

Guarantees: a create writes the finalizer (a create may follow), then creates the resource (tagged with the object's UID), then
writes status with the ARN. A crash at any point ends in the same state, because a reconcile that finds the finalizer and no ARN
searches SageMaker before it does anything else.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sagemaker_operator.control.plan.actions import Finish
from sagemaker_operator.control.plan.next_action import next_action
from sagemaker_operator.control.reconcile.context import Context
from sagemaker_operator.control.reconcile.execute import execute
from sagemaker_operator.control.reconcile.finish import finish
from sagemaker_operator.control.reconcile.memory import Memory
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.logs import about, get_logger

if TYPE_CHECKING:
    from sagemaker_operator.control.interfaces import Services
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject, ObjectKey


class Reconciler:
    """Reconciles all objects of one kind."""

    def __init__(self, kind: Kind, services: Services) -> None:
        self._kind = kind
        self._services = services
        self._memory = Memory()
        self._log = get_logger(kind.name.lower())

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """One reconcile. Raises KubeError if Kubernetes refused a write; AWS errors are reported in the object's status."""
        obj = self._services.cache.get(key)
        if obj is None:
            self._services.tracker.untrack(key)
            return Requeue.SETTLED
        with about(
            controller=self._kind.name.lower(),
            kind=self._kind.name,
            namespace=key.namespace,
            name=key.name,
            uid=obj.metadata.uid,
            generation=obj.metadata.generation,
            reconcileID=uuid.UUID(int=self._services.rng.getrandbits(128), version=4).hex,
        ):
            try:
                return await self._reconcile(key, obj, failures)
            finally:
                self._forget_if_gone(key, obj)

    async def _reconcile(self, key: ObjectKey, obj: KubeObject, failures: int) -> Requeue:
        context = Context(self._kind, self._services, self._memory, self._log, key, obj, failures)
        context.take_polled()
        while True:
            action = next_action(context.facts)
            if isinstance(action, Finish):
                return await finish(context, action)
            await execute(context, action)

    def _forget_if_gone(self, key: ObjectKey, obj: KubeObject) -> None:
        """The answer to the write of the last finalizer may arrive before the watch's event; then no other event follows."""
        cached = self._services.cache.get(key)
        if cached is None:
            self._services.tracker.untrack(key)
        if cached is None or cached.metadata.uid != obj.metadata.uid:
            self.forget(obj)

    def forget(self, obj: KubeObject) -> None:
        """The object does not exist any more: drop what was remembered of it."""
        self._memory.forget(obj.metadata.uid)

    def remembered(self) -> int:
        """Entries that are kept of objects between reconciles."""
        return len(self._memory)
