"""The branch of an object that is being deleted: what becomes of its resource, and when its finalizer is removed."""

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
# What blocks a deletion (a mount target, a stack) is removed by a person; each attempt costs ten calls.
_RETRY_SECONDS = 300.0
_DELETING_TEXT = "This object is being deleted."
_RELEASE = Finish(None, Requeue.SETTLED, release=True)
MAX_DESCRIBES = 7
"""Describes that must return "not found" before a resource that was never observed counts as absent.

It may have been created a second ago, whatever the object's age (it may have waited for a quota), and SageMaker's reads lag
behind its writes by seconds. Seven Describes with the key's backoff take half a minute.
"""


def search_for_resource(facts: Facts) -> Action:
    """The action that finds out whether an earlier create took effect."""
    if facts.adoption.adopted:
        return Observe()
    if facts.kind.token_member is not None:
        # With the same token, SageMaker returns the resource that the earlier create made. If it made none, this call does: on a
        # deletion that costs seconds of a run that is stopped at once, where no search could leave a run going indefinitely.
        return Create()
    return Find() if facts.generated_id else Observe()


def deletion(facts: Facts) -> Action:
    """The action of an object that is being deleted."""
    if facts.protected and facts.managed and not facts.retain:
        return _protected(facts)
    action = _delete_resource(facts)
    if isinstance(action, Finish) and action.findings is None:
        return replace(action, findings=_findings_of_the_object(facts, release=action.release))
    return action


def _findings_of_the_object(facts: Facts, *, release: bool) -> Findings | None:
    """What to report where nothing new is known of the resource."""
    if facts.other_finalizers:
        # Our finalizer is removed now or was before, so status names those that keep the object. Without our finalizer it is
        # written once, which also corrects what an older version left.
        reported = not release and not facts.ready and facts.recoverable_reason != _DELETING
        if release or not (facts.managed or reported):
            return _held_by_others(facts)
    if facts.ready and (facts.other_finalizers or not release):
        # Whether it waits for the rate limit or for another finalizer: an object that is being deleted is not Ready.
        return _waiting(facts, _DELETING_TEXT, reason="Terminating")
    return None


def _delete_resource(facts: Facts) -> Action:
    kind = facts.kind
    if not facts.managed:
        return Finish(None, Requeue.SETTLED)
    if facts.retain:
        return _RELEASE
    if facts.error is not None:
        refused = facts.error.operation == kind.create and facts.error.category not in UNCERTAIN
        return _RELEASE if refused else failed(facts, facts.error)
    if facts.mutation is not None:
        return _after_mutation(facts, facts.mutation)
    if facts.observed is not None and not facts.observed.found:
        return _absent(facts)
    if facts.arn is None and (action := _without_arn(facts)) is not None:
        return action
    last = facts.observed or facts.recalled
    if last is None or (facts.observed is None and (facts.failures or facts.recoverable_reason == _DELETING)):
        # The call that was refused, or accepted, was based on the stored status, which may be out of date.
        return Observe()
    return _existing(facts, last)


def _after_mutation(facts: Facts, mutation: Mutation) -> Finish:
    """A call was accepted in this reconcile."""
    kind = facts.kind
    if mutation is Mutation.DELETED and kind.status_member is None:
        # Without a lifecycle, a delete that was accepted is complete.
        return _RELEASE
    if mutation is Mutation.CREATED:
        # The token returned its ARN, and it was not described yet: until then "not found" does not prove that it is gone.
        return Finish(_waiting(facts, f"{kind.name} was accepted by SageMaker.", reason="Created"), Requeue.POLL)
    doing = "Stopping" if mutation is Mutation.STOPPED else "Deleting"
    return Finish(_waiting(facts, f"{kind.name} is {doing}."), Requeue.POLL)


def _absent(facts: Facts) -> Finish:
    """SageMaker does not have it (yet)."""
    if facts.recalled is None and facts.recoverable_reason != _DELETING and facts.failures < MAX_DESCRIBES:
        return Finish(None, Requeue.BACKOFF)
    if facts.unclear_identity is not None:
        return Finish(_waiting(facts, facts.unclear_identity), Requeue.SLOW_BACKOFF)
    return _RELEASE


def _without_arn(facts: Facts) -> Action | None:
    """A create may have been sent, and no ARN was recorded. None: what was found is this object's."""
    if facts.observed is None:
        if facts.already_exists is not None:
            # The token did not return the resource, and would not the next time: its tags show which object it belongs to.
            return Finish(None, Requeue.BACKOFF) if facts.generated_id else Observe()
        return search_for_resource(facts)
    if facts.adoption.adopted and facts.adoption.policy is not None:
        # A crash ended the adoption before its ARN was recorded; our annotation proves that it was carried out.
        return Adopt()
    if facts.owner is Owner.UNKNOWN:
        return Identify()
    return _RELEASE if facts.owner is Owner.FOREIGN else None


def _existing(facts: Facts, last: Observation) -> Action:
    """SageMaker has it, in the state that was last observed."""
    kind, state = facts.kind, last.state(facts.kind)
    if state is StatusClass.GONE:
        return _RELEASE
    if state is StatusClass.DELETE_FAILED and facts.recoverable_reason == _DELETING:
        # Our delete failed: report why before it is tried again.
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
    """Stop a running job. Its record stays, unless the user asks for its deletion."""
    kind, state = facts.kind, last.state(facts.kind)
    if state is StatusClass.IN_PROGRESS:
        return Stop()
    if state in (StatusClass.STOPPING, StatusClass.DELETING):
        return Finish(_waiting(facts, f"{kind.name} is {last.status(kind)}."), Requeue.POLL)
    return Delete() if facts.delete_job_record and kind.delete is not None else _RELEASE


def _protected(facts: Facts) -> Finish:
    last = facts.observed or facts.recalled
    requeue = Requeue.POLL if last is not None and last.found and last.moving(facts.kind) else Requeue.SETTLED
    text = (
        f"This object is being deleted, but its annotation {DELETION_PROTECTION} protects the {facts.kind.name} in SageMaker: "
        f"nothing is stopped or deleted. Remove the annotation, or set it to false, to continue the deletion."
    )
    return Finish(_waiting(facts, text, reason="DeletionProtected"), requeue)


def _held_by_others(facts: Facts) -> Findings:
    """What became of the resource, and which finalizers still keep the object."""
    kind, observed = facts.kind.name, facts.observed
    gone = (observed is not None and not observed.found) or facts.mutation is Mutation.DELETED
    if facts.retain and facts.arn is not None:
        what = f"{facts.arn} stays in SageMaker: the deletion policy is retain."
    elif gone or (not facts.managed and facts.recoverable_reason == _DELETING):
        what = f"{kind} is gone in SageMaker."
    elif facts.managed and facts.kind.stop_on_delete and facts.arn is not None:
        what = f"{kind} has ended, and SageMaker keeps its record."
    else:
        what = "SageMaker has no resource to delete with this object."
    names = ", ".join(facts.other_finalizers)
    text = f"{what} This object stays until its other finalizers are removed by the controllers that set them: {names}."
    return Findings(Progress.MOVING, text, reason="Terminating")


def _delete_failed(facts: Facts) -> Action:
    observed = facts.observed
    if observed is None or not observed.complete:
        return Observe()
    findings = progress_of(facts, observed)
    why = f": {findings.failure.rstrip('.')}" if findings.failure else ""
    text = f"SageMaker could not delete it{why}. It is tried again every 5 minutes."
    return Finish(amended(findings, reason=findings.reason, recoverable=text), Requeue.after(_RETRY_SECONDS))


def _waiting(facts: Facts, text: str, reason: str = _DELETING) -> Findings:
    last = facts.observed or facts.recalled
    status = last.status(facts.kind) if last else ""
    message = f"{facts.kind.name} is in {status} status." if status else text
    return Findings(Progress.MOVING, message, reason=reason, recoverable=text)
