"""An edit that no comparison shows (a removed block, a definition named by its location) stays pending until it is done."""

from __future__ import annotations

from sagemaker_operator.conditions import READY, RECOVERABLE, TERMINAL
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

PROFILED = sample(profilerConfig={"s3OutputPath": "s3://bucket/profile", "profilingIntervalInMilliseconds": 500})
NAME = PROFILED["metadata"]["name"]


async def until_phase(cloud: Cloud, phase: str) -> None:
    async def reached() -> bool:
        return (await cloud.status(NAME)).get("secondaryStatus") == phase

    await cloud.until(reached)


async def take_the_profiler_out(cloud: Cloud) -> None:
    await cloud.patch(NAME, {"spec": {"profilerConfig": None}}, kind="TrainingJob")
    await cloud.pass_time(5)


async def test_a_profiler_taken_out_too_early_is_switched_off_later() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud):
        await cloud.apply(PROFILED)
        await until_phase(cloud, "Starting")
        await take_the_profiler_out(cloud)
        assert "Starting" in (await cloud.conditions(NAME))[RECOVERABLE]["message"]
        await until_phase(cloud, "Training")
        await cloud.pass_time(60)
        described = await cloud.ask("DescribeTrainingJob", TrainingJobName=PROFILED["spec"]["trainingJobName"])
        assert described["ProfilingStatus"] == "Disabled"
        assert len(cloud.sagemaker.calls.of("UpdateTrainingJob")) == 1
        assert RECOVERABLE not in await cloud.conditions(NAME)
        assert (await cloud.status(NAME))["observedGeneration"] == 2


async def test_a_refused_removal_is_not_forgotten_when_the_job_ends() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.faults.add(
        Fault(operation="UpdateTrainingJob", kind=FaultKind.REJECT, times=None, message="The profiler is needed.")
    )
    async with operator(cloud):
        await cloud.apply(PROFILED)
        await until_phase(cloud, "Training")
        await take_the_profiler_out(cloud)
        assert "The profiler is needed" in (await cloud.conditions(NAME))[TERMINAL]["message"]
        await cloud.until_status(NAME, "Completed")
        await cloud.pass_time(60)
        conditions = await cloud.conditions(NAME)
        assert "profiler cannot be updated" in conditions[TERMINAL]["message"]
        assert conditions[READY]["status"] == "False"


async def test_a_definition_in_s3_that_was_refused_is_retried_within_the_hour() -> None:
    stage = Stage("Pipeline")
    spec = stage.manifest["spec"]
    del spec["pipelineDefinition"]
    spec["pipelineDefinitionS3Location"] = {"bucket": "definitions", "objectKey": "one.json"}
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        refusal = Fault(
            operation="UpdatePipeline", kind=FaultKind.REJECT, times=None, message="The definition is invalid."
        )
        stage.cloud.sagemaker.faults.add(refusal)
        await stage.edit({"pipelineDefinitionS3Location": {"objectKey": "two.json"}})
        await stage.cloud.pass_time(4 * 3600)
        assert "The definition is invalid" in (await stage.condition(TERMINAL))["message"]
        tries = len(stage.cloud.sagemaker.calls.of("UpdatePipeline"))
        assert 4 <= tries <= 10, "one try an hour or two"
        stage.cloud.sagemaker.faults.remove(refusal)
        await stage.cloud.pass_time(2 * 3600)
        conditions = await stage.conditions()
        assert TERMINAL not in conditions
        assert conditions[READY]["status"] == "True"
        assert stage.cloud.sagemaker.calls.of("UpdatePipeline")[-1].applied


async def test_a_notebook_edited_at_each_start_is_updated_and_not_left_stopped() -> None:
    stage = Stage("NotebookInstance")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        starts = stage.cloud.sagemaker.calls.of
        sizes = (20, 30, 40, 50, 60)
        for number, size in enumerate(sizes, start=1):
            await stage.edit({"volumeSizeInGB": size})
            await stage.cloud.until(lambda wanted=number: len(starts("StartNotebookInstance")) == wanted)
        await stage.settled()
        described = await stage.describe()
        assert described["NotebookInstanceStatus"] == "InService"
        assert described["VolumeSizeInGB"] == 60
        assert len(starts("UpdateNotebookInstance")) == len(sizes)


async def test_a_script_removed_from_a_lifecycle_configuration_is_removed_in_sagemaker() -> None:
    stage = Stage("NotebookInstanceLifecycleConfig")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        await stage.edit({"onCreate": stage.manifest["spec"]["onStart"], "onStart": None})
        await stage.settled()
        described = await stage.describe()
        assert described["OnCreate"]
        assert not described.get("OnStart")
        await stage.cloud.pass_time(2 * 36_000)
        assert stage.mutating().count("UpdateNotebookInstanceLifecycleConfig") == 1
