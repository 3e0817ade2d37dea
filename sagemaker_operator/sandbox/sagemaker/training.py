"""TrainingJob as SageMaker runs it: secondary statuses, spot interruptions, warm pools, rules and update gates."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour
from sagemaker_operator.sandbox.sagemaker.lifecycle import (
    CHANGE_SECONDS,
    FAILED,
    GOOD,
    JOB_SECONDS,
    MAX_RUNTIME,
    STOPPED,
    LifeCycle,
    Step,
)
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import channels, metric_definitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

RULE_SECONDS = 60.0
"""How long after the job's end its debugger and profiler rules are evaluated."""

_RUNNING = "InProgress"
_DAY = 86_400
_INSTANCES = ("InstanceType", "InstanceGroups", "InstancePreferences")
_SPOT_BILLED = 0.3
"""AWS advertises savings of up to 90 % for spot; 70 % is what its own examples show."""

_START = (
    Step(_RUNNING, 60.0, "Starting", "Preparing the instances for training"),
    Step(_RUNNING, 30.0, "Downloading", "Downloading the training image"),
)
_TRAIN = Step(_RUNNING, None, "Training", "Training image download completed. Training in progress.")
_UPLOAD = Step(_RUNNING, 30.0, "Uploading", "Uploading generated training model")
_INTERRUPTED = Step(_RUNNING, 30.0, "Interrupted", "Managed spot instances were reclaimed")
_STOP = (
    Step("Stopping", CHANGE_SECONDS, "Stopping", "Stopping the training job"),
    Step("Stopped", None, "Stopped", "Training job stopped"),
)
_EXCEEDED = Step("Stopped", None, "MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds provided")
_FAILURE = (
    'AlgorithmError: ExecuteUserScriptError: ExitCode 1 ErrorMessage "RuntimeError: the sandbox was asked to fail", '
    "exit code: 1"
)

LIFE = LifeCycle(
    {
        GOOD: (*_START, _TRAIN, _UPLOAD, Step("Completed", None, "Completed", "Training job completed")),
        FAILED: (*_START, _TRAIN, Step("Failed", None, "Failed", "Training job failed")),
        STOPPED: (*_START, _TRAIN, *_STOP),
        MAX_RUNTIME: (*_START, _TRAIN, _EXCEEDED),
    },
    stop=_STOP,
    delete=(Step("Deleting", CHANGE_SECONDS, "Completed"), Step("")),
    seconds=JOB_SECONDS,
)


class TrainingJobs(Behaviour):
    """Simulated training jobs. Error texts are AWS's where known, otherwise similar."""

    def __init__(self, kind: Kind, *, resources: Resources | None = None) -> None:
        super().__init__(kind, resources=resources, life=LIFE)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        algorithm = given.get("AlgorithmSpecification")
        resources = given.get("ResourceConfig", {})
        stopping = given.get("StoppingCondition", {})
        spot = given.get("EnableManagedSpotTraining", False)
        if "ServerlessJobConfig" not in given:
            if algorithm is None or ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
                invalid("You must specify either TrainingImage or AlgorithmName in AlgorithmSpecification, not both.")
            if sum(name in resources for name in _INSTANCES) != 1:
                invalid(f"You must specify exactly one of {', '.join(_INSTANCES)}.")
        runtime, wait = stopping.get("MaxRuntimeInSeconds", _DAY), stopping.get("MaxWaitTimeInSeconds")
        if spot and (wait is None or wait < runtime):
            rule = "It must be present and be greater than or equal to MaxRuntimeInSeconds"
            invalid(f"Invalid MaxWaitTimeInSeconds. {rule}")
        if wait is not None and not spot:
            invalid("MaxWaitTimeInSeconds is only valid when EnableManagedSpotTraining is true.")
        if spot and resources.get("KeepAlivePeriodInSeconds"):
            invalid("KeepAlivePeriodInSeconds is not supported with managed spot training.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        for flag in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
            echoed.setdefault(flag, False)
        if "AlgorithmSpecification" in echoed:
            echoed["AlgorithmSpecification"].setdefault("EnableSageMakerMetricsTimeSeries", False)
            metric_definitions(echoed["AlgorithmSpecification"])
        for name, value in (("KmsKeyId", ""), ("CompressionType", "GZIP")):
            echoed["OutputDataConfig"].setdefault(name, value)
        echoed.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", _DAY)
        channels(echoed.get("InputDataConfig", ()))
        for rules in ("DebugRuleConfigurations", "ProfilerRuleConfigurations"):
            _default_rules(echoed.get(rules, ()))
        return echoed

    def begin(self, record: Record) -> None:
        limit = record.input["StoppingCondition"]["MaxRuntimeInSeconds"]
        steps = list(self.life.runs[record.scenario.outcome])
        if record.input["EnableManagedSpotTraining"]:
            steps[2:2] = [_TRAIN, _INTERRUPTED, *_START] * record.scenario.interruptions
        asked = record.scenario.seconds
        total = min(self.life.seconds, limit) if asked is None else asked
        record.timeline.schedule(steps, start=record.created, total=total)
        started = record.timeline.phases[1].start
        if record.scenario.outcome == GOOD and record.timeline.end - started > limit:
            record.timeline.schedule((_EXCEEDED,), start=started + limit)

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        if not any(name in change for name in self._updated):
            invalid(f"You must specify at least one of {', '.join(self._updated)}.")
        if "ResourceConfig" in change:
            self._check_warm_pool(record, now)
        if "RemoteDebugConfig" in change and record.timeline.at(now).step.secondary not in ("Downloading", "Training"):
            invalid("RemoteDebugConfig can be updated only while SecondaryStatus is Downloading or Training.")
        if "ProfilerConfig" in change or "ProfilerRuleConfigurations" in change:
            self._check_profiler(record, change, now)
        for name in ("ResourceConfig", "RemoteDebugConfig", "ProfilerConfig"):
            if name in change:
                record.input[name] = {**record.input.get(name, {}), **copy.deepcopy(change[name])}
        if rules := copy.deepcopy(change.get("ProfilerRuleConfigurations", [])):
            _default_rules(rules)
            record.input["ProfilerRuleConfigurations"] = [*record.input.get("ProfilerRuleConfigurations", ()), *rules]
        record.modified = now

    def _check_warm_pool(self, record: Record, now: float) -> None:
        pool = _warm_pool(record, now)
        if pool is None or pool["Status"] != "Available":
            state = "absent" if pool is None else pool["Status"]
            invalid(
                "KeepAlivePeriodInSeconds can be updated only while the warm pool of the training job is Available; "
                f"it is {state} and the training job is in status {record.status(now)}."
            )

    def _check_profiler(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        step = record.timeline.at(now).step
        if step.status != _RUNNING:
            raise texts.wrong_status(self.kind, step.status)
        if step.secondary == "Starting":
            invalid("The profiler cannot be updated while the training job is Starting.")
        known = {rule["RuleConfigurationName"] for rule in record.input.get("ProfilerRuleConfigurations", ())}
        added = [rule["RuleConfigurationName"] for rule in change.get("ProfilerRuleConfigurations", ())]
        if added and change.get("ProfilerConfig", {}).get("DisableProfiler"):
            invalid("ProfilerRuleConfigurations cannot be set when DisableProfiler is true.")
        if len(known | set(added)) < len(known) + len(added):
            invalid("Profiler rule configuration names must be unique within a training job.")

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        pool = _warm_pool(record, now)
        if pool is not None and pool["Status"] == "Available":
            raise ServiceError("ResourceInUse", "The training job has a warm pool in status Available.")

    def details(self, record: Record, now: float) -> dict[str, Any]:
        given = record.input
        status = record.status(now)
        found: dict[str, Any] = {
            "ModelArtifacts": {"S3ModelArtifacts": _artifacts(given)},
            "SecondaryStatusTransitions": _transitions(record, now),
            **_times(record, now),
        }
        if status == "Failed":
            found["FailureReason"] = _FAILURE
        if status == "Completed":
            found["FinalMetricDataList"] = [_metric(record)]
        if (pool := _warm_pool(record, now)) is not None:
            found["WarmPoolStatus"] = pool
        profiling = "ProfilerConfig" in given and not given["ProfilerConfig"].get("DisableProfiler", False)
        found["ProfilingStatus"] = "Enabled" if profiling else "Disabled"
        if rules := given.get("DebugRuleConfigurations"):
            found["DebugRuleEvaluationStatuses"] = _evaluations(record, rules, now)
        if (rules := given.get("ProfilerRuleConfigurations")) and profiling:
            found["ProfilerRuleEvaluationStatuses"] = _evaluations(record, rules, now)
        return found


def _default_rules(rules: Any) -> None:
    for rule in rules:
        rule.setdefault("VolumeSizeInGB", 0)


def _artifacts(given: Mapping[str, Any]) -> str:
    output = given["OutputDataConfig"]
    tail = "model.tar.gz" if output["CompressionType"] == "GZIP" else "model/"
    return f"{output['S3OutputPath'].rstrip('/')}/{given['TrainingJobName']}/output/{tail}"


def _transitions(record: Record, now: float) -> list[dict[str, Any]]:
    passed = record.timeline.passed(now)
    found: list[dict[str, Any]] = [
        {"Status": phase.step.secondary, "StartTime": phase.start, "StatusMessage": phase.step.message}
        for phase in passed
    ]
    for entry, following in zip(found, passed[1:], strict=False):
        entry["EndTime"] = following.start
    if record.finished(now):
        found[-1]["EndTime"] = found[-1]["StartTime"]
    return found


def _times(record: Record, now: float) -> dict[str, Any]:
    """Billing runs from the first download to the end; a job that ends before has neither start nor bill."""
    downloads = [p.start for p in record.timeline.passed(now) if p.step.secondary == "Downloading"]
    found: dict[str, Any] = {"TrainingStartTime": downloads[0]} if downloads else {}
    if record.finished(now):
        found["TrainingEndTime"] = record.timeline.end
        if downloads:
            seconds = record.timeline.end - downloads[0]
            share = _SPOT_BILLED if record.input["EnableManagedSpotTraining"] else 1.0
            found["TrainingTimeInSeconds"] = max(1, int(seconds))
            found["BillableTimeInSeconds"] = max(1, int(seconds * share))
    return found


def _metric(record: Record) -> dict[str, Any]:
    definitions = record.input.get("AlgorithmSpecification", {}).get("MetricDefinitions") or [{"Name": "train:loss"}]
    return {
        "MetricName": definitions[0]["Name"],
        "Value": round(0.05 + record.luck / 4, 4),
        "Timestamp": record.timeline.end,
    }


def _warm_pool(record: Record, now: float) -> dict[str, Any] | None:
    """Instances are kept after completion only, for the period that the job or its last update asked for."""
    period = record.input.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
    if record.status(now) != "Completed" or period is None:
        return None
    if now < record.timeline.end + period:
        return {"Status": "Available"}
    return {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": period}


def _evaluations(record: Record, rules: list[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    done = record.timeline.end + RULE_SECONDS
    over = record.finished(now) and now >= done
    return [
        {
            "RuleConfigurationName": rule["RuleConfigurationName"],
            "RuleEvaluationJobArn": record.scope.arn(f"processing-job/{record.name[:40]}-rule-{number}"),
            "RuleEvaluationStatus": "NoIssuesFound" if over else _RUNNING,
            "LastModifiedTime": done if over else record.created,
        }
        for number, rule in enumerate(rules, start=1)
    ]
