"""Derives the log line and the Kubernetes Event of each transition.

They come from the same two observations as the status and its conditions, so the four cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.control.plan.actions import Mutation
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.logs import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.conditions import Findings
    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.control.plan.actions import Facts
    from sagemaker_operator.kinds.descriptor import Kind


class Note(msgspec.Struct, frozen=True):
    """A Kubernetes Event to record."""

    reason: str
    text: str
    action: str
    warning: bool = False


class Transition(msgspec.Struct, frozen=True):
    """One change of one object."""

    event: Event
    fields: Mapping[str, Any] = msgspec.field(default_factory=dict)
    note: Note | None = None


_PHASES = {
    StatusClass.IN_PROGRESS: "Running",
    StatusClass.STOPPING: "Stopping",
    StatusClass.SUCCEEDED: "Succeeded",
    StatusClass.STEADY: "Succeeded",
    StatusClass.FAILED: "Failed",
    StatusClass.DELETE_FAILED: "Failed",
    StatusClass.STOPPED: "Stopped",
    StatusClass.DELETING: "Deleting",
    StatusClass.GONE: "Deleting",
}
_ENDS = {
    StatusClass.SUCCEEDED: Event.JOB_COMPLETED,
    StatusClass.FAILED: Event.JOB_FAILED,
    StatusClass.STOPPED: Event.JOB_STOPPED,
}


def transitions(
    kind: Kind,
    *,
    name: str,
    arn: str | None,
    target: Target | None,
    before: Observation | None,
    after: Observation | None,
    mutation: Mutation | None,
    recovered: bool,
    findings: Findings | None,
    conditions: Sequence[Mapping[str, Any]],
    now: float,
) -> Iterator[Transition]:
    """What changed between the stored status and this reconcile.

    `conditions` are the stored ones, `now` is in seconds since the epoch.
    """
    common: dict[str, Any] = {
        "resourceType": kind.resource_type,
        "resourceName": name,
        "resourceArn": arn,
    }
    if target is not None:
        common |= {"region": target.region, "accountId": target.account}
    if kind.log_group is not None and target is not None:
        common |= {
            "logGroup": kind.log_group,
            "logStreamPrefix": f"{name}/",
            "logUrl": _log_url(kind.log_group, name, target),
        }
    if mutation is Mutation.CREATED or recovered:
        yield _created(kind, name, common, recovered=recovered, again=before is not None)
    if mutation is Mutation.STOPPED:
        note = Note("Stopping", f"Asked SageMaker to stop {kind.resource_type} {name}", "Stop")
        yield Transition(Event.JOB_STOPPING, common | {"phase": "Stopping", "terminal": False}, note)
    if mutation is Mutation.DELETED:
        note = Note("Deleting", f"Asked SageMaker to delete {kind.resource_type} {name}", "Delete")
        yield Transition(Event.RESOURCE_DELETING, common, note)
    if mutation is Mutation.UPDATED:
        yield Transition(
            Event.RESOURCE_UPDATED, common, Note("Updated", f"Updated {kind.resource_type} {name}", "Update")
        )
    if mutation is Mutation.RETAGGED:
        note = Note("Tagged", f"Changed the tags of {kind.resource_type} {name}", "Tag")
        yield Transition(Event.RESOURCE_UPDATED, common, note)
    if after is not None and after.found:
        yield from _status_changed(kind, name, common, before, after, now)
    if findings is not None:
        yield from _new_errors(kind, findings, common, conditions)


def released(facts: Facts) -> Transition:
    """Our finalizer was removed."""
    note = None
    if facts.retain and facts.arn is not None:
        note = Note("Retained", f"{facts.arn} stays in SageMaker: the deletion policy is retain", "Delete")
    return Transition(Event.RESOURCE_DELETED, {"resourceArn": facts.arn}, note)


def _created(kind: Kind, name: str, common: Mapping[str, Any], *, recovered: bool, again: bool) -> Transition:
    what = f"{kind.resource_type} {name}"
    if again and not recovered:
        note = Note("Recreated", f"SageMaker had lost {what}, and accepted it again", "Create", warning=True)
        return Transition(Event.RESOURCE_CREATED, {**common, "phase": "Pending", "terminal": False}, note)
    if recovered:
        note = Note("Recovered", f"Found {what} again after an interrupted create", "Create")
        event = Event.JOB_RECOVERED if kind.is_job else Event.RESOURCE_RECOVERED
    else:
        note = Note("Created", f"SageMaker accepted {what}", "Create")
        event = Event.JOB_SUBMITTED if kind.is_job else Event.RESOURCE_CREATED
    return Transition(event, {**common, "phase": "Pending", "terminal": False}, note)


def _status_changed(
    kind: Kind, name: str, common: Mapping[str, Any], before: Observation | None, after: Observation, now: float
) -> Iterator[Transition]:
    status, old = after.status(kind), before.status(kind) if before else ""
    if not kind.is_job:
        if status != old and status:
            yield _resource_status_changed(kind, name, common, status, old, after)
        return
    secondary, old_secondary = after.secondary(kind), before.secondary(kind) if before else ""
    state = after.state(kind)
    here = {
        **common,
        "status": status,
        "secondaryStatus": secondary,
        "phase": _PHASES[state],
        "terminal": state in _ENDS and not after.moving(kind),
        **_progress(kind, after, now),
    }
    for step in _steps(kind, after, old_secondary):
        previous, old_secondary = old_secondary, step["secondaryStatus"]
        # The last step of a job is part of its last line, and has no line of its own.
        if step["secondaryStatus"] != secondary or state not in _ENDS:
            yield Transition(Event.JOB_TRANSITION, {**here, "terminal": False, "oldSecondaryStatus": previous, **step})
    had_ended = before is not None and bool(old) and not before.moving(kind)
    if state in _ENDS and not after.moving(kind):
        if had_ended and status == old:
            return
        failure = after.failure(kind)
        took = f" after {_duration(here['elapsedSeconds'])}" if "elapsedSeconds" in here else ""
        text = (
            f"{kind.resource_type} {name} {status.lower()}{took}{_durations(after)}{f': {failure}' if failure else ''}"
        )
        note = Note(status, text, "Observe", warning=state is not StatusClass.SUCCEEDED)
        summary = {
            "oldStatus": old,
            "failureReason": failure[:1024],
            "reason": _reason(state, failure),
            **_summary(after),
        }
        yield Transition(_ENDS[state], here | summary, note)
    elif status != old and old:
        yield Transition(Event.JOB_STATUS, here | {"oldStatus": old})


def _durations(after: Observation) -> str:
    """How long each secondary status took, for the text of the last Event: an Event each would be five more writes per job."""
    took = [
        f"{step['Status']} {_duration(step['EndTime'] - step['StartTime'])}"
        for step in after.data.get("SecondaryStatusTransitions") or ()
        if isinstance(step.get("EndTime"), int | float) and step["EndTime"] > step["StartTime"]
    ]
    return f" ({', '.join(took)})" if took else ""


def _resource_status_changed(
    kind: Kind, name: str, common: Mapping[str, Any], status: str, old: str, after: Observation
) -> Transition:
    """Of a kind that does not end: each status is a log line, and a settled one also an Event."""
    state = after.state(kind)
    failure = after.failure(kind)
    fields = {
        **common,
        "status": status,
        "oldStatus": old,
        "phase": _PHASES[state],
        "terminal": False,
        "failureReason": failure[:1024],
    }
    if state.in_transition:
        return Transition(Event.RESOURCE_STATUS, fields)
    failed = state in (StatusClass.FAILED, StatusClass.DELETE_FAILED)
    text = f"{kind.resource_type} {name} is {status}{f': {failure}' if failure else ''}"
    return Transition(Event.RESOURCE_STATUS, fields, Note(status, text, "Observe", warning=failed))


def _steps(kind: Kind, after: Observation, old: str) -> list[dict[str, str]]:
    """The secondary statuses since `old`: all of them where Describe lists them, else just the newest."""
    newest = after.secondary(kind)
    history = after.data.get("SecondaryStatusTransitions") or ()
    if history:
        names = [entry["Status"] for entry in history]
        start = len(names) - names[::-1].index(old) if old in names else 0
        return [
            {"secondaryStatus": entry["Status"], "statusMessage": entry.get("StatusMessage", "")}
            for entry in history[start:]
        ]
    return [{"secondaryStatus": newest}] if newest and newest != old else []


def _progress(kind: Kind, after: Observation, now: float) -> dict[str, Any]:
    """Times and durations, as far as this answer has them. All are from SageMaker's clock, except `now` for a running job."""
    data = after.data
    created = _seconds(data, kind.created_member)
    started = _seconds(data, kind.started_member)
    ended = _seconds(data, kind.ended_member)
    fields: dict[str, Any] = {
        "createdAt": created and rfc3339(created),
        "startedAt": started and rfc3339(started),
        "endedAt": ended and rfc3339(ended),
    }
    if created:
        fields["elapsedSeconds"] = max(0, round((ended or now) - created))
    limit = (data.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
    if limit and started:
        fields["maxRuntimeSeconds"] = limit
        fields["runtimePercent"] = round(100 * max(0.0, (ended or now) - started) / limit, 1)
    return {name: value for name, value in fields.items() if value is not None}


def _summary(after: Observation) -> dict[str, Any]:
    """The last line of a job has its whole report, so that one query for it is enough."""
    data = after.data
    resources = data.get("ResourceConfig") or {}
    training, billable = data.get("TrainingTimeInSeconds"), data.get("BillableTimeInSeconds")
    spot = data.get("EnableManagedSpotTraining")
    return {
        "trainingSeconds": training,
        "billableSeconds": billable,
        "instanceType": resources.get("InstanceType"),
        "instanceCount": resources.get("InstanceCount"),
        "spot": spot,
        "spotSavingsPercent": round(100 * (1 - billable / training), 1)
        if spot and training and billable is not None
        else None,
        "metrics": {metric["MetricName"]: metric["Value"] for metric in (data.get("FinalMetricDataList") or ())[:40]}
        or None,
        "modelArtifacts": (data.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
    }


def _reason(state: StatusClass, failure: str) -> str | None:
    """One of a few values: a failure text of SageMaker begins with its class and a colon."""
    if state is StatusClass.STOPPED:
        return "Stopped"
    if state is not StatusClass.FAILED:
        return None
    known = ("AlgorithmError", "ClientError", "InternalServerError", "CapacityError")
    return next((name for name in known if failure.startswith(name)), "Unknown")


def _new_errors(
    kind: Kind, findings: Findings, common: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]]
) -> Iterator[Transition]:
    """A Terminal or Recoverable that is new, or has a new message."""
    for text, type_, event in (
        (findings.terminal, "ACK.Terminal", Event.RESOURCE_TERMINAL),
        (findings.recoverable, "ACK.Recoverable", Event.RESOURCE_WAITING),
    ):
        if text is None or any(known.get("type") == type_ and known.get("message") == text for known in conditions):
            continue
        # Neither waiting for the own request nor a terminal status, which was reported already, is an error.
        if findings.reason not in ("Deleting", "Updating", *kind.terminal_statuses):
            yield Transition(
                event,
                {**common, "reason": findings.reason, "err": text},
                Note(findings.reason, text, "Reconcile", warning=True),
            )


def _seconds(data: Mapping[str, Any], member: str | None) -> float | None:
    value = data.get(member or "")
    return float(value) if isinstance(value, int | float) else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"


_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


def _log_url(group: str, name: str, target: Target) -> str:
    partition = (
        "aws-cn" if target.region.startswith("cn-") else "aws-us-gov" if target.region.startswith("us-gov-") else "aws"
    )
    host = _CONSOLES.get(partition, "console.aws.amazon.com")
    return (
        f"https://{target.region}.{host}/cloudwatch/home?region={target.region}"
        f"#logStream:group={group};prefix={name}/;streamFilter=typeLogStreamPrefix"
    )
