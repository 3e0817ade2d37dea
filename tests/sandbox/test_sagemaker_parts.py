"""Operations about parts of a resource: versions and steps of pipelines, policies, features, alerts, children, sign-in URLs."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import input_members, operations
from sagemaker_operator.sandbox.sagemaker.engine import Engine
from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, JOB_SECONDS, READY_SECONDS
from tests.sandbox.sagemaker_support import EPOCH, refusal, tagged
from tests.sandbox.test_sagemaker_kinds import Account, fresh_account

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

HOUR = 3_600

OF_OTHERS = {
    *("CreateEdgePackagingJob", "ListDevices"),  # of edge devices, which have a model
    "CreateInferenceExperiment",  # has an endpoint
    "CreateTrainingSession",  # has a model package group
    *("AssociateTrialComponent", "DisassociateTrialComponent", "ListTrials"),  # of trials, which have components
    "GetScalingConfigurationRecommendation",  # of an inference recommendations job
}
"""Operations that name a resource of our kinds and are of another."""

DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Instance", "Type": "String", "DefaultValue": "ml.m5.large"},
            {"Name": "Count", "Type": "Integer", "DefaultValue": 2},
        ],
        "Steps": [
            {"Name": "Prepare", "Type": "Processing", "DisplayName": "Prepare data", "Description": "d"},
            {
                "Name": "Good",
                "Type": "Condition",
                "Arguments": {
                    "IfSteps": [{"Name": "Ask", "Type": "Callback", "SqsQueueUrl": "https://sqs/q"}],
                    "ElseSteps": [{"Name": "Never", "Type": "Fail"}],
                },
            },
        ],
    }
)


async def started(account: Account, definition: str = DEFINITION, **changes: Any) -> str:
    """ARN of an execution whose three steps take 200 s each."""
    await account.create("Pipeline", PipelineDefinition=definition, **changes)
    await account.create("PipelineExecution")
    return account.arns["PipelineExecution"]


async def steps(account: Account, arn: str) -> dict[str, str]:
    page = await account.client.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {step["StepName"]: step["StepStatus"] for step in page["PipelineExecutionSteps"]}


async def execution_status(account: Account, arn: str) -> str:
    described = await account.client.describe_pipeline_execution(PipelineExecutionArn=arn)
    return str(described["PipelineExecutionStatus"])


async def test_every_operation_that_names_a_resource_of_the_kinds_is_simulated() -> None:
    engine = Engine(catalog(), rng=random.Random(1))
    names = {kind.arn_member for kind in catalog().values()}
    names |= {member.api for kind in catalog().values() for member in kind.identifiers}
    silent = {name for name in operations() if not engine.speaks(name)}
    assert {name for name in silent if names.intersection(input_members(name))} == OF_OTHERS


async def test_steps_run_one_after_another() -> None:
    async with fresh_account() as account:
        arn = await started(account)
        observed = [await steps(account, arn)]
        for _ in range(3):
            await asyncio.sleep(JOB_SECONDS / 3 + 1)
            observed.append(await steps(account, arn))
        page = await account.client.list_pipeline_execution_steps(PipelineExecutionArn=arn)
        first = await account.client.list_pipeline_execution_steps(PipelineExecutionArn=arn, MaxResults=2)
        rest = await account.client.list_pipeline_execution_steps(
            PipelineExecutionArn=arn, MaxResults=2, NextToken=first["NextToken"]
        )
    assert observed == [
        {"Prepare": "Executing"},
        {"Prepare": "Succeeded", "Good": "Executing"},
        {"Prepare": "Succeeded", "Good": "Succeeded", "Ask": "Executing"},
        {"Prepare": "Succeeded", "Good": "Succeeded", "Ask": "Succeeded"},
    ]
    assert [step["StepName"] for step in page["PipelineExecutionSteps"]] == ["Ask", "Good", "Prepare"]
    assert first["PipelineExecutionSteps"] + rest["PipelineExecutionSteps"] == page["PipelineExecutionSteps"]
    assert "NextToken" not in rest
    ask, good, prepare = page["PipelineExecutionSteps"]
    assert (prepare["StepDisplayName"], prepare["StepDescription"]) == ("Prepare data", "d")
    assert [prepare[name].timestamp() - EPOCH for name in ("StartTime", "EndTime")] == [0, JOB_SECONDS / 3]
    assert ":processing-job/pipelines-" in prepare["Metadata"]["ProcessingJob"]["Arn"]
    assert good["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert ask["Metadata"]["Callback"]["SqsQueueUrl"] == "https://sqs/q"


async def test_a_stopped_execution_stops_its_step_and_can_be_retried_from_there() -> None:
    token = "r" * 36
    async with fresh_account() as account:
        arn = await started(account)
        running = await refusal(account.client.retry_pipeline_execution(PipelineExecutionArn=arn))
        await asyncio.sleep(JOB_SECONDS / 2)
        await account.client.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 36)
        stopping = await steps(account, arn)
        await asyncio.sleep(CHANGE_SECONDS + 1)
        stopped = await steps(account, arn)
        for _ in range(2):
            await account.client.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token)
            await asyncio.sleep(1)
        retried = await steps(account, arn)
        await asyncio.sleep(JOB_SECONDS)
        done = await steps(account, arn), await execution_status(account, arn)
        again = await refusal(account.client.retry_pipeline_execution(PipelineExecutionArn=arn))
    assert running[0] == again[0] == "ConflictException"
    assert stopping == {"Prepare": "Succeeded", "Good": "Stopping"}
    assert stopped == {"Prepare": "Succeeded", "Good": "Stopped"}
    assert retried == {"Prepare": "Succeeded", "Good": "Executing"}
    assert done == ({"Prepare": "Succeeded", "Good": "Succeeded", "Ask": "Succeeded"}, "Succeeded")


async def test_a_failing_execution_fails_in_its_last_step_and_again_when_it_is_retried() -> None:
    async with fresh_account() as account:
        arn = await started(account, Tags=tagged(outcome="Failed"))
        observed = []
        for _ in range(2):
            await asyncio.sleep(JOB_SECONDS + 1)
            observed.append((await steps(account, arn), await execution_status(account, arn)))
            await account.client.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert observed == [({"Prepare": "Succeeded", "Good": "Succeeded", "Ask": "Failed"}, "Failed")] * 2


async def test_a_callback_step_receives_success_or_failure_while_it_runs() -> None:
    async with fresh_account() as account:
        arn = await started(account)
        early = await refusal(account.client.send_pipeline_execution_step_success(CallbackToken="0123456789"))
        await asyncio.sleep(JOB_SECONDS - 100)
        [ask, *_] = (await account.client.list_pipeline_execution_steps(PipelineExecutionArn=arn))[
            "PipelineExecutionSteps"
        ]
        token = ask["Metadata"]["Callback"]["CallbackToken"]
        parameters = [{"Name": "answer", "Value": "42"}]
        reported = await account.client.send_pipeline_execution_step_success(
            CallbackToken=token, OutputParameters=parameters
        )
        [ask, *_] = (await account.client.list_pipeline_execution_steps(PipelineExecutionArn=arn))[
            "PipelineExecutionSteps"
        ]
        await account.client.send_pipeline_execution_step_failure(CallbackToken=token, FailureReason="unknown")
        described = await account.client.describe_pipeline_execution(PipelineExecutionArn=arn)
        failed = await steps(account, arn)
        late = await refusal(account.client.send_pipeline_execution_step_success(CallbackToken=token))
    assert early[0] == late[0] == "ResourceNotFound"
    assert reported["PipelineExecutionArn"] == arn
    assert ask["Metadata"]["Callback"]["OutputParameters"] == parameters
    assert (described["PipelineExecutionStatus"], described["FailureReason"]) == ("Failed", "unknown")
    assert failed == {"Prepare": "Succeeded", "Good": "Succeeded", "Ask": "Failed"}


async def test_parameters_are_the_defaults_under_what_the_execution_chose() -> None:
    async with fresh_account() as account:
        await account.create("Pipeline", PipelineDefinition=DEFINITION)
        chosen = [{"Name": "Instance", "Value": "ml.m5.xlarge"}]
        await account.create("PipelineExecution", PipelineParameters=chosen)
        arn = account.arns["PipelineExecution"]
        page = await account.client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert page["PipelineParameters"] == [*chosen, {"Name": "Count", "Value": "2"}]


async def test_an_execution_runs_the_version_it_was_started_with() -> None:
    async with fresh_account() as account:
        first = await started(account)
        await asyncio.sleep(1)
        other = json.dumps({"Version": "2020-12-01", "Steps": []})
        await account.client.update_pipeline(PipelineName="pipeline", PipelineDefinition=other)
        arns = {}
        for version in (1, 2):
            answer = await account.client.start_pipeline_execution(
                PipelineName="pipeline", ClientRequestToken=f"{version}" * 36, PipelineVersionId=version
            )
            arns[version] = answer["PipelineExecutionArn"]
        unknown = await refusal(
            account.client.start_pipeline_execution(
                PipelineName="pipeline", ClientRequestToken="3" * 36, PipelineVersionId=3
            )
        )
        definitions = [
            (await account.client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn))[
                "PipelineDefinition"
            ]
            for arn in (first, arns[1], arns[2])
        ]
        named = {"PipelineArn": account.arns["Pipeline"], "PipelineVersionId": 1}
        renamed = await account.client.update_pipeline_version(**named, PipelineVersionDisplayName="good-one")
        versions = await account.client.list_pipeline_versions(PipelineName="pipeline")
        young = await account.client.list_pipeline_versions(PipelineName="pipeline", CreatedAfter=EPOCH)
    assert definitions == [DEFINITION, DEFINITION, other]
    assert unknown[0] == "ResourceNotFound"
    assert {name: renamed[name] for name in named} == named
    newest, oldest = versions["PipelineVersionSummaries"]
    assert (oldest["PipelineVersionId"], oldest["PipelineVersionDisplayName"]) == (1, "good-one")
    assert [newest["LastExecutionPipelineExecutionArn"], oldest["LastExecutionPipelineExecutionArn"]] == [
        arns[2],
        arns[1],
    ]
    assert [one["PipelineVersionId"] for one in young["PipelineVersionSummaries"]] == [2]


async def test_a_group_has_a_policy_or_says_that_it_has_none() -> None:
    named = {"ModelPackageGroupName": "group"}
    async with fresh_account() as account:
        await account.create("ModelPackageGroup", **named)
        none = await refusal(account.client.get_model_package_group_policy(**named))
        put = await account.client.put_model_package_group_policy(**named, ResourcePolicy="{}")
        policy = await account.client.get_model_package_group_policy(**named)
        await account.client.delete_model_package_group_policy(**named)
        gone = await refusal(account.client.delete_model_package_group_policy(**named))
        missing = await refusal(account.client.get_model_package_group_policy(ModelPackageGroupName="missing"))
    assert none == gone
    assert none[0] == missing[0] == "ValidationException"
    assert none[1].startswith("Cannot find resource policy")
    assert put["ModelPackageGroupArn"] == account.arns["ModelPackageGroup"]
    assert policy["ResourcePolicy"] == "{}"


async def test_packages_are_described_in_batches_and_the_missing_ones_named() -> None:
    async with fresh_account() as account:
        await account.prepare("ModelPackage")
        await account.create("ModelPackage")
        arn = account.arns["ModelPackage"]
        page = await account.client.batch_describe_model_package(ModelPackageArnList=[arn, f"{arn}0"])
    assert list(page["ModelPackageSummaries"]) == [arn]
    assert page["ModelPackageSummaries"][arn]["InferenceSpecification"]["Containers"]
    assert page["BatchDescribeModelPackageErrorMap"][f"{arn}0"]["ErrorCode"] == "ValidationException"


async def test_a_feature_can_be_described_by_people() -> None:
    async with fresh_account() as account:
        await account.create("FeatureGroup")
        group, *features = (
            account.given("FeatureGroup")["FeatureGroupName"],
            *account.given("FeatureGroup")["FeatureDefinitions"],
        )
        named = {"FeatureGroupName": group, "FeatureName": features[0]["FeatureName"]}
        before = await account.client.describe_feature_metadata(**named)
        for change in (
            {"Description": "who", "ParameterAdditions": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]},
            {"ParameterRemovals": ["a"]},
        ):
            await account.client.update_feature_metadata(**named, **change)
        after = await account.client.describe_feature_metadata(**named)
        missing = await refusal(account.client.describe_feature_metadata(FeatureGroupName=group, FeatureName="missing"))
    assert (before["FeatureType"], before["Parameters"]) == (features[0]["FeatureType"], [])
    assert (after["Description"], after["Parameters"]) == ("who", [{"Key": "b", "Value": "2"}])
    assert missing[0] == "ResourceNotFound"


async def test_a_schedules_executions_and_alert_are_listed() -> None:
    async with fresh_account() as account:
        await account.prepare("MonitoringSchedule")
        await account.create("MonitoringSchedule")
        name = account.given("MonitoringSchedule")["MonitoringScheduleName"]
        await asyncio.sleep(READY_SECONDS + 3 * HOUR + 300)
        every = await account.client.list_monitoring_executions(SortOrder="Ascending")
        over = await account.client.list_monitoring_executions(MonitoringScheduleName=name, StatusEquals="Completed")
        described = await account.describe("MonitoringSchedule")
        alerts = await account.client.list_monitoring_alerts(MonitoringScheduleName=name)
        [alert] = alerts["MonitoringAlertSummaries"]
        change = {"MonitoringScheduleName": name, "DatapointsToAlert": 2, "EvaluationPeriod": 3}
        await account.client.update_monitoring_alert(MonitoringAlertName=alert["MonitoringAlertName"], **change)
        unknown = await refusal(account.client.update_monitoring_alert(MonitoringAlertName="missing", **change))
        alerts = await account.client.list_monitoring_alerts(MonitoringScheduleName=name)
        history = await account.client.list_monitoring_alert_history(MonitoringScheduleName=name)
    runs = every["MonitoringExecutionSummaries"]
    assert [run["MonitoringExecutionStatus"] for run in runs] == ["Completed", "Completed", "InProgress"]
    assert {run["MonitoringScheduleName"] for run in runs} == {name}
    assert over["MonitoringExecutionSummaries"] == [runs[1], runs[0]]
    assert described["LastMonitoringExecutionSummary"] == runs[2]
    assert (alert["AlertStatus"], alert["DatapointsToAlert"]) == ("OK", 1)
    assert alerts["MonitoringAlertSummaries"][0]["EvaluationPeriod"] == 3
    assert unknown[0] == "ResourceNotFound"
    assert history["MonitoringAlertHistory"] == []


async def test_a_tuning_jobs_children_are_those_that_it_counts() -> None:
    async with fresh_account() as account:
        await account.create("HyperParameterTuningJob")
        await asyncio.sleep(JOB_SECONDS / 2 + 1)
        described = await account.describe("HyperParameterTuningJob")
        named = {"HyperParameterTuningJobName": described["HyperParameterTuningJobName"]}
        children = account.client.list_training_jobs_for_hyper_parameter_tuning_job
        by_status = {
            status: (await children(**named, StatusEquals=status))["TrainingJobSummaries"]
            for status in ("Completed", "InProgress", "Failed")
        }
        await asyncio.sleep(JOB_SECONDS)
        ranked = (await children(**named, SortBy="FinalObjectiveMetricValue"))["TrainingJobSummaries"]
        best = (await account.describe("HyperParameterTuningJob"))["BestTrainingJob"]
    counters = described["TrainingJobStatusCounters"]
    assert {status: len(found) for status, found in by_status.items()} == {
        "Completed": counters["Completed"],
        "InProgress": counters["InProgress"],
        "Failed": 0,
    }
    assert counters["InProgress"] > 0
    values = [child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for child in ranked]
    assert values == sorted(values, reverse=True)
    assert ranked[0] == best


async def test_labeling_jobs_are_found_by_their_team() -> None:
    async with fresh_account() as account:
        await account.create("LabelingJob")
        team = account.given("LabelingJob")["HumanTaskConfig"]["WorkteamArn"]
        found = await account.client.list_labeling_jobs_for_workteam(WorkteamArn=team)
        none = await account.client.list_labeling_jobs_for_workteam(WorkteamArn=f"{team}2")
    [entry] = found["LabelingJobSummaryList"]
    assert (entry["WorkRequesterAccountId"], entry["LabelCounters"]["PendingHuman"]) == ("123456789012", 100)
    assert none["LabelingJobSummaryList"] == []


async def test_studio_and_notebooks_give_sign_in_urls_once_they_are_ready() -> None:
    async with fresh_account() as account:
        await account.create("Domain")
        await account.create("NotebookInstanceLifecycleConfig")
        await account.create("NotebookInstance")
        notebook = account.given("NotebookInstance")["NotebookInstanceName"]
        early = await refusal(account.client.create_presigned_notebook_instance_url(NotebookInstanceName=notebook))
        await asyncio.sleep(READY_SECONDS + 1)
        await account.create("UserProfile")
        await asyncio.sleep(READY_SECONDS + 1)
        opened = await account.client.create_presigned_notebook_instance_url(NotebookInstanceName=notebook)
        user = account.given("UserProfile")["UserProfileName"]
        studio = await account.client.create_presigned_domain_url(DomainId=account.domain, UserProfileName=user)
        missing = await refusal(
            account.client.create_presigned_domain_url(DomainId=account.domain, UserProfileName="missing")
        )
    assert early[0] == "ValidationException"
    assert notebook in opened["AuthorizedUrl"]
    assert account.domain in studio["AuthorizedUrl"]
    assert missing[0] == "ResourceNotFound"
