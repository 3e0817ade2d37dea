"""The end of a pass: the status is written if it changed, transitions are told, and the next look is arranged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import ADVISORY, with_foreign
from sagemaker_operator.control.interfaces import Handle, Result
from sagemaker_operator.control.observation import status_fields
from sagemaker_operator.control.plan.actions import Follow, Mutation, Owner
from sagemaker_operator.control.reconcile.facts import created_at, rereferenced
from sagemaker_operator.control.spec import tags
from sagemaker_operator.control.spec.restore_annotation import mark
from sagemaker_operator.control.status.patch import status_patch
from sagemaker_operator.control.status.transitions import Transition, released, transitions
from sagemaker_operator.errors import Conflict, ErrorCategory, KubeError
from sagemaker_operator.logs import Event, emit

if TYPE_CHECKING:
    from sagemaker_operator.conditions import Told
    from sagemaker_operator.control.plan.actions import Settle
    from sagemaker_operator.control.reconcile.context import Pass

_ENDS_OF_JOBS = frozenset({Event.JOB_COMPLETED, Event.JOB_FAILED, Event.JOB_STOPPED})
_ARN_ATTEMPTS = 3
_PARK_SECONDS = (1800.0, 3600.0)


async def settle(p: Pass, step: Settle) -> Result:
    """Raises KubeError if Kubernetes refused a write: then nothing was told, and the pass runs again."""
    meta, facts = p.obj.metadata, p.facts
    if step.findings is not None and step.findings.reason != ErrorCategory.THROTTLED.value:
        p.memory.throttled.pop(meta.uid, None)
    if marked := _mark(p, step):
        # Before the status: whoever dies in between finds the resource by it.
        await p.write({"metadata": {"uid": meta.uid, "annotations": marked}}, subresource=None)
    if step.findings is not None:
        await _write_status(p, step)
    for transition in _transitions(p, step):
        _tell(p, transition)
    if step.release and facts.managed:
        await p.release()
        if facts.deleting:
            _tell(p, released(facts))
    return _follow(p, step)


def _mark(p: Pass, step: Settle) -> dict[str, str]:
    """What a backup is to remember of a resource that this pass made, or found to be made by an earlier one."""
    meta, facts = p.obj.metadata, p.facts
    made = facts.mutation is Mutation.CREATED or (facts.owner is Owner.OURS and not facts.deleting)
    if facts.arn is None or not facts.nameless or not made or step.release:
        return {}
    wanted = mark(meta, facts.arn)
    return wanted if wanted.items() - meta.annotations.items() else {}


def _transitions(p: Pass, step: Settle) -> list[Transition]:
    facts = p.facts
    return list(
        transitions(
            p.kind,
            name=str(p.identifiers().get(p.kind.name_member, p.key.name)),
            arn=facts.arn,
            target=p.placement.target,
            before=facts.recalled,
            # None: found under this name, and not known to be this object's; or only what Create answered.
            after=None if facts.arn is None or facts.shown is False else facts.observed,
            mutation=facts.mutation,
            recovered=(facts.owner is Owner.OURS or facts.restored) and not facts.deleting,
            findings=step.findings,
            told=p.stored.get("conditions") or (),
            now=p.world.clock(),
        )
    )


def _tell(p: Pass, transition: Transition) -> None:
    # A read-only object shows another's resource: whoever adds up ends or billed seconds must be able to leave it out.
    shown = {"readOnly": True} if p.facts.adoption.read_only else {}
    emit(p.log, transition.event, **transition.fields, **shown)
    if not (shown and transition.event in _ENDS_OF_JOBS):
        p.world.told(transition.event, terminal=transition.event is Event.RESOURCE_TERMINAL)
    if transition.note is not None:
        note = transition.note
        p.world.recorder.record(
            {
                "apiVersion": p.kind.resource.api_version,
                "kind": p.kind.name,
                "namespace": p.key.namespace,
                "name": p.key.name,
                "uid": p.obj.metadata.uid,
            },
            type="Warning" if note.warning else "Normal",
            reason=note.reason,
            note=note.text,
            action=note.action,
        )


def _follow(p: Pass, step: Settle) -> Result:
    _watch(p, step)
    if step.after is not None:
        return Result(after=step.after * p.world.rng.uniform(1.0, 1.25))
    match step.follow:
        case Follow.POLL:
            return Result()
        case Follow.RETRY:
            return Result(failed=True)
        case Follow.SLOW:
            return Result(failed=True, slow=True)
        case Follow.PARK:
            return Result(after=p.world.rng.uniform(*_PARK_SECONDS))
    if p.kind.stop_on_delete or not (p.facts.managed or p.facts.adoption.read_only):
        return Result()
    interval = p.world.settings.resync(p.kind.name)
    looked = p.memory.looked.get(p.obj.metadata.uid, 0.0)
    wait = interval * p.world.rng.uniform(0.9, 1.1)
    rest = looked + wait - asyncio.get_running_loop().time()
    # An object that was due and still was not observed has a mistake of its own: only an edit makes it worth a Describe.
    return Result(after=rest if rest > 0 else wait)


def _watch(p: Pass, step: Settle) -> None:
    """Whatever the state of its spec, what moves in SageMaker is followed."""
    facts = p.facts
    last = facts.observed if facts.observed is not None and facts.observed.found else facts.recalled
    moves = last is not None and (last.moving(p.kind) or last.lingers(p.kind))
    target = p.placement.target
    if facts.arn is None or step.release or target is None or not (moves or step.follow is Follow.POLL):
        p.world.tracker.untrack(p.key)
        return
    if facts.mutation is not None or (facts.observed is None and facts.unconfirmed):
        # Whatever comes next is news, even if it looks as before: it is what says that the change has settled.
        last = None
    handle = Handle(
        p.kind,
        target,
        p.identifiers(),
        created_at(p.kind, p.obj, p.stored, p.world.clock),
        last,
        uid=p.obj.metadata.uid,
        mutated=facts.mutation is not None,
    )
    p.world.tracker.track(p.key, handle)


async def _write_status(p: Pass, step: Settle) -> None:
    meta, facts = p.obj.metadata, p.facts
    assert step.findings is not None  # noqa: S101
    recorded = (p.stored.get("ackResourceMetadata") or {}).get("arn")
    # An edit that could not be compared with the resource is still to be made when AWS answers again.
    unread = facts.edited and facts.arn is not None and facts.error is not None and step.findings.terminal is None
    # Nor must a refusal end one that shows in no difference, or a kill between two calls on the tags.
    unread = unread or (facts.edited and facts.verdict.fleeting and facts.mutation is not Mutation.UPDATED)
    unread = unread or (facts.edited and facts.mutation is Mutation.RETAGGED)
    patch = status_patch(
        p.kind,
        p.stored,
        findings=replace(step.findings, also={**_still_advised(p), **facts.also, **step.findings.also}),
        observed=facts.observed if facts.arn else None,
        arn=facts.arn if facts.managed or facts.adoption.read_only else None,
        target=p.placement.target,
        partition=p.placement.partition,
        generation=p.stored["observedGeneration"] if unread else meta.generation,
        late_init=facts.late is not None,
        now=rfc3339(p.world.clock()),
    )
    if facts.mutation is Mutation.UPDATED or facts.verdict.request is None:
        own = {name: value for name, value in facts.verdict.status.items() if p.stored.get(name) != value}
        patch = {**(patch or {}), **own} or None
    if facts.arn and rereferenced(p.resolution, p.stored):
        gone = dict.fromkeys(p.stored.get("resolvedReferences") or ())
        patch = {**(patch or {}), "resolvedReferences": {**gone, **p.resolution.values}}
    if managed := _managed_tags(p, recorded):
        patch = {**(patch or {}), **managed}
    if step.release and facts.deleting and facts.held and not facts.retain:
        patch = {**(patch or {}), **_without_state(p)}
    if facts.requested and facts.error is None:
        patch = {**(patch or {}), **_handled_request(p)}
    if patch is None:
        return
    if "conditions" in patch:
        # The answer to another write of this reconcile may have brought what others wrote before it.
        patch = {
            **patch,
            "conditions": with_foreign(patch["conditions"], p.obj.decode_status().get("conditions") or ()),
        }
    lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    try:
        await p.write({"metadata": lock, "status": patch}, subresource="status")
    except Conflict:
        if facts.arn == recorded:
            raise  # gives way to the newer version, and runs again
        await _write_arn(p, patch)


async def _write_arn(p: Pass, patch: dict[str, Any]) -> None:
    """The write that records the ARN must land whatever else was edited meanwhile, and a merge patch replaces the list of
    conditions: those that others have set since the object was read are kept."""
    uid = p.obj.metadata.uid
    for _ in range(_ARN_ATTEMPTS):
        try:
            current = await p.world.cache.read(p.key)
        except KubeError:
            break
        if current is None or current.metadata.uid != uid:
            break
        lock = {"uid": uid, "resourceVersion": current.metadata.resource_version}
        if "conditions" in patch:
            there = current.decode_status().get("conditions") or ()
            patch = {**patch, "conditions": with_foreign(patch["conditions"], there)}
        try:
            await p.write({"metadata": lock, "status": patch}, subresource="status")
        except Conflict:
            continue
        return
    # Somebody writes without a pause, or the object is gone. The UID alone keeps it from reaching a namesake.
    await p.write({"metadata": {"uid": uid}, "status": patch}, subresource="status")


def _still_advised(p: Pass) -> dict[str, Told]:
    """What an update was accepted with holds until the next edit."""
    advice, stored = p.kind.hooks.advice, p.stored.get("conditions") or ()
    if advice is None or p.facts.edited:
        return {}
    found = [c for c in stored if (c.get("type"), c.get("reason")) == (ADVISORY, advice.reason)]
    return {ADVISORY: ("True", advice.reason, found[0].get("message", ""))} if found else {}


def _without_state(p: Pass) -> dict[str, Any]:
    """A resource that is gone has no status: "Deleting" would stay as long as another's finalizer holds the object."""
    observed, kind = p.facts.observed, p.kind
    if kind.status_member is None or (observed is not None and observed.found):
        return {}
    field = status_fields(kind)[kind.status_member]
    return {field: None} if field in p.stored else {}


def _managed_tags(p: Pass, recorded: str | None) -> dict[str, Any]:
    """The keys that are ours from now on, if they are others than before."""
    facts = p.facts
    known = facts.tagging
    if facts.arn is not None and facts.arn != recorded and facts.managed and not facts.adoption.read_only:
        known = tags.tagging(p.kind, p.spec, None, due=True)
    elif not known.compared:
        return {}
    keys = known.managed_keys or None
    return {"managedTagKeys": keys} if keys != p.stored.get("managedTagKeys") else {}


def _handled_request(p: Pass) -> dict[str, Any]:
    meta = p.obj.metadata
    handled = meta.annotations.get(RECONCILE_REQUESTED)
    if handled is None:
        # Removed while this reconcile ran, and the answer to a write of ours shows it.
        return {}
    p.memory.requests[meta.uid] = handled
    now = {"observedAt": rfc3339(p.world.clock())} if p.facts.observed is not None else {}
    return {"lastHandledReconcileAt": handled, **now}
