"""Quotas: how many instances of a type may be used at once, and which creates are refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagemaker_operator.sandbox.sagemaker.quotas import instance_types
from tests.sandbox.sagemaker_inputs import CASES
from tests.sandbox.sagemaker_support import ROLE, client_of, job, make_simulator, refusal, tagged

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

LIMITED = "ml.m5.xlarge"
ENDED = 700.0


def config(name: str, *, instances: int) -> dict[str, Any]:
    variant = {"VariantName": "a", "ModelName": "model", "InstanceType": LIMITED, "InitialInstanceCount": instances}
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


async def test_a_job_over_the_quota_is_refused_with_awss_message_until_another_ends() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 3)
    two = {"InstanceType": LIMITED, "InstanceCount": 2, "VolumeSizeInGB": 1}
    async with client_of(simulator) as client:
        await client.create_training_job(**job("first", ResourceConfig=two))
        assert await refusal(client.create_training_job(**job("second", ResourceConfig=two))) == (
            "ResourceLimitExceeded",
            (
                "The account-level service limit 'ml.m5.xlarge for training job usage' is 3 Instances, with current utilization "
                "of 2 Instances and a request delta of 2 Instances. Please use AWS Service Quotas to request an increase for "
                "this quota."
            ),
        )
        await client.create_training_job(**job("small"))
        await asyncio.sleep(ENDED)
        await client.create_training_job(**job("second", ResourceConfig=two))
    assert [(call.code, call.applied) for call in simulator.calls.of("CreateTrainingJob", "second")] == [
        ("ResourceLimitExceeded", False),
        ("", True),
    ]


async def test_all_groups_of_a_heterogeneous_cluster_count() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 2)
    groups = [
        {"InstanceGroupName": "a", "InstanceType": LIMITED, "InstanceCount": 2},
        {"InstanceGroupName": "b", "InstanceType": "ml.g5.xlarge", "InstanceCount": 9},
        {"InstanceGroupName": "c", "InstanceType": LIMITED, "InstanceCount": 1},
    ]
    async with client_of(simulator) as client:
        mixed = {"InstanceGroups": groups, "VolumeSizeInGB": 1}
        assert (await refusal(client.create_training_job(**job(ResourceConfig=mixed))))[0] == "ResourceLimitExceeded"
        mixed = {"InstanceGroups": groups[:2], "VolumeSizeInGB": 1}
        await client.create_training_job(**job(ResourceConfig=mixed))


async def test_uses_accounts_and_types_are_counted_apart() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 1)
    other = {"InstanceType": "ml.m5.large", "InstanceCount": 5, "VolumeSizeInGB": 1}
    async with client_of(simulator) as client, client_of(simulator, key="AKIA999999999999TEST") as elsewhere:
        await client.create_training_job(**job("a"))
        await client.create_training_job(**job("b", ResourceConfig=other))
        await client.create_processing_job(**CASES["ProcessingJob"].create)
        await elsewhere.create_training_job(**job("a"))
        assert (await refusal(client.create_training_job(**job("c"))))[0] == "ResourceLimitExceeded"


async def test_an_endpoint_uses_the_instances_of_its_configuration_until_deleted() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 2)
    async with client_of(simulator) as client:
        await client.create_model(**CASES["Model"].create | {"ModelName": "model"})
        await client.create_endpoint_config(**config("two", instances=2))
        await client.create_endpoint_config(**config("many", instances=100))
        await client.create_endpoint(EndpointName="first", EndpointConfigName="two")
        await asyncio.sleep(ENDED)
        code, message = await refusal(client.create_endpoint(EndpointName="second", EndpointConfigName="two"))
        assert code == "ResourceLimitExceeded"
        assert "'ml.m5.xlarge for endpoint usage' is 2 Instances" in message
        await client.delete_endpoint(EndpointName="first")
        await asyncio.sleep(60)
        await client.create_endpoint(EndpointName="second", EndpointConfigName="two")


async def test_a_stopped_notebook_uses_no_quota() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 1)
    notebook = {"NotebookInstanceName": "first", "InstanceType": LIMITED, "RoleArn": ROLE}
    async with client_of(simulator) as client:
        await client.create_notebook_instance(**notebook)
        await asyncio.sleep(ENDED)
        second = notebook | {"NotebookInstanceName": "second"}
        assert (await refusal(client.create_notebook_instance(**second)))[0] == "ResourceLimitExceeded"
        await client.stop_notebook_instance(NotebookInstanceName="first")
        await asyncio.sleep(60)
        await client.create_notebook_instance(**second)


async def test_a_failed_job_uses_no_quota_and_without_quotas_nothing_is_counted() -> None:
    simulator = make_simulator()
    simulator.quotas.set(LIMITED, 1)
    async with client_of(simulator) as client:
        await client.create_training_job(**job("a", Tags=tagged(outcome="Failed", seconds="60")))
        await asyncio.sleep(61)
        await client.create_training_job(**job("b"))
        simulator.quotas.clear()
        await client.create_training_job(**job("c"))


async def test_the_types_that_can_have_a_quota_are_the_models() -> None:
    assert {LIMITED, "ml.t3.medium", "ml.inf1.xlarge", "ml.p4d.24xlarge"} <= instance_types()
    assert all(name.startswith("ml.") for name in instance_types())
