"""The controller of FieldExports, and an index from sources to exports.

A change causes no List calls: sources and exports are in stores, and the index gives the affected exports. The target is
not read either while the recorded value is current; another client's edit of it is corrected within an hour, or when the
source or the export changes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from sagemaker_operator.control.features import field_export as fe
from sagemaker_operator.control.features.object_writer import ObjectWriter, WriterServices
from sagemaker_operator.control.interfaces import Cache, KubePort, Sources
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import Forbidden, Invalid, NotFound
from sagemaker_operator.jqpath import PathError, first
from sagemaker_operator.logs import Event, about, emit, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.conditions import Findings
    from sagemaker_operator.control.interfaces import Recorder
    from sagemaker_operator.objects import KubeObject, ObjectKey
    from sagemaker_operator.runtime.store import Change

# 1,000 exports cost one read in 4 s.
_VERIFY_SECONDS = 3600.0
_CACHE_SECONDS = 5.0


class Kubernetes(KubePort, Protocol):
    async def get_json(self, path: str) -> dict[str, Any]: ...


class Exporter:
    """Reconciles FieldExports, and enqueues those that a change of a source affects."""

    def __init__(
        self,
        *,
        exports: Cache,
        sources: Mapping[str, Sources],
        known: Collection[str],
        cross_namespace: bool,
        enqueue: Callable[[ObjectKey], None],
        kube: Kubernetes,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        """`sources` has the kinds that this operator reconciles, `known` the names of all kinds."""
        self.exports = exports
        self.sources = sources
        self.known = known
        self.cross_namespace = cross_namespace
        self.kube = kube
        self.log = get_logger("fieldexport")
        self.services = WriterServices(fe.FIELD_EXPORTS, exports, kube, recorder, clock, self.log, "Export")
        self._enqueue = enqueue
        self._by_source: dict[ObjectKey, set[ObjectKey]] = {}
        self._by_target: dict[fe.Target, set[ObjectKey]] = {}
        self.verified: dict[str, tuple[int, float]] = {}
        """UID -> generation and loop time of the last read of the target."""

    # --- the index ---------------------------------------------------------------------------------------------------

    def export_changed(self, change: Change, listed: bool) -> None:
        """A listener of the exports' informer."""
        if change.old is not None:
            old = fe.export_of(change.old)
            self._drop(self._by_source, old.source, change.old.key)
            if old.target is not None:
                self._drop(self._by_target, old.target, change.old.key)
        if change.new is not None:
            new = fe.export_of(change.new)
            if new.ours:
                self._by_source.setdefault(new.source, set()).add(change.new.key)
                if new.target is not None:
                    self._by_target.setdefault(new.target, set()).add(change.new.key)

    @staticmethod
    def _drop(index: dict[Any, set[ObjectKey]], at: Any, key: ObjectKey) -> None:
        keys = index.get(at, set())
        keys.discard(key)
        if not keys:
            index.pop(at, None)

    def source_changed(self, change: Change, listed: bool) -> None:
        """A listener of each kind's informer."""
        obj = change.new or change.old
        if obj is not None:
            for key in self._by_source.get(obj.key, ()):
                self._enqueue(key)

    def others(self, target: fe.Target | None, key: ObjectKey) -> list[fe.Export]:
        """Other exports that write the same key and are not being deleted."""
        objects = (
            (self.exports.get(other) for other in self._by_target.get(target, ()) if other != key) if target else ()
        )
        return [fe.export_of(obj) for obj in objects if obj is not None and obj.metadata.deletion_timestamp is None]

    # --- reconciling -------------------------------------------------------------------------------------------------

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """One reconcile. Raises KubeError, for which the key backs off."""
        obj = self.exports.get(key)
        if obj is None:
            return Requeue.SETTLED
        meta = obj.metadata
        with about(controller="fieldexport", kind=key.kind, namespace=key.namespace, name=key.name, uid=meta.uid):
            return await _Reconcile(self, obj).run()

    def remembered(self) -> int:
        """Entries that are kept between reconciles."""
        return len(self._by_source) + len(self._by_target)

    def forget(self, obj: KubeObject) -> None:
        self.verified.pop(obj.metadata.uid, None)


class _Reconcile:
    """One reconcile of one export."""

    def __init__(self, exporter: Exporter, obj: KubeObject) -> None:
        self._exporter = exporter
        self._writer = ObjectWriter(exporter.services, obj)
        self._export = fe.export_of(obj)
        self._written = fe.written_of(self._writer.status)

    @property
    def _obj(self) -> KubeObject:
        return self._writer.obj

    async def run(self) -> Requeue:
        export, meta = self._export, self._obj.metadata
        if not export.ours:
            return Requeue.SETTLED
        if meta.deletion_timestamp is not None:
            return await self._delete()
        findings = fe.refusal(export, self._exporter.known, cross_namespace=self._exporter.cross_namespace)
        if findings is not None:
            return await self._finish(findings)
        store = self._exporter.sources.get(export.source.kind)
        if store is None:
            return Requeue.SETTLED  # another operator serves this kind: --reconcile-resources
        if not store.synced:
            return Requeue.after(_CACHE_SECONDS)
        source = store.get(export.source)
        if source is None:
            return await self._finish(fe.no_source(export.source))
        if not fe.is_synced(source):
            return await self._finish(fe.not_synced(export.source))
        try:
            value = await first(export.path, fe.document_of(source))
        except PathError as error:
            return await self._finish(fe.terminal("InvalidPath", f"spec.from.path: {error}"))
        text = fe.text_of(value)
        if text is None:
            return await self._finish(fe.not_exportable(export, value))
        return await self._write(text)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, text: str) -> Requeue:
        target, meta = self._export.target, self._obj.metadata
        assert target is not None  # noqa: S101  refused before
        now = asyncio.get_running_loop().time()
        desired = fe.Written(target, fe.digest(meta.uid, text))
        generation, verified_at = self._exporter.verified.get(meta.uid, (0, 0.0))
        remaining = verified_at + _VERIFY_SECONDS - now
        if desired == self._written and generation == meta.generation and remaining > 0:
            return await self._finish(fe.exported(target), Requeue.after(remaining))
        if fe.FINALIZER not in meta.finalizers:
            await self._writer.write_finalizers((*meta.finalizers, fe.FINALIZER))
        await self._clean(deleting=False)
        try:
            stored = await self._exporter.kube.get_json(target.resource.path(target.namespace, target.name))
            changed = target.read(stored) != text
            if changed:
                await self._patch(target, stored, target.stored(text))
        except NotFound:
            return await self._finish(fe.no_target(target), Requeue.BACKOFF)
        except Forbidden:
            return await self._finish(fe.not_allowed(target), Requeue.SLOW_BACKOFF)
        except Invalid as error:
            return await self._finish(fe.refused(target, error.message), Requeue.SLOW_BACKOFF)
        if changed:
            emit(self._exporter.log, Event.FIELD_EXPORTED, target=str(target))
            self._writer.record(
                "Normal", "Exported", f"Wrote {self._export.path} of {self._export.source} to {target}", "Export"
            )
        self._exporter.verified[meta.uid] = (meta.generation, now)
        return await self._finish(fe.exported(target), Requeue.after(_VERIFY_SECONDS), desired)

    async def _patch(self, target: fe.Target, stored: Mapping[str, Any], value: str | None) -> None:
        """Writes one key of the object that was read, no other key, and no other object of that name."""
        meta = stored["metadata"]
        lock = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        patch = {"metadata": lock, "data": {target.key: value}}
        await self._exporter.kube.merge_patch(target.resource, target.namespace, target.name, patch)

    # --- deletion ----------------------------------------------------------------------------------------------------

    async def _delete(self) -> Requeue:
        meta = self._obj.metadata
        if fe.FINALIZER in meta.finalizers:
            await self._clean(deleting=True)
            await self._writer.write_finalizers(tuple(name for name in meta.finalizers if name != fe.FINALIZER))
        return Requeue.SETTLED

    async def _clean(self, *, deleting: bool) -> None:
        """Removes the keys that this export wrote and no longer writes, unless another client has changed them since."""
        if fe.retains(self._obj):
            return
        key = self._obj.key
        targets = {self._export.target} | ({self._written.target} if self._written else set())
        others = [other for target in targets for other in self._exporter.others(target, key)]
        for target in fe.targets_to_clean(self._export, self._written, deleting=deleting, others=others):
            try:
                stored = await self._exporter.kube.get_json(target.resource.path(target.namespace, target.name))
                value = target.read(stored)
                if value is not None and await self._is_ours(target, value):
                    await self._patch(target, stored, None)
                    emit(self._exporter.log, Event.FIELD_WITHDRAWN, target=str(target))
                    self._writer.record("Normal", "Withdrawn", f"Removed {target}", "Withdraw")
            except NotFound:
                continue  # the whole target is gone
            except (Forbidden, Invalid) as error:
                # A revoked permission must not block the deletion of the export.
                self._writer.record("Warning", "NotWithdrawn", f"{target} was not removed: {error.message}", "Withdraw")

    async def _is_ours(self, target: fe.Target, value: str) -> bool:
        found = fe.Written(target, fe.digest(self._obj.metadata.uid, value))
        return found == self._written or value == await self._current(target)

    async def _current(self, target: fe.Target) -> str | None:
        """The value to write now: a crash may have occurred between a write and its record, and ACK keeps no records."""
        store = self._exporter.sources.get(self._export.source.kind)
        source = store.get(self._export.source) if store is not None else None
        if source is None or target != self._export.target:
            return None
        try:
            return fe.text_of(await first(self._export.path, fe.document_of(source)))
        except PathError:
            return None

    # --- the end of a reconcile --------------------------------------------------------------------------------------

    async def _finish(
        self, findings: Findings, requeue: Requeue = Requeue.SETTLED, written: fe.Written | None = None
    ) -> Requeue:
        if not findings.terminal:
            findings = replace(findings, also=fe.advisory(self._export))
        more = {"exported": written.as_status()} if written is not None else {}
        await self._writer.write_status(findings, **more)
        return requeue
