"""What clients of ACK read from the first status: ACK's end-to-end helpers and the Kubeflow Pipelines component.

Both wait for `.status` to exist and then read fields of it without a default: a first status that lacks one ends them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.control.observation import Observation, to_status
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind, RateLimit
from tests.control.kstatus import contradictions
from tests.e2e.harness import Cloud, killed, operator, sample
from tests.e2e.kinds import KINDS, VIRTUAL, Stage
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

pytestmark = VIRTUAL

READ: dict[str, tuple[str, ...]] = {
    "App": ("status",),
    "Domain": ("status", "domainID", "url"),
    "Endpoint": ("endpointStatus", "lastModifiedTime", "creationTime"),
    "FeatureGroup": ("featureGroupStatus",),
    "HyperParameterTuningJob": ("hyperParameterTuningJobStatus",),
    "InferenceComponent": ("inferenceComponentStatus", "lastModifiedTime", "endpointName", "variantName"),
    "LabelingJob": ("labelingJobStatus",),
    "ModelPackage": ("modelPackageStatus", "creationTime"),
    "ModelPackageGroup": ("modelPackageGroupStatus",),
    "MonitoringSchedule": ("monitoringScheduleStatus", "lastModifiedTime", "creationTime"),
    "NotebookInstance": ("notebookInstanceStatus",),
    "NotebookInstanceLifecycleConfig": ("lastModifiedTime", "creationTime"),
    "Pipeline": ("pipelineStatus", "creationTime", "lastModifiedTime"),
    "PipelineExecution": ("pipelineExecutionStatus", "creationTime", "lastModifiedTime"),
    "ProcessingJob": ("processingJobStatus",),
    "Project": ("projectStatus", "projectID", "creationTime"),
    "Space": ("status",),
    "TrainingJob": ("trainingJobStatus", "secondaryStatus"),
    "TransformJob": ("transformJobStatus",),
    "UserProfile": ("status",),
}
"""Beside the ARN and the conditions. Kinds that are not here have nothing else in ACK's status."""

KNOWN_FROM_CREATE = {
    "Domain": ("domainID",),
    "InferenceComponent": ("endpointName", "variantName"),
    "Project": ("projectID",),
}
SETTLED_AT_ONCE = ("Model", "EndpointConfig", "NotebookInstanceLifecycleConfig", "Pipeline")


async def consumed(stage: Stage, *, seconds: float = 60.0) -> dict[str, Any]:
    """As `wait_resource_consumed_by_controller`: the object as soon as it has a status."""

    async def reached() -> Any:
        stored = await stage.get()
        return stored if "status" in stored else None

    return dict(await stage.cloud.until(reached, seconds=seconds, step=0.1))


def first(stage: Stage, watched: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first status that was ever written to the stage's object."""
    return next(o["status"] for o in watched if o["metadata"].name == stage.name and o["status"])


def check(stage: Stage, status: dict[str, Any]) -> None:
    arn = status["ackResourceMetadata"]["arn"]
    assert arn.startswith("arn:aws:sagemaker:us-west-2:123456789012:")
    assert contradictions(status["conditions"]) == []
    for field in READ.get(stage.kind.name, ()):
        assert status[field], field


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_status_has_what_describe_reports(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        stage.cloud.forget()
        await stage.apply()
        stored = await consumed(stage)
        described = await stage.ask_about(stored["spec"], stored["status"]["ackResourceMetadata"]["arn"])
        about = (stage.kind.create, stage.kind.describe)
        calls = [call.operation for call in stage.cloud.sagemaker.calls.recent if call.operation in about]
    check(stage, stored["status"])
    assert stored["status"] == first(stage, watched)
    known = {name: value for name, value in to_status(stage.kind, Observation(described)).items() if value is not None}
    assert {name: stored["status"].get(name) for name in known} == known
    # The second Describe is this test's own.
    assert calls == [stage.kind.create, stage.kind.describe, stage.kind.describe]
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_status_is_complete_where_creates_are_throttled(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        stage.cloud.sagemaker.limits.set(stage.kind.create, RateLimit(per_second=0.25, burst=1))
        stage.cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.THROTTLE, times=3))
        await stage.apply()
        # A domain has neither a name nor a token: it is searched for between any two of its creates.
        await consumed(stage, seconds=240.0)
    check(stage, first(stage, watched))


@pytest.mark.parametrize("kind", SETTLED_AT_ONCE)
async def test_a_kind_without_a_lifecycle_is_ready_in_its_first_status(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        await stage.apply()
        await consumed(stage)
        stage.cloud.forget()
        await stage.cloud.pass_time(600)
        assert stage.cloud.sagemaker.calls.total == 0, "nothing is left to be found out"
    conditions = {c["type"]: c["status"] for c in first(stage, watched)["conditions"]}
    assert (conditions["Ready"], conditions["ACK.ResourceSynced"]) == ("True", "True")


TROUBLES = {
    "throttled": FaultKind.THROTTLE,
    "denied": FaultKind.ACCESS_DENIED,
    "not found yet": FaultKind.EVENTUAL_CONSISTENCY,
    "without an answer": FaultKind.SLOW,
    "broken": FaultKind.SERVER_ERROR,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_describe_that_fails_costs_neither_the_arn_nor_the_status(kind: str, trouble: str) -> None:
    stage = Stage(kind)
    loop = asyncio.get_running_loop()
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        fault = Fault(operation=stage.kind.describe, kind=TROUBLES[trouble], times=3, seconds=20.0)
        stage.cloud.sagemaker.faults.add(fault)
        await stage.apply()
        applied = loop.time()
        stored = await consumed(stage)
        assert loop.time() - applied <= 5.0
        status = stored["status"]
        assert status["ackResourceMetadata"]["arn"]
        assert contradictions(status["conditions"]) == []
        if stage.kind.status_member is not None:
            field = next(m.field for m in stage.kind.status_members if m.api == stage.kind.status_member)
            assert status[field] == stage.kind.first_status
        for field in KNOWN_FROM_CREATE.get(kind, ()):
            assert status[field], field
        states = {c["type"]: c["status"] for c in status["conditions"]}
        assert states["Ready"] == "False"
        assert not {"ACK.Recoverable", "ACK.Terminal"} & states.keys()
        await stage.settled(seconds=7200)
        check(stage, await stage.status())
    assert stage.creates() == 1
    assert status == first(stage, watched)


class Component:
    """The steps of Kubeflow Pipelines' component for training jobs, from its published behaviour."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud = cloud
        self.name = name
        self.manifest = sample(trainingJobName=name)
        self.manifest["metadata"] |= {"name": name, "annotations": {"services.k8s.aws/region": "us-west-2"}}

    async def status(self) -> dict[str, Any]:
        return dict((await self.cloud.get(self.name))["status"])

    async def going(self) -> AsyncIterator[dict[str, Any]]:
        """The status every 30 seconds; raises if it says that the run cannot go on."""
        while True:
            status = await self.status()
            conditions = {c["type"]: c for c in status["conditions"]}
            if conditions.get("ACK.Terminal", {}).get("status") == "True":
                raise AssertionError(conditions["ACK.Terminal"])
            if conditions.get("ACK.Recoverable", {}).get("status") != "True":
                yield status
            await asyncio.sleep(30)

    async def run(self) -> str:
        await self.cloud.apply(self.manifest)
        for _ in range(6):
            if "status" in await self.cloud.get(self.name):
                break
            await asyncio.sleep(10)
        else:
            raise AssertionError("not consumed within a minute")
        async for status in self.going():
            if status["ackResourceMetadata"]["arn"]:
                break
        async for status in self.going():
            synced = next(c for c in status["conditions"] if c["type"] == "ACK.ResourceSynced")
            if status["trainingJobStatus"] == "Completed" and synced["status"] == "True":
                return str(status["modelArtifacts"]["s3ModelArtifacts"])
        raise AssertionError("never reached")


async def test_eight_parallel_pipeline_steps_succeed_though_creates_are_throttled() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.limits.set("CreateTrainingJob", RateLimit(per_second=0.25, burst=1))
    async with operator(cloud):
        steps = [Component(cloud, f"step-{number}").run() for number in range(8)]
        artifacts = await asyncio.gather(*steps)
    assert len(set(artifacts)) == 8
    assert cloud.creates() == 8


async def test_a_recreated_resource_shows_nothing_of_its_predecessor() -> None:
    """Also where the new one cannot be described yet."""
    stage = Stage("Endpoint")
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        assert (await stage.status())["productionVariants"]
        await stage.cloud.ask("DeleteEndpoint", EndpointName=stage.manifest["spec"]["endpointName"])
        await stage.cloud.pass_time(600)
        fault = Fault(operation="DescribeEndpoint", kind=FaultKind.THROTTLE, nth=2, times=None)
        stage.cloud.sagemaker.faults.add(fault)
        await stage.cloud.annotate(stage.name, {"services.k8s.aws/reconcile-requested-at": "1"}, kind="Endpoint")
        await stage.cloud.until(lambda: stage.creates() == 2, seconds=120)
        await stage.cloud.pass_time(5)
        status = await stage.status()
    assert status["endpointStatus"] == "Creating"
    assert not {"creationTime", "productionVariants"} & status.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [Mode.KILL_BEFORE, Mode.KILL_AFTER])
async def test_a_kill_between_the_create_and_the_first_status_leaves_one_resource(kind: str, mode: Mode) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
    await stage.apply()
    await killed(stage.cloud, Wire(f"SageMaker.{stage.kind.describe}", mode), seed=11)
    assert "status" not in await stage.get()
    async with operator(stage.cloud, identity="two"):
        await stage.settled()
    assert stage.creates() == 1 or stage.kind.token_member is not None
    check(stage, await stage.status())
