"""Create, describe, update, delete, tags and validation, called with a real aiobotocore client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore import xform_name
from botocore.model import ShapeResolver

from sagemaker_operator.kinds.catalog import catalog, derive
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.lifecycle import GOOD, life_cycle
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError
from sagemaker_operator.sandbox.sagemaker.training import TrainingJobs
from sagemaker_operator.sandbox.sagemaker.validation import validate
from tests.sandbox.sagemaker_support import EPOCH, ROLE, client_of, job, make_simulator, refusal, tagged

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


ARN = "arn:aws:sagemaker:us-west-2:123456789012:training-job/train"


async def test_describe_echoes_the_input_and_adds_the_server_defaults() -> None:
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}},
    }
    given = job(InputDataConfig=[channel], HyperParameters={"epochs": "3"}, Environment={"A": "b"})
    async with client_of(make_simulator()) as client:
        created = await client.create_training_job(**given, Tags=tagged(seconds="100"))
        found = await client.describe_training_job(TrainingJobName="train")
    assert created["TrainingJobArn"] == found["TrainingJobArn"] == ARN
    for member in ("RoleArn", "HyperParameters", "Environment", "ResourceConfig", "StoppingCondition"):
        assert found[member] == given[member]
    assert found["AlgorithmSpecification"] == {
        **given["AlgorithmSpecification"],
        "EnableSageMakerMetricsTimeSeries": False,
    }
    assert found["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/out", "KmsKeyId": "", "CompressionType": "GZIP"}
    assert found["InputDataConfig"][0]["RecordWrapperType"] == found["InputDataConfig"][0]["CompressionType"] == "None"
    flags = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    assert [found[flag] for flag in flags] == [False, False, False]
    assert found["ProfilingStatus"] == "Disabled"
    assert "Tags" not in found


async def test_the_defaults_are_added_to_a_copy_of_the_input() -> None:
    given = job()
    TrainingJobs(derive("CreateTrainingJob")).with_defaults(given)
    assert given == job()


async def test_a_name_is_taken_until_the_job_is_deleted() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        assert await refusal(client.create_training_job(**job())) == (
            "ResourceInUse",
            (
                "Training job names must be unique within an AWS account and region, and a training job with this name "
                f"already exists ({ARN})"
            ),
        )
        busy = await refusal(client.delete_training_job(TrainingJobName="train"))
        await asyncio.sleep(601)
        await client.delete_training_job(TrainingJobName="train")
        going = await client.describe_training_job(TrainingJobName="train")
        await asyncio.sleep(31)
        gone = await refusal(client.describe_training_job(TrainingJobName="train"))
        await client.create_training_job(**job())
    assert busy[1] == "The request was rejected because the training job is in status InProgress."
    assert (going["TrainingJobStatus"], going["SecondaryStatus"]) == ("Deleting", "Completed")
    assert gone == ("ValidationException", "Requested resource not found.")


async def test_a_job_with_a_warm_pool_cannot_be_deleted() -> None:
    resources = {**job()["ResourceConfig"], "KeepAlivePeriodInSeconds": 300}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(ResourceConfig=resources))
        await asyncio.sleep(700)
        code, _ = await refusal(client.delete_training_job(TrainingJobName="train"))
        await asyncio.sleep(300)
        await client.delete_training_job(TrainingJobName="train")
    assert code == "ResourceInUse"


@pytest.mark.parametrize("operation", ["describe_training_job", "stop_training_job", "delete_training_job"])
async def test_every_operation_reports_a_missing_job_with_the_same_text(operation: str) -> None:
    async with client_of(make_simulator()) as client:
        answer = await refusal(getattr(client, operation)(TrainingJobName="absent"))
    assert answer == ("ValidationException", "Requested resource not found.")


async def test_every_kinds_not_found_text_is_known_to_its_descriptor() -> None:
    for kind in catalog().values():
        error = texts.not_found(kind, name="some-name", arn="arn:aws:sagemaker:us-west-2:123456789012:x/some-name")
        assert error.code in kind.not_found.codes
        assert kind.not_found.pattern is None or kind.not_found.pattern.search(error.message), kind.name


async def test_every_kinds_simulated_lifecycle_ends_in_its_final_status() -> None:
    good = {StatusClass.STEADY, StatusClass.SUCCEEDED}
    for kind in catalog().values():
        life = life_cycle(kind)
        assert {kind.classify(steps[-1].status) for outcome, steps in life.runs.items() if outcome == GOOD} <= good
        if "Failed" in life.runs:
            assert kind.classify(life.runs["Failed"][-1].status) is StatusClass.FAILED
        if kind.stop_on_delete:
            assert kind.classify(life.stop[-1].status) is StatusClass.STOPPED


def problems(**changes: Any) -> str:
    shape = service_model().operation_model("CreateTrainingJob").input_shape
    with pytest.raises(ServiceError) as caught:
        validate(shape, job(**changes))
    return f"{caught.value.code}: {caught.value.message}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"TrainingJobName": "a" * 64},
            (
                f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: "
                "Member must have length less than or equal to 63; "
                f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
            ),
        ),
        (
            {"TrainingJobName": "a.b"},
            (
                "Value 'a.b' at 'trainingJobName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
            ),
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": -1}},
            (
                "Value '-1' at 'resourceConfig.instanceCount' failed to satisfy constraint: "
                "Member must have value greater than or equal to 0"
            ),
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "Tape"}},
            (
                "Value 'Tape' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Pipe, File, FastFile]"
            ),
        ),
        (
            {"InputDataConfig": [{"ChannelName": "?", "DataSource": {}}]},
            (
                "Value '?' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [A-Za-z0-9\.\-_]+"
            ),
        ),
        (
            {"OutputDataConfig": {}},
            "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Environment": {"KEY": "v" * 513}},
            (
                f"Value '{{KEY={'v' * 513}}}' at 'environment' failed to satisfy constraint: "
                r"Map value must satisfy constraint: [Member must have length less than or equal to 512, "
                r"Member must have length greater than or equal to 0, "
                r"Member must satisfy regular expression pattern: [\S\s]*]"
            ),
        ),
        (
            {"InputDataConfig": []},
            (
                "Value '[]' at 'inputDataConfig' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
        ({"Colour": "red"}, "Value at 'colour' failed to satisfy constraint: Member is not part of the model"),
    ],
)
async def test_invalid_input_is_refused_with_awss_message(changes: dict[str, Any], text: str) -> None:
    count = text.count("failed to satisfy constraint")
    noun = "error" if count == 1 else "errors"
    assert problems(**changes) == f"ValidationException: {count} validation {noun} detected: {text}"


async def test_all_violations_are_named_at_once() -> None:
    message = problems(TrainingJobName="-", RoleArn="r")
    assert message.startswith("ValidationException: 3 validation errors detected: ")
    assert message.count("at 'roleArn'") == 2


async def test_sensitive_values_are_not_echoed_and_unions_hold_one_member() -> None:
    shapes = ShapeResolver(
        {
            "Secret": {"type": "string", "max": 3, "sensitive": True},
            "Choice": {
                "type": "structure",
                "union": True,
                "members": {"A": {"shape": "Secret"}, "B": {"shape": "Secret"}},
            },
            "Input": {"type": "structure", "members": {"Choice": {"shape": "Choice"}}},
        }
    )
    shape = shapes.get_shape_by_name("Input")
    validate(shape, {"Choice": {"A": "abc"}})
    with pytest.raises(ServiceError) as caught:
        validate(shape, {"Choice": {"A": "hunter2"}})
    assert "hunter2" not in caught.value.message
    assert "Value at 'choice.a' failed" in caught.value.message
    with pytest.raises(ServiceError, match="Exactly one member must be set"):
        validate(shape, {"Choice": {"A": "a", "B": "b"}})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"TrainingJobName": 3}, "SerializationException: NUMBER_VALUE can not be converted to String"),
        ({"HyperParameters": "x=1"}, "SerializationException: STRING_VALUE can not be converted to Map"),
        ({"EnableNetworkIsolation": 1}, "SerializationException: NUMBER_VALUE can not be converted to Boolean"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "BOOLEAN_VALUE can not be converted to Integer"),
    ],
)
async def test_a_value_of_the_wrong_type_cannot_be_serialized(changes: dict[str, Any], text: str) -> None:
    assert text in problems(**changes)


async def test_valid_input_is_accepted_and_refusals_are_client_errors() -> None:
    validate(service_model().operation_model("CreateTrainingJob").input_shape, job())
    async with client_of(make_simulator()) as client:
        code, message = await refusal(client.create_training_job(**job("a" * 64)))
    assert code == "ValidationException"
    assert message.startswith("2 validation errors detected: Value 'aaa")


async def test_the_input_of_every_kind_can_be_validated() -> None:
    for kind in catalog().values():
        shape = service_model().operation_model(kind.create).input_shape
        with pytest.raises(ServiceError, match="is not part of the model"):
            validate(shape, {"NoSuchMember": 1})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "either TrainingImage or AlgorithmName"),
        ({"ResourceConfig": {"VolumeSizeInGB": 1}}, "exactly one of InstanceType"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 9}}, "MaxWaitTimeInSeconds is only valid"),
    ],
)
async def test_rules_between_members_hold(changes: dict[str, Any], text: str) -> None:
    async with client_of(make_simulator()) as client:
        code, message = await refusal(client.create_training_job(**job(**changes)))
    assert code == "ValidationException"
    assert text in message


async def test_tags_are_added_overwritten_and_removed() -> None:
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(Tags=[{"Key": "team", "Value": "a"}, {"Key": "cost", "Value": "1"}]))
        await client.add_tags(ResourceArn=ARN, Tags=[{"Key": "team", "Value": "b"}, {"Key": "new", "Value": ""}])
        await client.delete_tags(ResourceArn=ARN, TagKeys=["cost"])
        listed = await client.list_tags(ResourceArn=ARN)
        many = [{"Key": f"k{number}", "Value": ""} for number in range(49)]
        full = await refusal(client.add_tags(ResourceArn=ARN, Tags=many))
        reserved = await refusal(client.add_tags(ResourceArn=ARN, Tags=[{"Key": "aws:x", "Value": ""}]))
        twice = await refusal(client.add_tags(ResourceArn=ARN, Tags=[{"Key": "x", "Value": ""}] * 2))
        absent = await refusal(client.list_tags(ResourceArn=f"{ARN}-absent"))
    assert {tag["Key"]: tag["Value"] for tag in listed["Tags"]} == {"team": "b", "new": ""}
    assert full[0] == "ResourceLimitExceeded"
    assert twice[0] == absent[0] == reserved[0] == "ValidationException"


async def test_profiler_updates_wait_for_the_start_and_end_with_the_job() -> None:
    interval = {"ProfilerConfig": {"S3OutputPath": "s3://bucket/p", "ProfilingIntervalInMilliseconds": 500}}
    rule = {"RuleConfigurationName": "Report", "RuleEvaluatorImage": "rules:1"}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(**interval))
        starting = await refusal(client.update_training_job(TrainingJobName="train", **interval))
        await asyncio.sleep(100)
        new = {"ProfilerConfig": {"ProfilingIntervalInMilliseconds": 1000}, "ProfilerRuleConfigurations": [rule]}
        answer = await client.update_training_job(TrainingJobName="train", **new)
        found = await client.describe_training_job(TrainingJobName="train")
        twice = await refusal(client.update_training_job(TrainingJobName="train", ProfilerRuleConfigurations=[rule]))
        await client.update_training_job(TrainingJobName="train", ProfilerConfig={"DisableProfiler": True})
        disabled = await client.describe_training_job(TrainingJobName="train")
        await asyncio.sleep(600)
        over = await refusal(client.update_training_job(TrainingJobName="train", **interval))
    assert answer["TrainingJobArn"] == ARN
    assert "Starting" in starting[1]
    assert found["ProfilerConfig"] == {"S3OutputPath": "s3://bucket/p", "ProfilingIntervalInMilliseconds": 1000}
    assert [entry["RuleConfigurationName"] for entry in found["ProfilerRuleEvaluationStatuses"]] == ["Report"]
    assert found["LastModifiedTime"].timestamp() - EPOCH == 100
    assert "unique" in twice[1]
    assert disabled["ProfilingStatus"] == "Disabled"
    assert over[1] == "The request was rejected because the training job is in status Completed."


async def test_a_warm_pool_can_be_prolonged_only_while_it_is_available() -> None:
    resources = {**job()["ResourceConfig"], "KeepAlivePeriodInSeconds": 300}
    change = {"TrainingJobName": "train", "ResourceConfig": {"KeepAlivePeriodInSeconds": 600}}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job(ResourceConfig=resources))
        early = await refusal(client.update_training_job(**change))
        await asyncio.sleep(700)
        await client.update_training_job(**change)
        await asyncio.sleep(400)
        longer = await client.describe_training_job(TrainingJobName="train")
        await asyncio.sleep(200)
        late = await refusal(client.update_training_job(**change))
    assert "absent" in early[1]
    assert longer["WarmPoolStatus"]["Status"] == "Available"
    assert longer["ResourceConfig"] == {**resources, "KeepAlivePeriodInSeconds": 600}
    assert "Terminated" in late[1]


async def test_remote_debugging_can_be_switched_only_while_the_job_runs() -> None:
    change = {"TrainingJobName": "train", "RemoteDebugConfig": {"EnableRemoteDebug": True}}
    async with client_of(make_simulator()) as client:
        await client.create_training_job(**job())
        early = await refusal(client.update_training_job(**change))
        await asyncio.sleep(100)
        await client.update_training_job(**change)
        found = await client.describe_training_job(TrainingJobName="train")
        nothing = await refusal(client.update_training_job(TrainingJobName="train"))
    assert "RemoteDebugConfig" in early[1]
    assert found["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert "at least one of" in nothing[1]


async def test_an_operation_that_is_not_simulated_says_so() -> None:
    async with client_of(make_simulator()) as client:
        code, message = await refusal(client.list_aliases(ImageName="image"))
    assert code == "UnknownOperationException"
    assert "ListAliases" in message


KINDS: dict[str, dict[str, Any]] = {
    "CodeRepository": {"CodeRepositoryName": "c", "GitConfig": {"RepositoryUrl": "https://example.com/r.git"}},
    "Hub": {"HubName": "h", "HubDescription": "d"},
    "Image": {"ImageName": "i", "RoleArn": ROLE},
}
"""Kinds without a behaviour of their own."""


@pytest.mark.parametrize(("name", "given"), KINDS.items())
async def test_any_derived_kind_runs_from_create_to_delete(name: str, given: dict[str, Any]) -> None:
    kind = derive(f"Create{name}")
    simulator = make_simulator(kinds={name: kind})
    async with client_of(simulator) as client:
        method = {operation: getattr(client, xform_name(f"{operation}{name}")) for operation in ("Create", "Describe")}
        created = await method["Create"](**given)
        [identifier] = [member.api for member in kind.identifiers]
        key = {identifier: given.get(identifier, created.get(identifier))}
        assert kind.delete is not None
        delete = getattr(client, xform_name(kind.delete))
        early = await method["Describe"](**key)
        moving = kind.classify(early.get(kind.status_member)).in_transition
        if moving:
            busy = await refusal(delete(**key))
            assert "The request was rejected because the" in busy[1]
        await asyncio.sleep(1000)
        late = await method["Describe"](**key)
        if kind.status_member:
            assert kind.classify(late[kind.status_member]) in (StatusClass.STEADY, StatusClass.SUCCEEDED)
            assert moving
        assert kind.listing is not None
        page = await getattr(client, xform_name(kind.listing.operation))()
        assert len(page[kind.listing.result]) == 1
        await delete(**key)
        await asyncio.sleep(100)
        assert (await getattr(client, xform_name(kind.listing.operation))())[kind.listing.result] == []
        code, message = await refusal(method["Describe"](**key))
    assert code in kind.not_found.codes
    assert kind.not_found.pattern is None or kind.not_found.pattern.search(message)
