"""Several operators that share the work by UID: everything is done once, also while the number of shards changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.kube.lease import LEASES
from sagemaker_operator.runtime.shard import Shard
from tests.e2e.harness import Cloud, killed, operator, sample
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=100_000), pytest.mark.timeout(120)]


def job(number: int) -> dict[str, Any]:
    manifest = sample(trainingJobName=f"job-{number}", tags=[{"key": "sandbox/seconds", "value": "120"}])
    manifest["metadata"]["name"] = f"job-{number}"
    return manifest


async def running(stack: AsyncExitStack, cloud: Cloud, total: int, *, round_: str = "") -> list[Any]:
    return [
        await stack.enter_async_context(
            operator(cloud, identity=f"pod{round_}-{index}", seed=index + 1, shard=index, total_shards=total)
        )
        for index in range(total)
    ]


async def completed(cloud: Cloud, names: Iterable[str]) -> None:
    for name in names:
        await cloud.until_status(name, "Completed", step=5.0)


async def test_three_shards_handle_every_object_exactly_once() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    wires = [Wire() for _ in range(3)]
    async with AsyncExitStack() as stack:
        for index, wire in enumerate(wires):
            await stack.enter_async_context(
                operator(cloud, identity=f"pod-{index}", seed=index + 1, wire=wire, shard=index, total_shards=3)
            )
        for number in range(30):
            await cloud.apply(job(number))
        await completed(cloud, (f"job-{number}" for number in range(30)))
    created = [sum(call == "SageMaker.CreateTrainingJob" for call in wire.calls) for wire in wires]
    uids = [(await cloud.get(f"job-{number}"))["metadata"]["uid"] for number in range(30)]
    expected = Counter(index for uid in uids for index in range(3) if Shard(index, 3).owns(uid))
    assert created == [expected[index] for index in range(3)]
    assert cloud.creates() == 30
    leases = (await cloud.user.get_json(LEASES.path("default")))["items"]
    assert {lease["metadata"]["name"] for lease in leases} == {
        "ack-sagemaker.services.k8s.aws",
        "ack-sagemaker.services.k8s.aws-shard-1",
        "ack-sagemaker.services.k8s.aws-shard-2",
    }


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1), (1, 2)])
async def test_another_number_of_shards_waits_for_the_old_ones(before: int, after: int) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with AsyncExitStack() as new:
        async with AsyncExitStack() as old:
            await running(old, cloud, before)
            for number in range(10):
                await cloud.apply(job(number))
            await cloud.until(lambda: cloud.creates() == 10)
            managers = await running(new, cloud, after, round_="-new")
            for number in range(10, 20):
                await cloud.apply(job(number))
            await cloud.until(lambda: cloud.creates() == 20)
            await cloud.pass_time(60)
            assert not any(manager.elector.leading.is_set() for manager in managers)
        # The old ones released their leases at their end.
        await cloud.until(lambda: all(manager.elector.leading.is_set() for manager in managers), seconds=30)
        for number in range(20, 30):
            await cloud.apply(job(number))
        await completed(cloud, (f"job-{number}" for number in range(30)))
    assert cloud.creates() == 30


async def test_a_shard_that_was_killed_is_waited_for_until_its_lease_expires() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.apply(job(1))
    uid = (await cloud.get("job-1"))["metadata"]["uid"]
    owner = next(index for index in range(2) if Shard(index, 2).owns(uid))
    wire = Wire("SageMaker.CreateTrainingJob", Mode.KILL_AFTER)
    await killed(cloud, wire, identity="dead", shard=owner, total_shards=2)
    loop = asyncio.get_running_loop()
    died = loop.time()
    async with AsyncExitStack() as stack:
        managers = await running(stack, cloud, 3)
        await cloud.until(lambda: all(manager.elector.leading.is_set() for manager in managers))
        assert loop.time() - died >= 30
        await completed(cloud, ["job-1"])
    assert cloud.creates() == 1


async def test_every_shard_waits_for_a_running_ack() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    await cloud.user.create(
        LEASES,
        "default",
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "ack-sagemaker.services.k8s.aws", "namespace": "default"},
            "spec": {"holderIdentity": "ack-pod_1234", "leaseDurationSeconds": 15},
        },
    )
    async with AsyncExitStack() as stack:
        managers = await running(stack, cloud, 2)
        await cloud.pass_time(14)
        assert not any(manager.elector.leading.is_set() for manager in managers)
        await cloud.until(lambda: all(manager.elector.leading.is_set() for manager in managers), seconds=40)
