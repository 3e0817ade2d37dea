"""The state of one reconcile of an object, its calls to AWS and its writes to Kubernetes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from sagemaker_operator.annotations import CREATE_SENT
from sagemaker_operator.aws.translate import SpecError
from sagemaker_operator.control.observation import Missed, Observation
from sagemaker_operator.control.placement.claim import claim_annotation
from sagemaker_operator.control.placement.target import place
from sagemaker_operator.control.reconcile.facts import Sources, load_facts
from sagemaker_operator.control.reconcile.memory import NOT_ACCEPTED
from sagemaker_operator.control.spec.create_input import desired_input, identifiers, with_spec_paths
from sagemaker_operator.control.spec.late_init import late_init
from sagemaker_operator.control.spec.references import resolve
from sagemaker_operator.control.spec.update import compare
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.descriptor import Edit, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.control.interfaces import Services
    from sagemaker_operator.control.placement.target import Placement
    from sagemaker_operator.control.plan.actions import Facts
    from sagemaker_operator.control.reconcile.memory import Memory
    from sagemaker_operator.control.spec.references import Resolution
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.logs import Logger
    from sagemaker_operator.objects import KubeObject, ObjectKey


class Snapshot(msgspec.Struct, frozen=True):
    """An object as last read or written, and all that is known of it."""

    obj: KubeObject
    stored: Mapping[str, Any]
    """Its status, decoded."""
    resolution: Resolution
    placement: Placement
    facts: Facts


def load(kind: Kind, services: Services, memory: Memory, obj: KubeObject, failures: int) -> Snapshot:
    """What is known before any call. `failures` counts the reconciles of this object that failed in a row before this one."""
    stored = obj.decode_status()
    resolution = _resolve(kind, services, obj, stored)
    config = services.namespace_configs.of(obj.key.namespace)
    placement = place(kind, obj, stored, config, services.settings, services.identity, services.regions)
    facts = load_facts(Sources(kind, services, memory, obj, stored, resolution, placement, failures))
    return Snapshot(obj, stored, resolution, placement, facts)


def _resolve(kind: Kind, services: Services, obj: KubeObject, stored: Mapping[str, Any]) -> Resolution:
    return resolve(
        kind,
        obj,
        obj.decode_spec(),
        find=services.other_objects,
        recorded=stored.get("resolvedReferences") or {},
        cross_namespace=services.settings.enable_cross_namespace,
        history=kind.stop_on_delete and bool((stored.get("ackResourceMetadata") or {}).get("arn")),
    )


class Context:
    """One reconcile: the newest snapshot of the object, and what an action needs to call AWS and to write.

    An action leaves its outcome in the facts. `snapshot` is always whole; each change replaces it.
    """

    def __init__(
        self,
        kind: Kind,
        services: Services,
        memory: Memory,
        log: Logger,
        key: ObjectKey,
        obj: KubeObject,
        failures: int,
    ) -> None:
        self.kind = kind
        self.services = services
        self.memory = memory
        self.log = log
        self.key = key
        self._failures = failures
        self.snapshot = load(kind, services, memory, obj, failures)

    @property
    def obj(self) -> KubeObject:
        return self.snapshot.obj

    @property
    def stored(self) -> Mapping[str, Any]:
        return self.snapshot.stored

    @property
    def resolution(self) -> Resolution:
        return self.snapshot.resolution

    @property
    def placement(self) -> Placement:
        return self.snapshot.placement

    @property
    def facts(self) -> Facts:
        return self.snapshot.facts

    @property
    def spec(self) -> Mapping[str, Any]:
        """The user's spec, with the values of its references."""
        return self.resolution.spec

    def reload(self) -> None:
        """After a write that changed which resource the object has."""
        self.snapshot = load(self.kind, self.services, self.memory, self.obj, self._failures)

    def reload_spec(self) -> None:
        """After a write that changed spec."""
        resolution = _resolve(self.kind, self.services, self.obj, self.stored)
        self.snapshot = replace(self.snapshot, resolution=resolution)

    def reload_status(self) -> None:
        """After a write that changed status before the reconcile ends."""
        self.snapshot = replace(self.snapshot, stored=self.obj.decode_status())

    def take_polled(self) -> None:
        """Adds what the poller has observed since the last reconcile."""
        match self.services.tracker.take(self.key, self.obj.metadata.uid, self.identifiers()):
            case Missed(error, times):
                self.fail(error, failures=self.facts.failures + times)
            case Observation() as polled:
                self.observe(polled)

    def update_facts(self, **facts: Any) -> None:
        """Replaces these fields of the facts."""
        self.snapshot = replace(self.snapshot, facts=replace(self.facts, **facts))

    def observe(self, observation: Observation) -> None:
        """Adds what SageMaker reports of the resource, and how that differs from spec."""
        self.update_facts(observed=observation)
        if self.facts.adoption.read_only and observation.found:
            self.update_facts(arn=observation.data.get(self.kind.arn_member, self.facts.arn))
        self.memory.described[self.obj.metadata.uid] = asyncio.get_running_loop().time()
        if self.facts.late is not None and observation.complete:
            late = late_init(self.kind, self.spec, observation.data)
            refused = self.memory.refused_fills.get(self.obj.metadata.uid)
            self.update_facts(late=refused if refused is not None and refused.patch == late.patch else late)
        comparable = observation.found and observation.complete and self.facts.arn and self.facts.can_drift
        if not comparable or self.facts.deleting:
            return
        # With an unresolved reference the desired value is unknown; updating now would clear the field.
        if self.resolution.problems:
            self.update_facts(verdict=Verdict(reject="; ".join(self.resolution.problems)))
        elif self.facts.unresolved is None:
            self._compare(observation)

    def _compare(self, observation: Observation) -> None:
        """Adds in which fields resource and spec differ, and the update that follows."""
        meta = self.obj.metadata
        try:
            desired = desired_input(self.kind, self.spec)
        except SpecError as error:
            self.update_facts(differing=(error.path,), verdict=Verdict(reject=str(error)))
            return
        edit = Edit(desired, observation.data, (), self.facts.edited, meta.annotations, self.stored)
        identity = self.identifiers() | {self.kind.arn_member: self.facts.arn}
        fields, verdict = compare(self.kind, edit, identity=identity)
        if self.facts.adoption.read_only:
            self.update_facts(differing=fields)
            return
        last = self.memory.accepted_updates.get(meta.uid, {}).get(verdict.operation, NOT_ACCEPTED)
        again = (last.request, last.generation) == (verdict.request, meta.generation)
        self.update_facts(differing=fields, verdict=verdict, update_repeats=last.times if again else 0)
        if verdict.request is None and verdict.wait is None:
            self.memory.accepted_updates.pop(meta.uid, None)

    def identifiers(self) -> dict[str, Any]:
        """The Describe input."""
        if self.facts.arn is not None and (self.facts.managed or self.facts.generated_id):
            return identifiers(self.kind, self.spec, self.facts.arn)
        asked = self.facts.adoption
        return identifiers(self.kind, {**self.spec, **asked.fields}, asked.arn)

    async def call(self, operation: str | None, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer, or None if it failed: then the error is among the facts."""
        assert operation is not None, f"{self.kind.name} has no such operation"  # noqa: S101  the catalogue's tests check it
        target = self.placement.target
        assert target is not None, "the plan makes no call without a target"  # noqa: S101
        try:
            return await self.services.aws.call(target, operation, params, kind=self.kind, caller=self.key.namespace)
        except AwsError as error:
            self.fail(error)
            return None

    def fail(self, error: AwsError, **facts: Any) -> None:
        """Adds the error of a call; its message names the fields as the user wrote them."""
        error.message = with_spec_paths(self.kind, error.message)
        if error.category is ErrorCategory.THROTTLED:
            now = asyncio.get_running_loop().time()
            facts["throttled"] = now - self.memory.throttled.setdefault(self.obj.metadata.uid, now)
        self.update_facts(error=error, **facts)

    async def claim(self) -> None:
        """Adds our finalizer, and the annotation that records where the create that may follow is sent."""
        meta, target = self.obj.metadata, self.placement.target
        assert target is not None, "the plan adds no finalizer without a target"  # noqa: S101
        annotation = claim_annotation(meta, target, self.placement.partition)
        await self._write_finalizers((*meta.finalizers, self.kind.finalizer), annotation)

    async def release(self) -> None:
        """Removes our finalizer, and the annotation of an unanswered create."""
        meta = self.obj.metadata
        kept = tuple(name for name in meta.finalizers if name != self.kind.finalizer)
        await self._write_finalizers(kept, {CREATE_SENT: None} if CREATE_SENT in meta.annotations else {})

    async def _write_finalizers(self, finalizers: tuple[str, ...], annotations: Mapping[str, str | None]) -> None:
        """Locked on the resource version: a list that another client changed meanwhile must not be overwritten."""
        change: dict[str, Any] = {
            "resourceVersion": self.obj.metadata.resource_version,
            "finalizers": list(finalizers),
        }
        if annotations:
            change["annotations"] = dict(annotations)
        await self.write({"metadata": change}, subresource=None)

    async def write(self, patch: Mapping[str, Any], *, subresource: str | None) -> None:
        """Sends a merge patch, and adds the answer to the cache before the watch delivers it. Raises KubeError."""
        obj = await self.services.kube.merge_patch(
            self.kind.resource, self.key.namespace, self.key.name, patch, subresource=subresource
        )
        self.snapshot = replace(self.snapshot, obj=obj)
        self.services.cache.apply_own_write(obj)
