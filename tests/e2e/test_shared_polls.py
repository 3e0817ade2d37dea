"""One List call serves all objects that it can show: several objects of one resource, and resources left out by default."""

from __future__ import annotations

import copy

from sagemaker_operator.annotations import READ_ONLY
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

_TEN_MINUTES = 600.0


async def test_a_second_object_of_a_resource_that_is_read_only_adds_no_calls() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud, feature_gates=FeatureGates(read_only_resources=True)):
        for name in ("a", "b"):
            job = sample(trainingJobName=name)
            job["metadata"]["name"] = name
            # Longer than the test.
            job["spec"]["tags"] = [{"key": "sandbox/seconds", "value": "40000"}]
            await cloud.apply(job)
            await cloud.until_status(name, "InProgress")
        view = sample(trainingJobName="a")
        view["metadata"] |= {"name": "view", "annotations": {READ_ONLY: "true"}}
        await cloud.apply(view)
        await cloud.until_status("view", "InProgress")
        await cloud.pass_time(_TEN_MINUTES)
        cloud.forget()
        await cloud.pass_time(_TEN_MINUTES)
        operations = cloud.sagemaker.calls.operations
        asked = operations.get("ListTrainingJobs", 0) + operations.get("DescribeTrainingJob", 0)
        assert 0 < asked <= 40, (
            "two in half a minute; 1,100 when the sweep searched for the second object on every page"
        )


async def test_model_package_versions_are_found_by_list() -> None:
    """By default ListModelPackages shows those without a version: each then had a Describe per poll, a minute late."""
    stage = Stage("ModelPackage")
    async with operator(stage.cloud):
        await stage.prepare()
        versions = []
        for number in range(4):
            version = copy.deepcopy(stage.manifest)
            version["metadata"]["name"] = f"version-{number}"
            versions.append(version)
            await stage.cloud.apply(version)
        for version in versions:
            await stage.settled(version)
        operations = stage.cloud.sagemaker.calls.operations
        assert operations["ListModelPackages"] > 0
        # After the create and at the end, each; 20 when no page showed them.
        assert operations["DescribeModelPackage"] <= 2 * len(versions) + 4
