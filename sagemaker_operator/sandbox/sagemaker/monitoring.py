"""Model monitoring: job definitions, and the schedules that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, declared_errors
from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, FAILED, GOOD, LifeCycle, Step
from sagemaker_operator.sandbox.sagemaker.listing import part_page
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_HOUR = 3_600.0
"""Schedules run hourly whatever their expression says: the shortest interval that AWS allows."""
_EXECUTION_SECONDS = 600.0
_DAY = 86_400
_TYPES = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")

_PENDING = Step("Pending", CHANGE_SECONDS)
_SCHEDULED = Step("Scheduled")
LIFE = LifeCycle(
    {GOOD: (Step("Pending"), _SCHEDULED), FAILED: (Step("Pending"), Step("Failed"))},
    stop=(_PENDING, Step("Stopped")),
    update=(_PENDING, _SCHEDULED),
    update_failed=(_PENDING, Step("Failed")),
)


class JobDefinitions(Behaviour):
    """The four kinds of job definition: data quality, model quality, bias, explainability."""

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill(echoed.setdefault("StoppingCondition", {}), MaxRuntimeInSeconds=3_600)
        for member, value in echoed.items():
            if member.endswith("JobInput"):
                _fill_input(value)
            if member.endswith("JobOutputConfig"):
                _fill_output(value)
        return fill(
            echoed, NetworkConfig={"EnableInterContainerTrafficEncryption": False, "EnableNetworkIsolation": False}
        )

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        inputs: dict[str, Any] = next((v for member, v in record.input.items() if member.endswith("JobInput")), {})
        return {
            "MonitoringJobDefinitionName": record.name,
            "MonitoringJobDefinitionArn": record.arn,
            **_endpoint(inputs),
        }


def _fill_input(source: dict[str, Any]) -> None:
    for member in ("EndpointInput", "BatchTransformInput"):
        if member in source:
            fill(source[member], S3InputMode="File", S3DataDistributionType="FullyReplicated")


def _fill_output(config: dict[str, Any]) -> None:
    fill(config, KmsKeyId="")
    for output in config["MonitoringOutputs"]:
        fill(output["S3Output"], S3UploadMode="EndOfJob")


def _endpoint(inputs: Mapping[str, Any]) -> dict[str, Any]:
    name = inputs.get("EndpointInput", {}).get("EndpointName")
    return {"EndpointName": name} if name else {}


class MonitoringSchedules(Behaviour):
    """A schedule is busy while one of its executions runs. It has one alert, which is never raised.

    `notes`: `alert`, what UpdateMonitoringAlert made of it.
    """

    actions = ("StartMonitoringSchedule", "UpdateMonitoringAlert")
    queries = ("ListMonitoringAlertHistory", "ListMonitoringAlerts", "ListMonitoringExecutions")

    def __init__(self, kind: Kind, *, resources: Resources | None = None) -> None:
        super().__init__(kind, resources=resources, life=LIFE)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        config = given["MonitoringScheduleConfig"]
        if ("MonitoringJobDefinition" in config) == ("MonitoringJobDefinitionName" in config):
            invalid("Exactly one of MonitoringJobDefinition and MonitoringJobDefinitionName must be given.")
        if name := config.get("MonitoringJobDefinitionName"):
            types = [config["MonitoringType"]] if "MonitoringType" in config else _TYPES
            kinds = [f"{type_}JobDefinition" for type_ in types]
            if not any(self.resources.find(kind, scope, name, now=now) for kind in kinds):
                self.resources.need(kinds[0], scope, name, now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        config = fill(echoed["MonitoringScheduleConfig"], MonitoringType="DataQuality")
        if job := config.get("MonitoringJobDefinition"):
            fill(job.setdefault("StoppingCondition", {}), MaxRuntimeInSeconds=_DAY)
            fill(job, Environment={})
            for source in job["MonitoringInputs"]:
                _fill_input(source)
            _fill_output(job["MonitoringOutputConfig"])
        return echoed

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        super().check_update(record, change, now)
        self._check_execution(record, self.kind.update, now)
        self.check(change, record.scope, now)

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        self._check_execution(record, self.kind.delete, now)

    def stop(self, record: Record, now: float) -> None:
        if record.status_class(now) is not StatusClass.STEADY:
            raise self.busy(record, "StopMonitoringSchedule", now)
        record.move(self.life.stop, now)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        if operation == "UpdateMonitoringAlert":
            alert = self._alert(record)
            if given["MonitoringAlertName"] != alert["MonitoringAlertName"]:
                text = f"Monitoring alert {given['MonitoringAlertName']} does not exist in schedule {record.arn}."
                raise ServiceError("ResourceNotFound", text)
            wanted = {name: given[name] for name in ("DatapointsToAlert", "EvaluationPeriod")}
            record.notes["alert"] = wanted | {"LastModifiedTime": now}
            return
        if record.status_class(now) is not StatusClass.STOPPED:
            raise self.busy(record, operation, now)
        record.move(self.life.update, now)

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        match operation:
            case "ListMonitoringExecutions":
                runs = (
                    self._execution(record, start, now)
                    for record in records
                    for first, count in _spells(record, now)
                    for start in (first + number * _HOUR for number in range(count))
                )
                entries = sorted(runs, key=lambda run: run["CreationTime"])
                return part_page(operation, entries, given, {"Status": "MonitoringExecutionStatus"})
            case "ListMonitoringAlerts":
                return part_page(operation, [self._alert(record) for record in records], given, {})
            case _:
                return part_page(operation, [], given, {"Status": "AlertStatus"})

    def _alert(self, record: Record) -> dict[str, Any]:
        return {
            "MonitoringAlertName": record.name,
            "CreationTime": record.created,
            "LastModifiedTime": record.created,
            "AlertStatus": "OK",
            "DatapointsToAlert": 1,
            "EvaluationPeriod": 1,
            "Actions": {"ModelDashboardIndicator": {"Enabled": True}},
            **record.notes.get("alert", {}),
        }

    def details(self, record: Record, now: float) -> dict[str, Any]:
        config = record.input["MonitoringScheduleConfig"]
        found: dict[str, Any] = {"MonitoringType": config["MonitoringType"], **self._watched(record, now)}
        if (run := self._last_execution(record, now)) is not None:
            found["LastMonitoringExecutionSummary"] = run
        return found

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        config = record.input["MonitoringScheduleConfig"]
        return {n: config[n] for n in ("MonitoringJobDefinitionName",) if n in config}

    def _check_execution(self, record: Record, operation: str | None, now: float) -> None:
        run = self._last_execution(record, now)
        if run is not None and run["MonitoringExecutionStatus"] == "InProgress":
            text = f"Monitoring schedule {record.arn} has an execution in progress."
            raise texts.in_use(text, declared=declared_errors(operation))

    def _watched(self, record: Record, now: float) -> dict[str, Any]:
        """The monitored endpoint, from the inline definition or the named one."""
        config = record.input["MonitoringScheduleConfig"]
        inputs = list(config.get("MonitoringJobDefinition", {}).get("MonitoringInputs", ()))
        if name := config.get("MonitoringJobDefinitionName"):
            definitions = (self.resources.find(f"{t}JobDefinition", record.scope, name, now=now) for t in _TYPES)
            for definition in filter(None, definitions):
                inputs += [value for member, value in definition.input.items() if member.endswith("JobInput")]
        return next((found for found in map(_endpoint, inputs) if found), {})

    def _last_execution(self, record: Record, now: float) -> dict[str, Any] | None:
        spells = list(_spells(record, now))
        if not spells:
            return None
        first, count = spells[-1]
        return self._execution(record, first + (count - 1) * _HOUR, now)

    def _execution(self, record: Record, start: float, now: float) -> dict[str, Any]:
        config, end = record.input["MonitoringScheduleConfig"], start + _EXECUTION_SECONDS
        named = {name: config[name] for name in ("MonitoringJobDefinitionName",) if name in config}
        return {
            "MonitoringScheduleName": record.name,
            "ScheduledTime": start,
            "CreationTime": start,
            "LastModifiedTime": min(end, now),
            "MonitoringExecutionStatus": "Completed" if now >= end else "InProgress",
            "ProcessingJobArn": record.scope.arn(f"processing-job/{record.name[:40]}-{int(start)}"),
            "MonitoringType": config["MonitoringType"],
            **named,
            **self._watched(record, now),
        }


def _spells(record: Record, now: float) -> Iterator[tuple[float, int]]:
    """(when the first began, how many) executions of each spell of being scheduled.

    The first begins one hour after it was scheduled, and one every hour since.
    """
    phases = record.timeline.passed(now)
    for phase, following in zip(phases, [*phases[1:], None], strict=True):
        if phase.step.status != _SCHEDULED.status:
            continue
        until = now if following is None else following.start
        runs = int((until - phase.start) // _HOUR)
        if runs:
            yield phase.start + _HOUR, runs
