"""List semantics: the order, the page cut before the filters, tokens that survive change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.sagemaker_inputs import CASES
from tests.sandbox.sagemaker_support import EPOCH, client_of, job, make_simulator, refusal, tagged

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


def names(page: dict[str, Any]) -> list[str]:
    return [entry["TrainingJobName"] for entry in page["TrainingJobSummaries"]]


async def make(client: Any, count: int, **changes: Any) -> None:
    for number in range(count):
        await client.create_training_job(**job(f"job-{number}", **changes))
        await asyncio.sleep(1)


async def test_newest_jobs_come_first_in_pages_of_ten() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 12)
        first = await client.list_training_jobs()
        second = await client.list_training_jobs(NextToken=first["NextToken"])
    assert names(first) == [f"job-{number}" for number in range(11, 1, -1)]
    assert names(second) == ["job-1", "job-0"]
    assert "NextToken" not in second


async def test_a_summary_has_what_the_model_says_and_agrees_with_describe() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 1)
        await asyncio.sleep(700)
        [summary] = (await client.list_training_jobs())["TrainingJobSummaries"]
        described = await client.describe_training_job(TrainingJobName="job-0")
    assert summary.keys() >= {
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "SecondaryStatus",
    }
    assert summary == {name: described[name] for name in summary}


async def test_a_full_page_that_is_also_the_last_has_no_token() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 3)
        page = await client.list_training_jobs(MaxResults=3)
    assert len(names(page)) == 3
    assert "NextToken" not in page


async def test_the_status_filter_thins_pages_out_after_they_were_cut() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 2)
        await asyncio.sleep(700)
        for number in range(2, 6):
            await client.create_training_job(**job(f"job-{number}"))
        pages = []
        token: dict[str, str] = {}
        while True:
            page = await client.list_training_jobs(MaxResults=2, StatusEquals="Completed", **token)
            pages.append(names(page))
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
    assert pages == [[], [], ["job-1", "job-0"]]


async def test_last_modified_filters_the_page_and_creation_time_the_collection() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 4)
        await client.stop_training_job(TrainingJobName="job-0")
        modified = await client.list_training_jobs(MaxResults=3, LastModifiedTimeAfter=at(3.5))
        unlimited = await client.list_training_jobs(LastModifiedTimeAfter=at(3.5))
        before = await client.list_training_jobs(LastModifiedTimeBefore=at(2))
        younger = await client.list_training_jobs(CreationTimeAfter=at(1), CreationTimeBefore=at(3))
        created = await client.list_training_jobs(MaxResults=1, CreationTimeAfter=at(0), CreationTimeBefore=at(3))
    assert names(modified) == []
    assert "NextToken" in modified
    assert names(unlimited) == ["job-0"]
    assert names(before) == ["job-1"]
    assert names(younger) == ["job-2"]
    assert names(created) == ["job-2"]
    assert "NextToken" in created


async def test_sorting_by_name_and_status_both_ways() -> None:
    async with client_of(make_simulator()) as client:
        for name, outcome in (("b", "Failed"), ("c", "Completed"), ("a", "Failed")):
            await client.create_training_job(**job(name, Tags=tagged(outcome=outcome)))
        await asyncio.sleep(700)
        up = await client.list_training_jobs(SortBy="Name", SortOrder="Ascending", MaxResults=2)
        rest = await client.list_training_jobs(
            SortBy="Name", SortOrder="Ascending", MaxResults=2, NextToken=up["NextToken"]
        )
        down = await client.list_training_jobs(SortBy="Name", SortOrder="Descending")
        oldest = await client.list_training_jobs(SortOrder="Ascending")
        status = await client.list_training_jobs(SortBy="Status", SortOrder="Ascending")
    assert (names(up), names(rest)) == (["a", "b"], ["c"])
    assert names(down) == ["c", "b", "a"]
    assert names(oldest) == ["b", "c", "a"]
    assert names(status) == ["c", "b", "a"]


async def test_names_and_warm_pools_can_be_searched() -> None:
    warm = {**job()["ResourceConfig"], "KeepAlivePeriodInSeconds": 3000}
    async with client_of(make_simulator()) as client:
        await make(client, 2)
        await client.create_training_job(**job("pool", ResourceConfig=warm))
        await asyncio.sleep(700)
        contains = await client.list_training_jobs(NameContains="b-")
        pools = await client.list_training_jobs(WarmPoolStatusEquals="Available")
    assert names(contains) == ["job-1", "job-0"]
    assert names(pools) == ["pool"]


async def test_a_list_can_be_sorted_by_the_last_change() -> None:
    async with client_of(make_simulator()) as client:
        for name in ("b", "c", "a"):
            await client.create_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)
            await asyncio.sleep(1)
        await client.update_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName="b", OnStart=[{"Content": "IyEvYmluL3NoCg=="}]
        )
        order: dict[str, Any] = {"SortBy": "LastModifiedTime", "SortOrder": "Ascending", "MaxResults": 2}
        first = await client.list_notebook_instance_lifecycle_configs(**order)
        second = await client.list_notebook_instance_lifecycle_configs(**order, NextToken=first["NextToken"])
    found = [*first["NotebookInstanceLifecycleConfigs"], *second["NotebookInstanceLifecycleConfigs"]]
    assert [one["NotebookInstanceLifecycleConfigName"] for one in found] == ["c", "a", "b"]


async def test_feature_groups_can_be_sorted_by_a_status_that_no_other_list_has() -> None:
    group = CASES["FeatureGroup"].create
    async with client_of(make_simulator()) as client:
        for name, outcome in (("b", "Completed"), ("a", "Failed")):
            await client.create_feature_group(**{**group, "FeatureGroupName": name}, Tags=tagged(outcome=outcome))
        await asyncio.sleep(700)
        found = {}
        for by in ("FeatureGroupStatus", "OfflineStoreStatus"):
            page = await client.list_feature_groups(SortBy=by, SortOrder="Descending")
            found[by] = [one["FeatureGroupName"] for one in page["FeatureGroupSummaries"]]
    assert found == {"FeatureGroupStatus": ["b", "a"], "OfflineStoreStatus": ["b", "a"]}


async def test_executions_are_listed_by_the_arn_of_their_pipeline_and_sorted_by_their_own() -> None:
    async with client_of(make_simulator()) as client:
        arn = (await client.create_pipeline(**CASES["Pipeline"].create))["PipelineArn"]
        made = [(await client.start_pipeline_execution(PipelineName=arn))["PipelineExecutionArn"] for _ in range(3)]
        page = await client.list_pipeline_executions(
            PipelineName=arn, SortBy="PipelineExecutionArn", SortOrder="Ascending"
        )
    assert [one["PipelineExecutionArn"] for one in page["PipelineExecutionSummaries"]] == sorted(made)


@pytest.mark.parametrize(("repository", "found"), [("one", 1), ("two", 1), ("three", 0)])
async def test_notebooks_are_found_by_any_of_their_additional_repositories(repository: str, found: int) -> None:
    given = CASES["NotebookInstance"].create | {"AdditionalCodeRepositories": ["one", "two"]}
    del given["LifecycleConfigName"]
    async with client_of(make_simulator()) as client:
        await client.create_notebook_instance(**given)
        page = await client.list_notebook_instances(AdditionalCodeRepositoryEquals=repository)
    assert len(page["NotebookInstances"]) == found


async def test_creations_and_deletions_between_pages_neither_skip_nor_repeat() -> None:
    async with client_of(make_simulator()) as client:
        await make(client, 6, Tags=tagged(seconds="1"))
        await asyncio.sleep(2)
        first = await client.list_training_jobs(MaxResults=2)
        await client.create_training_job(**job("newer"))
        await client.delete_training_job(TrainingJobName="job-4")
        await client.delete_training_job(TrainingJobName="job-2")
        await asyncio.sleep(31)
        second = await client.list_training_jobs(MaxResults=2, NextToken=first["NextToken"])
        third = await client.list_training_jobs(MaxResults=2, NextToken=second["NextToken"])
    assert (names(first), names(second), names(third)) == (["job-5", "job-4"], ["job-3", "job-1"], ["job-0"])


@pytest.mark.parametrize("token", ["nonsense", "e30=", "bnVsbA==", "WzEsICJ4Il0="])
async def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    async with client_of(make_simulator()) as client:
        assert await refusal(client.list_training_jobs(NextToken=token)) == (
            "ValidationException",
            "The provided NextToken is invalid.",
        )
