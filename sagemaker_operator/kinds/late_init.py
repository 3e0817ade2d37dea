"""Fields of spec that ACK fills with SageMaker's values ("late initialisation"), by kind: data only.

ACK's generator configuration, with one difference: a field that SageMaker leaves out for some resources is `optional` here,
where ACK waits for it every 5 s without end (an instance count beside instance groups, an app's resource spec...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.kinds.descriptor import LateField

if TYPE_CHECKING:
    from collections.abc import Mapping


def _awaited(*paths: str, below: str = "") -> tuple[LateField, ...]:
    return tuple(LateField(below + path) for path in paths)


def _optional(*paths: str, below: str = "") -> tuple[LateField, ...]:
    return tuple(LateField(below + path, optional=True) for path in paths)


LATE_INIT: Mapping[str, tuple[LateField, ...]] = {
    "App": _optional("ResourceSpec"),
    "Domain": (
        *_awaited("AppNetworkAccessType"),
        *_awaited("DefaultLandingUri", "StudioWebPortal", below="DefaultUserSettings."),
        *_optional(
            *("CodeEditorAppSettings", "CustomFileSystemConfigs", "CustomPosixUserConfig", "JupyterLabAppSettings"),
            *("JupyterServerAppSettings", "KernelGatewayAppSettings", "RStudioServerProAppSettings", "SecurityGroups"),
            *("SharingSettings", "SpaceStorageSettings", "TensorBoardAppSettings"),
            below="DefaultUserSettings.",
        ),
    ),
    "EndpointConfig": _awaited("EnableNetworkIsolation"),
    "FeatureGroup": (
        *_awaited("DisableGlueTableCreation", "S3StorageConfig.ResolvedOutputS3Uri", below="OfflineStoreConfig."),
        *_optional("ThroughputConfig"),
    ),
    "HyperParameterTuningJob": (
        *_awaited(
            *("EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining", "EnableNetworkIsolation"),
            below="TrainingJobDefinition.",
        ),
        *_optional(
            *("AlgorithmSpecification.MetricDefinitions", "ResourceConfig.InstanceCount"),
            below="TrainingJobDefinition.",
        ),
    ),
    "LabelingJob": (
        *_awaited("OutputConfig.KmsKeyId"),
        *_awaited("MaxConcurrentTaskCount", "TaskAvailabilityLifetimeInSeconds", below="HumanTaskConfig."),
        *_optional("LabelingJobAlgorithmsConfig.LabelingJobResourceConfig"),
    ),
    "Model": _awaited("EnableNetworkIsolation"),
    "ModelPackage": _awaited("CertifyForMarketplace"),
    "NotebookInstance": _awaited("PlatformIdentifier", "VolumeSizeInGB"),
    "TrainingJob": (
        *_awaited("EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining", "EnableNetworkIsolation"),
        *_awaited("AlgorithmSpecification.EnableSageMakerMetricsTimeSeries"),
        *_awaited("OutputDataConfig.KmsKeyId", "OutputDataConfig.CompressionType"),
        *_optional("ResourceConfig.InstanceCount"),
    ),
    "TransformJob": _awaited("TransformInput.SplitType", "TransformInput.CompressionType"),
    "UserProfile": _awaited("UserSettings.SpaceStorageSettings"),
}
