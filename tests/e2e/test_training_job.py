"""A training job's life, in virtual time."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Cloud, operator, sample

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=7200)]


async def test_a_job_runs_from_apply_to_completed() -> None:
    cloud = Cloud()
    manifest = sample()
    name = manifest["metadata"]["name"]
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        conditions = await cloud.conditions(name)
        assert {type_: c["status"] for type_, c in conditions.items()} == {
            "Ready": "True",
            "ACK.ResourceSynced": "True",
            "Complete": "True",
        }
    assert cloud.creates() == 1


async def test_x() -> None:
    cloud = Cloud()
    manifest = sample()
    name = manifest["metadata"]["name"]
    from sagemaker_operator.logs import configure

    configure(level="info", format_="json", clock=cloud.clock)
    async with operator(cloud):
        await cloud.apply(manifest)
        await cloud.until_status(name, "Completed")
        await cloud.user.delete(cloud.job, "default", name)
        await cloud.until_gone(name)
    print(cloud.sagemaker.calls.operations)
    for r in cloud.kubernetes.requests:
        if r.user_agent != "kubectl":
            print(r)
    import json

    print(json.dumps(manifest)[:0])
