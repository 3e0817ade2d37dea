"""Conditions, computed in one pure function from the findings of one reconcile.

ACK's four conditions keep their meaning for existing tools; Ready, Reconciling and Stalled follow kstatus, and jobs have
Complete and Failed so that `kubectl wait --for=condition=Complete` works. An abnormal condition is absent unless True.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

SYNCED = "ACK.ResourceSynced"
TERMINAL = "ACK.Terminal"
RECOVERABLE = "ACK.Recoverable"
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
COMPLETE = "Complete"
FAILED = "Failed"
LATE_INITIALIZED = "ACK.LateInitialized"
REFERENCES_RESOLVED = "ACK.ReferencesResolved"
IAM_ROLE_SELECTED = "ACK.IAMRoleSelected"
ADVISORY = "ACK.Advisory"
ADOPTED = "ACK.Adopted"

CREATED = "Created"
"""Reason of Reconciling: a create was accepted, and the resource was not described yet."""
UPDATING = "Updating"
"""Reason of Reconciling: an update was accepted and has not shown yet."""

_OURS = frozenset(
    {SYNCED, TERMINAL, RECOVERABLE, READY, RECONCILING, STALLED, COMPLETE, FAILED}
    | {REFERENCES_RESOLVED, IAM_ROLE_SELECTED, ADVISORY, ADOPTED}
)

ConditionValue = tuple[str, str, str]
"""(status, reason, message) of one condition."""

# API servers reject messages above 32 KiB; AWS failure texts are at most 1,024 characters.
_MESSAGE_LIMIT = 2048


class Progress(StrEnum):
    """The resource's state, as the conditions report it."""

    UNKNOWN = "Unknown"
    """It was not observed in this reconcile."""
    MOVING = "InProgress"
    """SageMaker is working on it."""
    SETTLED = "Settled"
    """It is as spec desires, and does not change by itself."""
    COMPLETE = "Complete"
    """A job succeeded."""
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def at_rest(self) -> bool:
        return self not in (Progress.UNKNOWN, Progress.MOVING)


class ObjectState(StrEnum):
    """The state of one object, as kstatus derives it from the conditions."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    UNKNOWN = "Unknown"
    """No condition yet: not reconciled."""


class Findings(msgspec.Struct, frozen=True):
    """The findings of one reconcile. At most one of `terminal` and `recoverable` is set."""

    progress: Progress
    message: str
    """About the resource: "TrainingJob is in InProgress status."."""
    reason: str = ""
    """CamelCase, from a bounded set: the reason of Ready (the status, or the category of an error)."""
    terminal: str | None = None
    """The error that only an edit can fix."""
    recoverable: str | None = None
    """The error that is retried and needs no edit of the spec."""
    failure: str | None = None
    """SageMaker's message for a failure: shown wherever the resource is not ready because of it."""
    hint: str = ""
    """What to do about `terminal`: appended in Ready and Stalled, where the text of ACK.Terminal must be ACK's."""
    also: Mapping[str, ConditionValue] = msgspec.field(default_factory=dict)
    """Conditions beside these, by type: reported by features (a role that was selected, references resolved)."""


def compute(
    previous: Sequence[Mapping[str, Any]],
    findings: Findings,
    *,
    job: bool = False,
    late_init: bool = True,
    generation: int,
    now: str,
) -> list[dict[str, Any]]:
    """The new condition list. `now` (RFC 3339) marks a transition; a condition that did not flip keeps its time.

    Only a `job` gets Complete or Failed. Conditions of other writers keep their values and places. Without
    `late_init` no later reconcile completes a late initialisation, so a condition that announces one is removed.
    """
    stale = {LATE_INITIALIZED} if not late_init and _status_of(previous, LATE_INITIALIZED) == "False" else set()
    return _merged(previous, _wanted(findings, job=job), _OURS | stale, generation=generation, now=now)


def with_conditions(
    previous: Sequence[Mapping[str, Any]], replacements: Mapping[str, ConditionValue], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """`previous` with the conditions of the types in `replacements` replaced, or appended."""
    return _merged(previous, replacements, frozenset(), generation=generation, now=now)


def _merged(
    previous: Sequence[Mapping[str, Any]],
    replacements: Mapping[str, ConditionValue],
    ours: AbstractSet[str],
    *,
    generation: int,
    now: str,
) -> list[dict[str, Any]]:
    """`replacements` in their order, in the places of the conditions that they replace: those of their types and of `ours`.

    The order matters: Argo CD's check uses the first of ACK.Terminal and Ready that decides.
    """
    known = {condition.get("type"): condition for condition in previous}
    fresh = iter([_condition(type_, new, known.get(type_, {}), generation, now) for type_, new in replacements.items()])
    result: list[dict[str, Any]] = []
    for condition in previous:
        type_ = condition.get("type")
        if type_ not in replacements and type_ not in ours:
            result.append(dict(condition))
        elif (replacement := next(fresh, None)) is not None:
            result.append(replacement)
    return [*result, *fresh]


def _condition(type_: str, value: ConditionValue, old: Mapping[str, Any], generation: int, now: str) -> dict[str, Any]:
    status, reason, message = value
    flipped = old.get("status") != status or not old.get("lastTransitionTime")
    condition: dict[str, Any] = {
        "type": type_,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": now if flipped else old["lastTransitionTime"],
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message[:_MESSAGE_LIMIT]
    return condition


def _status_of(conditions: Sequence[Mapping[str, Any]], type_: str) -> str | None:
    return next((condition.get("status") for condition in conditions if condition.get("type") == type_), None)


def _wanted(findings: Findings, *, job: bool) -> dict[str, ConditionValue]:
    """type -> (status, reason, message), in ACK's order: Ready comes after the conditions that it is derived from."""
    state = _state(findings)
    wanted = {type_: state[type_] for type_ in (SYNCED, TERMINAL, RECOVERABLE) if type_ in state}
    return {**wanted, **findings.also, **state, **(_job_end(findings) if job else {}), **findings.also}


def _state(findings: Findings) -> dict[str, ConditionValue]:
    progress, reason, message = findings.progress, findings.reason, findings.message
    wanted: dict[str, ConditionValue] = {}
    if findings.terminal is not None:
        # ACK says Synced=True beside Terminal=True for some kinds; an error that needs an edit is not synced here.
        explained = f"{findings.terminal.rstrip('.')}. {findings.hint}" if findings.hint else findings.terminal
        wanted[SYNCED] = ("False", TERMINAL, message)
        wanted[TERMINAL] = ("True", reason, findings.terminal)
        wanted[READY] = ("False", TERMINAL, explained)
        wanted[STALLED] = ("True", reason or TERMINAL, explained)
        return wanted
    if findings.recoverable is not None:
        synced = "Unknown" if progress is Progress.UNKNOWN else "False"
        wanted[SYNCED] = (synced, reason, message)
        wanted[RECOVERABLE] = ("True", reason, findings.recoverable)
        wanted[READY] = ("False", RECOVERABLE, findings.recoverable)
        wanted[RECONCILING] = ("True", reason or RECOVERABLE, findings.recoverable)
        return wanted
    ready = progress in (Progress.SETTLED, Progress.COMPLETE)
    wanted[SYNCED] = ("True" if progress.at_rest else "False", reason, message)
    if progress.at_rest and not ready:
        # It ended without success. SageMaker has what spec desires, so Synced is True as ACK's; without Terminal, which ACK
        # has for a few kinds only, Argo CD would call it Progressing indefinitely.
        wanted[TERMINAL] = ("True", reason, _explained(findings))
    wanted[READY] = ("True" if ready else "False", reason, _explained(findings))
    if not progress.at_rest:
        wanted[RECONCILING] = ("True", reason, message)
    elif not ready:
        wanted[STALLED] = ("True", reason, _explained(findings))
    return wanted


def _explained(findings: Findings) -> str:
    return f"{findings.message} {findings.failure}" if findings.failure else findings.message


def _job_end(findings: Findings) -> dict[str, ConditionValue]:
    match findings.progress:
        case Progress.COMPLETE:
            return {COMPLETE: ("True", findings.reason, findings.message)}
        case Progress.FAILED | Progress.STOPPED:
            # A stopped job is Failed too, as in batch/v1 for a job past its deadline: `kubectl wait` must not hang.
            return {FAILED: ("True", findings.reason, _explained(findings))}
    return {}


def with_foreign(mine: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`mine`, computed from an older version of the object, with the currently stored conditions of other writers."""
    ours = {*_OURS, LATE_INITIALIZED}
    foreign = {str(condition.get("type")): dict(condition) for condition in stored if condition.get("type") not in ours}
    merged = []
    for condition in mine:
        type_ = str(condition.get("type"))
        if type_ in ours:
            merged.append(dict(condition))
        elif type_ in foreign:
            merged.append(foreign.pop(type_))
    return merged + list(foreign.values())
