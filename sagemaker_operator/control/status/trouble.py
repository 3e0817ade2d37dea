"""What an object reports when its reconcile ended without writing a status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import READY, RECOVERABLE, ConditionValue, with_conditions
from sagemaker_operator.guard import leaf

if TYPE_CHECKING:
    from sagemaker_operator.clock import Clock
    from sagemaker_operator.control.interfaces import Cache, KubePort, Recorder
    from sagemaker_operator.objects import KubeObject, Resource

INTERNAL_ERROR = "InternalError"
TOO_LARGE = "ObjectTooLarge"


def internal_error_text(error: str) -> str:
    """`error` is the exception's type: its text may quote a spec."""
    return (
        f"The operator failed on this object with {error}, which is an error of the operator; its log says where. "
        "It is tried again every 1 to 15 minutes, and at once after an edit."
    )


def record_internal_error(recorder: Recorder, obj: KubeObject, error: str) -> None:
    _record(recorder, obj, INTERNAL_ERROR, internal_error_text(error))


class ObjectTrouble:
    """Implements `control.controller.Trouble` for the objects of one collection."""

    def __init__(self, resource: Resource, cache: Cache, kube: KubePort, recorder: Recorder, clock: Clock) -> None:
        self._resource = resource
        self._cache = cache
        self._kube = kube
        self._recorder = recorder
        self._clock = clock

    async def internal_error(self, obj: KubeObject, error: BaseException) -> None:
        """Adds the condition ACK.Recoverable; the next reconcile that succeeds removes it. Raises KubeError."""
        meta = obj.metadata
        before = obj.decode_status().get("conditions") or []
        text = internal_error_text(type(leaf(error)).__name__)
        added: dict[str, ConditionValue] = {RECOVERABLE: ("True", INTERNAL_ERROR, text)}
        if all(known.get("type") != READY for known in before):
            # A new object is not ready; what was ready before (a completed job) still is.
            added = {READY: ("False", RECOVERABLE, text), **added}
        if any((known.get("type"), known.get("message")) == (RECOVERABLE, text) for known in before):
            return
        conditions = with_conditions(before, added, generation=meta.generation, now=rfc3339(self._clock()))
        lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        patch = {"metadata": lock, "status": {"conditions": conditions}}
        stored = await self._kube.merge_patch(self._resource, meta.namespace, meta.name, patch, subresource="status")
        self._cache.apply_own_write(stored)

    def too_large(self, obj: KubeObject) -> None:
        text = (
            "Kubernetes refuses to store this object with the operator's changes: it would be larger than etcd accepts "
            "(1.5 MiB by default). Make spec or the annotations smaller. It is tried again every 1 to 15 minutes."
        )
        _record(self._recorder, obj, TOO_LARGE, text)


def _record(recorder: Recorder, obj: KubeObject, reason: str, note: str) -> None:
    meta = obj.metadata
    about = {
        "apiVersion": obj.api_version,
        "kind": obj.kind,
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }
    recorder.record(
        {name: value for name, value in about.items() if value},
        type="Warning",
        reason=reason,
        note=note,
        action="Reconcile",
    )
