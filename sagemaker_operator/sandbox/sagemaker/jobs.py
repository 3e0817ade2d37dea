"""Processing, transform, labeling and tuning jobs: defaults, times, counters and what is left at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour
from sagemaker_operator.sandbox.sagemaker.lifecycle import LifeCycle, Step
from sagemaker_operator.sandbox.sagemaker.listing import part_page
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import channels, fill, fill_deep, metric_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_DAY = 86_400
_START_SECONDS = 60.0
"""Instances are up a minute after creation."""
_LABELING_WAIT_SECONDS = 864_000
"""AWS's default for how long a task waits for a worker: ten days."""


_CHILD_MEMBERS = {
    "Status": "TrainingJobStatus",
    "Name": "TrainingJobName",
    "FinalObjectiveMetricValue": "FinalHyperParameterTuningJobObjectiveMetric.Value",
}


class Jobs(Behaviour):
    """What every job reports: when its containers ran. A job that ended before they started has no start time."""

    started = ""
    ended = ""

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        start = record.created + _START_SECONDS
        if self.started and start <= now and (start < record.timeline.end or not record.finished(now)):
            found[self.started] = start
        if self.ended and record.finished(now):
            found[self.ended] = record.timeline.end
        return found


class ProcessingJobs(Jobs):
    """A container that reads and writes S3."""

    started, ended = "ProcessingStartTime", "ProcessingEndTime"

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill(echoed.setdefault("StoppingCondition", {}), MaxRuntimeInSeconds=_DAY)
        for source in echoed.get("ProcessingInputs", ()):
            fill(source, AppManaged=False)
            if "S3Input" in source:
                fill(source["S3Input"], S3DataDistributionType="FullyReplicated", S3CompressionType="None")
        if "ProcessingOutputConfig" in echoed:
            fill(echoed["ProcessingOutputConfig"], KmsKeyId="")
            for target in echoed["ProcessingOutputConfig"]["Outputs"]:
                fill(target, AppManaged=False)
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found = super().details(record, now)
        match record.status_class(now):
            case StatusClass.SUCCEEDED:
                found["ExitMessage"] = "The sandbox's container wrote nothing and exited with 0."
            case StatusClass.FAILED:
                found["ExitMessage"] = "The sandbox's container exited with 1."
        return found


class TransformJobs(Jobs):
    """Batch inference with a model that must exist."""

    started, ended = "TransformStartTime", "TransformEndTime"

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        self.resources.need("Model", scope, given["ModelName"], now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill(echoed["TransformInput"], CompressionType="None", SplitType="None")
        fill(echoed["TransformOutput"], AssembleWith="None", KmsKeyId="")
        fill(echoed.setdefault("DataProcessing", {}), InputFilter="$", OutputFilter="$", JoinSource="None")
        return fill(echoed, Environment={})


class LabelingJobs(Jobs):
    """Labeling by people. Describe returns the tags, unlike that of any other kind."""

    queries = ("ListLabelingJobsForWorkteam",)

    def __init__(self, kind: Kind, *, resources: Resources | None = None) -> None:
        super().__init__(kind, resources=resources)
        opening = Step("Initializing", _START_SECONDS)
        self.life = LifeCycle(
            {outcome: (opening, *steps) for outcome, steps in self.life.runs.items()},
            stop=self.life.stop,
            seconds=self.life.seconds,
        )

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill(echoed["OutputConfig"], KmsKeyId="")
        fill(
            echoed["HumanTaskConfig"],
            MaxConcurrentTaskCount=1000,
            TaskAvailabilityLifetimeInSeconds=_LABELING_WAIT_SECONDS,
        )
        fill(echoed.setdefault("StoppingConditions", {}), MaxPercentageOfInputDatasetLabeled=100)
        if "LabelingJobAlgorithmsConfig" in echoed:
            fill(echoed["LabelingJobAlgorithmsConfig"], LabelingJobResourceConfig={})
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        done = 100 if record.status_class(now) is StatusClass.SUCCEEDED else 0
        found: dict[str, Any] = {
            "JobReferenceCode": f"{record.number:012d}",
            "LabelCounters": {
                "TotalLabeled": done,
                "HumanLabeled": done,
                "MachineLabeled": 0,
                "FailedNonRetryableError": 0,
                "Unlabeled": 100 - done,
            },
            "Tags": [{"Key": key, "Value": value} for key, value in record.tags.items()],
        }
        if done:
            root = record.input["OutputConfig"]["S3OutputPath"].rstrip("/")
            manifest = f"{root}/{record.name}/manifests/output/output.manifest"
            found["LabelingJobOutput"] = {"OutputDatasetS3Uri": manifest}
        return found

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        entries = []
        for record in records:
            task, described = record.input["HumanTaskConfig"], self.describe(record, now)
            if task["WorkteamArn"] != given["WorkteamArn"]:
                continue
            counters = described["LabelCounters"]
            human, unlabeled = counters["HumanLabeled"], counters["Unlabeled"]
            entry = {
                "LabelingJobName": record.name,
                "JobReferenceCode": described["JobReferenceCode"],
                "WorkRequesterAccountId": record.scope.account,
                "CreationTime": record.created,
                "LabelCounters": {"HumanLabeled": human, "PendingHuman": unlabeled, "Total": human + unlabeled},
                "NumberOfHumanWorkersPerDataObject": task["NumberOfHumanWorkersPerDataObject"],
            }
            entries.append(entry)
        return part_page(operation, entries, given, {})

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        task = record.input["HumanTaskConfig"]
        found = {n: task[n] for n in ("WorkteamArn", "PreHumanTaskLambdaArn") if n in task}
        consolidation = task.get("AnnotationConsolidationConfig", {})
        return found | {n: v for n, v in consolidation.items() if n == "AnnotationConsolidationLambdaArn"}


class TuningJobs(Jobs):
    """Hyperparameter tuning: as many training jobs as allowed, run in waves; all succeed or all fail."""

    queries = ("ListTrainingJobsForHyperParameterTuningJob",)
    ended = "HyperParameterTuningEndTime"

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if ("TrainingJobDefinition" in given) == ("TrainingJobDefinitions" in given):
            invalid("Exactly one of TrainingJobDefinition and TrainingJobDefinitions must be given.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        config = echoed["HyperParameterTuningJobConfig"]
        fill(config, TrainingJobEarlyStoppingType="Off")
        _ranges(config)
        for definition in _definitions(echoed):
            objective = definition.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
            if objective:
                hidden = {"_tuning_objective_metric": objective["MetricName"]}
                fill(definition.setdefault("StaticHyperParameters", {}), **hidden)
            _ranges(definition)
            for flag in (
                *("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption"),
                "EnableManagedSpotTraining",
            ):
                fill(definition, **{flag: False})
            fill(definition["OutputDataConfig"], KmsKeyId="", CompressionType="GZIP")
            fill(definition["StoppingCondition"], MaxRuntimeInSeconds=_DAY)
            channels(definition.get("InputDataConfig", ()))
            metric_definitions(definition["AlgorithmSpecification"])
            if "ResourceConfig" in definition and "InstanceGroups" not in definition["ResourceConfig"]:
                fill(definition["ResourceConfig"], InstanceCount=1)
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found = super().details(record, now)
        completed, failed, running = self._children(record, now)
        found["TrainingJobStatusCounters"] = {
            "Completed": completed,
            "InProgress": running,
            "RetryableError": 0,
            "NonRetryableError": failed,
            "Stopped": 0,
        }
        found["ObjectiveStatusCounters"] = {"Succeeded": completed, "Pending": running, "Failed": failed}
        if completed:
            # The first child is the best: it stays the same while others end, so that polls do not see a change.
            found["BestTrainingJob"] = self._child(record, 1, "Completed")
        return found

    def _children(self, record: Record, now: float) -> tuple[int, int, int]:
        """How many training jobs have completed, have failed, and are running."""
        limits = record.input["HyperParameterTuningJobConfig"]["ResourceLimits"]
        total, parallel = limits.get("MaxNumberOfTrainingJobs", 1), limits["MaxParallelTrainingJobs"]
        share = min(1.0, (now - record.created) / max(1.0, record.timeline.end - record.created))
        ended = total if record.status_class(now) is StatusClass.SUCCEEDED else int(total * share)
        failed = ended if record.status_class(now) is StatusClass.FAILED else 0
        return ended - failed, failed, 0 if record.finished(now) else min(parallel, total - ended)

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        counts = zip(("Completed", "Failed", "InProgress"), self._children(record, now), strict=True)
        statuses = [status for status, count in counts for _ in range(count)]
        entries = [self._child(record, number, status) for number, status in enumerate(statuses, start=1)]
        return part_page(operation, entries, given, _CHILD_MEMBERS)

    def _child(self, record: Record, number: int, status: str) -> dict[str, Any]:
        name = f"{record.name}-{number:03d}-{record.number:08x}"
        definition = next(_definitions(record.input))
        config = record.input["HyperParameterTuningJobConfig"]
        objective = definition.get("TuningObjective") or config.get("HyperParameterTuningJobObjective", {})
        child: dict[str, Any] = {
            "TrainingJobName": name,
            "TrainingJobArn": record.scope.arn(f"training-job/{name}"),
            "CreationTime": record.created,
            "TrainingJobStatus": status,
            "TunedHyperParameters": {},
            "ObjectiveStatus": {"Completed": "Succeeded", "InProgress": "Pending"}.get(status, "Failed"),
        }
        if "DefinitionName" in definition:
            child["TrainingJobDefinitionName"] = definition["DefinitionName"]
        if objective and status == "Completed":
            child["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "MetricName": objective["MetricName"],
                "Value": round((0.05 + record.luck / 4) / number, 4),
            }
        return child

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        config = record.input["HyperParameterTuningJobConfig"]
        return {name: config[name] for name in ("Strategy", "ResourceLimits")}


def _definitions(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "TrainingJobDefinition" in given:
        yield given["TrainingJobDefinition"]
    yield from given.get("TrainingJobDefinitions", ())


def _ranges(owner: dict[str, Any]) -> None:
    """Ranges that were left out come back as empty lists, and numeric ones are scaled automatically."""
    member = "ParameterRanges" if "ParameterRanges" in owner else "HyperParameterRanges"
    if member in owner:
        empty: dict[str, Any] = {f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")}
        fill_deep(owner[member], empty)
        for kind in ("Integer", "Continuous"):
            for one in owner[member][f"{kind}ParameterRanges"]:
                fill(one, ScalingType="Auto")
