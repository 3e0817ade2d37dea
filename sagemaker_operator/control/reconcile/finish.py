"""The end of a pass: the status is written if it changed, transitions are told, and the next look is arranged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import ADVISORY, with_foreign
from sagemaker_operator.control.interfaces import Handle
from sagemaker_operator.control.observation import status_fields
from sagemaker_operator.control.plan.actions import Mutation, Owner
from sagemaker_operator.control.reconcile.facts import created_at, references_changed
from sagemaker_operator.control.requeue import Requeue, When
from sagemaker_operator.control.spec import tags
from sagemaker_operator.control.spec.restore_annotation import mark
from sagemaker_operator.control.status.patch import status_patch
from sagemaker_operator.control.status.transitions import Transition, released, transitions
from sagemaker_operator.errors import Conflict, ErrorCategory, KubeError
from sagemaker_operator.logs import Event, emit

if TYPE_CHECKING:
    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.control.plan.actions import Finish
    from sagemaker_operator.control.reconcile.context import Context

_ENDS_OF_JOBS = frozenset({Event.JOB_COMPLETED, Event.JOB_FAILED, Event.JOB_STOPPED})
_ARN_ATTEMPTS = 3
_PARK_SECONDS = (1800.0, 3600.0)


async def finish(context: Context, action: Finish) -> Requeue:
    """Raises KubeError if Kubernetes refused a write: then nothing was told, and the pass runs again."""
    meta, facts = context.obj.metadata, context.facts
    if action.findings is not None and action.findings.reason != ErrorCategory.THROTTLED.value:
        context.memory.throttled.pop(meta.uid, None)
    if marked := _mark(context, action):
        # Before the status: whoever dies in between finds the resource by it.
        await context.write({"metadata": {"uid": meta.uid, "annotations": marked}}, subresource=None)
    if action.findings is not None:
        await _write_status(context, action)
    for transition in _transitions(context, action):
        _report(context, transition)
    if action.release and facts.managed:
        await context.release()
        if facts.deleting:
            _report(context, released(facts))
    _track(context, action)
    return _with_timer(context, action.requeue)


def _mark(context: Context, action: Finish) -> dict[str, str]:
    """What a backup is to remember of a resource that this pass made, or found to be made by an earlier one."""
    meta, facts = context.obj.metadata, context.facts
    made = facts.mutation is Mutation.CREATED or (facts.owner is Owner.OURS and not facts.deleting)
    if facts.arn is None or not facts.nameless or not made or action.release:
        return {}
    wanted = mark(meta, facts.arn)
    return wanted if wanted.items() - meta.annotations.items() else {}


def _transitions(context: Context, action: Finish) -> list[Transition]:
    facts = context.facts
    return list(
        transitions(
            context.kind,
            name=str(context.identifiers().get(context.kind.name_member, context.key.name)),
            arn=facts.arn,
            target=context.placement.target,
            before=facts.recalled,
            # None: found under this name, and not known to be this object's; or only what Create answered.
            after=None if facts.arn is None or facts.shown is False else facts.observed,
            mutation=facts.mutation,
            recovered=(facts.owner is Owner.OURS or facts.restored) and not facts.deleting,
            findings=action.findings,
            told=context.stored.get("conditions") or (),
            now=context.services.clock(),
        )
    )


def _report(context: Context, transition: Transition) -> None:
    # A read-only object shows another's resource: whoever adds up ends or billed seconds must be able to leave it out.
    shown = {"readOnly": True} if context.facts.adoption.read_only else {}
    emit(context.log, transition.event, **transition.fields, **shown)
    if not (shown and transition.event in _ENDS_OF_JOBS):
        context.services.told(transition.event, terminal=transition.event is Event.RESOURCE_TERMINAL)
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
    """`requeue` with its seconds: spread, so that objects that were reconciled together do not come back together."""
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
    # An object that was due and still was not observed has a mistake of its own: only an edit makes it worth a Describe.
    return remaining if remaining > 0 else wait


def _track(context: Context, action: Finish) -> None:
    """Whatever the state of its spec, what moves in SageMaker is followed."""
    facts = context.facts
    last = facts.observed if facts.observed is not None and facts.observed.found else facts.recalled
    moves = last is not None and (last.moving(context.kind) or last.lingers(context.kind))
    target = context.placement.target
    if facts.arn is None or action.release or target is None or not (moves or action.requeue.when is When.POLL):
        context.services.tracker.untrack(context.key)
        return
    if facts.mutation is not None or (facts.observed is None and facts.unconfirmed):
        # Whatever comes next is news, even if it looks as before: it is what says that the change has settled.
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


async def _write_status(context: Context, action: Finish) -> None:
    meta, facts = context.obj.metadata, context.facts
    assert action.findings is not None  # noqa: S101
    recorded = (context.stored.get("ackResourceMetadata") or {}).get("arn")
    # An edit that could not be compared with the resource is still to be made when AWS answers again.
    unread = facts.edited and facts.arn is not None and facts.error is not None and action.findings.terminal is None
    # Nor must a refusal end one that shows in no difference, or a kill between two calls on the tags.
    unread = unread or (facts.edited and facts.verdict.fleeting and facts.mutation is not Mutation.UPDATED)
    unread = unread or (facts.edited and facts.mutation is Mutation.RETAGGED)
    patch = status_patch(
        context.kind,
        context.stored,
        findings=replace(action.findings, also={**_still_advised(context), **facts.also, **action.findings.also}),
        observed=facts.observed if facts.arn else None,
        arn=facts.arn if facts.managed or facts.adoption.read_only else None,
        target=context.placement.target,
        partition=context.placement.partition,
        generation=context.stored["observedGeneration"] if unread else meta.generation,
        late_init=facts.late is not None,
        now=rfc3339(context.services.clock()),
    )
    if facts.mutation is Mutation.UPDATED or facts.verdict.request is None:
        own = {name: value for name, value in facts.verdict.status.items() if context.stored.get(name) != value}
        patch = {**(patch or {}), **own} or None
    if facts.arn and references_changed(context.resolution, context.stored):
        gone = dict.fromkeys(context.stored.get("resolvedReferences") or ())
        patch = {**(patch or {}), "resolvedReferences": {**gone, **context.resolution.values}}
    if managed := _managed_tags(context, recorded):
        patch = {**(patch or {}), **managed}
    if action.release and facts.deleting and facts.held and not facts.retain:
        patch = {**(patch or {}), **_without_state(context)}
    if facts.requested and facts.error is None:
        patch = {**(patch or {}), **_handled_request(context)}
    if patch is None:
        return
    if "conditions" in patch:
        # The answer to another write of this reconcile may have brought what others wrote before it.
        patch = {
            **patch,
            "conditions": with_foreign(patch["conditions"], context.obj.decode_status().get("conditions") or ()),
        }
    lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    try:
        await context.write({"metadata": lock, "status": patch}, subresource="status")
    except Conflict:
        if facts.arn == recorded:
            raise  # gives way to the newer version, and runs again
        await _write_arn(context, patch)


async def _write_arn(context: Context, patch: dict[str, Any]) -> None:
    """The write that records the ARN must land whatever else was edited meanwhile, and a merge patch replaces the list of
    conditions: those that others have set since the object was read are kept."""
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
            there = current.decode_status().get("conditions") or ()
            patch = {**patch, "conditions": with_foreign(patch["conditions"], there)}
        try:
            await context.write({"metadata": lock, "status": patch}, subresource="status")
        except Conflict:
            continue
        return
    # Somebody writes without a pause, or the object is gone. The UID alone keeps it from reaching a namesake.
    await context.write({"metadata": {"uid": uid}, "status": patch}, subresource="status")


def _still_advised(context: Context) -> dict[str, ConditionValue]:
    """What an update was accepted with holds until the next edit."""
    advice, stored = context.kind.hooks.advice, context.stored.get("conditions") or ()
    if advice is None or context.facts.edited:
        return {}
    found = [c for c in stored if (c.get("type"), c.get("reason")) == (ADVISORY, advice.reason)]
    return {ADVISORY: ("True", advice.reason, found[0].get("message", ""))} if found else {}


def _without_state(context: Context) -> dict[str, Any]:
    """A resource that is gone has no status: "Deleting" would stay as long as another's finalizer holds the object."""
    observed, kind = context.facts.observed, context.kind
    if kind.status_member is None or (observed is not None and observed.found):
        return {}
    field = status_fields(kind)[kind.status_member]
    return {field: None} if field in context.stored else {}


def _managed_tags(context: Context, recorded: str | None) -> dict[str, Any]:
    """The keys that are ours from now on, if they are others than before."""
    facts = context.facts
    known = facts.tagging
    if facts.arn is not None and facts.arn != recorded and facts.managed and not facts.adoption.read_only:
        known = tags.tagging(context.kind, context.spec, None, due=True)
    elif not known.compared:
        return {}
    keys = known.managed_keys or None
    return {"managedTagKeys": keys} if keys != context.stored.get("managedTagKeys") else {}


def _handled_request(context: Context) -> dict[str, Any]:
    meta = context.obj.metadata
    handled = meta.annotations.get(RECONCILE_REQUESTED)
    if handled is None:
        # Removed while this reconcile ran, and the answer to a write of ours shows it.
        return {}
    context.memory.requests[meta.uid] = handled
    now = {"observedAt": rfc3339(context.services.clock())} if context.facts.observed is not None else {}
    return {"lastHandledReconcileAt": handled, **now}
