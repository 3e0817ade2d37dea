"""The branch of a failed AWS call: what to report, when to retry, whether the finalizer may be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.conditions import Findings, Progress
from sagemaker_operator.control.plan.actions import Facts, Finish
from sagemaker_operator.control.plan.progress import UNOBSERVED, amended, progress_of
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.errors import UNCERTAIN, AwsError, ErrorCategory

if TYPE_CHECKING:
    from sagemaker_operator.control.plan.actions import Action

# A create without an answer is retried twice without a condition: the first status of an accepted object has the ARN, and the
# resource of a lost reply is usually found within two seconds.
_SILENT_FAILURES = 2

# When many objects come at once, a call waits for the rate limit for seconds. After this long, status reports it.
_THROTTLED_SECONDS = 120.0
# One text for every operation, and for AWS and our own rate limit alike: otherwise the status would be rewritten each time.
_THROTTLED = "SageMaker throttles this account. The call is made as soon as the rate limit allows it."

_REQUEUE_AND_HINT = {
    ErrorCategory.QUOTA: (Requeue.SLOW_BACKOFF, "It is tried again every 1 to 15 minutes until the quota allows it."),
    ErrorCategory.ACCESS_DENIED: (
        Requeue.SLOW_BACKOFF,
        "Give the operator's role this permission; it is tried again every 1 to 15 minutes.",
    ),
    ErrorCategory.CREDENTIALS: (
        Requeue.SLOW_BACKOFF,
        "Check the operator's AWS credentials; it is tried again every 1 to 15 minutes.",
    ),
    ErrorCategory.DEPENDENCY: (Requeue.BACKOFF, "It is tried again, in case what the request names appears."),
    ErrorCategory.IN_USE: (Requeue.BACKOFF, "It is tried again when the resource is free."),
    ErrorCategory.TRANSIENT: (Requeue.BACKOFF, "It is tried again."),
    ErrorCategory.UNKNOWN: (Requeue.BACKOFF, "It is tried again."),
    ErrorCategory.NOT_FOUND: (Requeue.BACKOFF, "It is tried again."),
    ErrorCategory.EXISTS: (Requeue.BACKOFF, "It is tried again."),
}

_PARKED_HINT = "Edit the object; as it stands it is tried again within the hour, in case the cause is elsewhere."
_ASSUME_ROLE_HINT = (
    "Check that the role exists, that its trust policy allows the operator's identity (sts:AssumeRole; sts:TagSession too "
    "with session tags) and that the external id is the one it asks for; it is tried again every 1 to 15 minutes."
)


def message_of(error: AwsError) -> str:
    """The operation and SageMaker's own message."""
    code = f"{error.code}: " if error.code else ""
    return f"{error.operation}: {code}{error.message}".rstrip(".: ")


def failed(facts: Facts, error: AwsError) -> Action:
    """An AWS call of this reconcile failed: nothing was changed, or the outcome is unknown."""
    # The call never left, in the reconcile that added the finalizer: no resource of ours can exist (a role was refused).
    unsent = facts.claimed and not error.sent
    creating = facts.arn is None and facts.managed and not facts.deleting
    creating = creating and (error.operation == facts.kind.create or unsent)
    known = facts.arn is not None and facts.observed is not None and facts.observed.found
    base = progress_of(facts, facts.observed) if known and facts.observed else Findings(Progress.UNKNOWN, UNOBSERVED)
    if error.category is ErrorCategory.THROTTLED:
        # Not a failure of the object: no condition changes, and the finalizer stays for the few seconds until the call is made.
        # A settled object waits for a Describe at most, so a delay of any length does not harm it.
        asked_for = (facts.arn is None or facts.edited) and not facts.deleting
        long = facts.throttled >= _THROTTLED_SECONDS and asked_for
        findings = amended(base, reason=error.category.value, recoverable=_THROTTLED) if long else None
        return Finish(findings, Requeue.after(error.retry_after or 1.0))
    unanswered = error.category in UNCERTAIN
    if unanswered and facts.failures < _SILENT_FAILURES and not facts.deleting:
        return Finish(None, Requeue.BACKOFF)
    text = message_of(error)
    reason = error.category.value
    if error.category is ErrorCategory.VALIDATION and not facts.deleting:
        findings = amended(base, reason=reason, terminal=f"{text}. {_PARKED_HINT}")
        return Finish(findings, Requeue.PARKED, release=creating)
    requeue, hint = _REQUEUE_AND_HINT.get(error.category, (Requeue.BACKOFF, "It is tried again."))
    if error.operation == "AssumeRole" and error.category is ErrorCategory.ACCESS_DENIED:
        hint = _ASSUME_ROLE_HINT
    findings = amended(base, reason=reason, recoverable=f"{text}. {hint}")
    # After a definite refusal the finalizer is removed, so that deleting the object never blocks. After an unanswered create it
    # stays: it is the only record that a resource of ours may exist.
    return Finish(findings, requeue, release=creating and not unanswered)
