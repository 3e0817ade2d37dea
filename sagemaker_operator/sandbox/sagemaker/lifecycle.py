"""Life cycles as data: the states of a resource, how long each lasts, and how its tags or name change that.

Nothing runs in the background: a timeline is computed when something happens, and read at the time of each request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

from sagemaker_operator.kinds.descriptor import Kind, StatusClass
from sagemaker_operator.sandbox.sagemaker.protocol import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OUTCOME_TAG = "sandbox/outcome"
SECONDS_TAG = "sandbox/seconds"
CHANGE_SECONDS_TAG = "sandbox/change-seconds"
UPDATE_OUTCOME_TAG = "sandbox/update-outcome"
DELETE_OUTCOME_TAG = "sandbox/delete-outcome"
MAINTENANCE_TAG = "sandbox/maintenance-after"
INTERRUPTIONS_TAG = "sandbox/interruptions"
FAILING_NAME = "-fails-"

HELP = f"""\
A resource's tags or name decide its life cycle in the sandbox:
  tag {OUTCOME_TAG}=Failed|Stopped|MaxRuntimeExceeded
                             how a job ends (default: it succeeds); other resources know only Failed
  tag {SECONDS_TAG}=N         simulated seconds from creation to the end (job) or to readiness (anything else)
  tag {CHANGE_SECONDS_TAG}=N  simulated seconds that stopping, updating and deleting take (default: 30)
  tag {UPDATE_OUTCOME_TAG}=Failed|RollbackFailed
                             its updates fail, and an endpoint is rolled back; RollbackFailed: its first update fails,
                             and the rollback too, if the kind has a status for it (UpdateRollbackFailed)
  tag {DELETE_OUTCOME_TAG}=Failed
                             its first deletion fails, if the kind has a status for it (a domain's Delete_Failed)
  tag {MAINTENANCE_TAG}=N
                             simulated seconds from readiness until AWS maintains an endpoint or a notebook
  tag {INTERRUPTIONS_TAG}=N   how often a managed spot training job loses its instances on the way
  a name with "{FAILING_NAME}" in it (or ending in "{FAILING_NAME[:-1]}") fails as well; so does what uses one:
  an endpoint whose configuration, or an inference component whose model or image, is called so fails to deploy it
  (at creation: Failed; at an update: back to InService as it was, with a FailureReason)
A pipeline execution takes the tags and the name of its pipeline, a versioned model package those of its group.
A job that names no {SECONDS_TAG} fits in its MaxRuntimeInSeconds; one that does may exceed it, and is stopped then.
"""

JOB_SECONDS = 600.0
"""Ten minutes: long enough to see every state, a common length of a small training job."""
READY_SECONDS = 120.0
"""From creation to readiness of non-job kinds."""
CHANGE_SECONDS = 30.0
"""How long stopping, updating and deleting take."""
REMEMBERED_SECONDS = 3_600.0
"""How long SageMaker describes a deleted resource, for kinds with a status for it (App `Deleted`). AWS keeps apps for a
day; an hour is longer than any client waits."""

PENDING_SECONDS = 15.0
"""How long a resource that begins as Pending stays so."""

GOOD = "Completed"
FAILED = "Failed"
STOPPED = "Stopped"
MAX_RUNTIME = "MaxRuntimeExceeded"
ROLLBACK_FAILED = "RollbackFailed"
OUTCOMES = (GOOD, FAILED, STOPPED, MAX_RUNTIME)


@dataclass(frozen=True, slots=True)
class Step:
    """One state of a life cycle."""

    status: str
    seconds: float | None = None
    """Simulated seconds; None: the rest of the total, or without end if it is the last step."""
    secondary: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step in time. It lasts until the next phase begins."""

    start: float
    step: Step


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """The steps of one kind. The last step of a sequence has no end."""

    runs: Mapping[str, tuple[Step, ...]]
    """From creation to the end, by outcome."""
    stop: tuple[Step, ...] = ()
    update: tuple[Step, ...] = ()
    """Empty: an update is done at once."""
    update_failed: tuple[Step, ...] = ()
    """An update that fails; empty: the kind has no status for it and the resource is as before."""
    rollback_failed: tuple[Step, ...] = ()
    """An update that fails and cannot be rolled back; empty: as `update_failed`."""
    maintenance: tuple[Step, ...] = ()
    """Maintenance that AWS begins by itself; empty: none."""
    delete: tuple[Step, ...] = ()
    """While it is being deleted; empty: gone at once."""
    delete_failed: tuple[Step, ...] = ()
    """A deletion that fails; empty: none does."""
    seconds: float = READY_SECONDS


@dataclass(frozen=True, slots=True)
class Scenario:
    """The outcomes and durations that a resource's tags and name select."""

    outcome: str = GOOD
    seconds: float | None = None
    interruptions: int = 0
    change_seconds: float = CHANGE_SECONDS
    maintenance_after: float | None = None
    update_fails: bool = False
    rollback_fails: bool = False
    delete_fails: bool = False


def fails(name: str) -> bool:
    """Whether a resource of this name, or one that uses it, fails."""
    return FAILING_NAME in f"{name}-"


def scenario_of(name: str, tags: Mapping[str, str]) -> Scenario:
    """Raises ServiceError(ValidationException) for a sandbox tag with an unknown value."""
    outcome = tags.get(OUTCOME_TAG, FAILED if fails(name) else GOOD)
    if outcome not in OUTCOMES:
        invalid(f"Tag {OUTCOME_TAG} must be one of {', '.join(OUTCOMES)}")
    updates, deletes = (tags.get(tag, GOOD) for tag in (UPDATE_OUTCOME_TAG, DELETE_OUTCOME_TAG))
    for tag, wanted, known in (
        (UPDATE_OUTCOME_TAG, updates, (GOOD, FAILED, ROLLBACK_FAILED)),
        (DELETE_OUTCOME_TAG, deletes, (GOOD, FAILED)),
    ):
        if wanted not in known:
            invalid(f"Tag {tag} must be one of {', '.join(known)}")
    return Scenario(
        outcome,
        seconds=_number(tags, SECONDS_TAG),
        interruptions=int(_number(tags, INTERRUPTIONS_TAG) or 0),
        change_seconds=_number(tags, CHANGE_SECONDS_TAG, CHANGE_SECONDS),
        maintenance_after=_number(tags, MAINTENANCE_TAG),
        update_fails=updates != GOOD,
        rollback_fails=updates == ROLLBACK_FAILED,
        delete_fails=deletes == FAILED,
    )


@overload
def _number(tags: Mapping[str, str], tag: str) -> float | None: ...
@overload
def _number(tags: Mapping[str, str], tag: str, otherwise: float) -> float: ...
def _number(tags: Mapping[str, str], tag: str, otherwise: float | None = None) -> float | None:
    text = tags.get(tag)
    if text is None:
        return otherwise
    # Nine digits are 30 years: beyond any test, and far from where a timestamp stops being a date.
    if not (text.isdecimal() and len(text) < 10):
        invalid(f"Tag {tag} must be a whole number of at most nine digits")
    return float(text)


@dataclass(slots=True)
class Timeline:
    """The past and the planned future of one resource."""

    phases: list[Phase] = field(default_factory=list)

    def schedule(self, steps: Sequence[Step], *, start: float, total: float | None = None) -> None:
        """Drop what was planned from `start` on and plan `steps` instead, `total` seconds in all before the last."""
        self.phases = [phase for phase in self.phases if phase.start < start]
        moment = start
        for step, seconds in zip(steps, _durations(steps, total), strict=True):
            self.phases.append(Phase(moment, step))
            moment += seconds

    def at(self, now: float) -> Phase:
        """The current phase; before the first one begins, the first."""
        current = self.phases[0]
        for phase in self.phases:
            if phase.start > now:
                break
            current = phase
        return current

    def passed(self, now: float) -> list[Phase]:
        """Every phase that has begun, the current one last."""
        return [phase for phase in self.phases if phase.start <= now]

    @property
    def end(self) -> float:
        """When the last phase begins (began)."""
        return self.phases[-1].start


def _durations(steps: Sequence[Step], total: float | None) -> list[float]:
    """Seconds of each step. Fixed steps that would take over half of a short total shrink in proportion."""
    body = steps[:-1]
    fixed = sum(step.seconds or 0.0 for step in body)
    flexible = [step for step in body if step.seconds is None]
    if total is None or not flexible:
        return [*(step.seconds or 0.0 for step in body), 0.0]
    factor = min(1.0, total / 2 / fixed) if fixed else 1.0
    rest = (total - fixed * factor) / len(flexible)
    return [*(rest if step.seconds is None else step.seconds * factor for step in body), 0.0]


def life_cycle(kind: Kind) -> LifeCycle:
    """The life cycle of any kind, from its status values; kinds worth more detail have a behaviour of their own."""
    if kind.status_member is None:
        return LifeCycle({GOOD: (Step(""),)}, seconds=0.0)
    statuses = {wanted: tuple(v for v, c in kind.classes.items() if c is wanted) for wanted in StatusClass}
    begin = _status(
        statuses[StatusClass.IN_PROGRESS], ("inprogress", "creating", "createinprogress", "executing", "pending")
    )
    failed = _status(statuses[StatusClass.FAILED], ("failed", "createfailed"))
    stopped = tuple(
        Step(status, seconds)
        for status, seconds in (
            (_status(statuses[StatusClass.STOPPING], ("stopping",)), CHANGE_SECONDS),
            (_status(statuses[StatusClass.STOPPED], ("stopped",)), None),
        )
        if status
    )
    succeeded = _status(statuses[StatusClass.SUCCEEDED], ("completed", "succeeded"))
    good = succeeded or _status(
        statuses[StatusClass.STEADY], ("inservice", "active", "created", "available", "createcompleted")
    )
    deleting = _status(statuses[StatusClass.DELETING], ("deleting", "deleteinprogress"))
    deleted = _status(statuses[StatusClass.GONE], ("deleted", "deletecompleted"), only=True)
    delete_failed = _status(statuses[StatusClass.DELETE_FAILED], ("deletefailed",), only=True)
    remembered = (Step(deleted, REMEMBERED_SECONDS),) if deleted else ()
    updated = _status(statuses[StatusClass.STEADY], ("updatecompleted", "updated"), only=True) or good
    update_failed = _status(statuses[StatusClass.FAILED], ("updatefailed",), only=True)
    rolling_back = _status(statuses[StatusClass.IN_PROGRESS], ("rollingback",), only=True)
    rollback_failed = _status(statuses[StatusClass.FAILED], ("updaterollbackfailed",), only=True)
    maintained = _status(statuses[StatusClass.IN_PROGRESS], ("systemupdating",), only=True)
    updating = _status(statuses[StatusClass.IN_PROGRESS], ("updating", "updateinprogress"), only=True)
    pending = _status(statuses[StatusClass.IN_PROGRESS], ("pending",), only=True)
    waiting = (Step(pending, PENDING_SECONDS),) if pending not in ("", begin) else ()
    opening = (*waiting, Step(begin)) if begin else ()
    back = (Step(updating, CHANGE_SECONDS), *((Step(rolling_back, CHANGE_SECONDS),) if rolling_back else ()))
    runs = {GOOD: (*opening, Step(good))}
    if failed:
        runs[FAILED] = (*opening, Step(failed))
    if succeeded and stopped:
        runs[STOPPED] = (*opening, *stopped)
    return LifeCycle(
        runs,
        stop=stopped,
        update=(Step(updating, CHANGE_SECONDS), Step(updated)) if updating else (),
        update_failed=(*back, Step(update_failed or good)) if updating else (),
        rollback_failed=(*back, Step(rollback_failed)) if rolling_back and rollback_failed else (),
        maintenance=(Step(maintained, CHANGE_SECONDS), Step(good)) if maintained else (),
        delete=(Step(deleting, CHANGE_SECONDS), *remembered, Step("")) if deleting else (),
        delete_failed=(Step(deleting, CHANGE_SECONDS), Step(delete_failed)) if deleting and delete_failed else (),
        seconds=JOB_SECONDS if succeeded else READY_SECONDS,
    )


def _status(values: Iterable[str], preferred: Sequence[str], *, only: bool = False) -> str:
    """The value that spells one of `preferred`, whatever its case and underscores; otherwise the first, or ``""``."""
    spelt = {value.replace("_", "").replace(" ", "").lower(): value for value in values}
    for wanted in preferred:
        if wanted in spelt:
            return spelt[wanted]
    return "" if only else next(iter(spelt.values()), "")
