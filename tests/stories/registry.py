"""The model registry, pipelines, projects and feature groups."""

from __future__ import annotations

from tests.stories.story import NEW_ROLE, ROLE, BadValue, Edit, Story

_VALIDATION_PROFILE = {
    "profileName": "smoke",
    "transformJobDefinition": {
        "transformInput": {
            "dataSource": {"s3DataSource": {"s3DataType": "S3Prefix", "s3URI": "s3://example-bucket/churn/sample/"}}
        },
        "transformOutput": {"s3OutputPath": "s3://example-bucket/churn/validation/"},
        "transformResources": {"instanceType": "ml.m5.xlarge", "instanceCount": 1},
    },
}
_NO_PARALLELISM = BadValue(
    spec={"parallelismConfiguration": {"maxParallelExecutionSteps": 0}},
    at="spec.parallelismConfiguration.maxParallelExecutionSteps",
)

STORIES = {
    "FeatureGroup": Story(
        ends="Created",
        bad=BadValue(
            spec={"featureDefinitions": [{"featureName": "customer_id", "featureType": "Text"}]},
            at="spec.featureDefinitions[0].featureType",
            newer=True,
        ),
        edit=Edit(
            spec={
                "featureDefinitions": [
                    {"featureName": "customer_id", "featureType": "Integral"},
                    {"featureName": "updated_at", "featureType": "Fractional"},
                    {"featureName": "plan", "featureType": "String"},
                    {"featureName": "visits", "featureType": "Integral"},
                ]
            },
            calls=("UpdateFeatureGroup",),
            at="FeatureDefinitions.3.FeatureName",
            value="visits",
        ),
        frozen={"eventTimeFeatureName": "plan"},
        frozen_inside=("onlineStoreConfig", {"enableOnlineStore": False, "ttlDuration": {"unit": "Days", "value": 1}}),
        not_in_status={"NextToken": "the next page", "OnlineStoreTotalSizeBytes": "another with every record"},
        role=ROLE,
    ),
    "ModelPackage": Story(
        absent="ModelPackage arn:aws:sagemaker:us-east-1:123456789012:model-package/x does not exist.",
        needs=("modelpackagegroup",),
        ends="Completed",
        status=("creationTime", "modelPackageStatusDetails"),
        nameless=True,
        bad=BadValue(spec={"modelApprovalStatus": "Perhaps"}, at="spec.modelApprovalStatus", newer=True),
        edit=Edit(
            spec={"modelApprovalStatus": "Approved", "approvalDescription": "Better than the last one"},
            calls=("UpdateModelPackage",),
            at="ApprovalDescription",
            value="Better than the last one",
        ),
        frozen={"modelPackageDescription": "Another text"},
        sets={
            "inferenceSpecification": {
                "supportedContentTypes": ["application/json", "text/csv"],
                "supportedResponseMIMETypes": ["application/json", "text/csv"],
                "supportedRealtimeInferenceInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
                "supportedTransformInstanceTypes": ["ml.m5.large", "ml.m5.xlarge"],
            }
        },
        no_op={"approvalDescription": ""},
        role={
            "validationSpecification": {"validationRole": NEW_ROLE, "validationProfiles": [_VALIDATION_PROFILE]},
        },
    ),
    "ModelPackageGroup": Story(
        absent="Model Package Group arn:aws:sagemaker:us-east-1:123456789012:model-package-group/x does not exist.",
        ends="Completed",
        bad=BadValue(spec={"modelPackageGroupName": "under_score"}, at="spec.modelPackageGroupName"),
        frozen={"modelPackageGroupDescription": "Another text"},
    ),
    "Pipeline": Story(
        ends="Active",
        status=("creationTime", "lastModifiedTime"),
        bad=_NO_PARALLELISM,
        edit=Edit(
            spec={"pipelineDisplayName": "churn-renamed"},
            calls=("UpdatePipeline",),
            at="PipelineDisplayName",
            value="churn-renamed",
        ),
        not_in_status=dict.fromkeys(("PipelineVersionDisplayName", "PipelineVersionDescription"), "of a version"),
        role=ROLE,
    ),
    "PipelineExecution": Story(
        needs=("pipeline",),
        ends="Succeeded",
        status=("creationTime", "lastModifiedTime"),
        nameless=True,
        bad=_NO_PARALLELISM,
        edit=Edit(
            spec={"pipelineExecutionDisplayName": "nightly-renamed"},
            calls=("UpdatePipelineExecution",),
            at="PipelineExecutionDisplayName",
            value="nightly-renamed",
        ),
        not_in_status=dict.fromkeys(("PipelineExperimentConfig", "MLflowConfig"), "the pipeline's"),
        unreached=frozenset({"CompletedWithFailures"}),
        no_op={"parallelismConfiguration": None, "pipelineExecutionDescription": ""},
    ),
    "Project": Story(
        absent="Project x does not exist",
        ends="CreateCompleted",
        status=("creationTime", "projectID"),
        bad=BadValue(spec={"projectName": "x" * 33}, at="spec.projectName"),
        edit=Edit(
            spec={"projectDescription": "Who leaves, and why"},
            calls=("UpdateProject",),
            at="ProjectDescription",
            value="Who leaves, and why",
        ),
        frozen_inside=("serviceCatalogProvisioningDetails", {"pathID": "another"}),
        role={
            "serviceCatalogProvisioningDetails": None,
            "templateProviders": [
                {
                    "cfnTemplateProvider": {
                        "templateName": "churn",
                        "templateURL": "https://example-bucket.s3.amazonaws.com/churn.yaml",
                        "roleARN": NEW_ROLE,
                    }
                }
            ],
        },
    ),
}
