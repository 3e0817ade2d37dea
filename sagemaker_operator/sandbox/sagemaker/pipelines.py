"""Pipelines, their versions, and their executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker import steps
from sagemaker_operator.sandbox.sagemaker.behaviour import FAILURE, Behaviour, Naming, declared_errors
from sagemaker_operator.sandbox.sagemaker.lifecycle import Step
from sagemaker_operator.sandbox.sagemaker.listing import part_page
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import echo
from sagemaker_operator.sandbox.sagemaker.texts import in_use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record

_FROM_S3 = '{"Version": "2020-12-01", "Steps": []}'
"""The sandbox has no S3: a definition kept there is described as one without steps."""


_CREATED = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
_VERSION_TEXTS = ("PipelineVersionDisplayName", "PipelineVersionDescription")


class Pipelines(Behaviour):
    """`notes`: `PipelineVersionId`, one more with every update, and `versions`, their definitions and texts, by id."""

    actions = ("UpdatePipelineVersion",)
    queries = ("ListPipelineVersions",)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if ("PipelineDefinition" in given) == ("PipelineDefinitionS3Location" in given):
            invalid("Exactly one of PipelineDefinition and PipelineDefinitionS3Location must be given.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = echo(given, without=("Tags", "ClientRequestToken", "PipelineDefinitionS3Location"))
        if "PipelineDefinitionS3Location" in given:
            echoed["PipelineDefinition"] = _FROM_S3
        return echoed

    def begin(self, record: Record) -> None:
        super().begin(record)
        record.input.setdefault("PipelineDisplayName", record.name)
        record.notes |= {"PipelineVersionId": 0, "versions": {}}
        self._add_version(record, record.created)

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        super().update(record, change, now)
        if not record.failure:
            self._add_version(record, now)

    def _add_version(self, record: Record, now: float) -> None:
        record.notes["PipelineVersionId"] += 1
        version = {"CreationTime": now, "PipelineDefinition": record.input["PipelineDefinition"]}
        record.notes["versions"][record.notes["PipelineVersionId"]] = version

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        version = version_of(record, given["PipelineVersionId"])
        version.update((name, given[name]) for name in _VERSION_TEXTS if name in given)

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        last = {execution.input["PipelineVersionId"]: execution.arn for execution in self._executions(record, now)}
        entries = []
        for number, version in record.notes["versions"].items():
            entry = {"PipelineArn": record.arn, "PipelineVersionId": number, **version}
            del entry["PipelineDefinition"]
            if number in last:
                entry["LastExecutionPipelineExecutionArn"] = last[number]
            entries.append(entry)
        return part_page(operation, entries, {_CREATED.get(name, name): value for name, value in given.items()}, {})

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        if any(not execution.finished(now) for execution in self._executions(record, now)):
            text = f"Pipeline '{record.arn}' cannot be deleted because executions of it are still running."
            raise in_use(text, declared=declared_errors(self.kind.delete))

    def details(self, record: Record, now: float) -> dict[str, Any]:
        runs = [execution.created for execution in self._executions(record, now)]
        return {"LastRunTime": max(runs)} if runs else {}

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        return {"LastExecutionTime": described["LastRunTime"]} if "LastRunTime" in described else {}

    def _executions(self, record: Record, now: float) -> list[Record]:
        found = self.resources.all("PipelineExecution", record.scope, now=now)
        return [execution for execution in found if execution.input["PipelineName"] == record.name]


def version_of(pipeline: Record, number: int) -> dict[str, Any]:
    """Raises ServiceError."""
    version: dict[str, Any] | None = pipeline.notes["versions"].get(number)
    if version is None:
        raise ServiceError("ResourceNotFound", f"Version {number} of pipeline '{pipeline.arn}' does not exist.")
    return version


class PipelineExecutions(Behaviour):
    """AWS names them; the same token starts the same one. They may be renamed at any time.

    `notes`: `version`, what is run; `answers`, the output parameters that callback steps received, by token; `kept`, the
    steps that a retry need not run; `tokens` of actions, so that none is done twice.
    """

    actions = ("RetryPipelineExecution", "SendPipelineExecutionStepFailure", "SendPipelineExecutionStepSuccess")
    queries = (
        "DescribePipelineDefinitionForExecution",
        "ListPipelineExecutionSteps",
        "ListPipelineParametersForExecution",
    )

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        pipeline = self.resources.need("Pipeline", scope, _name(given), now=now)
        if pipeline is not None and "PipelineVersionId" in given:
            version_of(pipeline, given["PipelineVersionId"])

    def naming(self, given: Mapping[str, Any], scope: Scope, drawn: str) -> Naming:
        arn = scope.arn(f"pipeline/{_name(given)}/execution/{drawn}")
        return Naming(drawn, (arn,), arn)

    def scenario_source(
        self, given: Mapping[str, Any], naming: Naming, tags: Mapping[str, str], scope: Scope, now: float
    ) -> Any:
        pipeline = self.resources.find("Pipeline", scope, _name(given), now=now)
        return _name(given), pipeline.tags if pipeline else {}

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = echo(given, without=("ClientRequestToken",))
        if "PipelineName" in echoed:
            echoed["PipelineName"] = _name(echoed)
        return echoed

    def begin(self, record: Record) -> None:
        super().begin(record)
        record.notes |= {"answers": {}, "kept": [], "tokens": set()}
        record.notes["version"] = {"PipelineDefinition": _FROM_S3, "CreationTime": record.created}
        record.input.setdefault("PipelineExecutionDisplayName", f"execution-{int(record.created * 1000)}")
        pipeline = self.resources.find("Pipeline", record.scope, record.input["PipelineName"], now=record.created)
        if pipeline is not None:
            record.input.setdefault("PipelineVersionId", pipeline.notes["PipelineVersionId"])
            record.notes["version"] = version_of(pipeline, record.input["PipelineVersionId"])

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        token = given.get("ClientRequestToken")
        if token is not None and token in record.notes["tokens"]:
            return
        if operation == "RetryPipelineExecution":
            self._retry(record, given, now)
        elif operation == "SendPipelineExecutionStepFailure":
            record.failure = given.get("FailureReason", "A callback step failed.")
            record.timeline.schedule((Step("Failed"),), start=now)
        else:
            # The step still ends at its time, so that the execution keeps its length.
            record.notes["answers"][given["CallbackToken"]] = list(given.get("OutputParameters", ()))
        record.notes["tokens"].add(token)
        record.modified = now

    def _retry(self, record: Record, given: Mapping[str, Any], now: float) -> None:
        """Steps that succeeded are not run again; the execution ends as its pipeline's tags and name select."""
        if not record.finished(now) or record.status(now) == steps.SUCCEEDED:
            text = f"Only failed and stopped executions can be retried; '{record.arn}' is {record.status(now)}."
            raise ServiceError("ConflictException", text)
        shown = self._steps(record, now)
        record.notes["kept"] = [entry for entry in shown if entry["StepStatus"] == steps.SUCCEEDED]
        record.failure = ""
        if "ParallelismConfiguration" in given:
            record.input["ParallelismConfiguration"] = dict(given["ParallelismConfiguration"])
        record.timeline.schedule(self.life.runs[record.scenario.outcome], start=now, total=self._length(record))

    def addressed(self, given: Mapping[str, Any], scope: Scope, now: float) -> Record | None:
        """By the token of a callback step that is waiting."""
        if (token := given.get("CallbackToken")) is None:
            return None
        for record in self.resources.all("PipelineExecution", scope, now=now):
            for entry in self._steps(record, now):
                callback = entry["Metadata"].get("Callback", {})
                if callback.get("CallbackToken") == token and entry["StepStatus"] == steps.RUNNING:
                    return record
        raise ServiceError("ResourceNotFound", f"No callback step waits for the token {token}.")

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        if "PipelineExecutionArn" not in given:
            invalid("PipelineExecutionArn must be given.")
        [record] = records
        version = record.notes["version"]
        if operation == "DescribePipelineDefinitionForExecution":
            return {name: version[name] for name in ("PipelineDefinition", "CreationTime")}
        if operation == "ListPipelineExecutionSteps":
            return part_page(operation, self._steps(record, now), given, {})
        chosen = {one["Name"]: one["Value"] for one in record.input.get("PipelineParameters", ())}
        values = steps.parameters(version["PipelineDefinition"]) | chosen
        entries = [{"Name": name, "Value": value} for name, value in values.items()]
        return part_page(operation, entries, given, {})

    def _length(self, record: Record) -> float:
        return self.life.seconds if record.scenario.seconds is None else record.scenario.seconds

    def _steps(self, record: Record, now: float) -> list[dict[str, Any]]:
        """The steps that have begun: those that succeeded in an earlier try, and those of the last try."""
        shown: list[dict[str, Any]] = list(record.notes["kept"])
        done = {entry["StepName"] for entry in shown}
        phases = record.timeline.phases
        first = max(i for i, p in enumerate(phases) if p.step.status == steps.RUNNING and p.start <= now)
        planned = steps.planned(record.notes["version"]["PipelineDefinition"])
        left = [step for step in planned if step["Name"] not in done]
        for step, entry in steps.run(left, phases[first:], seconds=self._length(record), now=now):
            entry["StepName"] = step["Name"]
            entry["StepDisplayName"] = step.get("DisplayName", step["Name"])
            entry["Metadata"] = steps.metadata(step, record.arn, record.scope, record.notes["answers"])
            if "Description" in step:
                entry["StepDescription"] = step["Description"]
            if entry["StepStatus"] == "Failed":
                entry["FailureReason"] = record.failure or FAILURE
            shown.append(entry)
        return shown

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        """Allowed in every status."""

    def details(self, record: Record, now: float) -> dict[str, Any]:
        name = record.input["PipelineName"]
        return {
            "PipelineArn": record.scope.arn(f"pipeline/{name}"),
            "PipelineExperimentConfig": {"ExperimentName": name, "TrialName": record.name},
        }

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        found = {"StartTime": record.created}
        if "FailureReason" in described:
            found["PipelineExecutionFailureReason"] = described["FailureReason"]
        return found


def _name(given: Mapping[str, Any]) -> str:
    """PipelineName may be an ARN."""
    return str(given["PipelineName"]).rpartition("/")[2]
