"""Writes status, finalizers and events of the object that a feature reconciles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import compute
from sagemaker_operator.logs import Event, emit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.conditions import Findings
    from sagemaker_operator.control.interfaces import Cache, KubePort, Recorder
    from sagemaker_operator.logs import Logger
    from sagemaker_operator.objects import KubeObject, Resource


@dataclass(frozen=True, slots=True)
class WriterServices:
    """The services that the writers of one feature share."""

    resource: Resource
    cache: Cache
    kube: KubePort
    recorder: Recorder
    clock: Clock
    log: Logger
    action: str
    """The default action of its Events."""


class ObjectWriter:
    """Writes one object. `obj` is its newest version, own writes included."""

    def __init__(self, services: WriterServices, obj: KubeObject) -> None:
        self._services = services
        self.obj = obj
        self.status = obj.decode_status()
        """As stored when the reconcile began."""

    async def write_status(self, findings: Findings, **more: Any) -> None:
        """Writes the changed fields of status, and records an Event for a new error. `more`: further fields of status."""
        meta = self.obj.metadata
        stored = self.status.get("conditions") or []
        now = rfc3339(self._services.clock())
        status: dict[str, Any] = {
            "observedGeneration": meta.generation,
            "conditions": compute(stored, findings, generation=meta.generation, now=now),
        } | more
        patch = {name: value for name, value in status.items() if self.status.get(name) != value}
        error = findings.terminal or findings.recoverable
        if error and all(condition.get("message") != error for condition in stored):
            event = Event.RESOURCE_TERMINAL if findings.terminal else Event.RESOURCE_WAITING
            emit(self._services.log, event, reason=findings.reason, err=error)
            self.record("Warning", findings.reason, error)
        if patch:
            lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            await self._write({"metadata": lock, "status": patch}, subresource="status")

    async def write_finalizers(self, finalizers: tuple[str, ...]) -> None:
        meta = self.obj.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": list(finalizers)}}
        await self._write(patch, subresource=None)

    async def _write(self, patch: Mapping[str, Any], *, subresource: str | None) -> None:
        meta = self.obj.metadata
        self.obj = await self._services.kube.merge_patch(
            self._services.resource, meta.namespace, meta.name, patch, subresource=subresource
        )
        self._services.cache.apply_own_write(self.obj)

    def record(self, type_: Any, reason: str, note: str, action: str = "") -> None:
        meta, resource = self.obj.metadata, self._services.resource
        about = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        }
        self._services.recorder.record(
            about, type=type_, reason=reason, note=note, action=action or self._services.action
        )
