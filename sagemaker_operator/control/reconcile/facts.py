"""The facts a pass begins with: what the object, its status and our memory of it say, before anybody is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_operator.annotations import DELETION_PROTECTION, JOB_RECORD, RECONCILE_REQUESTED
from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.conditions import READY, RECONCILING, RECOVERABLE, REFERENCES_RESOLVED, TERMINAL, UPDATING
from sagemaker_operator.control.observation import recall, status_fields
from sagemaker_operator.control.placement.target import Placement, is_unreported
from sagemaker_operator.control.plan.actions import Facts
from sagemaker_operator.control.spec.adoption import adoption_conditions, asked
from sagemaker_operator.control.spec.create_input import identifiers, spec_problems, unclear_identity
from sagemaker_operator.control.spec.late_init import late_init
from sagemaker_operator.control.spec.restore_annotation import recalled_arn
from sagemaker_operator.control.spec.tags import UNTAGGED, tagging
from sagemaker_operator.settings import DeletionPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.control.interfaces import Services
    from sagemaker_operator.control.spec.late_init import LateInit
    from sagemaker_operator.control.spec.references import Resolution
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject, Meta

# SageMaker's reads may lag behind a create for seconds; five minutes is far beyond that and far below a job's patience.
_YOUNG_SECONDS = 300.0
# Of the resync interval, which is jittered by a tenth.
_DUE = 0.9
_WAITS = (RECOVERABLE, "True")
_STANDS = (TERMINAL, "True")
_READY = (READY, "True")
_UPDATING = (RECONCILING, "True", UPDATING)


class Accepted(NamedTuple):
    """An update that SageMaker took."""

    request: Mapping[str, Any]
    generation: int
    """Of the spec that it was for: a notebook is stopped and started with the same words for every edit."""
    times: int


NEVER = Accepted({}, 0, 0)


@dataclass(slots=True)
class Memory:
    """What outlives a pass, by UID. It only saves work: a restart without it ends in the same state."""

    accepted_updates: dict[str, dict[str | None, Accepted]] = field(default_factory=dict)
    """The last update of each operation: one that never takes effect must not loop."""
    described: dict[str, float] = field(default_factory=dict)
    """Loop time of the last look, for the resync. A restart spreads the first looks over one interval."""
    requests: dict[str, str] = field(default_factory=dict)
    """The last reconcile request that was carried out."""
    refused_fills: dict[str, LateInit] = field(default_factory=dict)
    """What Kubernetes did not take into spec: it is not offered again at every look."""
    retag: set[str] = field(default_factory=set)
    """UIDs of objects whose tags are to be compared in the next pass: the last one could not, or has changed some."""
    throttled: dict[str, float] = field(default_factory=dict)
    """Loop time since when calls have been throttled and no pass has come to anything else."""

    unsent: set[str] = field(default_factory=set)
    """UIDs of objects whose finalizer is on, and of which no create ever left this process."""

    def __len__(self) -> int:
        by_uid = (self.accepted_updates, self.described, self.requests, self.refused_fills, self.throttled)
        return len(self.retag) + len(self.unsent) + sum(len(kept) for kept in by_uid)

    def forget(self, uid: str) -> None:
        self.accepted_updates.pop(uid, None)
        self.described.pop(uid, None)
        self.requests.pop(uid, None)
        self.refused_fills.pop(uid, None)
        self.retag.discard(uid)
        self.throttled.pop(uid, None)
        self.unsent.discard(uid)


def load_facts(
    kind: Kind,
    services: Services,
    memory: Memory,
    obj: KubeObject,
    resolution: Resolution,
    stored: Mapping[str, Any],
    placement: Placement,
    *,
    failures: int,
) -> Facts:
    """`stored` is the object's status; `failures` counts the passes that failed in a row before this one."""
    meta = obj.metadata
    spec = resolution.spec
    seen = stored.get("observedGeneration")
    recorded = (stored.get("ackResourceMetadata") or {}).get("arn")
    managed = kind.finalizer in meta.finalizers
    adoption = asked(kind, meta.annotations, spec, services.settings.feature_gates)
    named = identifiers(kind, {**spec, **adoption.fields}, adoption.arn)
    nameless = any(m.api not in named and m.api not in kind.optional_identifiers for m in kind.identifiers)
    # To follow the annotation is to adopt what it names, and the same gate decides. Some backup tools strip finalizers.
    restorable = nameless and not (recorded and managed) and services.settings.feature_gates.resource_adoption
    marked = recalled_arn(meta, placement.target) if restorable else None
    restored = marked if recorded in (None, marked) else None
    arn = recorded or restored
    conditions = stored.get("conditions") or ()
    edited = seen is not None and seen != meta.generation
    due = _is_due(kind, services, memory, meta.uid) or (arn is not None and references_changed(resolution, stored))
    requested = _is_requested(memory, meta, stored)
    # ACK does not record which tags are its own. Compared at the resync, they would be written at any time in the ten hours after
    # the switch from ACK: so they wait until the user edits the object, or asks for a reconcile.
    retag = edited or requested or meta.uid in memory.retag or (due and "managedTagKeys" in stored)
    return Facts(
        kind=kind,
        deleting=meta.deletion_timestamp is not None,
        managed=managed,
        held=tuple(name for name in meta.finalizers if name != kind.finalizer),
        ready=any((c.get("type"), c.get("status")) == _READY for c in conditions),
        arn=arn,
        displaced=placement.displaced,
        unsent=meta.uid in memory.unsent,
        retain=placement.deletion_policy is DeletionPolicy.RETAIN or adoption.read_only,
        protected=meta.annotations.get(DELETION_PROTECTION, "false").strip().lower() != "false",
        problems=resolution.problems or (spec_problems(kind, spec) if arn is None or not managed else ()),
        unresolved=resolution.waiting,
        nameless=nameless,
        restored=restored is not None,
        unclear=unclear_identity(kind, spec, arn) if managed else None,
        erase=meta.annotations.get(JOB_RECORD, services.settings.job_record) == "delete",
        due=due,
        edited=edited,
        unseen=seen is None,
        drifts=meta.generation > 1
        or not kind.stop_on_delete
        or resolution.used
        or adoption.adopted
        or adoption.read_only,
        terminal=next((c.get("reason", "") for c in conditions if (c.get("type"), c.get("status")) == _STANDS), None),
        waiting=next((c.get("reason") for c in conditions if (c.get("type"), c.get("status")) == _WAITS), None),
        unconfirmed=any((c.get("type"), c.get("status"), c.get("reason")) == _UPDATING for c in conditions),
        young=services.clock() - created_at(kind, obj, stored, services.clock) < _YOUNG_SECONDS,
        failures=failures,
        recalled=recall(kind, stored),
        also={
            **placement.also,
            **({REFERENCES_RESOLVED: resolution.condition} if resolution.used else {}),
            **(adoption_conditions(adoption, conditions) if managed else {}),
        },
        refusal=placement.refusal,
        unreported=is_unreported(placement, stored),
        adoption=adoption,
        late=late_init(kind, spec, {}) if services.settings.write_late_init and kind.late_init else None,
        requested=requested,
        tagging=tagging(kind, spec, stored.get("managedTagKeys"), due=retag)
        if arn is not None and managed and not adoption.read_only
        else UNTAGGED,
    )


def _is_requested(memory: Memory, meta: Meta, stored: Mapping[str, Any]) -> bool:
    asked_at = meta.annotations.get(RECONCILE_REQUESTED)
    # A CRD of ACK's drops the field, so the status alone would not remember.
    return bool(asked_at) and asked_at not in (stored.get("lastHandledReconcileAt"), memory.requests.get(meta.uid))


def references_changed(resolution: Resolution, stored: Mapping[str, Any]) -> bool:
    """All references are known, and give other values than those that status remembers."""
    known = bool(resolution.values) and resolution.waiting is None
    return known and dict(resolution.values) != (stored.get("resolvedReferences") or {})


def _is_due(kind: Kind, services: Services, memory: Memory, uid: str) -> bool:
    if kind.stop_on_delete:
        return False
    now, interval = asyncio.get_running_loop().time(), services.settings.resync(kind.name)
    # Below the threshold, or a restart would describe a tenth of all settled objects at once.
    since = memory.described.setdefault(uid, now - services.rng.uniform(0.0, _DUE * interval))
    return now - since >= _DUE * interval


def created_at(kind: Kind, obj: KubeObject, stored: Mapping[str, Any], clock: Clock) -> float:
    """Seconds since the epoch: SageMaker's creation time where it is known, else the object's, which is earlier."""
    field = status_fields(kind).get(kind.created_member or "", "")
    recorded = stored.get(field) or obj.metadata.creation_timestamp
    return parse_rfc3339(recorded) if recorded else clock()
