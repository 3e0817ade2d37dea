"""The simulator against moto: where both accept a call, both return the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sagemaker_operator.sandbox.sagemaker.http import serve
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from tests.sandbox.sagemaker_support import EPOCH, client_of, job

pytestmark = [pytest.mark.moto, pytest.mark.asyncio]

GIVEN = job(
    HyperParameters={"epochs": "3"},
    InputDataConfig=[
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://bucket/in",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "CompressionType": "None",
            "RecordWrapperType": "None",
        }
    ],
    OutputDataConfig={"S3OutputPath": "s3://bucket/out", "KmsKeyId": "", "CompressionType": "GZIP"},
    Tags=[{"Key": "team", "Value": "a"}],
)


async def life_of_a_job(client: Any) -> dict[str, Any]:
    created = await client.create_training_job(**GIVEN)
    return {
        "created": created,
        "described": await client.describe_training_job(TrainingJobName="train"),
        "listed": (await client.list_training_jobs())["TrainingJobSummaries"],
        "tags": (await client.list_tags(ResourceArn=created["TrainingJobArn"]))["Tags"],
    }


async def test_what_both_echo_agrees(moto_url: str) -> None:
    simulator = SageMakerSimulator(clock=lambda: EPOCH, rng=random.Random(1))
    async with client_of(None, url=moto_url) as client:
        theirs = await life_of_a_job(client)
    async with serve(simulator) as server, client_of(None, url=server.url) as client:
        await client.list_training_jobs()
        ours = await life_of_a_job(client)
    assert ours["created"]["TrainingJobArn"] == theirs["created"]["TrainingJobArn"]
    assert ours["tags"] == theirs["tags"]
    echoed = GIVEN.keys() & ours["described"].keys() & theirs["described"].keys()
    # The algorithm is compared below: moto replaces its metric definitions by canned ones.
    echoed -= {"AlgorithmSpecification"}
    assert {"TrainingJobName", "RoleArn", "HyperParameters", "InputDataConfig", "ResourceConfig"} <= echoed
    for member in echoed:
        assert ours["described"][member] == theirs["described"][member], member
    algorithms = [side["described"]["AlgorithmSpecification"] for side in (ours, theirs)]
    for member in ("TrainingImage", "TrainingInputMode"):
        assert algorithms[0][member] == algorithms[1][member]
    assert ours["described"]["ModelArtifacts"].keys() == theirs["described"]["ModelArtifacts"].keys()
    for mine, other in zip(ours["listed"], theirs["listed"], strict=True):
        assert mine["TrainingJobName"] == other["TrainingJobName"]
        assert mine["TrainingJobArn"] == other["TrainingJobArn"]
