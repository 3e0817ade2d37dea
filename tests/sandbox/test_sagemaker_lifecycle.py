"""A training job's lifecycle at exact virtual times, observed with a real aiobotocore client."""

from __future__ import annotations

import asyncio
import random

import pytest

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.sandbox.sagemaker.engine import Engine
from sagemaker_operator.sandbox.sagemaker.lifecycle import HELP, Step, Timeline, scenario_of
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError
from tests.sandbox.sagemaker_support import EPOCH, client_of, job, make_simulator, refusal, tagged
from tests.stories import STORIES

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_every_status_of_the_model_occurs_in_some_lifecycle() -> None:
    engine = Engine(catalog(), rng=random.Random(1))
    missing = {}
    for name, kind in catalog().items():
        life = engine.behaviour(name).life
        ways = [*life.runs.values(), life.maintenance]
        ways += [life.stop] if engine.speaks(f"Stop{name}") else []
        ways += [life.update, life.update_failed, life.rollback_failed] if kind.update else []
        ways += [life.delete, life.delete_failed] if kind.delete else []
        if left := set(kind.classes) - {step.status for way in ways for step in way}:
            missing[name] = left
    assert missing == {name: set(story.unreached) for name, story in STORIES.items() if story.unreached}


async def test_a_job_enters_every_state_at_its_time() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        observed = []
        for pause in (0, 59.5, 1, 29, 1, 478, 2, 28, 2):
            await asyncio.sleep(pause)
            now = await client.describe_training_job(TrainingJobName="train")
            observed.append((now["TrainingJobStatus"], now["SecondaryStatus"]))
    running = [("InProgress", word) for word in ("Starting", "Downloading", "Training", "Uploading")]
    assert observed == [*[state for state in running for _ in range(2)], ("Completed", "Completed")]


async def test_a_completed_job_reports_times_bill_model_and_metric() -> None:
    async with client_of(make_simulator()) as client:
        definition = {"Name": "validation:auc", "Regex": "auc=(.*)"}
        algorithm = {"TrainingImage": "image:1", "TrainingInputMode": "File", "MetricDefinitions": [definition]}
        await client.create_training_job(**job(AlgorithmSpecification=algorithm))
        await asyncio.sleep(700)
        done = await client.describe_training_job(TrainingJobName="train")
    times = {name: done[name].timestamp() - EPOCH for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime")}
    assert times == {"CreationTime": 0, "TrainingStartTime": 60, "TrainingEndTime": 600}
    assert done["LastModifiedTime"].timestamp() - EPOCH == 600
    assert (done["TrainingTimeInSeconds"], done["BillableTimeInSeconds"]) == (540, 540)
    assert done["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/out/train/output/model.tar.gz"}
    assert [metric["MetricName"] for metric in done["FinalMetricDataList"]] == ["validation:auc"]
    transitions = [
        (entry["Status"], entry["StartTime"].timestamp() - EPOCH, entry["EndTime"].timestamp() - EPOCH)
        for entry in done["SecondaryStatusTransitions"]
    ]
    assert transitions == [
        ("Starting", 0, 60),
        ("Downloading", 60, 90),
        ("Training", 90, 570),
        ("Uploading", 570, 600),
        ("Completed", 600, 600),
    ]
    assert all(entry["StatusMessage"] for entry in done["SecondaryStatusTransitions"])


async def test_a_running_job_has_an_open_transition_and_no_end() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        await asyncio.sleep(100)
        now = await client.describe_training_job(TrainingJobName="train")
    assert "EndTime" not in now["SecondaryStatusTransitions"][-1]
    assert now["LastModifiedTime"].timestamp() - EPOCH == 90
    absent = {"TrainingEndTime", "TrainingTimeInSeconds", "BillableTimeInSeconds", "FinalMetricDataList"}
    assert not absent & now.keys()


async def test_simulated_time_runs_at_the_given_speed_and_can_be_advanced() -> None:
    simulator = make_simulator(speed=20)
    async with client_of(simulator) as client:
        await client.create_training_job(**job())
        await asyncio.sleep(29.9)
        assert (await client.describe_training_job(TrainingJobName="train"))["TrainingJobStatus"] == "InProgress"
        await asyncio.sleep(0.2)
        assert (await client.describe_training_job(TrainingJobName="train"))["TrainingJobStatus"] == "Completed"
        await client.create_training_job(**job("second"))
        simulator.advance(601)
        second = await client.describe_training_job(TrainingJobName="second")
    assert second["TrainingTimeInSeconds"] == 540


async def test_a_stopped_job_stops_after_thirty_seconds_and_cannot_be_stopped_again() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        await asyncio.sleep(200)
        await client.stop_training_job(TrainingJobName="train")
        await client.stop_training_job(TrainingJobName="train")
        await asyncio.sleep(29)
        stopping = await client.describe_training_job(TrainingJobName="train")
        await asyncio.sleep(2)
        stopped = await client.describe_training_job(TrainingJobName="train")
        again = await refusal(client.stop_training_job(TrainingJobName="train"))
    assert (stopping["TrainingJobStatus"], stopping["SecondaryStatus"]) == ("Stopping", "Stopping")
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert stopped["TrainingTimeInSeconds"] == 170
    assert again == ("ValidationException", "The request was rejected because the training job is in status Stopped.")


async def test_a_job_stopped_before_it_started_has_no_bill() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        await asyncio.sleep(10)
        await client.stop_training_job(TrainingJobName="train")
        await asyncio.sleep(31)
        stopped = await client.describe_training_job(TrainingJobName="train")
    assert stopped["TrainingEndTime"].timestamp() - EPOCH == 40
    assert not {"TrainingStartTime", "TrainingTimeInSeconds", "BillableTimeInSeconds"} & stopped.keys()


@pytest.mark.parametrize(
    ("name", "tags", "status", "secondary"),
    [
        ("train-fails-1", {}, "Failed", "Failed"),
        ("train-fails", {}, "Failed", "Failed"),
        ("train", {"outcome": "Failed"}, "Failed", "Failed"),
        ("train", {"outcome": "Stopped"}, "Stopped", "Stopped"),
        ("train", {"outcome": "MaxRuntimeExceeded"}, "Stopped", "MaxRuntimeExceeded"),
        ("train-fails-1", {"outcome": "Completed"}, "Completed", "Completed"),
        ("train-failsafe", {}, "Completed", "Completed"),
        ("train", {"seconds": "9000"}, "Stopped", "MaxRuntimeExceeded"),
    ],
)
async def test_tags_and_names_decide_how_a_job_ends(
    name: str, tags: dict[str, str], status: str, secondary: str
) -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(name, Tags=tagged(**tags)))
        await asyncio.sleep(10_000)
        done = await client.describe_training_job(TrainingJobName=name)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == (status, secondary)
    assert done.get("FailureReason", "").startswith("AlgorithmError: ") == (status == "Failed")


async def test_a_job_over_its_runtime_is_stopped_when_the_limit_is_reached() -> None:
    async with client_of(make_simulator()) as client:
        limit = {"MaxRuntimeInSeconds": 500}
        await client.create_training_job(**job(StoppingCondition=limit, Tags=tagged(seconds="4000")))
        await asyncio.sleep(5000)
        done = await client.describe_training_job(TrainingJobName="train")
    assert done["TrainingTimeInSeconds"] == 500


async def test_a_job_that_names_no_duration_fits_in_its_runtime() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(StoppingCondition={"MaxRuntimeInSeconds": 100}))
        await asyncio.sleep(101)
        done = await client.describe_training_job(TrainingJobName="train")
    assert done["TrainingJobStatus"] == "Completed"


async def test_an_invalid_value_of_a_sandbox_tag_is_refused() -> None:
    async with client_of(make_simulator()) as client:
        code, message = await refusal(client.create_training_job(**job(Tags=tagged(outcome="Sometimes"))))
    assert code == "ValidationException"
    assert "sandbox/outcome" in message
    with pytest.raises(ServiceError, match="sandbox/seconds"):
        scenario_of("train", {"sandbox/seconds": "soon"})
    assert "sandbox/outcome" in HELP
    assert "-fails-" in HELP


async def test_a_spot_job_is_billed_less_and_interrupted_as_often_as_asked() -> None:
    async with client_of(make_simulator()) as client:
        limits = {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
        spot = {"EnableManagedSpotTraining": True, "StoppingCondition": limits}
        await client.create_training_job(**job(**spot, Tags=tagged(interruptions="2")))
        await asyncio.sleep(700)
        done = await client.describe_training_job(TrainingJobName="train")
    passed = [entry["Status"] for entry in done["SecondaryStatusTransitions"]]
    assert passed.count("Interrupted") == 2
    assert passed[-1] == "Completed"
    assert done["TrainingEndTime"].timestamp() - EPOCH == 600
    assert done["BillableTimeInSeconds"] == int(done["TrainingTimeInSeconds"] * 0.3)


async def test_debugger_and_profiler_rules_end_a_minute_after_the_job() -> None:
    rule = {"RuleConfigurationName": "LossNotDecreasing", "RuleEvaluatorImage": "rules:1"}
    profiler = {"ProfilerConfig": {"S3OutputPath": "s3://bucket/profile"}, "ProfilerRuleConfigurations": [rule]}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(DebugRuleConfigurations=[rule], **profiler))
        await asyncio.sleep(659)
        before = await client.describe_training_job(TrainingJobName="train")
        await asyncio.sleep(2)
        after = await client.describe_training_job(TrainingJobName="train")
    for member in ("DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"):
        assert [entry["RuleEvaluationStatus"] for entry in before[member]] == ["InProgress"]
        assert [entry["RuleEvaluationStatus"] for entry in after[member]] == ["NoIssuesFound"]
    assert before["TrainingJobStatus"] == "Completed"
    assert after["ProfilingStatus"] == "Enabled"


async def test_a_warm_pool_is_available_after_completion_and_then_terminated() -> None:
    resources = {**job()["ResourceConfig"], "KeepAlivePeriodInSeconds": 300}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(ResourceConfig=resources))
        pools = []
        for pause in (599, 2, 297, 3):
            await asyncio.sleep(pause)
            pools.append((await client.describe_training_job(TrainingJobName="train")).get("WarmPoolStatus"))
    terminated = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 300}
    assert pools == [None, {"Status": "Available"}, {"Status": "Available"}, terminated]


async def test_short_lifecycles_keep_every_step() -> None:
    timeline = Timeline()
    timeline.schedule([Step("a", 60), Step("b"), Step("c", 60), Step("d")], start=0, total=12)
    assert [phase.start for phase in timeline.phases] == [0, 3, 9, 12]


async def test_a_change_at_the_moment_of_another_replaces_it() -> None:
    timeline = Timeline()
    timeline.schedule([Step("a", 60), Step("b")], start=0)
    timeline.schedule([Step("x")], start=60)
    assert [phase.step.status for phase in timeline.passed(60)] == ["a", "x"]


async def test_the_past_does_not_change_when_the_plan_does() -> None:
    rng = random.Random(3)
    for _ in range(50):
        timeline = Timeline()
        timeline.schedule([Step("a", 60), Step("b"), Step("c")], start=0, total=300)
        moment = rng.uniform(1, 299)
        before = timeline.passed(moment - 0.5)
        timeline.schedule([Step("x", 30), Step("y")], start=moment)
        assert timeline.passed(moment - 0.5) == before
        assert timeline.at(moment).step.status == "x"
        assert timeline.at(moment + 31).step.status == "y"
