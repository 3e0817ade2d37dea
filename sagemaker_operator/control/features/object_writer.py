"""The object that one pass of a feature is about: how its status, its finalizers and its events are written."""

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
    """What the passes of one feature write with."""

    resource: Resource
    cache: Cache
    kube: KubePort
    recorder: Recorder
    clock: Clock
    log: Logger
    action: str
    """What the feature does, as its Events have it."""


class ObjectWriter:
    """One object. `obj` is its newest version, own writes included."""

    def __init__(self, services: WriterServices, obj: KubeObject) -> None:
        self._services = services
        self.obj = obj
        self.status = obj.decode_status()
        """As stored when the pass began."""

    async def write_status(self, findings: Findings, **more: Any) -> None:
        """Writes what has changed of the status, and tells a trouble that is new. `more`: further fields of status."""
        meta = self.obj.metadata
        told = self.status.get("conditions") or []
        now = rfc3339(self._services.clock())
        status: dict[str, Any] = {
            "observedGeneration": meta.generation,
            "conditions": compute(told, findings, generation=meta.generation, now=now),
        } | more
        patch = {name: value for name, value in status.items() if self.status.get(name) != value}
        trouble = findings.terminal or findings.recoverable
        if trouble and all(known.get("message") != trouble for known in told):
            event = Event.RESOURCE_TERMINAL if findings.terminal else Event.RESOURCE_WAITING
            emit(self._services.log, event, reason=findings.reason, err=trouble)
            self.record("Warning", findings.reason, trouble)
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
