"""Jobs: they run once and end."""

from __future__ import annotations

from tests.stories.story import NETWORK, ROLE, VPC, BadValue, Story

_LABELING_ALGORITHM = (
    "arn:aws:sagemaker:us-east-1:027400017018:labeling-job-algorithm-specification/image-classification"
)

STORIES = {
    "CompilationJob": Story(
        ends="COMPLETED",
        status=("modelArtifacts",),
        bad=BadValue(
            spec={"stoppingCondition": {"maxRuntimeInSeconds": 0}}, at="spec.stoppingCondition.maxRuntimeInSeconds"
        ),
        frozen={"outputConfig": {"targetDevice": "ml_m5"}},
        unreached=frozenset({"STARTING"}),
        sets=VPC,
        role=ROLE,
    ),
    "HyperParameterTuningJob": Story(
        ends="Completed",
        status=("bestTrainingJob",),
        bad=BadValue(
            spec={"hyperParameterTuningJobConfig": {"strategy": "Guess"}},
            at="spec.hyperParameterTuningJobConfig.strategy",
            newer=True,
        ),
        frozen={"hyperParameterTuningJobConfig": {"resourceLimits": {"maxParallelTrainingJobs": 2}}},
        sets={"trainingJobDefinition": VPC},
        role={"trainingJobDefinition": ROLE},
    ),
    "LabelingJob": Story(
        absent="Labeling job x not found",
        ends="Completed",
        status=("labelCounters", "jobReferenceCode"),
        bad=BadValue(
            spec={"humanTaskConfig": {"numberOfHumanWorkersPerDataObject": 10}},
            at="spec.humanTaskConfig.numberOfHumanWorkersPerDataObject",
        ),
        frozen={"labelAttributeName": "beast"},
        sets={
            "labelingJobAlgorithmsConfig": {
                "labelingJobAlgorithmSpecificationARN": _LABELING_ALGORITHM,
                "labelingJobResourceConfig": VPC,
            }
        },
        role=ROLE,
    ),
    "ProcessingJob": Story(
        absent="Could not find requested job with name: x",
        ends="Completed",
        bad=BadValue(
            spec={"processingResources": {"clusterConfig": {"volumeSizeInGB": 0}}},
            at="spec.processingResources.clusterConfig.volumeSizeInGB",
        ),
        frozen={"environment": {"LOG_LEVEL": "debug"}},
        not_in_status=dict.fromkeys(("AutoMLJobArn", "MonitoringScheduleArn", "TrainingJobArn"), "of jobs not ours"),
        sets=NETWORK,
        role=ROLE,
    ),
    "TrainingJob": Story(
        absent="Requested resource not found.",
        ends="Completed",
        status=("modelArtifacts", "secondaryStatus"),
        bad=BadValue(
            spec={"stoppingCondition": {"maxRuntimeInSeconds": 0}}, at="spec.stoppingCondition.maxRuntimeInSeconds"
        ),
        frozen={"hyperParameters": {"max_depth": "6"}},
        frozen_inside=("resourceConfig", {"volumeSizeInGB": 77, "keepAlivePeriodInSeconds": 60}),
        not_in_status=dict.fromkeys(("AutoMLJobArn", "LabelingJobArn", "TuningJobArn"), "of jobs not ours"),
        sets=VPC,
        role=ROLE,
    ),
    "TransformJob": Story(
        absent="Could not find requested job with name: x",
        needs=("model",),
        ends="Completed",
        bad=BadValue(spec={"batchStrategy": "AllRecords"}, at="spec.batchStrategy", newer=True),
        frozen={"maxPayloadInMB": 7},
        not_in_status=dict.fromkeys(("AutoMLJobArn", "LabelingJobArn"), "of jobs not ours"),
    ),
}
