"""Hooks of kinds with only one, each through the comparison that calls it."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.control.spec.update import compare
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.kinds.hooks import features


def plan(
    kind: str, identity: dict[str, Any], desired: dict[str, Any], observed: dict[str, Any], *, edited: bool = False
) -> Verdict:
    edit = Edit(identity | desired, identity | observed, (), edited)
    return compare(catalog()[kind], edit, identity=identity)[1]


PIPELINE = {"PipelineName": "train"}
DOCUMENT = '{"Version": "2020-12-01", "Steps": [{"Name": "a"}, {"Name": "b"}]}'


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('{\n "Steps": [ {"Name":"a"}, {"Name":"b"} ], "Version":"2020-12-01"}', True),
        ('{"Version": "2020-12-01", "Steps": [{"Name": "b"}, {"Name": "a"}]}', False),
        ('{"Version": "2020-12-01"}', False),
        ("{not json", False),
    ],
)
def test_a_pipeline_is_compared_as_a_document(text: str, same: bool) -> None:
    verdict = plan("Pipeline", PIPELINE, {"PipelineDefinition": text}, {"PipelineDefinition": DOCUMENT})
    assert verdict.request == (None if same else {**PIPELINE, "PipelineDefinition": text})


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ("1.0", "1", True),
        ("1e3", "1000", True),
        ("1.5", "1.50", True),
        ("1e999", "1e999", True),
        ("1", "2", False),
        ('"1"', "1", False),
        ("true", "1", False),
        (str(2**53), str(2**53 + 1), False),
    ],
)
def test_a_number_of_a_definition_may_be_spelled_differently(wanted: str, there: str, same: bool) -> None:
    defined = plan("Pipeline", PIPELINE, {"PipelineDefinition": f"[{wanted}]"}, {"PipelineDefinition": f"[{there}]"})
    assert (defined == Verdict()) == same


def test_a_definition_in_s3_is_named_again_after_an_edit() -> None:
    place = {"PipelineDefinitionS3Location": {"Bucket": "b", "ObjectKey": "k"}}
    assert plan("Pipeline", PIPELINE, place, {}, edited=False) == Verdict()
    assert plan("Pipeline", PIPELINE, place, {}, edited=True) == Verdict(request=PIPELINE | place, fleeting=True)
    assert plan("Pipeline", PIPELINE, place | {"RoleArn": "r"}, {"RoleArn": "q"}, edited=True).request == {
        **PIPELINE,
        **place,
        "RoleArn": "r",
    }


SCHEDULE = {"MonitoringScheduleName": "nightly"}
CONFIG = {"MonitoringScheduleConfig": {"MonitoringJobDefinitionName": "new"}}


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Stopping"])
def test_a_schedule_is_not_updated_while_an_execution_runs(status: str) -> None:
    observed = {"LastMonitoringExecutionSummary": {"MonitoringExecutionStatus": status}}
    text = f"Monitoring Job in {status} state, MonitoringSchedule cannot be modified or deleted."
    assert plan("MonitoringSchedule", SCHEDULE, CONFIG, observed) == Verdict(wait=text)
    assert plan("MonitoringSchedule", SCHEDULE, CONFIG, observed | CONFIG) == Verdict()


def test_a_schedule_is_updated_between_executions() -> None:
    observed = {"LastMonitoringExecutionSummary": {"MonitoringExecutionStatus": "Completed"}}
    expected = Verdict(request=SCHEDULE | CONFIG)
    assert plan("MonitoringSchedule", SCHEDULE, CONFIG, observed) == expected
    assert plan("MonitoringSchedule", SCHEDULE, CONFIG, {}) == expected


GROUP = {"FeatureGroupName": "customers"}
AGE, NAME = {"FeatureName": "age", "FeatureType": "Integral"}, {"FeatureName": "name", "FeatureType": "String"}


def group(desired: dict[str, Any], observed: dict[str, Any]) -> Verdict:
    return plan("FeatureGroup", GROUP, desired, {"FeatureDefinitions": [AGE]} | observed)


def test_new_features_are_added() -> None:
    expected = Verdict(request=GROUP | {"FeatureAdditions": [NAME]})
    assert group({"FeatureDefinitions": [NAME, AGE]}, {}) == expected


@pytest.mark.parametrize("wanted", [[NAME], [{**AGE, "FeatureType": "String"}, NAME], []])
def test_features_are_neither_changed_nor_removed(wanted: list[Any]) -> None:
    assert str(group({"FeatureDefinitions": wanted}, {}).reject).startswith("spec.featureDefinitions")


def test_features_are_not_compared_while_only_one_page_is_known() -> None:
    wanted = {"FeatureDefinitions": [AGE, NAME]}
    assert "spec.featureDefinitions" in str(group(wanted, {"NextToken": "more"}).wait)
    assert group(wanted, {"NextToken": ""}).request == GROUP | {"FeatureAdditions": [NAME]}


def test_one_change_at_a_time() -> None:
    store = {"OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Unit": "Days", "Value": 1}}}
    rate = {"ThroughputConfig": {"ThroughputMode": "OnDemand"}}
    wanted = {"FeatureDefinitions": [AGE, NAME], **store, **rate}
    online = {"EnableOnlineStore": True}
    assert group(wanted, {"OnlineStoreConfig": online}).request == GROUP | {"FeatureAdditions": [NAME]}
    added = {"FeatureDefinitions": [AGE, NAME], "OnlineStoreConfig": online}
    # Whether there is an online store is not part of the update.
    assert group(wanted, added).request == GROUP | {"OnlineStoreConfig": {"TtlDuration": {"Unit": "Days", "Value": 1}}}
    assert group(wanted, added | store).request == GROUP | rate
    assert group(wanted, added | store | rate) == Verdict()


def test_an_online_store_cannot_be_added_later() -> None:
    verdict = group({"OnlineStoreConfig": {"EnableOnlineStore": True}}, {})
    assert "spec.onlineStoreConfig.enableOnlineStore" in str(verdict.reject)


def test_a_feature_group_that_is_updating_is_pending() -> None:
    assert features.pending({"LastUpdateStatus": {"Status": "InProgress"}}) == "FeatureGroup is updating."
    assert features.pending({"LastUpdateStatus": {"Status": "Successful"}}) is None
    assert features.pending({}) is None


ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/churn/1"
PACKAGE = {"ModelPackageArn": ARN}


def package(desired: dict[str, Any], observed: dict[str, Any]) -> Verdict:
    edit = Edit(desired, PACKAGE | observed, (), False)
    return compare(catalog()["ModelPackage"], edit, identity=PACKAGE | {"ModelPackageName": ARN})[1]


def test_an_approval_names_the_package_by_its_arn() -> None:
    approval = {"ModelApprovalStatus": "Approved", "ApprovalDescription": "good"}
    there = {"ModelApprovalStatus": "PendingManualApproval"}
    assert package(approval, there) == Verdict(request=PACKAGE | approval)
    assert package(approval, approval) == Verdict()


def test_a_group_may_be_named_by_its_arn() -> None:
    wanted = {"ModelPackageGroupName": "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/churn"}
    assert package(wanted, {"ModelPackageGroupName": "churn"}) == Verdict()
    assert "spec.modelPackageGroupName" in str(package(wanted, {"ModelPackageGroupName": "other"}).reject)


def test_the_content_of_a_model_card_is_a_document() -> None:
    def card(content: str) -> dict[str, Any]:
        return {"ModelCard": {"ModelCardContent": content, "ModelCardStatus": "Draft"}}

    assert package(card('{"a": 1, "b": 2}'), card('{"b":2,"a":1}')) == Verdict()
    assert package(card('{"a": 2}'), card('{"a":1}')).request == PACKAGE | card('{"a": 2}')


def test_metadata_that_the_spec_no_longer_has_is_removed() -> None:
    wanted = {"CustomerMetadataProperties": {"team": "a"}}
    verdict = package(wanted, {"CustomerMetadataProperties": {"team": "a", "old": "x"}})
    assert verdict == Verdict(request=PACKAGE | {"CustomerMetadataPropertiesToRemove": ["old"]})
    assert package({}, {"CustomerMetadataProperties": {"old": "x"}}) == Verdict()


def test_inference_specifications_are_only_added() -> None:
    one, two = {"Name": "one", "Containers": []}, {"Name": "two", "Containers": []}
    there = {"AdditionalInferenceSpecifications": [one]}
    added = package({"AdditionalInferenceSpecifications": [one, two]}, there)
    assert added == Verdict(request=PACKAGE | {"AdditionalInferenceSpecificationsToAdd": [two]})
    refused = package({"AdditionalInferenceSpecifications": [two]}, there)
    assert str(refused.reject).startswith("spec.additionalInferenceSpecifications")


def test_members_added_by_sagemaker_to_an_inference_specification_are_not_a_change() -> None:
    types = ["text/csv", "application/json"]
    one = {"Name": "one", "Containers": [{"Image": "i:1"}], "SupportedContentTypes": types}
    two = {"Name": "two", "Containers": [{"Image": "i:2"}]}
    resolved = [{"Image": "i:1", "ImageDigest": "sha256:1"}]
    there = {
        "AdditionalInferenceSpecifications": [one | {"Containers": resolved, "SupportedContentTypes": types[::-1]}]
    }
    added = package({"AdditionalInferenceSpecifications": [one, two]}, there)
    assert added == Verdict(request=PACKAGE | {"AdditionalInferenceSpecificationsToAdd": [two]})
    other = {**one, "Containers": [{"Image": "i:3"}]}
    assert package({"AdditionalInferenceSpecifications": [other, two]}, there).reject is not None


def test_a_variable_taken_out_of_an_environment_that_is_sent_whole_is_an_edit() -> None:
    def serving(*names: str) -> dict[str, Any]:
        return {"InferenceSpecification": {"Containers": [{"Image": "i", "Environment": dict.fromkeys(names, "1")}]}}

    assert package(serving("A"), serving("A", "B")).request == PACKAGE | serving("A")
    assert package(serving("A", "B"), serving("A", "B")) == Verdict()


PROJECT = {"ProjectName": "churn"}
TEMPLATE = {"TemplateName": "t", "TemplateURL": "https://bucket/t.yaml", "RoleARN": "r"}


def test_a_template_provider_is_recognised_in_the_wrapping_of_describe() -> None:
    wanted = {"TemplateProviders": [{"CfnTemplateProvider": TEMPLATE}]}
    there: dict[str, Any] = {"CfnTemplateProviderDetail": TEMPLATE | {"StackDetail": {"Name": "s"}}}
    assert plan("Project", PROJECT, wanted, {"TemplateProviderDetails": [there]}) == Verdict()
    there["CfnTemplateProviderDetail"] = TEMPLATE | {"TemplateURL": "https://bucket/old.yaml"}
    request = plan("Project", PROJECT, wanted, {"TemplateProviderDetails": [there]}).request
    # The role is not part of the update.
    kept = {"TemplateName": "t", "TemplateURL": "https://bucket/t.yaml"}
    assert request == PROJECT | {"TemplateProvidersToUpdate": [{"CfnTemplateProvider": kept}]}


def test_a_product_of_the_service_catalog_takes_a_new_version_but_no_other_product() -> None:
    there = {"ServiceCatalogProvisioningDetails": {"ProductId": "p", "ProvisioningArtifactId": "1"}}
    newer = {"ServiceCatalogProvisioningDetails": {"ProductId": "p", "ProvisioningArtifactId": "2"}}
    expected = PROJECT | {"ServiceCatalogProvisioningUpdateDetails": {"ProvisioningArtifactId": "2"}}
    assert plan("Project", PROJECT, newer, there).request == expected
    other = {"ServiceCatalogProvisioningDetails": {"ProductId": "q"}}
    assert "spec.serviceCatalogProvisioningDetails.productID" in str(plan("Project", PROJECT, other, there).reject)


def test_the_settings_of_a_domain_are_updated_under_their_other_names() -> None:
    identity = {"DomainId": "d-1"}
    settings = {"RStudioServerProDomainSettings": {"DomainExecutionRoleArn": "new"}, "SecurityGroupIds": ["sg"]}
    there = {
        "DomainSettings": {
            "RStudioServerProDomainSettings": {"DomainExecutionRoleArn": "old"},
            "SecurityGroupIds": ["sg"],
        }
    }
    request = plan("Domain", identity, {"DomainSettings": settings}, there).request
    renamed = {"RStudioServerProDomainSettingsForUpdate": {"DomainExecutionRoleArn": "new"}, "SecurityGroupIds": ["sg"]}
    assert request == identity | {"DomainSettingsForUpdate": renamed}


def test_tags_are_not_compared() -> None:
    wanted = {"Tags": [{"Key": "team", "Value": "a"}]}
    assert plan("LabelingJob", {"LabelingJobName": "l"}, wanted, {"Tags": []}) == Verdict()


def test_members_added_by_a_tuning_job_are_not_a_difference() -> None:
    definition = {"AlgorithmSpecification": {"MetricDefinitions": []}, "StaticHyperParameters": {"eta": "1"}}
    there = {
        "AlgorithmSpecification": {"MetricDefinitions": [{"Name": "m", "Regex": "r"}]},
        "StaticHyperParameters": {"eta": "1", "_tuning_objective_metric": "m"},
    }
    name = {"HyperParameterTuningJobName": "h"}
    for wanted, found in (
        ({"TrainingJobDefinition": definition}, {"TrainingJobDefinition": there}),
        ({"TrainingJobDefinitions": [definition]}, {"TrainingJobDefinitions": [there]}),
    ):
        assert plan("HyperParameterTuningJob", name, wanted, found) == Verdict()


def test_a_field_that_no_update_accepts_is_named_and_refused() -> None:
    verdict = plan("Model", {"ModelName": "m"}, {"ExecutionRoleArn": "a"}, {"ExecutionRoleArn": "b"})
    assert verdict.reject == (
        "spec.executionRoleARN is immutable: the SageMaker API cannot update it. Create a new object to change it."
    )


STAGES = [{"ContainerHostname": "clean", "Image": "x"}, {"ContainerHostname": "predict", "Image": "y"}]
COMMAND = {"ContainerEntrypoint": ["python", "clean.py"], "ContainerArguments": ["--from", "a", "--to", "b"]}


def test_the_order_of_pipeline_stages_and_command_arguments_matters() -> None:
    model = {"ModelName": "m"}
    there = {"Containers": [{**stage, "Mode": "SingleModel"} for stage in STAGES]}
    assert plan("Model", model, {"Containers": STAGES}, there) == Verdict()
    assert str(plan("Model", model, {"Containers": STAGES[::-1]}, there).reject).startswith(
        "spec.containers is immutable"
    )
    job, swapped = {"ProcessingJobName": "p"}, {**COMMAND, "ContainerArguments": ["--from", "b", "--to", "a"]}
    verdict = plan("ProcessingJob", job, {"AppSpecification": swapped}, {"AppSpecification": COMMAND})
    assert str(verdict.reject).startswith("spec.appSpecification.containerArguments is immutable")
    assert plan("ProcessingJob", job, {"AppSpecification": COMMAND}, {"AppSpecification": COMMAND}) == Verdict()
