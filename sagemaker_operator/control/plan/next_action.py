"""What to do next with one object: a pure function from facts to one step.

The reconciler asks, carries the step out, adds what it learned to the facts and asks again, until the step is `Settle`.
A pass makes at most one mutating AWS call: after one, every branch here settles.
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
_NOT_OURS = ("", _EXISTS)
"""Reasons of a Terminal that says that the resource is another's; ACK's has none."""
_REPEATS = 2
# Half a second and more of backoff: a namespace's news has long arrived.
_FLEETING_FAILURES = 3

_BUSY = "Busy"
_REFERENCE = "ReferenceNotReady"
_FAILED_LOOKS = frozenset(category.value for category in ErrorCategory)
# The next call on the tags, or the look that finds nothing more to do.
_TAGS_SECONDS = 1.0
# As often as ACK looks.
_WAIT_SECONDS = 30.0


def next_action(facts: Facts) -> Action:
    """The one decision function. Total: every combination of facts has a step."""
    action = _next_step(facts)
    if facts.refusal is None or (isinstance(action, Finish) and _needs_no_place(facts, action)):
        return action
    return _refused(facts, facts.refusal)


def _needs_no_place(facts: Facts, action: Finish) -> bool:
    """Letting go, a mistake in the spec, a finished job. Whatever would call or poll waits, and so does the finalizer."""
    at_rest = facts.kind.stop_on_delete or not facts.managed or action.findings is not None
    return action.release or (action.requeue.when is not When.POLL and at_rest)


def _refused(facts: Facts, refusal: Refusal) -> Finish:
    if refusal.fleeting and facts.failures < _FLEETING_FAILURES:
        return Finish(None, Requeue.BACKOFF)
    base = progress_of(facts, facts.recalled) if facts.arn and facts.recalled else Findings(Progress.MOVING, "")
    findings = replace(
        base, message=refusal.message, reason=refusal.reason, recoverable=f"{refusal.message}: {refusal.cause}"
    )
    return Finish(findings, Requeue.after(refusal.after))


def _next_step(facts: Facts) -> Action:
    if facts.deleting:
        return deletion(facts)
    if facts.error is not None:
        return failed(facts, facts.error)
    if facts.adoption.read_only:
        return observation_only(facts)
    if facts.mutation is Mutation.CREATED:
        return _created(facts)
    if facts.arn is None or not facts.managed:
        return _elsewhere(facts) or plan_adoption(facts) or _acceptance(facts)
    return _convergence(facts)


def _created(facts: Facts) -> Action:
    """The first status has all that a Describe reports, where it can be had."""
    if facts.shown is None:
        return Confirm()
    if facts.shown and facts.observed is not None:
        action = _judged(facts, facts.observed)
        if isinstance(action, Finish):
            return action
    # Not described, or there is more to do: that is for a reconcile of its own, after the ARN was recorded.
    message = f"{facts.kind.name} was accepted by SageMaker."
    also = late_init_conditions(facts.late)
    return Finish(Findings(Progress.MOVING, message, reason=CREATED, also=also), Requeue.POLL)


def _elsewhere(facts: Facts) -> Action | None:
    """A create without an answer was sent to another place than the object asks for now. None: look for its resource there.

    Releasing makes the next pass claim, and create, where the object asks to be.
    """
    if not facts.displaced or facts.arn is not None:
        return None
    free = Finish(None, Requeue.after(_TAGS_SECONDS), release=True)
    if facts.unsent or facts.owner is Owner.FOREIGN:
        return free
    if facts.observed is None or (facts.observed.found and facts.observed.state(facts.kind) is not StatusClass.GONE):
        return None
    # No name stands in the way of a second one elsewhere, and SageMaker's reads lag behind its creates.
    return Finish(None, Requeue.BACKOFF) if facts.failures < MAX_DESCRIBES else free


def _acceptance(facts: Facts) -> Action:
    """Nothing says yet that SageMaker has a resource of ours."""
    if facts.restored and not facts.managed:
        # But the mark: only the finalizer was lost.
        return Claim()
    if facts.unresolved is not None:
        # Not even a name to look for may be known.
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, _REFERENCE, recoverable=facts.unresolved)
        return Finish(findings, Requeue.PARKED)
    if facts.observed is None:
        if facts.arn is not None or (facts.taken and not facts.nameless):
            return Observe()
        if facts.managed and not facts.claimed and not facts.taken and not (facts.nameless and facts.problems):
            return search_for_resource(facts)
        if facts.terminal in _NOT_OURS and not (facts.managed or facts.taken or facts.nameless or facts.problems):
            # The name was another's the last time: a create would be refused again, between two writes of the finalizer.
            return Observe()
    elif facts.observed.found and facts.observed.state(facts.kind) is not StatusClass.GONE:
        if facts.owner is Owner.UNKNOWN:
            return Identify()
        if facts.owner is Owner.FOREIGN:
            findings = Findings(
                Progress.UNKNOWN,
                NOT_SYNCED,
                reason=_EXISTS,
                terminal=(
                    f"Resource already exists: SageMaker has another {facts.kind.name} of this name, not created for this "
                    f"object. Choose another name, delete that resource, or take it over: annotate this object with "
                    f"{ADOPTION_POLICY}=adopt-or-create."
                ),
            )
            return Finish(findings, Requeue.PARKED, release=facts.managed)
        # Ours although the finalizer is gone: somebody took it off, and a deletion must not leave the job behind.
        return _convergence(facts) if facts.managed else Claim()
    if facts.arn is not None and not facts.managed:
        if facts.kind.stop_on_delete and facts.recalled and not facts.edited and facts.terminal not in _NOT_OURS:
            # Nothing says that the job was somebody else's: only the finalizer was lost, and then the job.
            return _vanished(facts)
        # ACK records the ARN of what it only found to exist, and so do we while an object is read-only.
        return Disown()
    if facts.taken:
        findings = Findings(
            Progress.UNKNOWN,
            UNOBSERVED,
            reason="AlreadyExists",
            recoverable=(
                f"{message_of(facts.taken)}. SageMaker cannot describe the {facts.kind.name} of this name yet; it is tried again."
            ),
        )
        return Finish(findings, Requeue.BACKOFF)
    if facts.problems:
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="InvalidSpec", terminal="; ".join(facts.problems))
        # A spec that is wrong stays wrong until it is edited, and an edit is an event: no timer.
        return Finish(findings, Requeue.SETTLED, release=facts.managed)
    if facts.nameless and facts.managed and not facts.claimed and facts.failures < MAX_DESCRIBES:
        # No name is taken that would refuse a second one: what an unanswered create made may only not be listed yet.
        return Finish(None, Requeue.BACKOFF)
    return Create() if facts.managed else Claim()


def _convergence(facts: Facts) -> Action:
    """SageMaker has it, or had it: watch it, and keep it as the spec says."""
    kind, observed = facts.kind, facts.observed
    if facts.taken and (observed is None or not observed.found):
        return _replaced(facts)
    if observed is None:
        # Created and never seen since: the poller's first look is seconds away.
        moving = facts.recalled is None or facts.recalled.moving(kind) or facts.recalled.changes_when_settled(kind)
        finished = kind.stop_on_delete and not moving
        healed = facts.waiting in REFUSALS or (facts.unreported and not finished)
        # What is waited for at rest shows nowhere else: a failed look must not be the last one until the resync.
        waits = facts.waiting not in (None, UPDATING) and not moving
        parked = facts.terminal in PARKED
        # The poller could not see it and said so: from then on the pass looks, with the key's backoff.
        waits = waits or facts.waiting in _FAILED_LOOKS
        # Nor could the last pass see what was created: its looks are counted.
        waits = waits or (facts.recalled is None and facts.failures > 0)
        asked = facts.edited or facts.due or facts.requested or facts.tagging.due
        if asked or facts.unseen or healed or waits or parked:
            return Observe()
        moving = moving or facts.unconfirmed
        return Finish(None, Requeue.POLL if moving else Requeue.SETTLED)
    if not observed.found or observed.state(kind) is StatusClass.GONE:
        return _vanished(facts)
    describes = facts.edited or facts.terminal is not None or facts.requested or facts.tagging.due
    if not observed.complete and (describes or not observed.moving(kind)):
        # A summary has no failure reason, no artifacts and nothing to compare the spec with.
        return Observe()
    if facts.mutation is Mutation.UPDATED:
        message = progress_of(facts, observed).message if observed.moving(kind) else f"{kind.name} is updating."
        return Finish(Findings(Progress.MOVING, message, UPDATING), Requeue.POLL)
    if facts.mutation is Mutation.RETAGGED:
        return Finish(progress_of(facts, observed), Requeue.after(_TAGS_SECONDS))
    return _judged(facts, observed)


def _judged(facts: Facts, observed: Observation) -> Action:
    """What follows from the comparison of spec and resource."""
    kind, verdict = facts.kind, facts.verdict
    findings = progress_of(facts, observed)
    requeue = Requeue.POLL if observed.moving(kind) or observed.changes_when_settled(kind) else Requeue.SETTLED
    tagging = facts.tagging
    if tagging.problem is not None:
        return Finish(amended(findings, terminal=tagging.problem, reason="InvalidSpec"), requeue)
    if facts.unresolved is not None:
        return Finish(amended(findings, recoverable=facts.unresolved, reason=_REFERENCE), requeue)
    if tagging.trouble is None:
        # Before an update, after which nothing would tell that the tags were edited too.
        if tagging.due and not tagging.compared:
            return ReadTags()
        if tagging.differs:
            return Retag()
    elif requeue == Requeue.SETTLED:
        requeue = Requeue.SLOW_BACKOFF
    if verdict.request is not None and observed.moving(kind) and not kind.updates_while_moving:
        if facts.repeated:
            # It moves because of this very update.
            return Finish(findings, Requeue.POLL)
        text = f"{kind.name} in {observed.status(kind)} state cannot be modified or deleted."
        return Finish(amended(findings, recoverable=text, reason=_BUSY), Requeue.POLL)
    if verdict.request is not None:
        if facts.repeated < _REPEATS:
            return Update(verdict)
        fields = ", ".join(facts.differing)
        text = f"SageMaker accepts the update of {fields} but does not keep it: the value it returns stays different."
        parked = requeue if requeue == Requeue.POLL else Requeue.PARKED
        return Finish(amended(findings, terminal=text, reason=NOT_CONVERGING), parked)
    if verdict.reject is not None:
        return Finish(amended(findings, terminal=verdict.reject, reason=verdict.reason, hint=verdict.hint), requeue)
    if verdict.wait is not None:
        # What is waited for shows in no status, and so in no List either: an execution of a monitoring schedule.
        requeue = Requeue.POLL if observed.moving(kind) else Requeue.poll_and_after(_WAIT_SECONDS)
        return Finish(amended(findings, recoverable=verdict.wait, reason=_BUSY), requeue)
    if not observed.complete:
        return Finish(findings, requeue)
    if facts.late is not None and facts.late.patch and facts.late.refused is None:
        return Fill()
    return Finish(replace(findings, also=late_init_conditions(facts.late)), requeue)


def _vanished(facts: Facts) -> Action:
    kind = facts.kind
    # SageMaker still describes it, as one that is no more.
    recorded = facts.observed is not None and facts.observed.found
    if facts.young and not recorded:
        return Finish(None, Requeue.POLL)
    if facts.recalled is None and not facts.adoption.adopted and facts.failures < MAX_DESCRIBES:
        return Finish(None, Requeue.BACKOFF)
    if facts.unclear is not None:
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="ImmutableField", terminal=facts.unclear)
        return Finish(findings, Requeue.PARKED)
    if facts.adoption.adopted:
        return absent(facts)
    if kind.stop_on_delete:
        text = (
            f"SageMaker no longer has {facts.arn}. A job is not run a second time by itself: "
            "delete and apply this object to run it again."
        )
        return Finish(Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_VANISHED, terminal=text), Requeue.SETTLED)
    reported = facts.terminal == _VANISHED
    # A request that comes before it was reported asks for an observation, not for a new resource.
    if (recorded or not kind.recreated or reported) and not (facts.edited or (reported and facts.requested)):
        text = (
            f"SageMaker no longer has {facts.arn}: it was closed or deleted there. It is not created again by itself: edit spec, "
            f"or set the annotation {RECONCILE_REQUESTED} to a new value, to have it created again."
        )
        return Finish(Findings(Progress.UNKNOWN, NOT_SYNCED, reason=_VANISHED, terminal=text), Requeue.SETTLED)
    return Create()


def _replaced(facts: Facts) -> Finish:
    """The resource is gone, and a create under the name in spec was refused."""
    text = (
        f"SageMaker no longer has {facts.arn}, and the name in spec is taken by another {facts.kind.name}. Write the old "
        "name back, choose one that is free, or delete the other resource."
    )
    return Finish(
        Findings(Progress.UNKNOWN, NOT_SYNCED, reason="AlreadyExists", recoverable=text), Requeue.SLOW_BACKOFF
    )
