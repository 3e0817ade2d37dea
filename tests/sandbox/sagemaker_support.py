"""What the SageMaker simulator's tests share: a virtual clock, a simulator and real aiobotocore clients."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import ClientError

from sagemaker_operator.sandbox.sagemaker.http import in_process_session
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EPOCH = 1_700_000_000.0
KEY = "AKIA123456789012TEST"
ROLE = "arn:aws:iam::123456789012:role/training"


@cache
def session() -> AioSession:
    """One for all tests: parsing the service model takes 0.3 s, and the session's loader keeps it."""
    return get_session()


def virtual_clock() -> float:
    return EPOCH + asyncio.get_running_loop().time()


def make_simulator(**options: Any) -> SageMakerSimulator:
    return SageMakerSimulator(clock=virtual_clock, rng=random.Random(7), **options)


@asynccontextmanager
async def client_of(
    simulator: SageMakerSimulator | None,
    *,
    service: str = "sagemaker",
    region: str = "us-west-2",
    key: str = KEY,
    url: str | None = None,
    read_timeout: float = 60,
) -> AsyncIterator[Any]:
    """A real aiobotocore client: in process, or over a socket when `url` is given."""
    door = {} if simulator is None else {"http_session_cls": in_process_session(simulator)}
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=read_timeout, **door)
    async with session().create_client(
        service,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        endpoint_url=url,
        config=config,
    ) as client:
        yield client


def job(name: str = "train", **changes: Any) -> dict[str, Any]:
    """A Create input that AWS would accept."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


def tagged(**tags: str) -> list[dict[str, str]]:
    return [{"Key": f"sandbox/{key}", "Value": value} for key, value in tags.items()]


async def refusal(call: Any) -> tuple[str, str]:
    """(code, message) of a call that must fail with an AWS error."""
    try:
        await call
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError("the call was accepted")
