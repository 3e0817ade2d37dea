"""One pass over one object: gather facts, carry out the plan's steps, write what changed. The only writer of objects.

Order of a create, and why a crash anywhere ends in the same place: finalizer (a create may follow), create (tagged with the
object's UID), status with the ARN. A pass that finds the finalizer and no ARN looks in SageMaker before it does anything.
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
        self._world = services
        self._memory = Memory()
        self._log = get_logger(kind.name.lower())

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """One pass. Raises KubeError if Kubernetes refused a write; every AWS error ends in the object's status."""
        obj = self._world.cache.get(key)
        if obj is None:
            self._world.tracker.untrack(key)
            return Requeue.SETTLED
        with about(
            controller=self._kind.name.lower(),
            kind=self._kind.name,
            namespace=key.namespace,
            name=key.name,
            uid=obj.metadata.uid,
            generation=obj.metadata.generation,
            reconcileID=uuid.UUID(int=self._world.rng.getrandbits(128), version=4).hex,
        ):
            try:
                return await self._reconcile(key, obj, failures)
            finally:
                self._forget_if_gone(key, obj)

    async def _reconcile(self, key: ObjectKey, obj: KubeObject, failures: int) -> Requeue:
        context = Context(self._kind, self._world, self._memory, self._log, key, obj, failures)
        context.take_polled()
        while True:
            action = next_action(context.facts)
            if isinstance(action, Finish):
                return await finish(context, action)
            await execute(context, action)

    def _forget_if_gone(self, key: ObjectKey, obj: KubeObject) -> None:
        """The answer that removed the last finalizer may come before the watch's event, and then there is no other event."""
        cached = self._world.cache.get(key)
        if cached is None:
            self._world.tracker.untrack(key)
        if cached is None or cached.metadata.uid != obj.metadata.uid:
            self.forget(obj)

    def forget(self, obj: KubeObject) -> None:
        """The object is gone; drop what was remembered of it."""
        self._memory.forget(obj.metadata.uid)

    def remembered(self) -> int:
        """Entries that are kept of objects between reconciles."""
        return len(self._memory)
