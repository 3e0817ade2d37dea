"""The conditions that follow from what was observed: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.conditions import Findings, Progress
from sagemaker_operator.errors import ErrorCategory
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.control.plan.actions import Facts

UNOBSERVED = "Unable to determine if desired resource state matches latest observed state"
NOT_SYNCED = "Resource not synced"

NOT_CONVERGING = "NotConverging"
PARKED = (ErrorCategory.VALIDATION.value, NOT_CONVERGING)
"""Reasons of a Terminal that SageMaker's answer caused, so its next answer may differ: another resource was created meanwhile, a
role got a permission. The other reasons follow from the object alone, and only an edit of it removes them."""

_PROGRESS = {
    StatusClass.IN_PROGRESS: Progress.MOVING,
    StatusClass.STOPPING: Progress.MOVING,
    StatusClass.DELETING: Progress.MOVING,
    StatusClass.STEADY: Progress.SETTLED,
    StatusClass.SUCCEEDED: Progress.COMPLETE,
    StatusClass.FAILED: Progress.FAILED,
    StatusClass.DELETE_FAILED: Progress.FAILED,
    StatusClass.STOPPED: Progress.STOPPED,
    StatusClass.GONE: Progress.UNKNOWN,
}


def progress_of(facts: Facts, observed: Observation) -> Findings:
    kind = facts.kind
    status = observed.status(kind)
    pending = observed.pending(kind)
    if pending is not None:
        return Findings(Progress.MOVING, pending, reason=status)
    message = f"{kind.name} is in {status} status." if status else "Resource synced successfully"
    failure = observed.failure(kind) or None
    state = observed.state(kind)
    # A stopped notebook may be stopped on purpose; a stopped job has not done its work.
    settled = state is StatusClass.STOPPED and not kind.stop_on_delete
    progress = Progress.SETTLED if settled else _PROGRESS[state]
    terminal = None
    if status in kind.terminal_statuses:
        # ACK's text, then SageMaker's.
        where = "Check the FailureReason." if kind.failure_member else failure or "SageMaker gives no reason."
        terminal = f"{kind.name} status reached terminal state: {status}. {where}"
        terminal = f"{terminal} {failure}" if failure and kind.failure_member else terminal
    return Findings(progress, message, reason=status or "Synced", terminal=terminal, failure=failure)


def amended(
    findings: Findings, *, reason: str, terminal: str | None = None, recoverable: str | None = None, hint: str = ""
) -> Findings:
    """The same progress, with an error."""
    return Findings(findings.progress, findings.message, reason, terminal, recoverable, findings.failure, hint)
