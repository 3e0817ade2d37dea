"""How an object that is being deleted lets go of its resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from sagemaker_operator.annotations import DELETION_PROTECTION
from sagemaker_operator.conditions import Findings, Progress
from sagemaker_operator.control.plan.actions import (
    Action,
    Adopt,
    Create,
    Delete,
    Facts,
    Find,
    Finish,
    Identify,
    Mutation,
    Observe,
    Owner,
    Stop,
)
from sagemaker_operator.control.plan.failure import failed
from sagemaker_operator.control.plan.progress import amended, progress_of
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import UNCERTAIN
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from sagemaker_operator.control.observation import Observation

_DELETING = "Deleting"
# What a deletion leaves behind (a mount target, a stack) is cleared away by people; ten calls each time.
_AGAIN_SECONDS = 300.0
_GOING = "This object is being deleted."
MAX_DESCRIBES = 7
"""Looks before what was never seen is believed not to be there. It may have been created a second ago, whatever the object's
age (it may have waited for a quota), and SageMaker's reads lag behind its writes by seconds; seven looks take half a minute."""


def search_for_resource(facts: Facts) -> Action:
    """How to know whether an earlier create took effect."""
    if facts.adoption.adopted:
        return Observe()
    if facts.kind.token_member is not None:
        # The token brings back the one that there is. If there is none, it makes one: on a deletion that costs seconds of
        # a run that is stopped at once, where looking away could leave one running for ever.
        return Create()
    return Find() if facts.nameless else Observe()


def deletion(facts: Facts) -> Action:
    if facts.protected and facts.managed and not facts.retain:
        return _protected(facts)
    action = _deletion(facts)
    if isinstance(action, Finish) and action.findings is None and facts.held:
        # Ours goes, or is off already: what is left to say is what keeps the object. Said once, and for what an older version left.
        silent = not action.release and not facts.ready and facts.waiting != _DELETING
        if action.release or not (facts.managed or silent):
            return replace(action, findings=_held(facts))
    if isinstance(action, Finish) and action.findings is None and facts.ready and (facts.held or not action.release):
        # Whatever it waits for, a slot or another's finalizer: what is going away is not Ready.
        return replace(action, findings=_waiting(facts, _GOING, reason="Terminating"))
    return action


def _deletion(facts: Facts) -> Action:
    """What to do with the resource of an object that is being deleted."""
    kind = facts.kind
    if not facts.managed:
        return Finish(None, Requeue.SETTLED)
    if facts.retain:
        return Finish(None, Requeue.SETTLED, release=True)
    if facts.error is not None:
        refused = facts.error.operation == kind.create and facts.error.category not in UNCERTAIN
        return Finish(None, Requeue.SETTLED, release=True) if refused else failed(facts, facts.error)
    if facts.mutation is not None:
        return _after_mutation(facts, facts.mutation)
    if facts.observed is not None and not facts.observed.found:
        return _absent(facts)
    if facts.arn is None and (action := _without_arn(facts)) is not None:
        return action
    last = facts.observed or facts.recalled
    if last is None or (facts.observed is None and (facts.failures or facts.waiting == _DELETING)):
        # What was refused, or accepted, was asked for because of what the stored status says: it may be out of date.
        return Observe()
    return _existing(facts, last)


def _after_mutation(facts: Facts, mutation: Mutation) -> Finish:
    """A call was accepted in this reconcile."""
    kind = facts.kind
    if mutation is Mutation.DELETED and kind.status_member is None:
        # It has no lifecycle: a delete that was accepted is done.
        return Finish(None, Requeue.SETTLED, release=True)
    if mutation is Mutation.CREATED:
        # The token's answer, and no Describe yet: until SageMaker shows it, "not found" is no proof that it is gone.
        return Finish(_waiting(facts, f"{kind.name} was accepted by SageMaker.", reason="Created"), Requeue.POLL)
    doing = "Stopping" if mutation is Mutation.STOPPED else "Deleting"
    return Finish(_waiting(facts, f"{kind.name} is {doing}."), Requeue.POLL)


def _absent(facts: Facts) -> Finish:
    """SageMaker does not have it (yet)."""
    if facts.recalled is None and facts.waiting != _DELETING and facts.failures < MAX_DESCRIBES:
        return Finish(None, Requeue.BACKOFF)
    if facts.unclear is not None:
        return Finish(_waiting(facts, facts.unclear), Requeue.SLOW_BACKOFF)
    return Finish(None, Requeue.SETTLED, release=True)


def _without_arn(facts: Facts) -> Action | None:
    """A create may have been sent, and no ARN was recorded. None: what was found is this object's."""
    if facts.observed is None:
        if facts.taken is not None:
            # The token did not bring it back, and would not the next time: the tags say whose the name is.
            return Finish(None, Requeue.BACKOFF) if facts.nameless else Observe()
        return search_for_resource(facts)
    if facts.adoption.adopted and facts.adoption.policy is not None:
        # The adoption was cut off before its ARN was recorded; the mark is ours, so the adoption was carried out.
        return Adopt()
    if facts.owner is Owner.UNKNOWN:
        return Identify()
    return Finish(None, Requeue.SETTLED, release=True) if facts.owner is Owner.FOREIGN else None


def _existing(facts: Facts, last: Observation) -> Action:
    """SageMaker has it, in the state that was last observed."""
    kind, state = facts.kind, last.state(facts.kind)
    if state is StatusClass.GONE:
        return Finish(None, Requeue.SETTLED, release=True)
    if state is StatusClass.DELETE_FAILED and facts.waiting == _DELETING:
        # The delete that we asked for: why, before it is asked for again.
        return _delete_failed(facts)
    if kind.stop_on_delete:
        return _job(facts, last)
    if last.status(kind) in kind.stop_before_delete:
        return Stop()
    if state.in_transition:
        text = f"{kind.name} in {last.status(kind)} state cannot be modified or deleted."
        return Finish(_waiting(facts, text), Requeue.POLL)
    return Delete()


def _job(facts: Facts, last: Observation) -> Action:
    """A running job is stopped; its record stays, unless the user asks for its deletion."""
    kind, state = facts.kind, last.state(facts.kind)
    if state is StatusClass.IN_PROGRESS:
        return Stop()
    if state in (StatusClass.STOPPING, StatusClass.DELETING):
        return Finish(_waiting(facts, f"{kind.name} is {last.status(kind)}."), Requeue.POLL)
    return Delete() if facts.erase and kind.delete is not None else Finish(None, Requeue.SETTLED, release=True)


def _protected(facts: Facts) -> Finish:
    last = facts.observed or facts.recalled
    requeue = Requeue.POLL if last is not None and last.found and last.moving(facts.kind) else Requeue.SETTLED
    text = (
        f"This object is being deleted, but its annotation {DELETION_PROTECTION} protects the {facts.kind.name} in SageMaker: "
        f"nothing is stopped or deleted. Take the annotation off, or set it to false, to let the deletion go on."
    )
    return Finish(_waiting(facts, text, reason="DeletionProtected"), requeue)


def _held(facts: Facts) -> Findings:
    """What became of the resource, and what keeps the object nevertheless."""
    kind, observed = facts.kind.name, facts.observed
    gone = (observed is not None and not observed.found) or facts.mutation is Mutation.DELETED
    if facts.retain and facts.arn is not None:
        what = f"{facts.arn} stays in SageMaker: the deletion policy is retain."
    elif gone or (not facts.managed and facts.waiting == _DELETING):
        what = f"{kind} is gone in SageMaker."
    elif facts.managed and facts.kind.stop_on_delete and facts.arn is not None:
        what = f"{kind} has ended, and SageMaker keeps its record."
    else:
        what = "SageMaker has nothing that is to be deleted with this object."
    names = ", ".join(facts.held)
    text = f"{what} This object stays until its other finalizers are taken off, by whatever set them: {names}."
    return Findings(Progress.MOVING, text, reason="Terminating")


def _delete_failed(facts: Facts) -> Action:
    observed = facts.observed
    if observed is None or not observed.complete:
        return Observe()
    findings = progress_of(facts, observed)
    why = f": {findings.failure.rstrip('.')}" if findings.failure else ""
    text = f"SageMaker could not delete it{why}. It is tried again every 5 minutes."
    return Finish(amended(findings, reason=findings.reason, recoverable=text), Requeue.after(_AGAIN_SECONDS))


def _waiting(facts: Facts, text: str, reason: str = _DELETING) -> Findings:
    last = facts.observed or facts.recalled
    status = last.status(facts.kind) if last else ""
    message = f"{facts.kind.name} is in {status} status." if status else text
    return Findings(Progress.MOVING, message, reason=reason, recoverable=text)
