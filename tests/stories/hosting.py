"""Models, endpoints and what is deployed on them."""

from __future__ import annotations

from tests.stories.story import EXECUTION_ROLE, OTHER_ROLE, VPC, BadValue, Edit, Story

_HOSTED = ("model", "endpointconfig")
_SHARED = tuple(f"chain-inferencecomponent#{number}" for number in range(3))

STORIES = {
    "Model": Story(
        absent='Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/x".',
        bad=BadValue(spec={"modelName": "under_score"}, at="spec.modelName"),
        frozen={"primaryContainer": {"environment": {"SAGEMAKER_PROGRAM": "other.py"}}},
        not_in_status={
            "DeploymentRecommendation": "of a model package's model, while one deploys it in the console",
        },
        sets=VPC,
        role=EXECUTION_ROLE,
    ),
    "EndpointConfig": Story(
        absent='Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/x".',
        needs=("model",),
        bad=BadValue(
            spec={
                "productionVariants": [
                    {"variantName": "AllTraffic", "modelName": "churn-xgboost", "initialInstanceCount": 0}
                ]
            },
            at="spec.productionVariants[0].initialInstanceCount",
        ),
        frozen={"executionRoleARN": OTHER_ROLE},
        sets=VPC,
        role=EXECUTION_ROLE,
    ),
    "Endpoint": Story(
        absent='Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/x".',
        needs=_HOSTED,
        ends="InService",
        status=("creationTime", "lastModifiedTime", "productionVariants"),
        bad=BadValue(spec={"endpointConfigName": "under_score"}, at="spec.endpointConfigName"),
        edit=Edit(
            spec={"endpointConfigName": "shared"},
            calls=("UpdateEndpoint",),
            at="EndpointConfigName",
            value="shared",
        ),
        also=("chain-inferencecomponent#1",),
        not_in_status=dict.fromkeys(
            ("AsyncInferenceConfig", "DataCaptureConfig", "ExplainerConfig", "MetricsConfig"), "the endpoint config's"
        ),
        unreached=frozenset({"OutOfService"}),
    ),
    "InferenceComponent": Story(
        absent='Could not find inference component "x".',
        needs=_SHARED,
        ends="InService",
        status=("creationTime", "lastModifiedTime", "endpointName", "variantName"),
        bad=BadValue(spec={"runtimeConfig": {"copyCount": -1}}, at="spec.runtimeConfig.copyCount"),
        edit=Edit(
            spec={"runtimeConfig": {"copyCount": 2}},
            calls=("UpdateInferenceComponent",),
            at="RuntimeConfig.DesiredCopyCount",
            value=2,
        ),
        frozen={"variantName": "Other"},
        not_in_status={"EndpointArn": "the name is in spec"},
    ),
}
