"""What the derivation rules cannot know, kind by kind: data only, and only the fields that differ from the rules.

Not-found texts: ACK's generator configuration and the Terraform provider's finders, which agree with what AWS answers;
the errors that the model declares do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from sagemaker_operator.kinds.descriptor import Column, Hooks
from sagemaker_operator.kinds.hooks import training

if TYPE_CHECKING:
    from collections.abc import Mapping


class Override(TypedDict, total=False):
    """The exceptional facts of one kind. What is left out follows the rules of `kinds/catalog`."""

    short_names: tuple[str, ...]
    describe: str
    stop: str
    listing: str
    job: bool
    """Whether it runs to an end; by rule, kinds called ...Job do."""
    stop_on_delete: bool
    identifiers: tuple[str, ...]
    name_member: str
    arn_member: str
    status_member: str | None
    failure_member: str | None
    log_group: str
    log_lines_kind: str
    not_found: str
    """Pattern of the ValidationException that means absence; by rule, ResourceNotFound means it."""
    shown: tuple[str, ...]
    """Describe members in status, beyond times, statuses and the failure."""
    columns: tuple[Column, ...]
    """Printer columns before those of the rules."""
    ignored: tuple[str, ...]
    either_or: tuple[tuple[str, ...], ...]
    hooks: Hooks
    updates_while_moving: bool


UNCLEAR_ABSENCE = r"(?i)could not find|cannot find|does not exist|not found|RecordNotFound|^No .* with name"
"""For kinds whose text nobody wrote down: what SageMaker says elsewhere when there is nothing."""

OVERRIDES: Mapping[str, Override] = {
    "Action": {"status_member": None},
    "Algorithm": {"not_found": UNCLEAR_ABSENCE},
    "App": {
        "identifiers": ("DomainId", "AppType", "AppName", "UserProfileName", "SpaceName"),
        "either_or": (("userProfileName", "spaceName"),),
    },
    "AutoMLJobV2": {
        "stop": "StopAutoMLJob",
        "listing": "ListAutoMLJobs",
        "status_member": "AutoMLJobStatus",
        "job": True,
    },
    "Cluster": {"failure_member": "FailureMessage"},
    "CodeRepository": {"not_found": UNCLEAR_ABSENCE},
    "DeviceFleet": {"not_found": r"No devicefleet with name"},
    "Domain": {
        "shown": ("DomainId", "Url"),
        "columns": (Column("DOMAIN-ID", ".status.domainID"),),
    },
    "EdgePackagingJob": {"failure_member": "EdgePackagingJobStatusMessage"},
    "Endpoint": {
        "shown": ("PendingDeploymentSummary", "ProductionVariants"),
        "not_found": r"^Could not find endpoint",
        "log_group": "/aws/sagemaker/Endpoints",
        "log_lines_kind": "endpoint",
    },
    "EndpointConfig": {"not_found": r"^Could not find endpoint configuration"},
    "HubContentReference": {
        "describe": "DescribeHubContent",
        "listing": "ListHubContents",
        "status_member": "HubContentStatus",
        "arn_member": "HubContentArn",
    },
    "HubContent": {"arn_member": "HubContentArn"},
    "HyperParameterTuningJob": {
        "shown": (
            *("BestTrainingJob", "OverallBestTrainingJob", "TrainingJobStatusCounters", "ObjectiveStatusCounters"),
            *("TuningJobCompletionDetails", "ConsumedResources"),
        ),
        "log_group": "/aws/sagemaker/TrainingJobs",
        "either_or": (("trainingJobDefinition", "trainingJobDefinitions"),),
    },
    "InferenceComponent": {
        "shown": ("EndpointName", "VariantName"),
        "not_found": r"^Could not find inference component",
        "log_lines_kind": "endpoint",
    },
    "InferenceExperiment": {
        "job": True,
        # Stopping one needs to be told what becomes of each variant: nothing a finalizer could decide.
        "stop_on_delete": False,
        "arn_member": "Arn",
        "failure_member": "StatusReason",
    },
    "LabelingJob": {
        "shown": ("JobReferenceCode", "LabelCounters", "LabelingJobOutput"),
        "log_group": "/aws/sagemaker/LabelingJobs",
        "not_found": UNCLEAR_ABSENCE,
    },
    "MlflowApp": {"arn_member": "Arn"},
    "MlflowTrackingServer": {"status_member": "TrackingServerStatus"},
    "Model": {
        "not_found": r"^Could not find model",
        "either_or": (("primaryContainer", "containers"),),
    },
    "ModelCard": {"status_member": None},
    "ModelPackage": {
        "not_found": r"does not exist\.$",
        "shown": ("ModelPackageStatusDetails",),
        "either_or": (("modelPackageName", "modelPackageGroupName"),),
    },
    "ModelPackageGroup": {"not_found": r"does not exist\.$"},
    "MonitoringSchedule": {"shown": ("LastMonitoringExecutionSummary",)},
    "NotebookInstance": {
        "shown": ("Url",),
        "not_found": r"^RecordNotFound",
        "log_group": "/aws/sagemaker/NotebookInstances",
    },
    "NotebookInstanceLifecycleConfig": {
        "not_found": r"^Unable to describe Notebook Instance Lifecycle Config",
        "columns": (
            Column("CREATION-TIME", ".status.creationTime", "date"),
            Column("LAST-MODIFIED-TIME", ".status.lastModifiedTime", "date"),
        ),
    },
    "PartnerApp": {"arn_member": "Arn", "failure_member": "Error"},
    "Pipeline": {"either_or": (("pipelineDefinition", "pipelineDefinitionS3Location"),)},
    "PipelineExecution": {"job": True, "name_member": "PipelineExecutionArn"},
    "ProcessingJob": {
        "shown": ("ExitMessage",),
        "log_group": "/aws/sagemaker/ProcessingJobs",
        "not_found": r"^Could not find requested job",
    },
    "Project": {
        "shown": ("ProjectId", "ServiceCatalogProvisionedProductDetails", "TemplateProviderDetails"),
        "not_found": r"does not exist",
    },
    "Space": {"shown": ("HomeEfsFileSystemUid", "Url")},
    "TrainingJob": {
        "short_names": ("smtj",),
        "shown": (
            *("ModelArtifacts", "WarmPoolStatus", "DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"),
            *("SecondaryStatusTransitions", "FinalMetricDataList", "TrainingTimeInSeconds", "BillableTimeInSeconds"),
            "ProgressInfo",
        ),
        "log_group": "/aws/sagemaker/TrainingJobs",
        "not_found": r"^Requested resource not found",
        # SageMaker adds metric definitions of its own to those of the user, and leaves out the record wrapper "None".
        "ignored": ("AlgorithmSpecification.MetricDefinitions", "InputDataConfig[].RecordWrapperType"),
        "either_or": (("algorithmSpecification.algorithmName", "algorithmSpecification.trainingImage"),),
        "hooks": Hooks(plan_update=training.plan_update, pending=training.pending, lingers=training.lingers),
        "updates_while_moving": True,
    },
    "TransformJob": {
        "log_group": "/aws/sagemaker/TransformJobs",
        "not_found": r"^Could not find requested job with name",
    },
    "TrialComponent": {"status_member": None},
}

NOT_FOUND_CODES = ("ResourceNotFound", "ResourceNotFoundException")
ABSENT_BY_TEXT_CODES = ("ValidationException",)


def not_found_pattern(kind: str) -> re.Pattern[str] | None:
    """The text that a kind's ValidationException must match to mean absence; None: its code says so."""
    pattern = OVERRIDES.get(kind, {}).get("not_found")
    return re.compile(pattern) if pattern else None
