"""Generic behaviour of all kinds: required outputs, and updates of structures."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sagemaker_operator.kinds.catalog import derive
from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, _merged
from tests.sandbox.sagemaker_support import EPOCH, ROLE, client_of, make_simulator

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_a_completed_job_shows_no_failure_reason() -> None:
    kinds = {"CompilationJob": derive("CreateCompilationJob")}
    async with client_of(make_simulator(kinds=kinds)) as client:
        await client.create_compilation_job(
            CompilationJobName="compile",
            RoleArn=ROLE,
            OutputConfig={"S3OutputLocation": "s3://bucket/out", "TargetDevice": "ml_c5"},
            StoppingCondition={"MaxRuntimeInSeconds": 900},
        )
        await asyncio.sleep(100_000)
        job = await client.describe_compilation_job(CompilationJobName="compile")
    assert job["CompilationJobStatus"] == "COMPLETED"
    assert job["FailureReason"] == ""
    assert job["ModelArtifacts"]["S3ModelArtifacts"].startswith("s3://")


async def test_an_update_merges_a_structure_and_replaces_its_lists() -> None:
    record: Any = SimpleNamespace(input={"ApplicationConfig": {"AdminUsers": ["one", "two"], "Arguments": {"a": "1"}}})
    Behaviour(derive("CreatePartnerApp")).apply(record, {"ApplicationConfig": {"AdminUsers": ["three"]}})
    assert record.input["ApplicationConfig"] == {"AdminUsers": ["three"], "Arguments": {"a": "1"}}


async def test_an_update_replaces_a_structure_that_is_one_value() -> None:
    """The version of the old definition is not the new one's."""
    shape = service_model().operation_model("UpdatePipeline").input_shape.members["PipelineDefinitionS3Location"]
    before = {"Bucket": "one", "ObjectKey": "a", "VersionId": "1"}
    after = {"Bucket": "two", "ObjectKey": "b"}
    assert _merged(shape, before, after) == after


async def test_a_list_of_changes_shows_kinds_whose_describe_has_no_time_of_change() -> None:
    """A sweep of changes would never show the end of a transform job."""
    async with client_of(make_simulator()) as client:
        await client.create_model(ModelName="m", PrimaryContainer={"Image": "image:1"})
        await client.create_transform_job(
            TransformJobName="t",
            ModelName="m",
            TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
            TransformOutput={"S3OutputPath": "s3://b/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        await asyncio.sleep(900)
        found = await client.list_transform_jobs(LastModifiedTimeAfter=EPOCH + 300)
        assert [job["TransformJobStatus"] for job in found["TransformJobSummaries"]] == ["Completed"]
        later = await client.list_transform_jobs(LastModifiedTimeAfter=EPOCH + 800)
        assert later["TransformJobSummaries"] == []
