"""What goes wrong with objects of every kind: each ends in a condition that says why, and heals when the cause is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.crds.schema import spec_schema
from sagemaker_operator.errors import KubeError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage
from tests.e2e.patches import MONITORING_JOB, merged, reverse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.model import Shape
    from tests.e2e.patches import Spec

pytestmark = VIRTUAL

_CLUSTER: Spec = {"jobResources": {"clusterConfig": {"instanceCount": 101}}}
_CLUSTER_PATH = "spec.jobResources.clusterConfig.instanceCount"

BAD_VALUES: Mapping[str, tuple[Spec, str]] = {
    "App": ({"appType": "Notebook"}, "spec.appType"),
    "DataQualityJobDefinition": (_CLUSTER, _CLUSTER_PATH),
    "Domain": ({"authMode": "LDAP"}, "spec.authMode"),
    "Endpoint": ({"endpointConfigName": "under_score"}, "spec.endpointConfigName"),
    "EndpointConfig": (
        {
            "productionVariants": [
                {"variantName": "AllTraffic", "modelName": "churn-xgboost", "initialInstanceCount": 0}
            ]
        },
        "spec.productionVariants[0].initialInstanceCount",
    ),
    "FeatureGroup": (
        {"featureDefinitions": [{"featureName": "customer_id", "featureType": "Text"}]},
        "spec.featureDefinitions[0].featureType",
    ),
    "HyperParameterTuningJob": (
        {"hyperParameterTuningJobConfig": {"strategy": "Guess"}},
        "spec.hyperParameterTuningJobConfig.strategy",
    ),
    "InferenceComponent": ({"runtimeConfig": {"copyCount": -1}}, "spec.runtimeConfig.copyCount"),
    "LabelingJob": (
        {"humanTaskConfig": {"numberOfHumanWorkersPerDataObject": 10}},
        "spec.humanTaskConfig.numberOfHumanWorkersPerDataObject",
    ),
    "Model": ({"modelName": "under_score"}, "spec.modelName"),
    "ModelBiasJobDefinition": (_CLUSTER, _CLUSTER_PATH),
    "ModelExplainabilityJobDefinition": (_CLUSTER, _CLUSTER_PATH),
    "ModelPackage": ({"modelApprovalStatus": "Perhaps"}, "spec.modelApprovalStatus"),
    "ModelPackageGroup": ({"modelPackageGroupName": "under_score"}, "spec.modelPackageGroupName"),
    "ModelQualityJobDefinition": (_CLUSTER, _CLUSTER_PATH),
    "MonitoringSchedule": (
        {"monitoringScheduleConfig": {"monitoringType": "Everything"}},
        "spec.monitoringScheduleConfig.monitoringType",
    ),
    "NotebookInstance": ({"volumeSizeInGB": 4}, "spec.volumeSizeInGB"),
    "NotebookInstanceLifecycleConfig": (
        {"notebookInstanceLifecycleConfigName": "under_score"},
        "spec.notebookInstanceLifecycleConfigName",
    ),
    "Pipeline": (
        {"parallelismConfiguration": {"maxParallelExecutionSteps": 0}},
        "spec.parallelismConfiguration.maxParallelExecutionSteps",
    ),
    "PipelineExecution": (
        {"parallelismConfiguration": {"maxParallelExecutionSteps": 0}},
        "spec.parallelismConfiguration.maxParallelExecutionSteps",
    ),
    "ProcessingJob": (
        {"processingResources": {"clusterConfig": {"volumeSizeInGB": 0}}},
        "spec.processingResources.clusterConfig.volumeSizeInGB",
    ),
    "Project": ({"projectName": "x" * 33}, "spec.projectName"),
    "Space": ({"spaceName": "under_score"}, "spec.spaceName"),
    "TrainingJob": ({"stoppingCondition": {"maxRuntimeInSeconds": 0}}, "spec.stoppingCondition.maxRuntimeInSeconds"),
    "TransformJob": ({"batchStrategy": "AllRecords"}, "spec.batchStrategy"),
    "UserProfile": ({"userProfileName": "under_score"}, "spec.userProfileName"),
}

UNKNOWN_VALUES = (
    *("App", "Domain", "FeatureGroup", "HyperParameterTuningJob", "ModelPackage", "MonitoringSchedule", "TransformJob"),
)
"""Kinds whose bad value is one that SageMaker might have learned since: it is asked."""

NAMED_BY_AWS = ("Domain", "ModelPackage", "PipelineExecution")
TAKEN = tuple(kind for kind in KINDS if kind not in NAMED_BY_AWS)
DEPENDENT = tuple(kind for kind in KINDS if STORIES[kind].needs)

NEW_ROLE = "arn:aws:iam::123456789012:role/made-a-second-ago"
_ROLE: Spec = {"roleARN": NEW_ROLE}
_EXECUTION_ROLE: Spec = {"executionRoleARN": NEW_ROLE}
_VALIDATION = {
    "profileName": "smoke",
    "transformJobDefinition": {
        "transformInput": {
            "dataSource": {"s3DataSource": {"s3DataType": "S3Prefix", "s3URI": "s3://example-bucket/churn/sample/"}}
        },
        "transformOutput": {"s3OutputPath": "s3://example-bucket/churn/validation/"},
        "transformResources": {"instanceType": "ml.m5.xlarge", "instanceCount": 1},
    },
}

WITH_ROLE: Mapping[str, Spec] = {
    "DataQualityJobDefinition": _ROLE,
    "Domain": {"defaultUserSettings": {"executionRole": NEW_ROLE}},
    "EndpointConfig": _EXECUTION_ROLE,
    "FeatureGroup": _ROLE,
    "HyperParameterTuningJob": {"trainingJobDefinition": _ROLE},
    "LabelingJob": _ROLE,
    "Model": _EXECUTION_ROLE,
    "ModelBiasJobDefinition": _ROLE,
    "ModelExplainabilityJobDefinition": _ROLE,
    "ModelPackage": {
        "validationSpecification": {"validationRole": NEW_ROLE, "validationProfiles": [_VALIDATION]},
    },
    "ModelQualityJobDefinition": _ROLE,
    "MonitoringSchedule": {
        "monitoringScheduleConfig": {
            "monitoringJobDefinitionName": None,
            "monitoringJobDefinition": MONITORING_JOB | _ROLE,
        }
    },
    "NotebookInstance": _ROLE,
    "Pipeline": _ROLE,
    "ProcessingJob": _ROLE,
    "Project": {
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
    "TrainingJob": _ROLE,
    "UserProfile": {"userSettings": {"executionRole": NEW_ROLE}},
}
"""Where the role is that SageMaker assumes, for every kind that has one anywhere in its spec."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_missing_or_mistyped_field_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    spec = stage.manifest["spec"]
    required = spec_schema(stage.kind).get("required", ())
    # What a reference can give is required by a rule, beside the groups of which one must be set.
    ruled = [*(field for field in stage.kind.required if field not in required), *(g[1] for g in stage.kind.either_or)]
    missing = required[0] if required else ruled[0]
    stage.manifest["spec"] = {name: value for name, value in spec.items() if name != missing}
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    # What a rule says about two fields is told of their parent.
    assert (missing if required else "spec (FieldValueInvalid)") in str(refused.value)
    text = next(name for name, value in spec.items() if isinstance(value, str))
    stage.manifest["spec"] = spec | {text: {"not": "a text"}}
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    assert f"spec.{text}" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_value_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    patch, path = BAD_VALUES[kind]
    stage.manifest["spec"] = merged(stage.manifest["spec"], patch)
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    assert path in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_value_under_acks_crds_is_named_and_heals_with_the_edit(kind: str) -> None:
    stage = Stage(kind, relaxed=True)
    patch, path = BAD_VALUES[kind]
    async with operator(stage.cloud):
        await stage.prepare()
        stage.cloud.forget()
        good = stage.manifest["spec"]
        stage.manifest["spec"] = merged(good, patch)
        await stage.apply()
        terminal = await stage.condition("ACK.Terminal")
        assert path in terminal["message"]
        asked = [stage.kind.create] if kind in UNKNOWN_VALUES else []
        assert stage.mutating() == asked, "SageMaker is not bothered with what it can only refuse"
        assert not (await stage.get())["metadata"].get("finalizers"), "deleting it never waits for anything"
        await stage.edit(reverse(good, patch))
        await stage.settled()
    assert stage.mutating() == [*asked, stage.kind.create]


@pytest.mark.parametrize("kind", TAKEN)
async def test_somebody_elses_resource_of_this_name_is_never_touched(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        answer = await cloud.ask(stage.kind.create, **stage.create_input())
        assert "__type" not in answer, answer
        cloud.forget()
        await stage.apply()
        terminal = await stage.condition("ACK.Terminal")
        assert terminal["message"].startswith("Resource already exists")
        assert "services.k8s.aws/adoption-policy=adopt-or-create" in terminal["message"]
        assert not (await stage.status()).get("ackResourceMetadata", {}).get("arn")
        spec = (await stage.get())["spec"]
        await stage.delete()
    assert [call.operation for call in cloud.sagemaker.calls.mutating() if call.applied] == []
    assert stage.kind.arn_member in await stage.ask_about(spec, None)


@pytest.mark.parametrize("kind", DEPENDENT)
async def test_a_reference_that_does_not_exist_yet_is_waited_for(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "DependencyNotReady"
        await stage.prepare()
        if "domainID" in stage.manifest["spec"]:
            await stage.edit({"domainID": stage.manifest["spec"]["domainID"]})
        await stage.settled(seconds=7200)
    assert stage.creates() == 1


def _names_a_role(shape: Shape, above: frozenset[str] = frozenset()) -> bool:
    if shape.type_name == "list":
        return _names_a_role(shape.member, above)
    if shape.type_name != "structure" or shape.name in above:
        return shape.name == "RoleArn"
    return any(_names_a_role(inner, above | {shape.name}) for inner in members(shape).values())


async def test_every_kind_with_a_role_has_its_row() -> None:
    assert {name for name, kind in catalog().items() if _names_a_role(operation(kind.create).input_shape)} == set(
        WITH_ROLE
    )


@pytest.mark.parametrize("kind", WITH_ROLE)
async def test_a_role_that_cannot_be_assumed_yet_is_waited_for(kind: str) -> None:
    """IAM needs seconds to spread a new role."""
    stage = Stage(kind)
    stage.manifest["spec"] = merged(stage.manifest["spec"], WITH_ROLE[kind])
    text = (
        f"Could not assume role {NEW_ROLE}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
    async with operator(stage.cloud):
        await stage.prepare()
        fault = Fault(operation=stage.kind.create, kind=FaultKind.REJECT, times=4, message=text)
        stage.cloud.sagemaker.faults.add(fault)
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "DependencyNotReady"
        assert NEW_ROLE in waiting["message"]
        await stage.settled(seconds=7200)
    assert fault.seen == 5
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_quota_throttling_and_outage_are_told_and_heal(kind: str) -> None:
    stage = Stage(kind)
    faults = stage.cloud.sagemaker.faults
    async with operator(stage.cloud):
        await stage.prepare()
        faults.add(Fault(operation=stage.kind.create, kind=FaultKind.QUOTA, times=2))
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "QuotaExceeded"
        faults.add(Fault(operation="*", kind=FaultKind.THROTTLE, times=5))
        faults.add(Fault(operation=stage.kind.create, kind=FaultKind.SERVER_ERROR, nth=3, times=2))
        await stage.settled(seconds=14_400)
        assert "ACK.Recoverable" not in await stage.conditions()
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_account_that_is_throttled_for_minutes_is_told_once_and_heals(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        throttled = Fault(operation=stage.kind.create, kind=FaultKind.THROTTLE, times=1000)
        stage.cloud.sagemaker.faults.add(throttled)
        await stage.apply()
        await stage.cloud.pass_time(90)
        assert await stage.conditions() == {}, "seconds are nothing to tell of"
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "Throttled"
        assert "throttles this account" in waiting["message"]
        stage.cloud.kubernetes.requests.clear()
        await stage.cloud.pass_time(600)
        assert stage.writes() == []
        stage.cloud.sagemaker.faults.remove(throttled)
        await stage.settled(seconds=7200)
        assert "ACK.Recoverable" not in await stage.conditions()
    assert stage.creates() == 1
