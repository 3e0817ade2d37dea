"""The behaviour of each kind: a class of its own, or `Behaviour` with its descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour
from sagemaker_operator.sandbox.sagemaker.features import FeatureGroups
from sagemaker_operator.sandbox.sagemaker.hosting import EndpointConfigs, Endpoints, InferenceComponents, Models
from sagemaker_operator.sandbox.sagemaker.jobs import LabelingJobs, ProcessingJobs, TransformJobs, TuningJobs
from sagemaker_operator.sandbox.sagemaker.monitoring import JobDefinitions, MonitoringSchedules
from sagemaker_operator.sandbox.sagemaker.notebooks import NotebookInstances
from sagemaker_operator.sandbox.sagemaker.pipelines import PipelineExecutions, Pipelines
from sagemaker_operator.sandbox.sagemaker.projects import Projects
from sagemaker_operator.sandbox.sagemaker.registry import ModelPackageGroups, ModelPackages
from sagemaker_operator.sandbox.sagemaker.studio import Apps, Domains, Spaces, UserProfiles
from sagemaker_operator.sandbox.sagemaker.training import TrainingJobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_BEHAVIOURS: Mapping[str, type[Behaviour]] = {
    "App": Apps,
    "DataQualityJobDefinition": JobDefinitions,
    "Domain": Domains,
    "Endpoint": Endpoints,
    "EndpointConfig": EndpointConfigs,
    "FeatureGroup": FeatureGroups,
    "HyperParameterTuningJob": TuningJobs,
    "InferenceComponent": InferenceComponents,
    "LabelingJob": LabelingJobs,
    "Model": Models,
    "ModelBiasJobDefinition": JobDefinitions,
    "ModelExplainabilityJobDefinition": JobDefinitions,
    "ModelPackage": ModelPackages,
    "ModelPackageGroup": ModelPackageGroups,
    "ModelQualityJobDefinition": JobDefinitions,
    "MonitoringSchedule": MonitoringSchedules,
    "NotebookInstance": NotebookInstances,
    "Pipeline": Pipelines,
    "PipelineExecution": PipelineExecutions,
    "ProcessingJob": ProcessingJobs,
    "Project": Projects,
    "Space": Spaces,
    "TrainingJob": TrainingJobs,
    "TransformJob": TransformJobs,
    "UserProfile": UserProfiles,
}


def behaviour_of(kind: Kind, resources: Resources) -> Behaviour:
    return _BEHAVIOURS.get(kind.name, Behaviour)(kind, resources=resources)
