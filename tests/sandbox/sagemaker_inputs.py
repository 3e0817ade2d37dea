"""A Create input for each of the 26 kinds, the resources that it depends on, and an update where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.sagemaker_support import ROLE, job

IMAGE = "123456789012.dkr.ecr.us-west-2.amazonaws.com/repo:1"
S3 = "s3://bucket/path"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1}
LAMBDA = "arn:aws:lambda:us-west-2:123456789012:function:f"


@dataclass(frozen=True)
class Case:
    create: dict[str, Any]
    needs: tuple[str, ...] = ()
    """Kinds whose case is created (and has become ready) before."""
    update: dict[str, Any] = field(default_factory=dict)
    """Update input beside the identifiers."""
    shows: dict[str, Any] = field(default_factory=dict)
    """Describe path -> value after the update."""


def _definition(kind: str) -> Case:
    source = {"EndpointInput": {"EndpointName": "endpoint", "LocalPath": "/opt/in"}}
    truth = {"GroundTruthS3Input": {"S3Uri": S3}}
    application, inputs = {
        "DataQuality": ({"ImageUri": IMAGE}, source),
        "ModelBias": ({"ImageUri": IMAGE, "ConfigUri": S3}, source | truth),
        "ModelExplainability": ({"ImageUri": IMAGE, "ConfigUri": S3}, source),
        "ModelQuality": ({"ImageUri": IMAGE, "ProblemType": "Regression"}, source | truth),
    }[kind]
    output = {"MonitoringOutputs": [{"S3Output": {"S3Uri": S3, "LocalPath": "/opt/out"}}]}
    return Case(
        {
            "JobDefinitionName": "definition",
            f"{kind}AppSpecification": application,
            f"{kind}JobInput": inputs,
            f"{kind}JobOutputConfig": output,
            "JobResources": {"ClusterConfig": CLUSTER},
            "RoleArn": ROLE,
        }
    )


_TRANSFORM_INPUT = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": S3}}}
_TUNING_DEFINITION = {
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "auc", "Regex": "auc=(.*)"}],
    },
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": S3},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    "StaticHyperParameters": {"epochs": "3"},
}
_SCHEDULE = {
    "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
    "MonitoringJobDefinitionName": "definition",
    "MonitoringType": "DataQuality",
}

CASES: dict[str, Case] = {
    "App": Case(
        {"DomainId": "$DomainId", "UserProfileName": "user", "AppType": "JupyterServer", "AppName": "default"},
        needs=("Domain", "UserProfile"),
    ),
    "DataQualityJobDefinition": _definition("DataQuality"),
    "Domain": Case(
        {
            "DomainName": "domain",
            "AuthMode": "IAM",
            "DefaultUserSettings": {"ExecutionRole": ROLE},
            "SubnetIds": ["subnet-1", "subnet-2"],
            "VpcId": "vpc-1",
            "DomainSettings": {"ExecutionRoleIdentityConfig": "DISABLED"},
        },
        update={
            "DefaultUserSettings": {"StudioWebPortal": "DISABLED"},
            "DomainSettingsForUpdate": {"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"},
        },
        shows={
            "DefaultUserSettings.StudioWebPortal": "DISABLED",
            "DefaultUserSettings.ExecutionRole": ROLE,
            "DomainSettings.ExecutionRoleIdentityConfig": "USER_PROFILE_NAME",
        },
    ),
    "Endpoint": Case(
        {"EndpointName": "endpoint", "EndpointConfigName": "config"},
        needs=("Model", "EndpointConfig"),
        update={"EndpointConfigName": "config"},
        shows={"EndpointConfigName": "config"},
    ),
    "EndpointConfig": Case(
        {
            "EndpointConfigName": "config",
            "ProductionVariants": [
                {
                    "VariantName": "one",
                    "ModelName": "model",
                    "InstanceType": "ml.m5.xlarge",
                    "InitialInstanceCount": 2,
                }
            ],
        },
        needs=("Model",),
    ),
    "FeatureGroup": Case(
        {
            "FeatureGroupName": "features",
            "RecordIdentifierFeatureName": "id",
            "EventTimeFeatureName": "at",
            "FeatureDefinitions": [
                {"FeatureName": "id", "FeatureType": "String"},
                {"FeatureName": "at", "FeatureType": "Fractional"},
            ],
            "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": S3}},
            "RoleArn": ROLE,
        },
        update={"FeatureAdditions": [{"FeatureName": "new", "FeatureType": "Integral"}]},
        shows={"LastUpdateStatus.Status": "Successful"},
    ),
    "HyperParameterTuningJob": Case(
        {
            "HyperParameterTuningJobName": "tuning",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {"IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "9"}]},
            },
            "TrainingJobDefinition": _TUNING_DEFINITION,
        },
    ),
    "InferenceComponent": Case(
        {
            "InferenceComponentName": "component",
            "EndpointName": "endpoint",
            "VariantName": "one",
            "Specification": {
                "Container": {"Image": IMAGE, "ArtifactUrl": S3},
                "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
            },
            "RuntimeConfig": {"CopyCount": 1},
        },
        needs=("Model", "EndpointConfig", "Endpoint"),
        update={"RuntimeConfig": {"CopyCount": 3}},
        shows={"RuntimeConfig": {"DesiredCopyCount": 3, "CurrentCopyCount": 3}},
    ),
    "LabelingJob": Case(
        {
            "LabelingJobName": "labeling",
            "LabelAttributeName": "label",
            "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": S3}}},
            "OutputConfig": {"S3OutputPath": S3},
            "RoleArn": ROLE,
            "HumanTaskConfig": {
                "WorkteamArn": "arn:aws:sagemaker:us-west-2:123456789012:workteam/private-crowd/team",
                "UiConfig": {"UiTemplateS3Uri": S3},
                "PreHumanTaskLambdaArn": LAMBDA,
                "TaskTitle": "t",
                "TaskDescription": "d",
                "NumberOfHumanWorkersPerDataObject": 1,
                "TaskTimeLimitInSeconds": 300,
                "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": LAMBDA},
            },
        }
    ),
    "Model": Case(
        {
            "ModelName": "model",
            "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"},
            "ExecutionRoleArn": ROLE,
            "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1", "sg-2"]},
        }
    ),
    "ModelBiasJobDefinition": _definition("ModelBias"),
    "ModelExplainabilityJobDefinition": _definition("ModelExplainability"),
    "ModelPackage": Case(
        {
            "ModelPackageGroupName": "group",
            "ClientToken": "t" * 36,
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataUrl": S3}],
                "SupportedContentTypes": ["a/b", "c/d"],
                "SupportedResponseMIMETypes": ["a/b"],
            },
        },
        needs=("ModelPackageGroup",),
        update={
            "ModelApprovalStatus": "Approved",
            "ApprovalDescription": "fine",
            "CustomerMetadataProperties": {"a": "b"},
        },
        shows={
            "ModelApprovalStatus": "Approved",
            "ApprovalDescription": "fine",
            "CustomerMetadataProperties": {"a": "b"},
        },
    ),
    "ModelPackageGroup": Case({"ModelPackageGroupName": "group"}),
    "ModelQualityJobDefinition": _definition("ModelQuality"),
    "MonitoringSchedule": Case(
        {"MonitoringScheduleName": "schedule", "MonitoringScheduleConfig": _SCHEDULE},
        needs=("DataQualityJobDefinition",),
        update={
            "MonitoringScheduleConfig": {**_SCHEDULE, "ScheduleConfig": {"ScheduleExpression": "cron(0 0 ? * * *)"}}
        },
        shows={"MonitoringScheduleConfig.ScheduleConfig.ScheduleExpression": "cron(0 0 ? * * *)"},
    ),
    "NotebookInstance": Case(
        {
            "NotebookInstanceName": "notebook",
            "InstanceType": "ml.t3.medium",
            "RoleArn": ROLE,
            "SubnetId": "subnet-1",
            "SecurityGroupIds": ["sg-1", "sg-2"],
            "LifecycleConfigName": "lifecycle",
            "DefaultCodeRepository": "https://example.com/repo.git",
        },
        needs=("NotebookInstanceLifecycleConfig",),
        update={"InstanceType": "ml.t3.large", "DisassociateDefaultCodeRepository": True},
        shows={"InstanceType": "ml.t3.large", "DefaultCodeRepository": None},
    ),
    "NotebookInstanceLifecycleConfig": Case(
        {"NotebookInstanceLifecycleConfigName": "lifecycle", "OnStart": [{"Content": "ZWNobyAx"}]},
        update={"OnStart": [{"Content": "ZWNobyAy"}]},
        shows={"OnStart": [{"Content": "ZWNobyAy"}]},
    ),
    "Pipeline": Case(
        {
            "PipelineName": "pipeline",
            "PipelineDefinition": '{"Version": "2020-12-01"}',
            "RoleArn": ROLE,
            "ClientRequestToken": "t" * 36,
        },
        update={"PipelineDescription": "new"},
        shows={"PipelineDescription": "new", "PipelineDefinition": '{"Version": "2020-12-01"}'},
    ),
    "PipelineExecution": Case(
        {"PipelineName": "pipeline", "ClientRequestToken": "t" * 36},
        needs=("Pipeline",),
        update={"PipelineExecutionDescription": "new"},
        shows={"PipelineExecutionDescription": "new"},
    ),
    "ProcessingJob": Case(
        {
            "ProcessingJobName": "processing",
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": IMAGE},
            "ProcessingResources": {"ClusterConfig": CLUSTER},
            "ProcessingInputs": [
                {"InputName": "in", "S3Input": {"S3Uri": S3, "S3DataType": "S3Prefix", "LocalPath": "/opt/in"}}
            ],
        }
    ),
    "Project": Case(
        {
            "ProjectName": "project",
            "ServiceCatalogProvisioningDetails": {"ProductId": "prod-1", "ProvisioningArtifactId": "pa-1"},
        },
        update={
            "ProjectDescription": "new",
            "ServiceCatalogProvisioningUpdateDetails": {"ProvisioningArtifactId": "pa-2"},
        },
        shows={
            "ProjectDescription": "new",
            "ServiceCatalogProvisioningDetails": {"ProductId": "prod-1", "ProvisioningArtifactId": "pa-2"},
        },
    ),
    "Space": Case(
        {"DomainId": "$DomainId", "SpaceName": "space"},
        needs=("Domain",),
        update={"SpaceDisplayName": "new"},
        shows={"SpaceDisplayName": "new"},
    ),
    "TrainingJob": Case(job("training")),
    "TransformJob": Case(
        {
            "TransformJobName": "transform",
            "ModelName": "model",
            "TransformInput": _TRANSFORM_INPUT,
            "TransformOutput": {"S3OutputPath": S3},
            "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        },
        needs=("Model",),
    ),
    "UserProfile": Case(
        {"DomainId": "$DomainId", "UserProfileName": "user"},
        needs=("Domain",),
        update={"UserSettings": {"ExecutionRole": ROLE}},
        shows={"UserSettings.ExecutionRole": ROLE},
    ),
}
