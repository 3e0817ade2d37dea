"""More jobs than the account may run at once: they wait, report why, and run one after the other without an edit."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL

pytestmark = VIRTUAL

JOBS = 4


async def test_jobs_wait_for_instances_and_all_run() -> None:
    cloud = Cloud()
    cloud.sagemaker.quotas.set("ml.m5.xlarge", 1)
    async with operator(cloud):
        for number in range(JOBS):
            await cloud.apply(named(name_of(number)))
        await cloud.pass_time(60)
        waiting = [name for name in map(name_of, range(JOBS)) if await quota_is_reported(cloud, name)]
        assert len(waiting) == JOBS - 1
        for number in range(JOBS):
            await cloud.until_status(name_of(number), "Completed", seconds=12 * 3600, step=30)
            assert "ACK.Recoverable" not in await cloud.conditions(name_of(number))
    created = [call for call in cloud.sagemaker.calls.of("CreateTrainingJob") if call.applied]
    assert sorted(call.name for call in created) == [name_of(number) for number in range(JOBS)]
    refused = len(cloud.sagemaker.calls.of("CreateTrainingJob")) - JOBS
    # Four jobs of ten minutes, asked about every one to fifteen minutes.
    assert refused <= 40


def named(name: str) -> dict[str, Any]:
    manifest = sample(trainingJobName=name)
    manifest["metadata"]["name"] = name
    return manifest


def name_of(number: int) -> str:
    return f"job-{number}"


async def quota_is_reported(cloud: Cloud, name: str) -> bool:
    reported = (await cloud.conditions(name)).get("ACK.Recoverable")
    return (
        reported is not None
        and reported["reason"] == "QuotaExceeded"
        and "ml.m5.xlarge for training job usage" in reported["message"]
    )
