"""What to do next with one object: a pure function from facts to one action.

The reconciler asks for an action, carries it out, updates the facts and asks again, until the action is `Finish`.

Guarantees: a reconcile makes at most one mutating AWS call, because after one every branch here returns `Finish` (or a read).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from sagemaker_operator.annotations import ADOPTION_POLICY, RECONCILE_REQUESTED
from sagemaker_operator.conditions import CREATED, UPDATING, Findings, Progress
from sagemaker_operator.control.placement.target import REFUSALS
from sagemaker_operator.control.plan.actions import (
    Action,
    Claim,
    Confirm,
    Create,
    Disown,
    Facts,
    Fill,
    Finish,
    Identify,
    Mutation,
    Observe,
    Owner,
    ReadTags,
    Retag,
    Update,
)
from sagemaker_operator.control.plan.adoption import absent, observation_only, plan_adoption
from sagemaker_operator.control.plan.deletion import MAX_DESCRIBES, deletion, search_for_resource
from sagemaker_operator.control.plan.failure import failed, message_of
from sagemaker_operator.control.plan.progress import (
    NOT_CONVERGING,
    NOT_SYNCED,
    PARKED,
    UNOBSERVED,
    amended,
    progress_of,
)
from sagemaker_operator.control.requeue import Requeue, When
from sagemaker_operator.control.spec.late_init import late_init_conditions
from sagemaker_operator.errors import ErrorCategory
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.control.placement.roles import Refusal

_VANISHED = "Vanished"
_EXISTS = "AlreadyExists"
_BUSY = "Busy"
_REFERENCE = "ReferenceNotReady"
_NOT_OURS = ("", _EXISTS)
"""Reasons of a Terminal that reports that the resource belongs to another object. ACK's Terminal has no reason."""
_FAILED_CALL_REASONS = frozenset(category.value for category in ErrorCategory)

# Attempts of an update that SageMaker accepts without effect.
_UPDATE_ATTEMPTS = 2
# Half a second and more of backoff: by then the watch has delivered the namespace.
_FLEETING_FAILURES = 3
# Until the next step of what takes several reconciles: the next call on the tags, or a create after a release.
_NEXT_STEP_SECONDS = 1.0
# As often as ACK requeues.
_WAIT_SECONDS = 30.0


def next_action(facts: Facts) -> Action:
    """The decision function. Total: every combination of facts has an action."""
    action = _decide(facts)
    if facts.refusal is None or (isinstance(action, Finish) and _needs_no_calls(facts, action)):
        return action
    return _no_calls(facts, facts.refusal)


def _needs_no_calls(facts: Facts, action: Finish) -> bool:
    """Whether the action ends the reconcile without a call or poll: a release, an error in the spec, a finished job."""
    settled = facts.kind.stop_on_delete or not facts.managed or action.findings is not None
    return action.release or (action.requeue.when is not When.POLL and settled)


def _no_calls(facts: Facts, refusal: Refusal) -> Finish:
    """The account, the region or the role is not known: report it and retry."""
    if refusal.fleeting and facts.failures < _FLEETING_FAILURES:
        return Finish(None, Requeue.BACKOFF)
    base = progress_of(facts, facts.recalled) if facts.arn and facts.recalled else Findings(Progress.MOVING, "")
    findings = replace(
        base, message=refusal.message, reason=refusal.reason, recoverable=f"{refusal.message}: {refusal.cause}"
    )
    return Finish(findings, Requeue.after(refusal.after))


def _decide(facts: Facts) -> Action:
    if facts.deleting:
        return deletion(facts)
    if facts.error is not None:
        return failed(facts, facts.error)
    if facts.adoption.read_only:
        return observation_only(facts)
    if facts.mutation is Mutation.CREATED:
        return _created(facts)
    if facts.arn is None or not facts.managed:
        return _unanswered_elsewhere(facts) or plan_adoption(facts) or _without_resource(facts)
    return _with_resource(facts)


def _created(facts: Facts) -> Action:
    """A create was accepted: the first status has all that a Describe reports, if the Describe succeeds."""
    if facts.create_confirmed is None:
        return Confirm()
    if facts.create_confirmed and facts.observed is not None:
        action = _compared(facts, facts.observed)
        if isinstance(action, Finish):
            return action
    # Not described, or there is more to do: the next reconcile does it, after the ARN was recorded.
    message = f"{facts.kind.name} was accepted by SageMaker."
    also = late_init_conditions(facts.late)
    return Finish(Findings(Progress.MOVING, message, reason=CREATED, also=also), Requeue.POLL)


def _unanswered_elsewhere(facts: Facts) -> Action | None:
    """An unanswered create was sent to another account or region than the object names now.

    None: search for its resource there. Without one, our finalizer is removed, so that the next reconcile adds it and creates
    the resource where the object names it.
    """
    if not facts.displaced or facts.arn is not None:
        return None
    release = Finish(None, Requeue.after(_NEXT_STEP_SECONDS), release=True)
    if facts.create_unsent or facts.owner is Owner.FOREIGN:
        return release
    if facts.observed is None or (facts.observed.found and facts.observed.state(facts.kind) is not StatusClass.GONE):
        return None
    # Elsewhere no name prevents a second resource, and SageMaker's reads lag behind its creates.
    return Finish(None, Requeue.BACKOFF) if facts.failures < MAX_DESCRIBES else release


def _without_resource(facts: Facts) -> Action:
    """No resource is known to be this object's: search for one, or create it."""
    if facts.restored and not facts.managed:
        # The annotation of the backup proves that it is ours: only the finalizer is missing.
        return Claim()
    if facts.unresolved is not None:
        # Even the name may be unknown, so there is nothing to search for.
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, _REFERENCE, recoverable=facts.unresolved)
        return Finish(findings, Requeue.PARKED)
    if facts.observed is None:
        if (read := _read_before_create(facts)) is not None:
            return read
    elif facts.observed.found and facts.observed.state(facts.kind) is not StatusClass.GONE:
        return _resource_of_this_name(facts)
    if facts.arn is not None and not facts.managed:
        return _arn_without_finalizer(facts)
    if facts.already_exists:
        findings = Findings(
            Progress.UNKNOWN,
            UNOBSERVED,
            reason="AlreadyExists",
            recoverable=(
                f"{message_of(facts.already_exists)}. SageMaker cannot describe the {facts.kind.name} of this name yet; "
                "it is tried again."
            ),
        )
        return Finish(findings, Requeue.BACKOFF)
    if facts.problems:
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="InvalidSpec", terminal="; ".join(facts.problems))
        # Only an edit corrects a spec, and an edit is an event: no timer.
        return Finish(findings, Requeue.SETTLED, release=facts.managed)
    if facts.generated_id and facts.managed and not facts.claimed and facts.failures < MAX_DESCRIBES:
        # No name prevents a second resource, and what an unanswered create made may not be listed yet.
        return Finish(None, Requeue.BACKOFF)
    return Create() if facts.managed else Claim()


def _read_before_create(facts: Facts) -> Action | None:
    """The read that shows whether the resource exists. None: it cannot exist, or an earlier read did not find it."""
    if facts.arn is not None or (facts.already_exists and not facts.generated_id):
        return Observe()
    if facts.managed and not facts.claimed and not facts.already_exists and not (facts.generated_id and facts.problems):
        return search_for_resource(facts)
    creating = facts.managed or facts.already_exists
    if facts.terminal_reason in _NOT_OURS and not (creating or facts.generated_id or facts.problems):
        # The last time another object had the name: a create would be refused again, between two writes of the finalizer.
        return Observe()
    return None


def _resource_of_this_name(facts: Facts) -> Action:
    """SageMaker has a resource of this name: whose is it?"""
    if facts.owner is Owner.UNKNOWN:
        return Identify()
    if facts.owner is Owner.FOREIGN:
        text = (
            f"Resource already exists: SageMaker has another {facts.kind.name} of this name, not created for this "
            f"object. Choose another name, delete that resource, or adopt it: annotate this object with "
            f"{ADOPTION_POLICY}=adopt-or-create."
        )
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_EXISTS, terminal=text)
        return Finish(findings, Requeue.PARKED, release=facts.managed)
    # Without our finalizer, another client removed it. Add it: a deletion must not leave the job running.
    return _with_resource(facts) if facts.managed else Claim()


def _arn_without_finalizer(facts: Facts) -> Action:
    """Status has an ARN, and SageMaker does not have that resource."""
    if facts.kind.stop_on_delete and facts.recalled and not facts.edited and facts.terminal_reason not in _NOT_OURS:
        # Nothing indicates that the job was another object's: first the finalizer was lost, then the job.
        return _vanished(facts)
    # The recorded ARN may not be ours: ACK records that of an existing resource, and we do so for read-only objects.
    return Disown()


def _with_resource(facts: Facts) -> Action:
    """SageMaker has the resource, or had it: observe it, and update it to the spec."""
    kind, observed = facts.kind, facts.observed
    if facts.already_exists and (observed is None or not observed.found):
        return _replaced(facts)
    if observed is None:
        return _not_observed(facts)
    if not observed.found or observed.state(kind) is StatusClass.GONE:
        return _vanished(facts)
    describes = facts.edited or facts.terminal_reason is not None or facts.requested or facts.tagging.due
    if not observed.complete and (describes or not observed.moving(kind)):
        # A summary of a List lacks the failure reason, the artifacts and the fields to compare the spec with.
        return Observe()
    if facts.mutation is Mutation.UPDATED:
        message = progress_of(facts, observed).message if observed.moving(kind) else f"{kind.name} is updating."
        return Finish(Findings(Progress.MOVING, message, UPDATING), Requeue.POLL)
    if facts.mutation is Mutation.RETAGGED:
        return Finish(progress_of(facts, observed), Requeue.after(_NEXT_STEP_SECONDS))
    return _compared(facts, observed)


def _not_observed(facts: Facts) -> Action:
    """Neither this reconcile nor the poller has observed the resource: does it have to be described now?"""
    kind, recalled = facts.kind, facts.recalled
    # Without a stored observation it was just created: the first poll is seconds away.
    moving = recalled is None or recalled.moving(kind) or recalled.changes_when_settled(kind)
    finished = kind.stop_on_delete and not moving
    if facts.edited or facts.due or facts.requested or facts.tagging.due or facts.never_observed:
        return Observe()
    if facts.recoverable_reason in REFUSALS or (facts.placement_unreported and not finished):
        # Account, region or role are known again, or others than before.
        return Observe()
    if facts.terminal_reason in PARKED:
        return Observe()
    if facts.recoverable_reason in _FAILED_CALL_REASONS:
        # The poller failed to describe it and reported that: from now on the reconcile does, with the key's backoff.
        return Observe()
    if facts.recoverable_reason not in (None, UPDATING) and not moving:
        # What a settled object waits for shows in no poll: a failed Describe must not be the last one until the resync.
        return Observe()
    if recalled is None and facts.failures > 0:
        # The last reconcile did not find what was created: its Describes are counted.
        return Observe()
    return Finish(None, Requeue.POLL if moving or facts.unconfirmed else Requeue.SETTLED)


def _compared(facts: Facts, observed: Observation) -> Action:
    """The action that follows from the comparison of spec and resource."""
    kind, verdict = facts.kind, facts.verdict
    findings = progress_of(facts, observed)
    requeue = Requeue.POLL if observed.moving(kind) or observed.changes_when_settled(kind) else Requeue.SETTLED
    tagging = facts.tagging
    if tagging.problem is not None:
        return Finish(amended(findings, terminal=tagging.problem, reason="InvalidSpec"), requeue)
    if facts.unresolved is not None:
        return Finish(amended(findings, recoverable=facts.unresolved, reason=_REFERENCE), requeue)
    if tagging.trouble is None:
        # Before an update, after which nothing would show that the tags were edited too.
        if tagging.due and not tagging.compared:
            return ReadTags()
        if tagging.differs:
            return Retag()
    elif requeue == Requeue.SETTLED:
        requeue = Requeue.SLOW_BACKOFF
    if verdict.request is not None:
        return _update(facts, observed, findings, requeue)
    if verdict.reject is not None:
        return Finish(amended(findings, terminal=verdict.reject, reason=verdict.reason, hint=verdict.hint), requeue)
    if verdict.wait is not None:
        # It waits for what no status and no List shows: an execution of a monitoring schedule.
        requeue = Requeue.POLL if observed.moving(kind) else Requeue.poll_and_after(_WAIT_SECONDS)
        return Finish(amended(findings, recoverable=verdict.wait, reason=_BUSY), requeue)
    if not observed.complete:
        return Finish(findings, requeue)
    if facts.late is not None and facts.late.patch and facts.late.refused is None:
        return Fill()
    return Finish(replace(findings, also=late_init_conditions(facts.late)), requeue)


def _update(facts: Facts, observed: Observation, findings: Findings, requeue: Requeue) -> Action:
    """Spec and resource differ, and SageMaker can update the resource."""
    kind = facts.kind
    if observed.moving(kind) and not kind.updates_while_moving:
        if facts.update_repeats:
            # It is in transition because of this same update.
            return Finish(findings, Requeue.POLL)
        text = f"{kind.name} in {observed.status(kind)} state cannot be modified or deleted."
        return Finish(amended(findings, recoverable=text, reason=_BUSY), Requeue.POLL)
    if facts.update_repeats < _UPDATE_ATTEMPTS:
        return Update(facts.verdict)
    fields = ", ".join(facts.differing)
    text = f"SageMaker accepts the update of {fields} but does not keep it: the value it returns stays different."
    parked = requeue if requeue == Requeue.POLL else Requeue.PARKED
    return Finish(amended(findings, terminal=text, reason=NOT_CONVERGING), parked)


def _vanished(facts: Facts) -> Action:
    """SageMaker does not have the resource any more."""
    kind = facts.kind
    # SageMaker still describes it, with a status that means deleted.
    recorded = facts.observed is not None and facts.observed.found
    if facts.recently_created and not recorded:
        return Finish(None, Requeue.POLL)
    if facts.recalled is None and not facts.adoption.adopted and facts.failures < MAX_DESCRIBES:
        return Finish(None, Requeue.BACKOFF)
    if facts.unclear_identity is not None:
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="ImmutableField", terminal=facts.unclear_identity)
        return Finish(findings, Requeue.PARKED)
    if facts.adoption.adopted:
        return absent(facts)
    if kind.stop_on_delete:
        text = (
            f"SageMaker no longer has {facts.arn}. A job is not run a second time by itself: "
            "delete and apply this object to run it again."
        )
        return Finish(Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_VANISHED, terminal=text), Requeue.SETTLED)
    reported = facts.terminal_reason == _VANISHED
    # A request that comes before it was reported asks for an observation, not for a new resource.
    if (recorded or not kind.recreated or reported) and not (facts.edited or (reported and facts.requested)):
        text = (
            f"SageMaker no longer has {facts.arn}: it was closed or deleted there. It is not created again by itself: edit spec, "
            f"or set the annotation {RECONCILE_REQUESTED} to a new value, to have it created again."
        )
        return Finish(Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_VANISHED, terminal=text), Requeue.SETTLED)
    return Create()


def _replaced(facts: Facts) -> Finish:
    """SageMaker does not have the resource any more, and refused to create it: the name in spec exists."""
    text = (
        f"SageMaker no longer has {facts.arn}, and the name in spec is taken by another {facts.kind.name}. Write the old "
        "name back, choose one that is free, or delete the other resource."
    )
    findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_EXISTS, recoverable=text)
    return Finish(findings, Requeue.SLOW_BACKOFF)
