"""A training job's lifecycle in virtual time: what the user sees, and the number of calls and writes."""

from __future__ import annotations

import io
import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.sandbox.sagemaker.simulator import ACCOUNT
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=200_000)]

ARN = f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:training-job/"


def states(conditions: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {type_: condition["status"] for type_, condition in conditions.items()}


def writes(cloud: Cloud, name: str) -> list[str]:
    """The operator's writes that are about this object, its events included."""
    verbs = {"create", "update", "patch", "delete"}
    mine = [r for r in cloud.kubernetes.requests if r.user_agent == "sagemaker-operator" and r.verb in verbs]
    about = [f"{r.verb} {r.subresource or r.plural}" for r in mine if r.name == name]
    events = [event for event in cloud.kubernetes.list(EVENTS) if event["regarding"]["name"] == name]
    return about + ["create events"] * len(events)


async def test_a_job_runs_from_apply_to_completed_and_is_deleted() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        assert states(await cloud.conditions(name)) == {
            "Ready": "True",
            "ACK.ResourceSynced": "True",
            "Complete": "True",
        }
        status = await cloud.status(name)
        assert status["ackResourceMetadata"] == {
            "arn": ARN + manifest["spec"]["trainingJobName"],
            "ownerAccountID": ACCOUNT,
            "partition": "aws",
            "region": "us-west-2",
        }
        assert status["modelArtifacts"]["s3ModelArtifacts"].endswith("model.tar.gz")
        assert status["billableTimeInSeconds"] == status["trainingTimeInSeconds"] == 540
        assert [step["status"] for step in status["secondaryStatusTransitions"]][-1] == "Completed"
        stored = await cloud.get(name)
        assert stored["spec"] == manifest["spec"], "the spec belongs to the user"
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
    assert cloud.creates() == 1
    assert not cloud.sagemaker.calls.of("StopTrainingJob")


async def test_a_ten_minute_job_costs_at_most_25_calls_and_10_writes() -> None:
    """ACK: 47 and 26, deletion included in both."""
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
    assert cloud.sagemaker.calls.total - cloud.sagemaker.calls.operations["GetCallerIdentity"] <= 25
    assert len(writes(cloud, name)) <= 10


async def test_the_first_status_of_an_accepted_object_carries_the_arn() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        async with cloud.watching() as watched:
            await cloud.until_status(name, "InProgress")
    first = next(obj["status"] for obj in watched if obj.get("status"))
    assert first["ackResourceMetadata"]["arn"].startswith(ARN)


async def test_the_order_is_finalizer_create_describe_status() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    wire = Wire()
    async with operator(cloud, wire=wire):
        await cloud.apply(manifest)
        await cloud.until_status(manifest["metadata"]["name"], "InProgress")
    path = cloud.job.path("default", manifest["metadata"]["name"])
    about = [call for call in wire.calls if call.startswith(("PATCH", "SageMaker"))]
    made = ["SageMaker.CreateTrainingJob", "SageMaker.DescribeTrainingJob"]
    assert about[:4] == [f"PATCH {path}", *made, f"PATCH {path}/status"]


async def test_a_settled_object_makes_no_calls_and_no_writes() -> None:
    """Invariant 6: no write and no call, whatever touches the object or restarts the operator."""
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud) as manager:
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.until(lambda: not len(manager.poller))
        cloud.forget()
        for number in range(5):
            await cloud.annotate(name, {"services.k8s.aws/touch": str(number)})
            await cloud.until(lambda: not manager.controllers["TrainingJob"].queue.unfinished(), step=5.0)
        assert cloud.sagemaker.calls.total == 0
        assert writes(cloud, name) == ["create events"] * 2
    cloud.forget()
    async with operator(cloud, identity="two"):
        await cloud.pass_time(7200)
    assert cloud.sagemaker.calls.operations == {"GetCallerIdentity": 1}
    assert [r for r in cloud.kubernetes.requests if r.user_agent == "sagemaker-operator" and r.name == name] == []


async def test_a_failed_job_says_why_everywhere() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    stream = io.StringIO()
    configure(level="info", format_="json", clock=cloud.clock, stream=stream)
    manifest = sample(tags=[{"key": "sandbox/outcome", "value": "Failed"}])
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Failed")
        conditions = await cloud.conditions(name)
        status = await cloud.status(name)
    ended = {
        "Ready": "False",
        "ACK.ResourceSynced": "True",
        "ACK.Terminal": "True",
        "Stalled": "True",
        "Failed": "True",
    }
    assert states(conditions) == ended
    assert status["failureReason"] in conditions["Failed"]["message"]
    events = [event for event in cloud.kubernetes.list(EVENTS) if event["type"] == "Warning"]
    assert [event["reason"] for event in events] == ["Failed"]
    assert status["failureReason"][:40] in events[0]["note"]
    last = [line for line in map(json.loads, stream.getvalue().splitlines()) if line.get("event") == "job.failed"]
    assert [line["failureReason"] for line in last] == [status["failureReason"]]
    assert last[0]["level"] == "error"


async def test_deleting_a_running_job_stops_it_and_waits() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        await cloud.user.delete(cloud.job, "default", name)

        async def waiting() -> bool:
            return "is Stopping" in (await cloud.conditions(name)).get("ACK.Recoverable", {}).get("message", "")

        await cloud.until(waiting, step=0.5)
        assert (await cloud.conditions(name))["Ready"]["status"] == "False", "nothing is ready while it is deleted"
        await cloud.until_gone(name)
    assert await cloud.training_job_status(manifest["spec"]["trainingJobName"]) == "Stopped"
    assert len(cloud.sagemaker.calls.of("StopTrainingJob")) == 1
    assert not cloud.sagemaker.calls.of("DeleteTrainingJob"), "SageMaker's record stays, as with ACK"


async def test_retain_leaves_the_job_running() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    manifest["metadata"]["annotations"] = {"services.k8s.aws/deletion-policy": "retain"}
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
    assert await cloud.training_job_status(manifest["spec"]["trainingJobName"]) == "InProgress"


async def test_a_name_that_somebody_else_uses_is_not_taken_over() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    theirs, mine = sample(), sample()
    mine["metadata"]["name"] = "mine"
    async with operator(cloud):
        await cloud.apply(theirs)
        await cloud.until_status(theirs["metadata"]["name"], "InProgress")
        await cloud.apply(mine)

        async def refused() -> bool:
            return "ACK.Terminal" in await cloud.conditions("mine")

        await cloud.until(refused)
        stored = await cloud.get("mine")
        terminal = (await cloud.conditions("mine"))["ACK.Terminal"]
        assert terminal["message"].startswith("Resource already exists")
        assert "arn" not in stored["status"].get("ackResourceMetadata", {})
        assert not stored["metadata"].get("finalizers")
        await cloud.user.delete(cloud.job, "default", "mine")
        await cloud.until_gone("mine")
    assert await cloud.training_job_status(theirs["spec"]["trainingJobName"]) == "InProgress"


async def test_an_invalid_spec_that_the_crd_accepted_makes_no_call() -> None:
    """Stored before our CRD, or under ACK's: the operator checks the same rules."""
    cloud = Cloud(kinds=["TrainingJob"], relaxed=True)
    manifest = sample(roleARN="no-arn", outputDataConfig={})
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)

        async def refused() -> bool:
            return "ACK.Terminal" in await cloud.conditions(name)

        await cloud.until(refused)
        text = (await cloud.conditions(name))["ACK.Terminal"]["message"]
        assert "spec.roleARN: must match" in text
        assert "spec.outputDataConfig.s3OutputPath: required" in text
        assert not cloud.sagemaker.calls.mutating()
        assert not (await cloud.get(name))["metadata"].get("finalizers")
        fixed = sample()["spec"]
        await cloud.user.merge_patch(cloud.job, "default", name, {"spec": fixed})
        await cloud.until_status(name, "Completed")
        assert states(await cloud.conditions(name))["Ready"] == "True"


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        (FaultKind.QUOTA, "QuotaExceeded"),
        (FaultKind.ACCESS_DENIED, "AccessDenied"),
    ],
)
async def test_a_create_that_the_account_refuses_recovers_without_an_edit(kind: FaultKind, category: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=kind, times=3))
    async with operator(cloud):
        await cloud.apply(manifest)

        async def reported() -> bool:
            return (await cloud.conditions(name)).get("ACK.Recoverable", {}).get("reason") == category

        await cloud.until(reported)
        assert "ACK.Terminal" not in await cloud.conditions(name)
        assert not (await cloud.get(name))["metadata"].get("finalizers"), "a refused create never blocks a deletion"
        await cloud.until_status(name, "Completed", seconds=7200)
    assert len(cloud.sagemaker.calls.of("CreateTrainingJob")) == 4


async def test_a_burst_of_throttling_never_shows_in_a_condition() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    for operation in ("CreateTrainingJob", "DescribeTrainingJob"):
        cloud.sagemaker.faults.add(Fault(operation=operation, kind=FaultKind.THROTTLE, times=5))
    async with operator(cloud), cloud.watching() as watched:
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
    for obj in watched:
        types = {c["type"] for c in obj.get("status", {}).get("conditions", ())}
        assert not types & {"ACK.Recoverable", "ACK.Terminal", "Stalled"}
    assert cloud.creates() == 1


@pytest.mark.parametrize("kind", [FaultKind.LOST_REPLY, FaultKind.ERROR_AFTER])
async def test_a_lost_reply_to_the_create_is_found_again(kind: FaultKind) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=kind))
    async with operator(cloud), cloud.watching() as watched:
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
    first = next(obj["status"] for obj in watched if obj.get("status"))
    assert first["ackResourceMetadata"]["arn"].startswith(ARN)
    assert len(cloud.sagemaker.calls.of("CreateTrainingJob")) == 1


async def test_a_create_that_is_not_visible_yet_is_not_repeated() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.LOST_REPLY))
    cloud.sagemaker.faults.add(
        Fault(operation="DescribeTrainingJob", kind=FaultKind.EVENTUAL_CONSISTENCY, seconds=20, times=None)
    )
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
    assert cloud.creates() == 1


async def test_a_job_that_vanished_is_not_run_again() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        await cloud.pass_time(400)
        cloud.sagemaker.faults.add(
            Fault(
                operation="DescribeTrainingJob",
                kind=FaultKind.REJECT,
                code="ValidationException",
                message="Requested resource not found.",
                times=None,
            )
        )

        async def reported() -> bool:
            return (await cloud.conditions(name)).get("ACK.Terminal", {}).get("reason") == "Vanished"

        await cloud.until(reported)
        await cloud.pass_time(7200)
    assert cloud.creates() == 1


async def test_many_jobs_are_polled_by_list() -> None:
    """Invariant 12: a sweep of pages for all, one describe after each create and one at the end of each life."""
    cloud = Cloud(kinds=["TrainingJob"])
    number = 40
    async with operator(cloud) as manager:
        for index in range(number):
            manifest = sample(trainingJobName=f"job-{index}")
            manifest["metadata"]["name"] = f"job-{index}"
            await cloud.apply(manifest)

        async def done() -> bool:
            page = await cloud.user.list_page(cloud.job)
            return sum(obj.decode_status().get("trainingJobStatus") == "Completed" for obj in page.items) == number

        await cloud.until(done, step=5.0)
        await cloud.until(lambda: not len(manager.poller))
    counts = cloud.sagemaker.calls.operations
    assert counts["CreateTrainingJob"] == number
    assert counts["DescribeTrainingJob"] <= number * 2.2
    assert counts["ListTrainingJobs"] <= 50, "one every 15 s at most"
    assert cloud.sagemaker.calls.total / number <= 4.5


async def test_an_edit_that_cannot_be_made_names_the_field_and_stops_nothing() -> None:
    cloud = Cloud(kinds=["TrainingJob"], relaxed=True)
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        await cloud.user.merge_patch(cloud.job, "default", name, {"spec": {"hyperParameters": {"max_depth": "9"}}})

        async def refused() -> bool:
            return "ACK.Terminal" in await cloud.conditions(name)

        await cloud.until(refused)
        text = (await cloud.conditions(name))["ACK.Terminal"]["message"]
        assert text.startswith("only Warm Pool or Profiler can be updated")
        assert "spec.hyperParameters" in text
        await cloud.until_status(name, "Completed")
        assert "ACK.Terminal" in await cloud.conditions(name), "the edit is still wrong"
        undone = manifest["spec"]["hyperParameters"]["max_depth"]
        await cloud.user.merge_patch(cloud.job, "default", name, {"spec": {"hyperParameters": {"max_depth": undone}}})

        async def clean() -> bool:
            return states(await cloud.conditions(name)).get("Ready") == "True"

        await cloud.until(clean)
    assert not cloud.sagemaker.calls.of("UpdateTrainingJob")


async def test_a_warm_pool_is_kept_alive_longer() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    manifest["spec"]["resourceConfig"]["keepAlivePeriodInSeconds"] = 1800
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.user.merge_patch(
            cloud.job, "default", name, {"spec": {"resourceConfig": {"keepAlivePeriodInSeconds": 3600}}}
        )
        await cloud.until(lambda: cloud.sagemaker.calls.of("UpdateTrainingJob"))

        async def settled() -> bool:
            return states(await cloud.conditions(name)).get("Ready") == "True"

        await cloud.until(settled)
        assert len(cloud.sagemaker.calls.of("UpdateTrainingJob")) == 1

        async def over() -> bool:
            return (await cloud.status(name)).get("warmPoolStatus", {}).get("status") == "Terminated"

        await cloud.until(over, seconds=7200, step=30.0)


async def test_debug_rules_keep_it_unsynced_until_they_end() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    rule = {
        "ruleConfigurationName": "loss",
        "ruleEvaluatorImage": "123456789012.dkr.ecr.us-west-2.amazonaws.com/rules:latest",
    }
    manifest = sample(debugRuleConfigurations=[rule])
    name = manifest["metadata"]["name"]
    async with operator(cloud), cloud.watching() as watched:
        await cloud.apply(manifest)

        async def ready() -> bool:
            return states(await cloud.conditions(name)).get("Ready") == "True"

        await cloud.until(ready)
    texts = [
        c["message"]
        for obj in watched
        if obj.get("status", {}).get("trainingJobStatus") == "Completed"
        for c in obj["status"]["conditions"]
        if c["type"] == "ACK.ResourceSynced"
    ]
    assert texts[0] == "DebugRule is in InProgress status."
    assert texts[-1] == "TrainingJob is in Completed status."


async def test_every_log_line_fits_the_published_schema_and_leaks_nothing() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    schema = json.loads((resources.files("sagemaker_operator") / "log_schema_v1.json").read_text())
    stream = io.StringIO()
    configure(level="debug", format_="json", clock=cloud.clock, stream=stream)
    manifest = sample(
        hyperParameters={"password": "s3cr3t-hyper"},
        environment={"TOKEN": "s3cr3t-env"},
        tags=[{"key": "sandbox/outcome", "value": "Failed"}],
    )
    cloud.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.QUOTA))
    cloud.sagemaker.faults.add(Fault(operation="DescribeTrainingJob", kind=FaultKind.SERVER_ERROR, nth=3, times=4))
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(manifest["metadata"]["name"], "Failed", seconds=7200)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    validator = Draft202012Validator(schema)
    for line in lines:
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(line)]
        assert not problems, line
    events = [line.get("event") for line in lines]
    for event in ("operator.started", "job.submitted", "job.transition", "job.failed", "resource.waiting", "aws.error"):
        assert event in events
    stored = [cloud.kubernetes.list(EVENTS), await cloud.status(manifest["metadata"]["name"])]
    everything = stream.getvalue() + json.dumps(stored)
    assert "s3cr3t" not in everything


async def test_transitions_are_logged_once_each_even_across_a_restart() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    stream = io.StringIO()
    configure(level="info", format_="json", clock=cloud.clock, stream=stream)
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
    async with operator(cloud, identity="two"):
        await cloud.until_status(name, "Completed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    steps = [line["secondaryStatus"] for line in lines if line.get("event") == "job.transition"]
    assert steps == ["Starting", "Downloading", "Training", "Uploading"]
    ends = [line for line in lines if line.get("event") == "job.completed"]
    assert len(ends) == 1
    assert ends[0]["elapsedSeconds"] == 600
    assert ends[0]["terminal"] is True


async def test_ack_objects_are_taken_over_without_a_mutating_call() -> None:
    """Spec with late-initialised fields, status and conditions as ACK leaves them, its finalizer."""
    cloud = Cloud(kinds=["TrainingJob"], relaxed=True)
    manifest = sample()
    name, job = manifest["metadata"]["name"], manifest["spec"]["trainingJobName"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
    late = {
        "enableNetworkIsolation": False,
        "enableManagedSpotTraining": False,
        "enableInterContainerTrafficEncryption": False,
        "outputDataConfig": {"compressionType": "GZIP"},
    }
    await cloud.user.merge_patch(cloud.job, "default", name, {"spec": late})
    as_ack = {
        "observedGeneration": None,
        "conditions": [
            {"type": "ACK.ResourceSynced", "status": "False", "message": "TrainingJob is in InProgress status."},
            {"type": "ACK.LateInitialized", "status": "True", "reason": "Late initialization successful"},
            {"type": "Ready", "status": "False", "message": "TrainingJob is in InProgress status."},
        ],
    }
    await cloud.user.merge_patch(cloud.job, "default", name, {"status": as_ack}, subresource="status")
    cloud.forget()
    async with operator(cloud, identity="two"):
        await cloud.until_status(name, "Completed")
        conditions = await cloud.conditions(name)
    assert states(conditions)["Ready"] == "True"
    assert conditions["ACK.LateInitialized"]["status"] == "True", "what others wrote is kept"
    assert not cloud.sagemaker.calls.mutating()
    assert await cloud.training_job_status(job) == "Completed"


async def test_a_recreated_object_does_not_inherit_the_old_job() -> None:
    """Same name, other UID: the old record in SageMaker is not the new object's job."""
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
        await cloud.apply(manifest)

        async def refused() -> bool:
            return "ACK.Terminal" in await cloud.conditions(name)

        await cloud.until(refused)
    assert cloud.creates() == 1


async def test_the_region_annotation_decides_until_sagemaker_accepted() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    manifest["metadata"]["annotations"] = {"services.k8s.aws/region": "eu-west-1"}
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        metadata = (await cloud.status(name))["ackResourceMetadata"]
        assert metadata["region"] == "eu-west-1"
        assert ":eu-west-1:" in metadata["arn"]
        await cloud.annotate(name, {"services.k8s.aws/region": "us-east-1"})
        await cloud.until_status(name, "Completed")
    assert {call.region for call in cloud.sagemaker.calls.of("DescribeTrainingJob")} == {"eu-west-1"}


async def test_two_replicas_never_create_twice() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifests = [sample(trainingJobName=f"job-{index}") for index in range(5)]
    for index, manifest in enumerate(manifests):
        manifest["metadata"]["name"] = f"job-{index}"
    async with operator(cloud, identity="one"), operator(cloud, identity="two", seed=9):
        for manifest in manifests:
            await cloud.apply(manifest)
        for manifest in manifests:
            await cloud.until_status(manifest["metadata"]["name"], "InProgress")
    assert len(cloud.sagemaker.calls.of("CreateTrainingJob")) == 5


async def test_the_record_of_a_job_is_deleted_with_its_object_if_requested() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    manifest = sample()
    name = manifest["metadata"]["name"]
    manifest["metadata"]["annotations"] = {"sagemaker.services.k8s.aws/job-record": "delete"}
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "InProgress")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
    done = [call.operation for call in cloud.sagemaker.calls.mutating()]
    assert done == ["CreateTrainingJob", "StopTrainingJob", "DeleteTrainingJob"]
    assert await cloud.training_job_status(manifest["spec"]["trainingJobName"]) == "None"
