"""What to do next with one object: a pure function from facts to one step.

The reconciler asks, carries the step out, adds what it learned to the facts and asks again, until the step is `Settle`.
A pass makes at most one mutating AWS call: after one, every branch here settles.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sagemaker_operator.conditions import Findings, Progress
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Kind, StatusClass, Verdict

if TYPE_CHECKING:
    from sagemaker_operator.control.observation import Observation


class Owner(StrEnum):
    """Whose resource it is that bears our name."""

    UNKNOWN = "Unknown"
    OURS = "Ours"
    FOREIGN = "Foreign"


class Mutation(StrEnum):
    """The mutating call that this pass made, and SageMaker accepted."""

    CREATED = "Created"
    UPDATED = "Updated"
    STOPPED = "Stopped"
    DELETED = "Deleted"


class Follow(StrEnum):
    """When the object is looked at again (beside any change of it)."""

    REST = "Rest"
    """At the resync interval if it can drift at all; a finished job never."""
    POLL = "Poll"
    """The poller follows it."""
    RETRY = "Retry"
    """With the key's backoff."""
    SLOW = "Slow"
    """Every 1 to 15 minutes: a person or a quota must change something outside the spec."""
    PARK = "Park"
    """An edit mends it; looked at again within the hour, because Terminal is not for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a pass knows. Immutable: the reconciler replaces fields as it learns."""

    kind: Kind
    deleting: bool = False
    managed: bool = False
    """Our finalizer is on the object: a create may have been sent, now or in an earlier life."""
    claimed: bool = False
    """The finalizer was put on in this pass, so nothing of ours can exist yet."""
    arn: str | None = None
    """Recorded in status, or learned in this pass."""
    retain: bool = False
    problems: tuple[str, ...] = ()
    """What is wrong with the spec, each with the field's path."""
    edited: bool = False
    """The spec was changed since it was last observed."""
    nameless: bool = False
    """The spec has nothing that Describe could find the resource by: AWS makes its identifier."""
    erase: bool = False
    """Deleting the object deletes SageMaker's record of the job too."""
    due: bool = False
    """At rest for so long that it is to be compared with its spec again."""
    unseen: bool = False
    """No pass of ours has ever observed this resource (a new object, or one that ACK wrote)."""
    drifts: bool = True
    """The spec can differ from the resource: it was edited once, or something else than us may change the resource."""
    waiting: str | None = None
    """The reason of the stored Recoverable condition."""
    stalled: bool = False
    """The stored conditions say Terminal."""
    young: bool = False
    """Created minutes ago: SageMaker's reads may not show it yet."""
    failures: int = 0
    """Passes of this key that failed in a row."""

    recalled: Observation | None = None
    """What the stored status says."""
    observed: Observation | None = None
    """What SageMaker said in this pass, or to the poller just before it."""
    owner: Owner = Owner.UNKNOWN
    taken: bool = False
    """A create found the name taken."""
    mutation: Mutation | None = None
    error: AwsError | None = None
    differing: tuple[str, ...] = ()
    verdict: Verdict = NOTHING_TO_DO
    repeated: int = 0
    """How often this very update was accepted before without taking effect."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Put our finalizer on."""


@dataclass(frozen=True, slots=True)
class Create:
    pass


@dataclass(frozen=True, slots=True)
class Observe:
    """Describe it."""


@dataclass(frozen=True, slots=True)
class Find:
    """Search the List for a resource of this name that bears our UID."""


@dataclass(frozen=True, slots=True)
class Identify:
    """Ask for the tags, to know whose it is."""


@dataclass(frozen=True, slots=True)
class Update:
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class Delete:
    pass


@dataclass(frozen=True, slots=True)
class Settle:
    """The end of the pass: what to tell the user (None: nothing new), and when to look again."""

    findings: Findings | None
    follow: Follow
    release: bool = False
    """Take our finalizer off."""
    after: float | None = None
    """Exactly this many seconds, whatever `follow` says (a throttled call knows its slot)."""


Step = Claim | Create | Observe | Find | Identify | Update | Stop | Delete | Settle

UNOBSERVED = "Unable to determine if desired resource state matches latest observed state"
NOT_SYNCED = "Resource not synced"

# A create that got no answer is retried in silence twice: the first status of an accepted object carries the ARN, and a
# lost reply is usually found again within two seconds.
_SILENT_FAILURES = 2
_REPEATS = 2

UPDATING = "Updating"
"""An update was accepted and has not shown yet."""
_BUSY = "Busy"
# As often as ACK looks.
_WAIT_SECONDS = 30.0


def next_step(facts: Facts) -> Step:
    """The one decision function. Total: every combination of facts has a step."""
    if facts.deleting:
        return _deletion(facts)
    if facts.error is not None:
        return _failed(facts, facts.error)
    if facts.mutation is Mutation.CREATED:
        message = f"{facts.kind.name} was accepted by SageMaker."
        return Settle(Findings(Progress.MOVING, message, reason="Created"), Follow.POLL)
    if facts.arn is None or not facts.managed:
        return _acceptance(facts)
    return _convergence(facts)


def _acceptance(facts: Facts) -> Step:
    """Nothing says yet that SageMaker has a resource of ours."""
    if facts.observed is None:
        if facts.arn is not None or (facts.taken and not facts.nameless):
            return Observe()
        if facts.managed and not facts.claimed and not facts.taken and not (facts.nameless and facts.problems):
            return _looked_for(facts)
    elif facts.observed.found:
        if facts.owner is Owner.UNKNOWN:
            return Identify()
        if facts.owner is Owner.FOREIGN:
            findings = Findings(
                Progress.UNKNOWN,
                NOT_SYNCED,
                reason="AlreadyExists",
                terminal=(
                    f"Resource already exists: SageMaker has a {facts.kind.name} of this name that was not created for "
                    "this object. Choose another name, or delete that resource."
                ),
            )
            return Settle(findings, Follow.PARK, release=facts.managed)
        # Ours although the finalizer is gone: somebody took it off, and a deletion must not leave the job behind.
        return _convergence(facts) if facts.managed else Claim()
    if facts.taken:
        findings = Findings(
            Progress.UNKNOWN,
            UNOBSERVED,
            reason="AlreadyExists",
            recoverable="SageMaker says that the name is taken, but cannot describe the resource yet.",
        )
        return Settle(findings, Follow.RETRY)
    if facts.problems:
        findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="InvalidSpec", terminal="; ".join(facts.problems))
        # A spec that is wrong stays wrong until it is edited, and an edit is an event: no timer.
        return Settle(findings, Follow.REST, release=facts.managed)
    return Create() if facts.managed else Claim()


def _looked_for(facts: Facts) -> Step:
    """How to know whether an earlier create took effect."""
    if facts.kind.token_member is not None:
        # The token brings back the one that there is. If there is none, it makes one: on a deletion that costs seconds of
        # a run that is stopped at once, where looking away could leave one running for ever.
        return Create()
    return Find() if facts.nameless else Observe()


def _convergence(facts: Facts) -> Step:
    """SageMaker has it, or had it: watch it, and keep it as the spec says."""
    kind, observed = facts.kind, facts.observed
    if observed is None:
        # Created and never seen since: the poller's first look is seconds away.
        moving = facts.recalled is None or facts.recalled.moving(kind) or facts.recalled.lingers(kind)
        if facts.edited or facts.unseen or facts.due or (facts.waiting == _BUSY and not moving):
            return Observe()
        moving = moving or facts.waiting == UPDATING
        return Settle(None, Follow.POLL if moving else Follow.REST)
    if not observed.found:
        return _vanished(facts)
    if not observed.complete and (facts.edited or facts.stalled or not observed.moving(kind)):
        # A summary has no failure reason, no artifacts and nothing to compare the spec with.
        return Observe()
    if facts.mutation is Mutation.UPDATED:
        findings = _progress(facts, observed)
        waiting = f"{kind.name} is updating."
        return Settle(Findings(Progress.MOVING, findings.message, UPDATING, recoverable=waiting), Follow.POLL)
    return _judged(facts, observed)


def _judged(facts: Facts, observed: Observation) -> Step:
    """What follows from the comparison of spec and resource."""
    kind, verdict = facts.kind, facts.verdict
    findings = _progress(facts, observed)
    follow = Follow.POLL if observed.moving(kind) or observed.lingers(kind) else Follow.REST
    if verdict.request is not None and observed.moving(kind) and not kind.updates_while_moving:
        if facts.repeated:
            # It moves because of this very update.
            return Settle(_with(findings, recoverable=f"{kind.name} is updating.", reason=UPDATING), Follow.POLL)
        text = f"{kind.name} in {observed.status(kind)} state cannot be modified or deleted."
        return Settle(_with(findings, recoverable=text, reason=_BUSY), Follow.POLL)
    if verdict.request is not None:
        if facts.repeated < _REPEATS:
            return Update(verdict)
        fields = ", ".join(facts.differing)
        text = f"SageMaker accepts the update of {fields} but does not keep it: the value it returns stays different."
        return Settle(_with(findings, terminal=text, reason="NotConverging"), follow)
    if verdict.reject is not None:
        return Settle(_with(findings, terminal=verdict.reject, reason="ImmutableField"), follow)
    if verdict.wait is not None:
        # What is waited for shows in no status, and so in no List either: an execution of a monitoring schedule.
        after = None if observed.moving(kind) else _WAIT_SECONDS
        return Settle(_with(findings, recoverable=verdict.wait, reason=_BUSY), Follow.POLL, after=after)
    return Settle(findings, follow)


def _with(findings: Findings, *, reason: str, terminal: str | None = None, recoverable: str | None = None) -> Findings:
    return Findings(findings.progress, findings.message, reason, terminal, recoverable, findings.failure)


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


def _progress(facts: Facts, observed: Observation) -> Findings:
    kind = facts.kind
    status = observed.status(kind)
    pending = observed.pending(kind)
    if pending is not None:
        return Findings(Progress.MOVING, pending, reason=status)
    message = f"{kind.name} is in {status} status." if status else "Resource synced successfully"
    failure = str(observed.data.get(kind.failure_member or "") or "") or None
    state = observed.state(kind)
    at_rest = state is StatusClass.STOPPED and not kind.stop_on_delete
    # A stopped notebook is at rest, and may be meant to be; a stopped job has not done what it was asked for.
    progress = Progress.SETTLED if at_rest else _PROGRESS[state]
    return Findings(progress, message, reason=status or "Synced", failure=failure)


def _vanished(facts: Facts) -> Step:
    kind = facts.kind
    if facts.young:
        return Settle(None, Follow.POLL)
    if kind.stop_on_delete:
        text = (
            f"SageMaker no longer has {facts.arn}. A job is not run a second time by itself: "
            "delete and apply this object to run it again."
        )
        return Settle(Findings(Progress.UNKNOWN, NOT_SYNCED, reason="Vanished", terminal=text), Follow.REST)
    return Create()


def _deletion(facts: Facts) -> Step:
    kind = facts.kind
    if not facts.managed:
        return Settle(None, Follow.REST)
    if facts.retain:
        return Settle(None, Follow.REST, release=True)
    if facts.error is not None:
        refused = facts.error.operation == kind.create and facts.error.category not in _UNSURE
        return Settle(None, Follow.REST, release=True) if refused else _failed(facts, facts.error)
    if facts.mutation is Mutation.DELETED and kind.status_member is None:
        # It has no life cycle: a delete that was accepted is done.
        return Settle(None, Follow.REST, release=True)
    if facts.mutation is not None:
        doing = "Stopping" if facts.mutation is Mutation.STOPPED else "Deleting"
        return Settle(_waiting(facts, f"{kind.name} is {doing}."), Follow.POLL)
    if facts.observed is not None and not facts.observed.found:
        return Settle(None, Follow.REST, release=True)
    if facts.arn is None:
        if facts.observed is None:
            return _looked_for(facts)
        if facts.owner is Owner.UNKNOWN:
            return Identify()
        if facts.owner is Owner.FOREIGN:
            return Settle(None, Follow.REST, release=True)
    last = facts.observed or facts.recalled
    if last is None or (facts.observed is None and facts.failures):
        # What was refused was asked for because of what the stored status says: it may be out of date.
        return Observe()
    state = last.state(kind)
    if state is StatusClass.GONE:
        return Settle(None, Follow.REST, release=True)
    if kind.stop_on_delete:
        if state is StatusClass.IN_PROGRESS:
            return Stop()
        if state in (StatusClass.STOPPING, StatusClass.DELETING):
            return Settle(_waiting(facts, f"{kind.name} is {last.status(kind)}."), Follow.POLL)
        if facts.erase and kind.delete is not None:
            return Delete()
        return Settle(None, Follow.REST, release=True)
    if last.status(kind) in kind.stop_before_delete:
        return Stop()
    if state.in_transition:
        text = f"{kind.name} in {last.status(kind)} state cannot be modified or deleted."
        return Settle(_waiting(facts, text), Follow.POLL)
    return Delete()


# After these a create may have taken effect, or may yet be sent.
_UNSURE = (ErrorCategory.TRANSIENT, ErrorCategory.UNKNOWN, ErrorCategory.THROTTLED)


def _waiting(facts: Facts, text: str) -> Findings:
    last = facts.observed or facts.recalled
    status = last.status(facts.kind) if last else ""
    message = f"{facts.kind.name} is in {status} status." if status else text
    return Findings(Progress.MOVING, message, reason="Deleting", recoverable=text)


_NEXT = {
    ErrorCategory.QUOTA: (Follow.SLOW, "It is tried again every 1 to 15 minutes until the quota allows it."),
    ErrorCategory.ACCESS_DENIED: (
        Follow.SLOW,
        "Give the operator's role this permission; it is tried again every 1 to 15 minutes.",
    ),
    ErrorCategory.CREDENTIALS: (
        Follow.SLOW,
        "Check the operator's AWS credentials; it is tried again every 1 to 15 minutes.",
    ),
    ErrorCategory.DEPENDENCY: (Follow.RETRY, "It is tried again, in case what the request names appears."),
    ErrorCategory.IN_USE: (Follow.RETRY, "It is tried again when the resource is free."),
    ErrorCategory.TRANSIENT: (Follow.RETRY, "It is tried again."),
    ErrorCategory.UNKNOWN: (Follow.RETRY, "It is tried again."),
    ErrorCategory.NOT_FOUND: (Follow.RETRY, "It is tried again."),
    ErrorCategory.EXISTS: (Follow.RETRY, "It is tried again."),
}


def _failed(facts: Facts, error: AwsError) -> Step:
    """An AWS call of this pass failed, and nothing was changed (or nobody knows)."""
    creating = facts.arn is None and facts.managed and not facts.deleting and error.operation == facts.kind.create
    if error.category is ErrorCategory.THROTTLED:
        # Not a failure of the object: no condition changes, and the finalizer stays for the few seconds until the slot.
        return Settle(None, Follow.RETRY, after=error.retry_after or 1.0)
    unanswered = error.category in _UNSURE
    if unanswered and facts.failures < _SILENT_FAILURES and not facts.deleting:
        return Settle(None, Follow.RETRY)
    known = facts.arn is not None and facts.observed is not None and facts.observed.found
    base = _progress(facts, facts.observed) if known and facts.observed else Findings(Progress.UNKNOWN, UNOBSERVED)
    text = f"{error.operation}: {error.code}: {error.message}" if error.code else f"{error.operation}: {error.message}"
    reason = error.category.value
    if error.category is ErrorCategory.VALIDATION and not facts.deleting:
        return Settle(_with(base, reason=reason, terminal=text), Follow.PARK, release=creating)
    follow, hint = _NEXT.get(error.category, (Follow.RETRY, "It is tried again."))
    findings = _with(base, reason=reason, recoverable=f"{text.rstrip('.')}. {hint}")
    # A definite refusal leaves no finalizer behind, so that deleting the object never blocks. An unanswered create keeps
    # it: it is the only record that a resource of ours may exist.
    return Settle(findings, follow, release=creating and not unanswered)
