"""Scripted faults: the error that the caller gets, and whether the call took effect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from sagemaker_operator.sandbox.sagemaker.faults import ANY, Fault, FaultKind, RateLimit
from tests.sandbox.sagemaker_support import client_of, job, make_simulator, refusal

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (FaultKind.THROTTLE, "ThrottlingException", 400),
        (FaultKind.SERVER_ERROR, "InternalFailure", 500),
        (FaultKind.EXPIRED_TOKEN, "ExpiredTokenException", 400),
        (FaultKind.ACCESS_DENIED, "AccessDeniedException", 400),
        (FaultKind.QUOTA, "ResourceLimitExceeded", 400),
        (FaultKind.REJECT, "ValidationException", 400),
    ],
)
async def test_a_refused_create_has_no_effect(kind: FaultKind, code: str, status: int) -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=kind))
    async with client_of(simulator) as client:
        with pytest.raises(ClientError) as caught:
            await client.create_training_job(**job())
        assert (await client.list_training_jobs())["TrainingJobSummaries"] == []
        await client.create_training_job(**job())
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert [(call.code, call.applied) for call in simulator.calls.of("CreateTrainingJob")] == [
        (code, False),
        ("", True),
    ]


async def test_a_lost_reply_leaves_the_job_behind() -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.LOST_REPLY))
    async with client_of(simulator) as client:
        with pytest.raises(ConnectionClosedError):
            await client.create_training_job(**job())
        assert (await client.describe_training_job(TrainingJobName="train"))["TrainingJobStatus"] == "InProgress"
    [call] = simulator.calls.of("CreateTrainingJob", "train")
    assert (call.code, call.applied, call.mutating) == ("ConnectionCut", True, True)


async def test_a_500_may_hide_a_success() -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.ERROR_AFTER))
    async with client_of(simulator) as client:
        assert (await refusal(client.create_training_job(**job())))[0] == "InternalFailure"
        await client.describe_training_job(TrainingJobName="train")
    assert simulator.calls.of("CreateTrainingJob")[0].applied


async def test_a_refused_connection_has_no_effect() -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.REFUSED_BEFORE))
    async with client_of(simulator) as client:
        with pytest.raises(EndpointConnectionError):
            await client.create_training_job(**job())
        assert (await refusal(client.describe_training_job(TrainingJobName="train")))[0] == "ValidationException"


async def test_a_slow_answer_takes_its_time_and_outlasts_an_impatient_client() -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.SLOW, seconds=8, times=2))
    loop = asyncio.get_running_loop()
    async with client_of(simulator) as patient, client_of(simulator, read_timeout=5) as impatient:
        start = loop.time()
        await patient.create_training_job(**job("one"))
        assert loop.time() - start == 8
        with pytest.raises(ReadTimeoutError):
            await impatient.create_training_job(**job("two"))
        assert loop.time() - start == 13
        await patient.describe_training_job(TrainingJobName="two")


async def test_a_fault_hits_the_nth_matching_call_and_no_other() -> None:
    simulator = make_simulator()
    simulator.faults.add(
        Fault(
            operation="DescribeTrainingJob",
            kind=FaultKind.THROTTLE,
            nth=2,
            times=2,
            when=lambda request: request.input["TrainingJobName"] == "train",
        )
    )
    async with client_of(simulator) as client:
        for name in ("train", "other"):
            await client.create_training_job(**job(name))
        outcomes = []
        for name in ("train", "other", "train", "train", "train"):
            try:
                await client.describe_training_job(TrainingJobName=name)
                outcomes.append("ok")
            except ClientError as error:
                outcomes.append(error.response["Error"]["Code"])
    assert outcomes == ["ok", "ok", "ThrottlingException", "ThrottlingException", "ok"]


async def test_a_fault_without_end_lasts_until_it_is_removed() -> None:
    simulator = make_simulator()
    storm = simulator.faults.add(Fault(operation=ANY, kind=FaultKind.SERVER_ERROR, times=None))
    async with client_of(simulator) as client:
        for _ in range(3):
            await refusal(client.list_training_jobs())
        simulator.faults.remove(storm)
        await client.list_training_jobs()


async def test_a_reject_says_what_the_script_says() -> None:
    simulator = make_simulator()
    text = "Could not assume role arn:aws:iam::123456789012:role/training."
    simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.REJECT, message=text))
    async with client_of(simulator) as client:
        assert await refusal(client.create_training_job(**job())) == ("ValidationException", text)


@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "ListTrainingJobs"])
async def test_a_new_job_is_not_visible_at_once_if_reads_lag(operation: str) -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation=operation, kind=FaultKind.EVENTUAL_CONSISTENCY, seconds=5))

    async def visible(client: Any) -> bool:
        if operation == "ListTrainingJobs":
            return bool((await client.list_training_jobs())["TrainingJobSummaries"])
        try:
            await client.describe_training_job(TrainingJobName="train")
        except ClientError as error:
            return error.response["Error"]["Message"] != "Requested resource not found."
        return True

    async with client_of(simulator) as client:
        await client.create_training_job(**job())
        assert not await visible(client)
        assert (await refusal(client.create_training_job(**job())))[0] == "ResourceInUse"
        await asyncio.sleep(6)
        assert await visible(client)


async def test_calls_over_the_rate_are_throttled_and_tokens_come_back() -> None:
    simulator = make_simulator(speed=100)
    simulator.limits.set("ListTrainingJobs", RateLimit(per_second=2, burst=3))
    async with client_of(simulator) as client, client_of(simulator, region="eu-west-1") as elsewhere:
        for _ in range(3):
            await client.list_training_jobs()
        assert await refusal(client.list_training_jobs()) == ("ThrottlingException", "Rate exceeded")
        await elsewhere.list_training_jobs()
        await client.create_training_job(**job())
        await asyncio.sleep(0.5)
        await client.list_training_jobs()
        assert (await refusal(client.list_training_jobs()))[0] == "ThrottlingException"


async def test_the_longest_name_of_a_limit_wins() -> None:
    simulator = make_simulator()
    for name, burst in ((ANY, 1), ("List", 2), ("ListTrainingJobs", 3)):
        simulator.limits.set(name, RateLimit(per_second=0.001, burst=burst))
    async with client_of(simulator) as client:
        for call, burst in ((client.list_models, 2), (client.list_training_jobs, 3), (client.list_endpoints, 2)):
            for _ in range(burst):
                await call()
            assert (await refusal(call()))[0] == "ThrottlingException"
        await client.create_training_job(**job())
        assert (await refusal(client.create_training_job(**job("again"))))[0] == "ThrottlingException"


async def test_the_call_log_counts_by_operation_and_by_name() -> None:
    simulator = make_simulator()
    async with client_of(simulator) as client:
        await client.create_training_job(**job("one"))
        await client.describe_training_job(TrainingJobName="one")
        await refusal(client.describe_training_job(TrainingJobName="two"))
        await client.list_training_jobs()
    assert simulator.calls.operations == {"CreateTrainingJob": 1, "DescribeTrainingJob": 2, "ListTrainingJobs": 1}
    assert simulator.calls.names["DescribeTrainingJob", "one"] == 1
    assert [call.operation for call in simulator.calls.mutating()] == ["CreateTrainingJob"]
    assert [call.code for call in simulator.calls.recent] == ["", "", "ValidationException", ""]
    simulator.calls.clear()
    assert simulator.calls.total == 0
