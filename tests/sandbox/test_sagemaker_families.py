"""Behaviour of single families of kinds: deployments, versions, tokens, tenants, executions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, READY_SECONDS
from tests.sandbox.sagemaker_support import EPOCH, refusal, tagged
from tests.sandbox.test_sagemaker_kinds import Account, fresh_account

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

AFTER_CHANGE = CHANGE_SECONDS + 1


async def made(account: Account, name: str, **changes: Any) -> None:
    await account.prepare(name)
    await account.create(name, **changes)
    await asyncio.sleep(READY_SECONDS + 1)


async def config(account: Account, name: str, *, count: int, weight: float = 1.0) -> None:
    variant = account.given("EndpointConfig")["ProductionVariants"][0]
    variant = {**variant, "InitialInstanceCount": count, "InitialVariantWeight": weight}
    await account.create("EndpointConfig", EndpointConfigName=name, ProductionVariants=[variant])


def variant(described: dict[str, Any]) -> dict[str, Any]:
    [found] = described["ProductionVariants"]
    return {name: found[name] for name in ("CurrentInstanceCount", "DesiredInstanceCount", "CurrentWeight")}


async def test_an_endpoint_changes_its_configuration_when_the_update_is_over() -> None:
    async with fresh_account() as account:
        await made(account, "Endpoint")
        await config(account, "next", count=5)
        await account.client.update_endpoint(EndpointName="endpoint", EndpointConfigName="next")
        busy = [
            await refusal(account.client.update_endpoint(EndpointName="endpoint", EndpointConfigName="next")),
            await refusal(account.client.delete_endpoint(EndpointName="endpoint")),
        ]
        during = await account.describe("Endpoint")
        await asyncio.sleep(AFTER_CHANGE)
        after = await account.describe("Endpoint")
    arn = after["EndpointArn"]
    assert busy == [
        ("ValidationException", f'Cannot update in-progress endpoint "{arn}".'),
        ("ValidationException", f'Cannot delete in-progress endpoint "{arn}".'),
    ]
    assert (during["EndpointStatus"], during["EndpointConfigName"]) == ("Updating", "config")
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == "next"
    assert variant(during)["CurrentInstanceCount"] == 2
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "next")
    assert variant(after) == {"CurrentInstanceCount": 5, "DesiredInstanceCount": 5, "CurrentWeight": 1.0}
    assert "PendingDeploymentSummary" not in after
    [image] = after["ProductionVariants"][0]["DeployedImages"]
    assert "@sha256:" in image["ResolvedImage"]


@pytest.mark.parametrize("by", ["name", "tag"])
async def test_a_failed_deployment_leaves_the_endpoint_unchanged_and_the_next_one_recovers_it(by: str) -> None:
    bad = "next-fails" if by == "name" else "next"
    async with fresh_account() as account:
        await made(account, "Endpoint", Tags=tagged(**({"update-outcome": "Failed"} if by == "tag" else {})))
        await config(account, bad, count=5)
        await account.client.update_endpoint(EndpointName="endpoint", EndpointConfigName=bad)
        during = await account.describe("Endpoint")
        await asyncio.sleep(AFTER_CHANGE)
        back = await account.describe("Endpoint")
        await asyncio.sleep(AFTER_CHANGE)
        after = await account.describe("Endpoint")
        await config(account, "good", count=7)
        await account.client.update_endpoint(EndpointName="endpoint", EndpointConfigName="good")
        await asyncio.sleep(AFTER_CHANGE)
        recovered = await account.describe("Endpoint")
    assert (during["EndpointStatus"], "FailureReason" in during) == ("Updating", False)
    assert (back["EndpointStatus"], back["EndpointConfigName"]) == ("RollingBack", "config")
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "config")
    assert after["FailureReason"]
    assert variant(after)["CurrentInstanceCount"] == 2
    if by == "name":
        assert recovered["EndpointConfigName"] == "good"
        assert "FailureReason" not in recovered


async def test_a_rollback_can_fail_and_the_next_update_recovers_it() -> None:
    async with fresh_account() as account:
        await made(account, "Endpoint", Tags=tagged(**{"update-outcome": "RollbackFailed"}))
        await config(account, "next", count=5)
        observed = []
        for _ in range(2):
            await account.client.update_endpoint(EndpointName="endpoint", EndpointConfigName="next")
            await asyncio.sleep(2 * AFTER_CHANGE)
            found = await account.describe("Endpoint")
            observed.append((found["EndpointStatus"], found["EndpointConfigName"], "FailureReason" in found))
    assert observed == [("UpdateRollbackFailed", "config", True), ("InService", "next", False)]


@pytest.mark.parametrize(
    ("name", "statuses", "refused"),
    [
        ("Endpoint", ["SystemUpdating"], "Cannot delete in-progress endpoint"),
        ("NotebookInstance", ["PendingMaintenance", "InMaintenance"], "Unable to transition to (Deleting)"),
    ],
)
async def test_aws_maintains_what_its_tags_ask_it_to(name: str, statuses: list[str], refused: str) -> None:
    async with fresh_account() as account:
        await made(account, name, Tags=tagged(**{"maintenance-after": "600"}))
        observed = [await account.status(name)]
        await asyncio.sleep(600)
        _, message = await refusal(account.delete(name))
        for _ in statuses:
            observed.append(await account.status(name))
            await asyncio.sleep(CHANGE_SECONDS)
        observed.append(await account.status(name))
    assert observed == ["InService", *statuses, "InService"]
    assert refused in message


async def test_variant_properties_are_retained_if_asked() -> None:
    async with fresh_account() as account:
        await made(account, "Endpoint")
        scaled = [{"VariantName": "one", "DesiredInstanceCount": 4, "DesiredWeight": 0.5}]
        await account.client.update_endpoint_weights_and_capacities(
            EndpointName="endpoint", DesiredWeightsAndCapacities=scaled
        )
        scaling = variant(await account.describe("Endpoint"))
        await asyncio.sleep(AFTER_CHANGE)
        await config(account, "next", count=9, weight=2.0)
        update = {"EndpointName": "endpoint", "EndpointConfigName": "next"}
        observed = []
        for extra in (
            {"RetainAllVariantProperties": True},
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
            },
            {},
        ):
            await account.client.update_endpoint(**update, **extra)
            await asyncio.sleep(AFTER_CHANGE)
            found = variant(await account.describe("Endpoint"))
            observed.append((found["CurrentInstanceCount"], found["CurrentWeight"]))
    assert scaling == {"CurrentInstanceCount": 2, "DesiredInstanceCount": 4, "CurrentWeight": 1.0}
    assert observed == [(4, 0.5), (9, 0.5), (9, 2.0)]


async def test_a_deployment_configuration_is_described_as_the_last_one() -> None:
    policy = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 1}}
    }
    async with fresh_account() as account:
        await made(account, "Endpoint", DeploymentConfig=policy)
        first = await account.describe("Endpoint")
        update = {"EndpointName": "endpoint", "EndpointConfigName": "config"}
        await account.client.update_endpoint(**update, RetainDeploymentConfig=True)
        await asyncio.sleep(AFTER_CHANGE)
        kept = await account.describe("Endpoint")
        await account.client.update_endpoint(**update)
        dropped = await account.describe("Endpoint")
    assert first["LastDeploymentConfig"] == kept["LastDeploymentConfig"] == policy
    assert "LastDeploymentConfig" not in dropped


async def test_an_endpoint_outlives_its_configuration_and_stays_for_its_components() -> None:
    async with fresh_account() as account:
        await made(account, "InferenceComponent")
        await account.client.delete_endpoint_config(EndpointConfigName="config")
        found = await account.describe("Endpoint")
        refused = await refusal(account.client.delete_endpoint(EndpointName="endpoint"))
        await account.delete("InferenceComponent")
        await asyncio.sleep(AFTER_CHANGE)
        await account.delete("Endpoint")
    assert variant(found)["CurrentInstanceCount"] == 2
    assert "inference components are still attached" in refused[1]


async def test_a_failed_component_update_keeps_the_old_image_and_says_why() -> None:
    async with fresh_account() as account:
        await made(account, "InferenceComponent")
        requirements = {"MinMemoryRequiredInMb": 1024}
        bad = {"Container": {"Image": "repo/model-fails:2"}, "ComputeResourceRequirements": requirements}
        await account.client.update_inference_component(InferenceComponentName="component", Specification=bad)
        assert await account.status("InferenceComponent") == "Updating"
        await asyncio.sleep(AFTER_CHANGE)
        after = await account.describe("InferenceComponent")
    assert after["InferenceComponentStatus"] == "InService"
    assert after["FailureReason"]
    image = after["Specification"]["Container"]["DeployedImage"]
    assert image["SpecifiedImage"].endswith("/repo:1")
    assert "Image" not in after["Specification"]["Container"]
    assert after["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}


async def test_a_running_notebook_can_be_stopped_and_nothing_else() -> None:
    async with fresh_account() as account:
        await made(account, "NotebookInstance", VolumeSizeInGB=20)
        arn = account.arns["NotebookInstance"]
        name = {"NotebookInstanceName": "notebook"}
        update = await refusal(account.client.update_notebook_instance(**name, InstanceType="ml.t3.large"))
        delete = await refusal(account.client.delete_notebook_instance(**name))
        start = await refusal(account.client.start_notebook_instance(**name))
        await account.client.stop_notebook_instance(**name)
        stopping = await account.status("NotebookInstance")
        await asyncio.sleep(AFTER_CHANGE)
        shrunk = await refusal(account.client.update_notebook_instance(**name, VolumeSizeInGB=19))
        await account.client.start_notebook_instance(**name)
        pending = await account.status("NotebookInstance")
        await asyncio.sleep(AFTER_CHANGE)
        up = await account.describe("NotebookInstance")
    text = "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Deleting) for Notebook Instance"
    assert delete == ("ValidationException", f"{text} ({arn})")
    assert "Unable to transition to (Updating)" in update[1]
    assert "Unable to transition to (Pending)" in start[1]
    assert "decreased" in shrunk[1]
    assert (stopping, pending, up["NotebookInstanceStatus"]) == ("Stopping", "Pending", "InService")
    assert sorted(up["SecurityGroups"]) == ["sg-1", "sg-2"]
    assert up["NotebookInstanceLifecycleConfigName"] == "lifecycle"


async def test_domains_have_ids_of_their_own_and_names_that_may_repeat() -> None:
    async with fresh_account() as account:
        given = account.given("Domain")
        first, second = [await account.client.create_domain(**given) for _ in range(2)]
    assert first["DomainId"] != second["DomainId"]
    for one in (first, second):
        assert one["DomainId"].startswith("d-")
        assert one["DomainArn"].endswith(f":domain/{one['DomainId']}")


async def test_a_domain_is_deleted_last() -> None:
    async with fresh_account() as account:
        await made(account, "App")
        refused = [
            await refusal(account.delete("UserProfile")),
            await refusal(account.delete("Domain")),
        ]
        await account.delete("App")
        await asyncio.sleep(AFTER_CHANGE)
        assert await account.status("App") == "Deleted"
        await account.delete("UserProfile")
        still = await refusal(account.delete("Domain"))
        await asyncio.sleep(AFTER_CHANGE)
        await account.delete("Domain")
    assert [code for code, _ in (*refused, still)] == ["ResourceInUse"] * 3


async def test_tenants_need_a_domain_that_is_in_service() -> None:
    async with fresh_account() as account:
        await account.create("Domain")
        code, message = await refusal(account.create("UserProfile"))
    assert code == "ValidationException"
    assert message.endswith("is not InService.")


@pytest.mark.parametrize(("name", "status"), [("Domain", "Update_Failed"), ("Project", "UpdateFailed")])
async def test_an_update_can_fail_and_changes_nothing(name: str, status: str) -> None:
    update = {"Domain": "DefaultUserSettings", "Project": "ProjectDescription"}[name]
    value = {"Domain": {"StudioWebPortal": "DISABLED"}, "Project": "new"}[name]
    async with fresh_account() as account:
        await made(account, name, Tags=tagged(**{"update-outcome": "Failed", "change-seconds": "90"}))
        before = (await account.describe(name)).get(update)
        await account.call(f"Update{name}", **account.key(name, f"Update{name}"), **{update: value})
        await asyncio.sleep(89)
        during = await account.status(name)
        await asyncio.sleep(2)
        after = await account.describe(name)
    assert during in {"Updating", "UpdateInProgress"}
    assert (after[f"{name}Status" if name == "Project" else "Status"], after.get(update)) == (status, before)


async def test_versions_are_numbered_and_never_reused() -> None:
    async with fresh_account() as account:
        await account.prepare("ModelPackage")
        arns = []
        for token in ("a", "b", "b"):
            await account.create("ModelPackage", ClientToken=token * 36)
            arns.append(account.arns["ModelPackage"])
        await asyncio.sleep(READY_SECONDS + 1)
        busy = await refusal(account.client.delete_model_package_group(ModelPackageGroupName="group"))
        await account.delete("ModelPackage")
        await asyncio.sleep(AFTER_CHANGE)
        await account.create("ModelPackage", ClientToken="c" * 36)
        found = await account.describe("ModelPackage")
        tags = await refusal(account.create("ModelPackage", ClientToken="d" * 36, Tags=tagged(seconds="1")))
        plain = await account.client.list_model_packages()
        both = await account.client.list_model_packages(ModelPackageType="Both")
    assert [arn.rpartition(":")[2] for arn in arns] == [f"model-package/group/{number}" for number in (1, 2, 2)]
    assert busy[0] == "ConflictException"
    assert (found["ModelPackageVersion"], found["ModelPackageGroupName"]) == (3, "group")
    assert found["ModelApprovalStatus"] == "PendingManualApproval"
    assert found["InferenceSpecification"]["Containers"][0]["ImageDigest"].startswith("sha256:")
    assert tags[0] == "ValidationException"
    assert plain["ModelPackageSummaryList"] == []
    assert [entry["ModelPackageVersion"] for entry in both["ModelPackageSummaryList"]] == [3, 1]


async def test_an_unversioned_package_is_known_by_its_name_and_by_its_arn() -> None:
    async with fresh_account() as account:
        specification = account.given("ModelPackage")["InferenceSpecification"]
        given = {"ModelPackageName": "alone", "InferenceSpecification": specification}
        arn = (await account.client.create_model_package(**given))["ModelPackageArn"]
        answers = [await account.client.describe_model_package(ModelPackageName=key) for key in ("alone", arn)]
        page = await account.client.list_model_packages()
    assert arn.endswith(":model-package/alone")
    assert [answer["ModelPackageName"] for answer in answers] == ["alone", "alone"]
    assert [entry["ModelPackageName"] for entry in page["ModelPackageSummaryList"]] == ["alone"]


async def test_the_same_token_starts_the_same_execution() -> None:
    async with fresh_account() as account:
        await account.prepare("PipelineExecution")
        start = account.client.start_pipeline_execution
        arns = [
            (await start(PipelineName=name, ClientRequestToken=token * 36))["PipelineExecutionArn"]
            for name, token in (("pipeline", "a"), ("pipeline", "a"), (account.arns["Pipeline"], "b"))
        ]
        running = await refusal(account.client.delete_pipeline(PipelineName="pipeline", ClientRequestToken="x" * 36))
        listed = await account.client.list_pipeline_executions(PipelineName="pipeline")
        await asyncio.sleep(700)
        [pipeline] = (await account.client.list_pipelines(PipelineNamePrefix="pipe"))["PipelineSummaries"]
        others = (await account.client.list_pipelines(PipelineNamePrefix="ipe"))["PipelineSummaries"]
        await account.client.delete_pipeline(PipelineName="pipeline", ClientRequestToken="x" * 36)
    assert others == []
    assert arns[0] == arns[1] != arns[2]
    assert arns[0].startswith(f"{account.arns['Pipeline']}/execution/")
    assert running[0] == "ConflictException"
    assert [entry["PipelineExecutionArn"] for entry in listed["PipelineExecutionSummaries"]] == [arns[2], arns[0]]
    assert pipeline["LastExecutionTime"].timestamp() >= EPOCH


async def test_an_execution_inherits_the_sandbox_tags_of_its_pipeline() -> None:
    async with fresh_account() as account:
        await account.create("Pipeline", Tags=tagged(outcome="Failed", seconds="40"))
        await account.create("PipelineExecution")
        await asyncio.sleep(41)
        found = await account.describe("PipelineExecution")
    assert found["PipelineExecutionStatus"] == "Failed"
    assert found["FailureReason"]


async def test_a_schedule_runs_every_hour_and_is_busy_for_ten_minutes() -> None:
    async with fresh_account() as account:
        await made(account, "MonitoringSchedule")
        before = await account.describe("MonitoringSchedule")
        await asyncio.sleep(3600)
        running = await account.describe("MonitoringSchedule")
        config = running["MonitoringScheduleConfig"]
        key = {"MonitoringScheduleName": "schedule"}
        update = await refusal(account.client.update_monitoring_schedule(**key, MonitoringScheduleConfig=config))
        delete = await refusal(account.client.delete_monitoring_schedule(**key))
        await asyncio.sleep(600)
        done = await account.describe("MonitoringSchedule")
        await account.client.stop_monitoring_schedule(**key)
        await asyncio.sleep(AFTER_CHANGE + 7200)
        stopped = await account.describe("MonitoringSchedule")
        await account.client.start_monitoring_schedule(**key)
        await asyncio.sleep(AFTER_CHANGE)
        again = await account.status("MonitoringSchedule")
    assert "LastMonitoringExecutionSummary" not in before
    statuses = [one["LastMonitoringExecutionSummary"]["MonitoringExecutionStatus"] for one in (running, done, stopped)]
    assert statuses == ["InProgress", "Completed", "Completed"]
    assert stopped["LastMonitoringExecutionSummary"] == done["LastMonitoringExecutionSummary"]
    assert update[1] == delete[1]
    assert "execution in progress" in update[1]
    assert (before["EndpointName"], before["MonitoringType"]) == ("endpoint", "DataQuality")
    assert (stopped["MonitoringScheduleStatus"], again) == ("Stopped", "Scheduled")


async def test_new_features_appear_when_the_update_is_over() -> None:
    async with fresh_account() as account:
        await made(account, "FeatureGroup")
        change = {"FeatureAdditions": [{"FeatureName": "new", "FeatureType": "String"}]}
        await account.client.update_feature_group(FeatureGroupName="features", **change)
        busy = await refusal(account.client.update_feature_group(FeatureGroupName="features", **change))
        during = await account.describe("FeatureGroup")
        await asyncio.sleep(AFTER_CHANGE)
        after = await account.describe("FeatureGroup")
        twice = await refusal(account.client.update_feature_group(FeatureGroupName="features", **change))
    assert (during["FeatureGroupStatus"], during["LastUpdateStatus"]) == ("Created", {"Status": "InProgress"})
    assert [len(one["FeatureDefinitions"]) for one in (during, after)] == [2, 3]
    assert after["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"].endswith("/data")
    assert "in progress" in busy[1]
    assert "exists already" in twice[1]


async def test_a_failed_feature_update_is_distinct_from_a_failed_group() -> None:
    async with fresh_account() as account:
        await made(account, "FeatureGroup", Tags=tagged(**{"update-outcome": "Failed"}))
        change = {"FeatureAdditions": [{"FeatureName": "new", "FeatureType": "String"}]}
        await account.client.update_feature_group(FeatureGroupName="features", **change)
        await asyncio.sleep(AFTER_CHANGE)
        after = await account.describe("FeatureGroup")
    assert after["LastUpdateStatus"]["Status"] == "Failed"
    assert "FailureReason" not in after
    assert len(after["FeatureDefinitions"]) == 2


async def test_tuning_counts_its_children_and_hides_a_hyperparameter() -> None:
    async with fresh_account() as account:
        await account.create("HyperParameterTuningJob")
        await asyncio.sleep(350)
        half = await account.describe("HyperParameterTuningJob")
        await asyncio.sleep(300)
        done = await account.describe("HyperParameterTuningJob")
    counters = [
        (one["TrainingJobStatusCounters"]["Completed"], one["TrainingJobStatusCounters"]["InProgress"])
        for one in (half, done)
    ]
    assert counters == [(2, 2), (4, 0)]
    assert done["BestTrainingJob"] == half["BestTrainingJob"]
    hidden = done["TrainingJobDefinition"]["StaticHyperParameters"]
    assert hidden == {"epochs": "3", "_tuning_objective_metric": "auc"}
    assert len(done["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]) == 2


async def test_a_finished_job_says_when_it_ran_and_what_it_left() -> None:
    async with fresh_account() as account:
        for name in ("ProcessingJob", "LabelingJob"):
            await account.create(name)
        early = await account.describe("ProcessingJob")
        await asyncio.sleep(601)
        processing, labeling = [await account.describe(name) for name in ("ProcessingJob", "LabelingJob")]
    assert "ProcessingStartTime" not in early
    times = [processing[f"Processing{which}Time"].timestamp() - EPOCH for which in ("Start", "End")]
    assert times == [60, 600]
    assert processing["ExitMessage"]
    assert labeling["LabelingJobOutput"]["OutputDatasetS3Uri"].endswith("output.manifest")
    assert labeling["LabelCounters"]["Unlabeled"] == 0


async def test_resources_of_other_accounts_are_not_checked_for_existence() -> None:
    foreign = "arn:aws:sagemaker:us-west-2:865070037744:model-package/vendor-model"
    async with fresh_account() as account:
        own = foreign.replace("865070037744", "123456789012")
        container = {"ModelPackageName": foreign}
        await account.create("Model", PrimaryContainer=container)
        code, _ = await refusal(account.create("Model", ModelName="other", PrimaryContainer={"ModelPackageName": own}))
    assert code == "ValidationException"


async def test_user_profiles_with_apps_are_found_by_domain_not_by_name_alone() -> None:
    async with fresh_account() as account:
        await made(account, "App")
        first = account.domain
        await made(account, "Domain")
        await account.create("UserProfile")
        await asyncio.sleep(READY_SECONDS + 1)
        assert account.domain != first
        await account.delete("UserProfile")
        account.domain = first
        code, _ = await refusal(account.delete("UserProfile"))
    assert code == "ResourceInUse"


async def test_a_resource_recreated_under_a_deleted_name_is_the_newest() -> None:
    async with fresh_account() as account:
        for name in ("one", "two"):
            await account.create("Project", ProjectName=name)
        await asyncio.sleep(READY_SECONDS + 1)
        await account.client.delete_project(ProjectName="one")
        await asyncio.sleep(AFTER_CHANGE)
        await account.create("Project", ProjectName="one")
        page = await account.client.list_projects()
    assert [(entry["ProjectName"], entry["ProjectStatus"]) for entry in page["ProjectSummaryList"]] == [
        ("one", "Pending"),
        ("two", "CreateCompleted"),
    ]
