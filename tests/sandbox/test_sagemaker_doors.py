"""Accounts, regions, STS, the socket and the in-process session."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import aiohttp
import pytest
from botocore.exceptions import ConnectionClosedError, HTTPClientError

from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.sandbox.sagemaker.http import serve
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from tests.sandbox.sagemaker_support import EPOCH, client_of, job, make_simulator, refusal

virtual = pytest.mark.looptime


@virtual
async def test_accounts_and_regions_do_not_see_each_other() -> None:
    simulator = make_simulator()
    other = "AKIA210987654321TEST"
    async with (
        client_of(simulator) as here,
        client_of(simulator, region="cn-north-1") as there,
        client_of(simulator, key=other) as theirs,
    ):
        arns = [(await client.create_training_job(**job()))["TrainingJobArn"] for client in (here, there, theirs)]
        await here.stop_training_job(TrainingJobName="train")
        states = [
            (await client.describe_training_job(TrainingJobName="train"))["TrainingJobStatus"]
            for client in (here, there, theirs)
        ]
        foreign = await refusal(theirs.list_tags(ResourceArn=arns[0]))
    assert arns == [
        "arn:aws:sagemaker:us-west-2:123456789012:training-job/train",
        "arn:aws-cn:sagemaker:cn-north-1:123456789012:training-job/train",
        "arn:aws:sagemaker:us-west-2:210987654321:training-job/train",
    ]
    assert states == ["Stopping", "InProgress", "InProgress"]
    assert foreign[0] == "ValidationException"
    assert {(call.account, call.region) for call in simulator.calls.recent} == {
        ("123456789012", "us-west-2"),
        ("123456789012", "cn-north-1"),
        ("210987654321", "us-west-2"),
    }


@virtual
async def test_an_unknown_key_belongs_to_the_default_account() -> None:
    async with client_of(make_simulator(account="555555555555"), key="anything") as client:
        assert ":555555555555:" in (await client.create_training_job(**job()))["TrainingJobArn"]


@virtual
async def test_an_assumed_role_acts_in_its_own_account() -> None:
    simulator = make_simulator(speed=20)
    async with client_of(simulator, service="sts") as sts:
        me = await sts.get_caller_identity()
        role = await sts.assume_role(RoleArn="arn:aws:iam::222222222222:role/path/team", RoleSessionName="operator")
        wrong = await refusal(sts.assume_role(RoleArn="arn:aws:iam::222222222222:user/x", RoleSessionName="tests"))
        unknown = await refusal(sts.get_session_token())
    credentials = role["Credentials"]
    assert me["Account"] == "123456789012"
    assert credentials["Expiration"] == datetime.fromtimestamp(EPOCH + 3600, UTC)
    assert role["AssumedRoleUser"]["Arn"] == "arn:aws:sts::222222222222:assumed-role/team/operator"
    assert wrong[0] == "ValidationError"
    assert unknown[0] == "InvalidAction"
    key = credentials["AccessKeyId"]
    async with client_of(simulator, key=key) as client, client_of(simulator, service="sts", key=key) as sts:
        assert ":222222222222:" in (await client.create_training_job(**job()))["TrainingJobArn"]
        assert (await sts.get_caller_identity())["Arn"] == role["AssumedRoleUser"]["Arn"]


@virtual
async def test_assuming_a_role_can_be_denied() -> None:
    simulator = make_simulator()
    simulator.faults.add(Fault(operation="AssumeRole", kind=FaultKind.REJECT, code="AccessDenied", message="no"))
    async with client_of(simulator, service="sts") as sts:
        answer = await refusal(sts.assume_role(RoleArn="arn:aws:iam::222222222222:role/x", RoleSessionName="tests"))
    assert answer == ("AccessDenied", "no")


@virtual
async def test_a_request_without_a_signature_or_with_a_broken_body_is_refused() -> None:
    simulator = make_simulator()
    signed = "AWS4-HMAC-SHA256 Credential=AKIA123456789012TEST/20260101/us-west-2/sagemaker/aws4_request, x"
    headers = {"x-amz-target": "SageMaker.ListTrainingJobs"}
    unsigned = await simulator.handle("POST", "/", headers, b"{}")
    broken = await simulator.handle("POST", "/", {**headers, "authorization": signed}, b"[1]")
    nulls = await simulator.handle("POST", "/", {**headers, "authorization": signed}, b'{"NameContains": null}')
    assert (unsigned.status, broken.status, nulls.status) == (403, 400, 200)
    assert b"MissingAuthenticationTokenException" in unsigned.body
    assert b"SerializationException" in broken.body


@virtual
async def test_a_closed_in_process_session_sends_nothing() -> None:
    simulator = make_simulator()
    async with client_of(simulator) as client:
        pass
    with pytest.raises(HTTPClientError):
        await client.list_training_jobs()
    assert simulator.calls.total == 0


@virtual
async def test_concurrent_calls_interleave_and_only_one_create_wins() -> None:
    simulator = make_simulator()
    async with client_of(simulator) as client:
        answers = await asyncio.gather(*(client.create_training_job(**job()) for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1


@virtual
async def test_in_process_calls_let_other_tasks_run() -> None:
    order: list[str] = []

    async def call(name: str) -> None:
        order.append(f"{name} starts")
        await client.list_training_jobs()
        order.append(f"{name} ends")

    async with client_of(make_simulator()) as client:
        await asyncio.gather(call("one"), call("two"))
    assert order[:2] == ["one starts", "two starts"]


async def test_a_socket_serves_any_sdk_and_cuts_connections_on_request() -> None:
    simulator = SageMakerSimulator(clock=lambda: EPOCH, rng=random.Random(1))
    async with serve(simulator) as server, client_of(None, url=server.url) as client:
        await client.create_training_job(**job())
        simulator.advance(601)
        found = await client.describe_training_job(TrainingJobName="train")
        assert found["TrainingJobStatus"] == "Completed"
        await client.delete_training_job(TrainingJobName="train")
        simulator.advance(31)
        missing = await refusal(client.describe_training_job(TrainingJobName="train"))
        assert missing == ("ValidationException", "Requested resource not found.")
        simulator.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.LOST_REPLY))
        with pytest.raises(ConnectionClosedError):
            await client.create_training_job(**job())
        await client.describe_training_job(TrainingJobName="train")
        async with client_of(None, service="sts", url=server.url) as sts:
            assert (await sts.get_caller_identity())["Account"] == "123456789012"


async def test_a_stopped_server_releases_its_port() -> None:
    simulator = SageMakerSimulator(clock=lambda: EPOCH, rng=random.Random(1))
    async with serve(simulator) as server:
        url = server.url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
