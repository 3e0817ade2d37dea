"""Carries FieldExports out: an index from sources to exports, and one pass over one export.

Nothing is listed when something changes: the stores know the sources and the exports, and the index says who cares. Not
even the target is read as long as what was written is what there is to write; somebody else's edit of it is mended within
the hour, or when the source or the export changes.
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
    """Makes the passes over FieldExports (`control.controller.Passes`), and says which a change of a source wakes."""

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
        """`sources` are the kinds that this operator runs, `known` all that there are."""
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
        """UID -> generation and loop time of the last look at the target."""

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
        """Exports beside this one that write the same key and are to stay."""
        objects = (
            (self.exports.get(other) for other in self._by_target.get(target, ()) if other != key) if target else ()
        )
        return [fe.export_of(obj) for obj in objects if obj is not None and obj.metadata.deletion_timestamp is None]

    # --- Passes ------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """One pass. Raises KubeError for the key's backoff."""
        obj = self.exports.get(key)
        if obj is None:
            return Requeue.SETTLED
        meta = obj.metadata
        with about(controller="fieldexport", kind=key.kind, namespace=key.namespace, name=key.name, uid=meta.uid):
            return await _Pass(self, obj).run()

    def remembered(self) -> int:
        """Entries that are kept of objects between reconciles."""
        return len(self._by_source) + len(self._by_target)

    def forget(self, obj: KubeObject) -> None:
        self.verified.pop(obj.metadata.uid, None)


class _Pass:
    def __init__(self, exporter: Exporter, obj: KubeObject) -> None:
        self._at = exporter
        self._subject = ObjectWriter(exporter.services, obj)
        self._export = fe.export_of(obj)
        self._written = fe.written_of(self._subject.status)

    @property
    def _obj(self) -> KubeObject:
        return self._subject.obj

    async def run(self) -> Requeue:
        export, meta = self._export, self._obj.metadata
        if not export.ours:
            return Requeue.SETTLED
        if meta.deletion_timestamp is not None:
            return await self._let_go()
        findings = fe.refusal(export, self._at.known, cross_namespace=self._at.cross_namespace)
        if findings is not None:
            return await self._settle(findings)
        store = self._at.sources.get(export.source.kind)
        if store is None:
            return Requeue.SETTLED  # another operator serves this kind: --reconcile-resources
        if not store.synced:
            return Requeue.after(_CACHE_SECONDS)
        source = store.get(export.source)
        if source is None:
            return await self._settle(fe.no_source(export.source))
        if not fe.is_synced(source):
            return await self._settle(fe.not_synced(export.source))
        try:
            value = await first(export.path, fe.document_of(source))
        except PathError as error:
            return await self._settle(fe.terminal("InvalidPath", f"spec.from.path: {error}"))
        text = fe.text_of(value)
        if text is None:
            return await self._settle(fe.not_exportable(export, value))
        return await self._write(text)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, text: str) -> Requeue:
        target, meta = self._export.target, self._obj.metadata
        assert target is not None  # noqa: S101  refused before
        now = asyncio.get_running_loop().time()
        wanted = fe.Written(target, fe.digest(meta.uid, text))
        generation, looked = self._at.verified.get(meta.uid, (0, 0.0))
        rest = looked + _VERIFY_SECONDS - now
        if wanted == self._written and generation == meta.generation and rest > 0:
            return await self._settle(fe.exported(target), Requeue.after(rest))
        if fe.FINALIZER not in meta.finalizers:
            await self._subject.write_finalizers((*meta.finalizers, fe.FINALIZER))
        await self._clean(going=False)
        try:
            stored = await self._at.kube.get_json(target.resource.path(target.namespace, target.name))
            changed = target.read(stored) != text
            if changed:
                await self._patch(target, stored, target.stored(text))
        except NotFound:
            return await self._settle(fe.no_target(target), Requeue.BACKOFF)
        except Forbidden:
            return await self._settle(fe.not_allowed(target), Requeue.SLOW_BACKOFF)
        except Invalid as error:
            return await self._settle(fe.refused(target, error.message), Requeue.SLOW_BACKOFF)
        if changed:
            emit(self._at.log, Event.FIELD_EXPORTED, target=str(target))
            self._subject.record(
                "Normal", "Exported", f"Wrote {self._export.path} of {self._export.source} to {target}", "Export"
            )
        self._at.verified[meta.uid] = (meta.generation, now)
        return await self._settle(fe.exported(target), Requeue.after(_VERIFY_SECONDS), wanted)

    async def _patch(self, target: fe.Target, stored: Mapping[str, Any], value: str | None) -> None:
        """One key, of the very object that was read: nobody else's keys, and no namesake's."""
        meta = stored["metadata"]
        lock = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        patch = {"metadata": lock, "data": {target.key: value}}
        await self._at.kube.merge_patch(target.resource, target.namespace, target.name, patch)

    # --- letting go --------------------------------------------------------------------------------------------------

    async def _let_go(self) -> Requeue:
        meta = self._obj.metadata
        if fe.FINALIZER in meta.finalizers:
            await self._clean(going=True)
            await self._subject.write_finalizers(tuple(name for name in meta.finalizers if name != fe.FINALIZER))
        return Requeue.SETTLED

    async def _clean(self, *, going: bool) -> None:
        """Removes the keys that this export has written and writes no more, unless somebody has changed them since."""
        if fe.retains(self._obj):
            return
        key = self._obj.key
        targets = {self._export.target} | ({self._written.target} if self._written else set())
        others = [other for target in targets for other in self._at.others(target, key)]
        for target in fe.leftovers(self._export, self._written, going=going, others=others):
            try:
                stored = await self._at.kube.get_json(target.resource.path(target.namespace, target.name))
                value = target.read(stored)
                if value is not None and await self._is_ours(target, value):
                    await self._patch(target, stored, None)
                    emit(self._at.log, Event.FIELD_WITHDRAWN, target=str(target))
                    self._subject.record("Normal", "Withdrawn", f"Removed {target}", "Withdraw")
            except NotFound:
                continue  # the whole target is gone
            except (Forbidden, Invalid) as error:
                # A permission that was taken away must not keep the export from going.
                self._subject.record("Warning", "NotWithdrawn", f"{target} stays as it is: {error.message}", "Withdraw")

    async def _is_ours(self, target: fe.Target, value: str) -> bool:
        found = fe.Written(target, fe.digest(self._obj.metadata.uid, value))
        return found == self._written or value == await self._current(target)

    async def _current(self, target: fe.Target) -> str | None:
        """What would be written now: a crash may have come between a write and its record, and ACK keeps no records."""
        store = self._at.sources.get(self._export.source.kind)
        source = store.get(self._export.source) if store is not None else None
        if source is None or target != self._export.target:
            return None
        try:
            return fe.text_of(await first(self._export.path, fe.document_of(source)))
        except PathError:
            return None

    # --- the end of a pass -------------------------------------------------------------------------------------------

    async def _settle(
        self, findings: Findings, requeue: Requeue = Requeue.SETTLED, written: fe.Written | None = None
    ) -> Requeue:
        if not findings.terminal:
            findings = replace(findings, also=fe.advisory(self._export))
        more = {"exported": written.as_status()} if written is not None else {}
        await self._subject.write_status(findings, **more)
        return requeue
