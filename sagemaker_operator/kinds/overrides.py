"""Facts that the derivation rules do not give, by kind: data only, and only fields that differ from the rules.

Not-found texts: ACK's generator configuration and the Terraform provider's finders, which agree with what AWS answers;
the errors that the model declares do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypedDict

from sagemaker_operator.kinds.descriptor import Advice, Column, Hooks
from sagemaker_operator.kinds.hooks import (
    features,
    hosting,
    monitoring,
    notebooks,
    pipelines,
    projects,
    registry,
    training,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class Override(TypedDict, total=False):
    """The exceptional facts of one kind. Absent fields follow the rules of `kinds/catalog`."""

    short_names: tuple[str, ...]
    describe: str
    stop: str
    listing: str
    list_params: dict[str, Any]
    job: bool
    """Whether it runs to an end; by rule, kinds called ...Job do."""
    stop_on_delete: bool
    stop_before_delete: tuple[str, ...]
    terminal_statuses: tuple[str, ...]
    identifiers: tuple[str, ...]
    optional_identifiers: tuple[str, ...]
    arn_path: tuple[str, ...]
    """`A|B`: one of the two."""
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
    recreated: bool
    update_names: dict[str, str]
    update_identifiers: tuple[str, ...]
    described_by_arn: dict[str, str]
    read_from: dict[str, str]
    tags_on_create: bool
    extra_spec: tuple[str, ...]
    """Members of the update input alone that are fields of spec."""
    own_status: tuple[str, ...]
    """CRD names."""


UNCLEAR_ABSENCE = r"(?i)could not find|cannot find|does not exist|not found|RecordNotFound|^No .* with name"
"""For kinds whose text is not documented: SageMaker's texts for absent resources of other kinds."""

ORDERED = frozenset(
    {
        "Containers",  # of an inference pipeline: each gets what the one before it answered
        *("ContainerEntrypoint", "ContainerArguments"),  # a command line
        "AttributeNames",  # of an augmented manifest: the order in which the algorithm is given them
        *("InstancePreferences", "InstanceConfigs"),  # the first that has capacity is taken
        *("FeatureHeaders", "FeatureTypes", "LabelHeaders"),  # by position: one for each column, or class
    }
)
"""Lists with a meaningful order, in any structure. ACK compares every list in order, AWS re-orders its sets."""

OVERRIDES: Mapping[str, Override] = {
    "Action": {"shown": ("LineageGroupArn",)},
    "App": {
        "identifiers": ("DomainId", "AppType", "AppName", "UserProfileName", "SpaceName"),
        "optional_identifiers": ("UserProfileName", "SpaceName"),
        "arn_path": ("DomainId", "UserProfileName|SpaceName", "AppType", "AppName"),
        "either_or": (("userProfileName", "spaceName"),),
        # Studio has a button for it; the record of a closed app goes away after a day.
        "recreated": False,
    },
    "Artifact": {"shown": ("LineageGroupArn",)},
    "CodeRepository": {"not_found": UNCLEAR_ABSENCE},
    "CompilationJob": {"shown": ("ModelArtifacts", "ModelDigests", "InferenceImage", "DerivedInformation")},
    "Context": {"shown": ("LineageGroupArn",)},
    "Domain": {
        "update_names": {
            "DomainSettings": "DomainSettingsForUpdate",
            "DomainSettings.RStudioServerProDomainSettings": "RStudioServerProDomainSettingsForUpdate",
        },
        "shown": (
            *("DomainId", "Url", "HomeEfsFileSystemId", "SecurityGroupIdForDomainBoundary"),
            *("SingleSignOnApplicationArn", "SingleSignOnManagedApplicationInstanceId"),
        ),
        "columns": (Column("DOMAIN-ID", ".status.domainID"),),
    },
    "Endpoint": {
        "shown": ("PendingDeploymentSummary", "ProductionVariants", "ShadowProductionVariants"),
        "not_found": r"^Could not find endpoint",
        "short_names": ("smep",),
        "log_group": "/aws/sagemaker/Endpoints",
        "log_lines_kind": "endpoint",
        "read_from": {"DeploymentConfig": "LastDeploymentConfig"},
        "extra_spec": ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig"),
        "terminal_statuses": ("Failed",),
        "hooks": Hooks(
            plan_update=hosting.update_endpoint,
            advice=Advice(
                "VariantPropertiesRetained",
                "DescribeEndpointConfig",
                hosting.retained_config,
                hosting.retained_properties,
            ),
        ),
    },
    "EndpointConfig": {"short_names": ("smepc",), "not_found": r"^Could not find endpoint configuration"},
    "FeatureGroup": {
        "shown": ("LastUpdateStatus", "OfflineStoreStatus"),
        "update_names": {"FeatureDefinitions": "FeatureAdditions"},
        "terminal_statuses": ("CreateFailed",),
        "hooks": Hooks(plan_update=features.plan_update, pending=features.pending),
    },
    "HyperParameterTuningJob": {
        "short_names": ("smhpo",),
        "shown": (
            *("BestTrainingJob", "OverallBestTrainingJob", "TrainingJobStatusCounters", "ObjectiveStatusCounters"),
            *("TuningJobCompletionDetails", "ConsumedResources"),
        ),
        "log_group": "/aws/sagemaker/TrainingJobs",
        "either_or": (("trainingJobDefinition", "trainingJobDefinitions"),),
        # As for a training job.
        "ignored": tuple(
            f"{definition}.{path}"
            for definition in ("TrainingJobDefinition", "TrainingJobDefinitions[]")
            for path in ("AlgorithmSpecification.MetricDefinitions", "InputDataConfig[].RecordWrapperType")
        ),
    },
    "InferenceComponent": {
        "shown": ("EndpointName", "VariantName"),
        "not_found": r"^Could not find inference component",
        "log_lines_kind": "endpoint",
        "read_from": {
            "RuntimeConfig.CopyCount": "RuntimeConfig.DesiredCopyCount",
            "Specification.Container.Image": "Specification.Container.DeployedImage.SpecifiedImage",
            "DeploymentConfig": "LastDeploymentConfig",
        },
        "terminal_statuses": ("Failed",),
        "extra_spec": ("DeploymentConfig",),
        "hooks": Hooks(plan_update=hosting.update_component, normalise=hosting.normalise_component),
    },
    "LabelingJob": {
        "shown": ("JobReferenceCode", "LabelCounters", "LabelingJobOutput"),
        "log_group": "/aws/sagemaker/LabelingJobs",
        "not_found": UNCLEAR_ABSENCE,
    },
    "Model": {
        "not_found": r"^Could not find model",
        "either_or": (("primaryContainer", "containers"),),
    },
    "ModelPackage": {
        "not_found": r"does not exist\.$",
        "shown": ("ModelPackageStatusDetails", "ModelPackageVersion"),
        "either_or": (("modelPackageName", "modelPackageGroupName"),),
        # By default it lists those without a version, which belong to no group.
        "list_params": {"ModelPackageType": "Both"},
        # Refused for a package in a group, which has the tags of the group; the token identifies the owner.
        "tags_on_create": False,
        "update_identifiers": ("ModelPackageArn",),
        "update_names": {"AdditionalInferenceSpecifications": "AdditionalInferenceSpecificationsToAdd"},
        # ACK has the token as a field. Ours is the UID whatever the field says: it makes a repeated create harmless.
        "extra_spec": ("ApprovalDescription", "ClientToken"),
        "terminal_statuses": ("Failed",),
        "hooks": Hooks(plan_update=registry.plan_update, normalise=registry.normalise, failure=registry.failure),
    },
    "ModelPackageGroup": {"not_found": r"does not exist\.$"},
    "MonitoringSchedule": {
        "shown": ("LastMonitoringExecutionSummary",),
        "terminal_statuses": ("Failed",),
        "hooks": Hooks(plan_update=monitoring.plan_update),
    },
    "NotebookInstance": {
        "short_names": ("smnb",),
        "shown": ("Url", "NetworkInterfaceId"),
        "own_status": (notebooks.STOPPED_BY_US,),
        "stop_before_delete": ("InService",),
        "read_from": {
            "LifecycleConfigName": "NotebookInstanceLifecycleConfigName",
            "SecurityGroupIds": "SecurityGroups",
        },
        "hooks": Hooks(plan_update=notebooks.plan_update),
        "not_found": r"^RecordNotFound",
        "log_group": "/aws/sagemaker/NotebookInstances",
    },
    "NotebookInstanceLifecycleConfig": {
        "short_names": ("smnblc",),
        "hooks": Hooks(plan_update=notebooks.plan_config_update),
        "not_found": r"^Unable to describe Notebook Instance Lifecycle Config",
        "columns": (
            Column("CREATION-TIME", ".status.creationTime", "date"),
            Column("LAST-MODIFIED-TIME", ".status.lastModifiedTime", "date"),
        ),
    },
    "Pipeline": {
        "short_names": ("smpipe",),
        "either_or": (("pipelineDefinition", "pipelineDefinitionS3Location"),),
        "hooks": Hooks(plan_update=pipelines.plan_update, normalise=pipelines.normalise),
    },
    "PipelineExecution": {
        "job": True,
        "name_member": "PipelineExecutionArn",
        "described_by_arn": {"PipelineName": "PipelineArn"},
        "updates_while_moving": True,
    },
    "ProcessingJob": {
        "shown": ("ExitMessage",),
        "log_group": "/aws/sagemaker/ProcessingJobs",
        "not_found": r"^Could not find requested job",
    },
    "Project": {
        "short_names": ("smproj",),
        "update_names": {
            "ServiceCatalogProvisioningDetails": "ServiceCatalogProvisioningUpdateDetails",
            "TemplateProviders": "TemplateProvidersToUpdate",
        },
        "read_from": {"TemplateProviders": "TemplateProviderDetails"},
        "hooks": Hooks(normalise=projects.normalise, failure=projects.failure),
        "shown": ("ProjectId", "ServiceCatalogProvisionedProductDetails", "TemplateProviderDetails"),
        "not_found": r"does not exist",
    },
    "Space": {
        "shown": ("HomeEfsFileSystemUid", "Url"),
        "arn_path": ("DomainId", "SpaceName"),
    },
    "TrainingJob": {
        "shown": (
            *("ModelArtifacts", "WarmPoolStatus", "DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"),
            *("SecondaryStatusTransitions", "FinalMetricDataList", "TrainingTimeInSeconds", "BillableTimeInSeconds"),
            *("BillableTokenCount", "ProgressInfo", "MlflowDetails", "OutputModelPackageArn"),
        ),
        "log_group": "/aws/sagemaker/TrainingJobs",
        "not_found": r"^Requested resource not found",
        # SageMaker adds metric definitions of its own to those of the user, and leaves out the record wrapper "None".
        "ignored": ("AlgorithmSpecification.MetricDefinitions", "InputDataConfig[].RecordWrapperType"),
        "either_or": (("algorithmSpecification.algorithmName", "algorithmSpecification.trainingImage"),),
        "hooks": Hooks(
            plan_update=training.plan_update,
            pending=training.pending,
            changes_when_settled=training.changes_when_settled,
        ),
        "updates_while_moving": True,
    },
    "TransformJob": {
        "short_names": ("smtransform",),
        "log_group": "/aws/sagemaker/TransformJobs",
        "not_found": r"^Could not find requested job with name",
    },
    "TrialComponent": {"shown": ("Source", "Sources", "Metrics", "LineageGroupArn")},
    "UserProfile": {
        "shown": ("HomeEfsFileSystemUid",),
        "arn_path": ("DomainId", "UserProfileName"),
    },
}

NOT_FOUND_CODES = ("ResourceNotFound", "ResourceNotFoundException")
ABSENT_BY_TEXT_CODES = ("ValidationException",)


def not_found_pattern(kind: str) -> re.Pattern[str] | None:
    """The pattern that a kind's ValidationException must match to mean absence; None: the code decides."""
    pattern = OVERRIDES.get(kind, {}).get("not_found")
    return re.compile(pattern) if pattern else None
