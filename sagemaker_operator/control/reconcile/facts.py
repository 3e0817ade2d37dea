"""The facts that a reconcile begins with: what the object, its status and our memory of it report, before any call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sagemaker_operator.annotations import DELETION_PROTECTION, JOB_RECORD, RECONCILE_REQUESTED
from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.conditions import READY, RECONCILING, RECOVERABLE, REFERENCES_RESOLVED, TERMINAL, UPDATING
from sagemaker_operator.control.observation import recall, status_fields
from sagemaker_operator.control.placement.target import Placement, is_unreported
from sagemaker_operator.control.plan.actions import Facts
from sagemaker_operator.control.spec.adoption import Adoption, adoption_conditions, requested_adoption
from sagemaker_operator.control.spec.create_input import identifiers, spec_problems, unclear_identity
from sagemaker_operator.control.spec.late_init import LateInit, late_init
from sagemaker_operator.control.spec.restore_annotation import annotated_arn
from sagemaker_operator.control.spec.tags import UNTAGGED, Tagging, tagging
from sagemaker_operator.settings import DeletionPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.control.interfaces import Services
    from sagemaker_operator.control.reconcile.memory import Memory
    from sagemaker_operator.control.spec.references import Resolution
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject

# SageMaker's reads may lag behind a create for seconds; five minutes is far beyond that and far below a job's patience.
_YOUNG_SECONDS = 300.0
# Of the resync interval, which is jittered by a tenth.
_DUE = 0.9


class Sources(msgspec.Struct, frozen=True):
    """What the facts are derived from."""

    kind: Kind
    services: Services
    memory: Memory
    obj: KubeObject
    stored: Mapping[str, Any]
    """The object's status."""
    resolution: Resolution
    placement: Placement
    failures: int
    """Reconciles of this object that failed in a row before this one."""


def load_facts(sources: Sources) -> Facts:
    kind, meta, stored = sources.kind, sources.obj.metadata, sources.stored
    resolution, placement = sources.resolution, sources.placement
    conditions = stored.get("conditions") or ()
    managed = kind.finalizer in meta.finalizers
    identity = _identity(sources, managed=managed)
    arn, adoption = identity.arn, identity.adoption
    edited = stored.get("observedGeneration") not in (None, meta.generation)
    requested = _is_requested(sources)
    due = _is_due(sources, arn)
    return Facts(
        kind=kind,
        failures=sources.failures,
        # What the object is to become.
        deleting=meta.deletion_timestamp is not None,
        retain=placement.deletion_policy is DeletionPolicy.RETAIN or adoption.read_only,
        protected=meta.annotations.get(DELETION_PROTECTION, "false").strip().lower() != "false",
        delete_job_record=meta.annotations.get(JOB_RECORD, sources.services.settings.job_record) == "delete",
        managed=managed,
        other_finalizers=tuple(name for name in meta.finalizers if name != kind.finalizer),
        adoption=adoption,
        # Whether its spec can be carried out.
        problems=_spec_problems(sources, accepted=arn is not None and managed),
        unresolved=resolution.waiting,
        refusal=placement.refusal,
        # Which resource is its own.
        arn=arn,
        generated_id=identity.generated_id,
        restored=identity.restored,
        unclear_identity=unclear_identity(kind, resolution.spec, arn) if managed else None,
        displaced=placement.displaced,
        create_unsent=meta.uid in sources.memory.unsent,
        recently_created=_is_young(sources),
        recalled=recall(kind, stored),
        # What its conditions report.
        ready=_true(conditions, READY) is not None,
        terminal_reason=_terminal_reason(conditions),
        recoverable_reason=(_true(conditions, RECOVERABLE) or {}).get("reason"),
        unconfirmed=(_true(conditions, RECONCILING) or {}).get("reason") == UPDATING,
        placement_unreported=is_unreported(placement, stored),
        feature_conditions=_conditions_of_features(sources, adoption, managed=managed),
        # Why it may have to be compared with the resource.
        edited=edited,
        never_observed=stored.get("observedGeneration") is None,
        can_drift=_can_drift(sources, adoption),
        due=due,
        requested=requested,
        late=_late_init(sources),
        tagging=_tagging(sources, identity, managed=managed, asked_for=edited or requested, due=due),
    )


class _Identity(NamedTuple):
    adoption: Adoption
    generated_id: bool
    """Nothing that the user wrote identifies the resource: AWS makes its identifier."""
    arn: str | None
    restored: bool
    """The ARN is known from the annotation of a backup alone."""


def _identity(sources: Sources, *, managed: bool) -> _Identity:
    """Which resource is this object's?"""
    kind, meta, spec = sources.kind, sources.obj.metadata, sources.resolution.spec
    gates = sources.services.settings.feature_gates
    recorded = (sources.stored.get("ackResourceMetadata") or {}).get("arn")
    adoption = requested_adoption(kind, meta.annotations, spec, gates)
    named = identifiers(kind, {**spec, **adoption.fields}, adoption.arn)
    generated_id = any(m.api not in named and m.api not in kind.optional_identifiers for m in kind.identifiers)
    # To follow the annotation is to adopt what it names, and the same gate decides. Some backup tools strip finalizers.
    restorable = generated_id and not (recorded and managed) and gates.resource_adoption
    marked = annotated_arn(meta, sources.placement.target) if restorable else None
    restored = marked if recorded in (None, marked) else None
    return _Identity(adoption, generated_id, recorded or restored, restored is not None)


def _spec_problems(sources: Sources, *, accepted: bool) -> tuple[str, ...]:
    """What keeps the spec from being sent? Of one that SageMaker accepted, only its references."""
    return sources.resolution.problems or (() if accepted else spec_problems(sources.kind, sources.resolution.spec))


def _is_young(sources: Sources) -> bool:
    """May SageMaker's reads not show the resource yet?"""
    clock = sources.services.clock
    return clock() - created_at(sources.kind, sources.obj, sources.stored, clock) < _YOUNG_SECONDS


def created_at(kind: Kind, obj: KubeObject, stored: Mapping[str, Any], clock: Clock) -> float:
    """Seconds since the epoch: SageMaker's creation time where it is known, else the object's, which is earlier."""
    field = status_fields(kind).get(kind.created_member or "", "")
    recorded = stored.get(field) or obj.metadata.creation_timestamp
    return parse_rfc3339(recorded) if recorded else clock()


def _true(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of this type, if its status is True."""
    return next((c for c in conditions if (c.get("type"), c.get("status")) == (type_, "True")), None)


def _terminal_reason(conditions: Iterable[Mapping[str, Any]]) -> str | None:
    """ACK's Terminal has no reason: empty then."""
    terminal = _true(conditions, TERMINAL)
    return terminal.get("reason", "") if terminal is not None else None


def _conditions_of_features(sources: Sources, adoption: Adoption, *, managed: bool) -> dict[str, ConditionValue]:
    """Which conditions do placement, references and adoption add?"""
    resolution, stored = sources.resolution, sources.stored
    return {
        **sources.placement.also,
        **({REFERENCES_RESOLVED: resolution.condition} if resolution.used else {}),
        **(adoption_conditions(adoption, stored.get("conditions") or ()) if managed else {}),
    }


def _can_drift(sources: Sources, adoption: Adoption) -> bool:
    """Can the spec differ from the resource?"""
    edited_once = sources.obj.metadata.generation > 1
    return (
        edited_once
        or not sources.kind.stop_on_delete
        or sources.resolution.used
        or adoption.adopted
        or adoption.read_only
    )


def _is_requested(sources: Sources) -> bool:
    """Does the user ask for a reconcile that was not carried out yet?"""
    meta = sources.obj.metadata
    asked_at = meta.annotations.get(RECONCILE_REQUESTED)
    # A CRD of ACK's drops the field, so the status alone would not remember.
    handled = (sources.stored.get("lastHandledReconcileAt"), sources.memory.requests.get(meta.uid))
    return bool(asked_at) and asked_at not in handled


def _is_due(sources: Sources, arn: str | None) -> bool:
    """Must it be compared with its resource although it was not edited?"""
    return _is_due_for_resync(sources) or (arn is not None and references_changed(sources.resolution, sources.stored))


def _is_due_for_resync(sources: Sources) -> bool:
    kind, services = sources.kind, sources.services
    if kind.stop_on_delete:
        return False
    now, interval = asyncio.get_running_loop().time(), services.settings.resync(kind.name)
    # Below the threshold, or a restart would describe a tenth of all settled objects at once.
    first = now - services.rng.uniform(0.0, _DUE * interval)
    since = sources.memory.described.setdefault(sources.obj.metadata.uid, first)
    return now - since >= _DUE * interval


def references_changed(resolution: Resolution, stored: Mapping[str, Any]) -> bool:
    """All references are known, and have other values than those that status recorded."""
    known = bool(resolution.values) and resolution.waiting is None
    return known and dict(resolution.values) != (stored.get("resolvedReferences") or {})


def _late_init(sources: Sources) -> LateInit | None:
    if not sources.services.settings.write_late_init or not sources.kind.late_init:
        return None
    return late_init(sources.kind, sources.resolution.spec, {})


def _tagging(sources: Sources, identity: _Identity, *, managed: bool, asked_for: bool, due: bool) -> Tagging:
    """Which tags does the spec ask for, and must they be compared now?"""
    if identity.arn is None or not managed or identity.adoption.read_only:
        return UNTAGGED
    stored, uid = sources.stored, sources.obj.metadata.uid
    # ACK does not record which tags are its own. Compared at the resync, they would be written at any time in the ten hours after
    # the switch from ACK: so they wait until the user edits the object, or asks for a reconcile.
    retag = asked_for or uid in sources.memory.retag or (due and "managedTagKeys" in stored)
    return tagging(sources.kind, sources.resolution.spec, stored.get("managedTagKeys"), due=retag)
