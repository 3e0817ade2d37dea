"""The controller of AdoptedResources, and an index from the requested objects to their AdoptedResources.

A reconcile at most creates the object or corrects its annotations; the result is read from the conditions of the object.
There are no calls of AWS and no timers here: a change of the object enqueues the AdoptedResource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sagemaker_operator.control.features import adopted_resource as ar
from sagemaker_operator.control.features.object_writer import ObjectWriter, WriterServices
from sagemaker_operator.control.interfaces import Cache, KubePort, Sources
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import Conflict, Forbidden, Invalid, NotFound
from sagemaker_operator.logs import about, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.conditions import Findings
    from sagemaker_operator.control.interfaces import Recorder
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject, ObjectKey, Resource
    from sagemaker_operator.runtime.store import Change
    from sagemaker_operator.settings import Settings

_CACHE_SECONDS = 5.0


class Kubernetes(KubePort, Protocol):
    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]: ...


class Adopter:
    """Reconciles AdoptedResources, and enqueues those that a change of an object affects."""

    def __init__(
        self,
        *,
        requests: Cache,
        sources: Mapping[str, Sources],
        kinds: Mapping[str, Kind],
        settings: Settings,
        enqueue: Callable[[ObjectKey], None],
        kube: Kubernetes,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        """`sources` has the kinds that this operator reconciles, `kinds` the whole catalog."""
        self.requests = requests
        self.sources = sources
        self.kinds = kinds
        self.settings = settings
        self.kube = kube
        self.services = WriterServices(
            ar.ADOPTED_RESOURCES, requests, kube, recorder, clock, get_logger("adoptedresource"), "Adopt"
        )
        self._enqueue = enqueue
        self._by_target: dict[ObjectKey, set[ObjectKey]] = {}

    # --- the index ---------------------------------------------------------------------------------------------------

    def request_changed(self, change: Change, listed: bool) -> None:
        """A listener of the AdoptedResources' informer. Finished ones are not in the index: nothing enqueues them."""
        if change.old is not None:
            target = ar.request_of(change.old).target
            keys = self._by_target.get(target, set())
            keys.discard(change.old.key)
            if not keys:
                self._by_target.pop(target, None)
        if change.new is not None and not ar.is_adopted(change.new):
            request = ar.request_of(change.new)
            if request.ours:
                self._by_target.setdefault(request.target, set()).add(change.new.key)

    def target_changed(self, change: Change, listed: bool) -> None:
        """A listener of each kind's informer."""
        obj = change.new or change.old
        if obj is not None:
            for key in self._by_target.get(obj.key, ()):
                self._enqueue(key)

    # --- reconciling -------------------------------------------------------------------------------------------------

    async def reconcile(self, key: ObjectKey, failures: int) -> Requeue:
        """One reconcile. Raises KubeError, for which the key backs off."""
        obj = self.requests.get(key)
        if obj is None:
            return Requeue.SETTLED
        with about(
            controller="adoptedresource",
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            uid=obj.metadata.uid,
        ):
            return await self._reconcile(obj, ObjectWriter(self.services, obj))

    def remembered(self) -> int:
        """Entries that are kept between reconciles."""
        return len(self._by_target)

    def forget(self, obj: KubeObject) -> None:
        """Only the index has entries of it."""

    async def _reconcile(self, obj: KubeObject, writer: ObjectWriter) -> Requeue:
        request, meta = ar.request_of(obj), obj.metadata
        if not request.ours:
            return Requeue.SETTLED
        if meta.deletion_timestamp is not None:
            if ar.ACK_FINALIZER in meta.finalizers:
                await writer.write_finalizers(tuple(name for name in meta.finalizers if name != ar.ACK_FINALIZER))
            return Requeue.SETTLED
        if ar.is_adopted(obj):
            # ACK does not write observedGeneration. Its status is left unchanged.
            if 0 < writer.status.get("observedGeneration", 0) < meta.generation:
                await writer.write_status(ar.edited_too_late(request.target))
            return Requeue.SETTLED
        settings = self.settings
        findings = ar.refusal(
            request,
            self.kinds,
            cross_namespace=settings.enable_cross_namespace,
            watched=settings.watch_namespaces,
            adoption=settings.feature_gates.resource_adoption,
        )
        if findings is not None:
            await writer.write_status(findings)
            return Requeue.SETTLED
        store = self.sources.get(request.target.kind)
        if store is None:
            return Requeue.SETTLED  # another operator serves this kind: --reconcile-resources
        if not store.synced:
            return Requeue.after(_CACHE_SECONDS)
        findings, requeue = await self._advance(request, store.get(request.target), writer)
        if findings is not None:
            await writer.write_status(findings)
        return requeue

    async def _advance(
        self, request: ar.Request, target: KubeObject | None, writer: ObjectWriter
    ) -> tuple[Findings | None, Requeue]:
        """Creates the object, corrects its annotations, or reads its conditions. Without findings the status is kept."""
        kind = self.kinds[request.target.kind]
        if target is None:
            return await self._create(request, kind, writer)
        if annotations := ar.changed_annotations(request, kind, target):
            meta = target.metadata
            lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            patch = {"metadata": lock | {"annotations": annotations}}
            # Not applied to the store as an own write: the controller of the object must be notified of the change.
            await self.kube.merge_patch(kind.resource, meta.namespace, meta.name, patch)
            return None, Requeue.SETTLED
        findings = ar.verdict(request, kind, target)
        if findings.reason == ar.ADOPTED_REASON:
            writer.record("Normal", ar.ADOPTED_REASON, findings.message)
        return findings, Requeue.SETTLED

    async def _create(self, request: ar.Request, kind: Kind, writer: ObjectWriter) -> tuple[Findings, Requeue]:
        target = request.target
        try:
            await self.kube.create(kind.resource, target.namespace, ar.manifest(request, kind))
        except Conflict:
            if not self.settings.watch_selectors:
                raise  # the watch will deliver the object
            return ar.unobserved(target), Requeue.SLOW_BACKOFF
        except NotFound:
            return ar.no_namespace(target), Requeue.SLOW_BACKOFF
        except Forbidden as error:
            return ar.not_allowed(target, error.message), Requeue.SLOW_BACKOFF
        except Invalid as error:
            return ar.refused(target, error.message), Requeue.SLOW_BACKOFF
        writer.record("Normal", "Created", f"Created {target} to adopt the resource")
        return ar.pending(target, self.settings.watch_selectors), Requeue.SETTLED
