"""Pipelines and their executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, Naming, declared_errors
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import echo
from sagemaker_operator.sandbox.sagemaker.texts import in_use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record

_FROM_S3 = '{"Version": "2020-12-01", "Steps": []}'
"""The sandbox has no S3: a definition kept there is described as one without steps."""


class Pipelines(Behaviour):
    """`notes`: `PipelineVersionId`, one more with every update."""

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
        record.notes["PipelineVersionId"] = 1

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        super().apply(record, change)
        record.notes["PipelineVersionId"] += 1

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
        found = self.around.all("PipelineExecution", record.scope, now=now)
        return [execution for execution in found if execution.input["PipelineName"] == record.name]


class PipelineExecutions(Behaviour):
    """AWS names them; the same token starts the same one. They may be renamed at any time."""

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        self.around.need("Pipeline", scope, _name(given), now=now)

    def naming(self, given: Mapping[str, Any], scope: Scope, drawn: str) -> Naming:
        arn = scope.arn(f"pipeline/{_name(given)}/execution/{drawn}")
        return Naming(drawn, (arn,), arn)

    def wished(
        self, given: Mapping[str, Any], naming: Naming, tags: Mapping[str, str], scope: Scope, now: float
    ) -> Any:
        pipeline = self.around.find("Pipeline", scope, _name(given), now=now)
        return _name(given), pipeline.tags if pipeline else {}

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = echo(given, without=("ClientRequestToken",))
        if "PipelineName" in echoed:
            echoed["PipelineName"] = _name(echoed)
        return echoed

    def begin(self, record: Record) -> None:
        super().begin(record)
        record.input.setdefault("PipelineExecutionDisplayName", f"execution-{int(record.created * 1000)}")
        pipeline = self.around.find("Pipeline", record.scope, record.input["PipelineName"], now=record.created)
        if pipeline is not None:
            record.input.setdefault("PipelineVersionId", pipeline.notes["PipelineVersionId"])

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
