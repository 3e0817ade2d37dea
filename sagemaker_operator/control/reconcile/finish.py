"""The end of a reconcile: write the status if it changed, report transitions, and decide when the key is requeued."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import with_foreign
from sagemaker_operator.control.interfaces import Handle
from sagemaker_operator.control.plan.actions import Mutation, Owner
from sagemaker_operator.control.reconcile.facts import created_at
from sagemaker_operator.control.requeue import Requeue, When
from sagemaker_operator.control.spec.restore_annotation import arn_annotation
from sagemaker_operator.control.status.patch import Outcome, status_patch
from sagemaker_operator.control.status.transitions import Transition, released, transitions
from sagemaker_operator.errors import Conflict, ErrorCategory, KubeError
from sagemaker_operator.logs import Event, emit

if TYPE_CHECKING:
    from sagemaker_operator.conditions import Findings
    from sagemaker_operator.control.plan.actions import Finish
    from sagemaker_operator.control.reconcile.context import Context

_ENDS_OF_JOBS = frozenset({Event.JOB_COMPLETED, Event.JOB_FAILED, Event.JOB_STOPPED})
_ARN_ATTEMPTS = 3
_PARK_SECONDS = (1800.0, 3600.0)


async def finish(context: Context, action: Finish) -> Requeue:
    """Raises KubeError if Kubernetes refused a write: then no transition was reported, and the reconcile runs again."""
    meta, facts = context.obj.metadata, context.facts
    if action.findings is not None and action.findings.reason != ErrorCategory.THROTTLED.value:
        context.memory.throttled.pop(meta.uid, None)
    if annotations := _restore_annotation(context, action):
        # Before the status: after a crash in between, the annotation identifies the resource.
        await context.write({"metadata": {"uid": meta.uid, "annotations": annotations}}, subresource=None)
    if action.findings is not None:
        await _write_status(context, action, action.findings)
    for transition in _transitions(context, action):
        _report(context, transition)
    if action.release and facts.managed:
        await context.release()
        if facts.deleting:
            _report(context, released(facts))
    _track(context, action)
    return _with_timer(context, action.requeue)


def _restore_annotation(context: Context, action: Finish) -> dict[str, str]:
    """The annotation that lets a restored backup find a resource that this or an earlier reconcile created."""
    meta, facts = context.obj.metadata, context.facts
    created = facts.mutation is Mutation.CREATED or (facts.owner is Owner.OURS and not facts.deleting)
    if facts.arn is None or not facts.generated_id or not created or action.release:
        return {}
    desired = arn_annotation(meta, facts.arn)
    return desired if desired.items() - meta.annotations.items() else {}


def _transitions(context: Context, action: Finish) -> list[Transition]:
    facts = context.facts
    return list(
        transitions(
            context.kind,
            name=str(context.identifiers().get(context.kind.name_member, context.key.name)),
            arn=facts.arn,
            target=context.placement.target,
            before=facts.recalled,
            # None: the resource of this name is not known to be this object's, or only the answer to Create is known.
            after=None if facts.arn is None or facts.create_confirmed is False else facts.observed,
            mutation=facts.mutation,
            recovered=(facts.owner is Owner.OURS or facts.restored) and not facts.deleting,
            findings=action.findings,
            conditions=context.stored.get("conditions") or (),
            now=context.services.clock(),
        )
    )


def _report(context: Context, transition: Transition) -> None:
    # A read-only object shows a resource of another owner: sums of ended jobs or billed seconds must be able to leave it out.
    read_only = {"readOnly": True} if context.facts.adoption.read_only else {}
    emit(context.log, transition.event, **transition.fields, **read_only)
    if not (read_only and transition.event in _ENDS_OF_JOBS):
        context.services.count_transition(transition.event, terminal=transition.event is Event.RESOURCE_TERMINAL)
    if transition.note is not None:
        note = transition.note
        context.services.recorder.record(
            {
                "apiVersion": context.kind.resource.api_version,
                "kind": context.kind.name,
                "namespace": context.key.namespace,
                "name": context.key.name,
                "uid": context.obj.metadata.uid,
            },
            type="Warning" if note.warning else "Normal",
            reason=note.reason,
            note=note.text,
            action=note.action,
        )


def _with_timer(context: Context, requeue: Requeue) -> Requeue:
    """`requeue` with its seconds, jittered: objects that were reconciled together must not be requeued together."""
    rng = context.services.rng
    if requeue.seconds is not None:
        return replace(requeue, seconds=requeue.seconds * rng.uniform(1.0, 1.25))
    if requeue.when is When.PARKED:
        return replace(requeue, seconds=rng.uniform(*_PARK_SECONDS))
    if requeue.when is When.SETTLED:
        return replace(requeue, seconds=_until_resync(context))
    return requeue


def _until_resync(context: Context) -> float | None:
    if context.kind.stop_on_delete or not (context.facts.managed or context.facts.adoption.read_only):
        return None
    interval = context.services.settings.resync(context.kind.name)
    described = context.memory.described.get(context.obj.metadata.uid, 0.0)
    wait = interval * context.services.rng.uniform(0.9, 1.1)
    remaining = described + wait - asyncio.get_running_loop().time()
    # An object that was due and was not observed has an error of its own: before an edit, a Describe would be useless.
    return remaining if remaining > 0 else wait


def _track(context: Context, action: Finish) -> None:
    """The poller polls a resource in transition, whatever the state of its spec."""
    facts = context.facts
    last = facts.observed if facts.observed is not None and facts.observed.found else facts.recalled
    moves = last is not None and (last.moving(context.kind) or last.changes_when_settled(context.kind))
    target = context.placement.target
    if facts.arn is None or action.release or target is None or not (moves or action.requeue.when is When.POLL):
        context.services.tracker.untrack(context.key)
        return
    if facts.mutation is not None or (facts.observed is None and facts.unconfirmed):
        # The next observation must be reported even if it equals the last: it shows that the change is complete.
        last = None
    handle = Handle(
        context.kind,
        target,
        context.identifiers(),
        created_at(context.kind, context.obj, context.stored, context.services.clock),
        last,
        uid=context.obj.metadata.uid,
        mutated=facts.mutation is not None,
    )
    context.services.tracker.track(context.key, handle)


async def _write_status(context: Context, action: Finish, findings: Findings) -> None:
    meta = context.obj.metadata
    outcome = Outcome(
        facts=context.facts,
        findings=findings,
        placement=context.placement,
        resolution=context.resolution,
        stored=context.stored,
        meta=meta,
        release=action.release,
        now=rfc3339(context.services.clock()),
    )
    patch = status_patch(outcome)
    if patch is None:
        return
    if "conditions" in patch:
        # The answer to another write of this reconcile may contain conditions that other clients wrote before it.
        current = context.obj.decode_status().get("conditions") or ()
        patch = {**patch, "conditions": with_foreign(patch["conditions"], current)}
    lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    try:
        await context.write({"metadata": lock, "status": patch}, subresource="status")
    except Conflict:
        if context.facts.arn == outcome.recorded_arn:
            raise  # the reconcile runs again with the newer version
        await _write_arn(context, patch)
    # Only now: after a conflict the request is still to be recorded.
    if "lastHandledReconcileAt" in patch:
        context.memory.requests[meta.uid] = patch["lastHandledReconcileAt"]


async def _write_arn(context: Context, patch: dict[str, Any]) -> None:
    """Record the ARN, even if the object was edited meanwhile.

    A merge patch replaces the list of conditions, so those that others have set since the object was read are added to it.
    """
    uid = context.obj.metadata.uid
    for _ in range(_ARN_ATTEMPTS):
        try:
            current = await context.services.cache.read(context.key)
        except KubeError:
            break
        if current is None or current.metadata.uid != uid:
            break
        lock = {"uid": uid, "resourceVersion": current.metadata.resource_version}
        if "conditions" in patch:
            current_conditions = current.decode_status().get("conditions") or ()
            patch = {**patch, "conditions": with_foreign(patch["conditions"], current_conditions)}
        try:
            await context.write({"metadata": lock, "status": patch}, subresource="status")
        except Conflict:
            continue
        return
    # Another client writes all the time, or the object is gone. The UID keeps the patch from a new object of the same name.
    await context.write({"metadata": {"uid": uid}, "status": patch}, subresource="status")
