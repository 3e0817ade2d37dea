"""Describe or List of a running resource fails: the object reports it, polling backs off, and the report is cleared on success."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.conditions import READY, RECOVERABLE, TERMINAL
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_operator.sandbox.sagemaker.protocol import Request

pytestmark = VIRTUAL

NAME = sample()["metadata"]["name"]
HOUR = 3600.0


def job(number: int) -> dict[str, Any]:
    made = sample()
    made["metadata"]["name"] = made["spec"]["trainingJobName"] = f"job-{number}"
    # Longer than any test.
    made["spec"]["tags"] = [{"key": "sandbox/seconds", "value": "40000"}]
    return made


def fault(
    cloud: Cloud, operation: str, kind: FaultKind, when: Callable[[Request], bool] | None = None
) -> Callable[[], None]:
    """All calls of `operation` fail from now on, until the returned function is called."""
    made = Fault(operation=operation, kind=kind, times=None, when=when)
    cloud.sagemaker.faults.add(made)
    return lambda: cloud.sagemaker.faults.remove(made)


async def test_a_denied_describe_is_reported_and_cleared() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud):
        await cloud.apply(job(1))
        await cloud.until_status("job-1", "InProgress")
        cloud.forget()
        fix = fault(cloud, "DescribeTrainingJob", FaultKind.ACCESS_DENIED)
        await cloud.pass_time(2 * HOUR)
        reported = await cloud.conditions("job-1")
        assert (reported[RECOVERABLE]["reason"], reported[READY]["status"]) == ("AccessDenied", "False")
        assert "sagemaker:DescribeTrainingJob" in reported[RECOVERABLE]["message"]
        assert "Give the operator's role this permission" in reported[RECOVERABLE]["message"]
        assert cloud.sagemaker.calls.operations["DescribeTrainingJob"] < 60, "240 without backoff"
        assert "AccessDenied" in [event["reason"] for event in cloud.kubernetes.list(EVENTS)]
        fix()
        await cloud.pass_time(1000)
        assert RECOVERABLE not in await cloud.conditions("job-1")


async def test_a_denied_list_falls_back_to_describes() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    fault(cloud, "ListTrainingJobs", FaultKind.ACCESS_DENIED)
    async with operator(cloud):
        for number in range(30):
            await cloud.apply(job(number))
        await cloud.pass_time(HOUR)
        for number in range(30):
            assert (await cloud.status(f"job-{number}"))["trainingJobStatus"] == "InProgress"
            assert RECOVERABLE not in await cloud.conditions(f"job-{number}")
        assert 0 < cloud.sagemaker.calls.operations["ListTrainingJobs"] <= 5, "once in a quarter of an hour"


async def test_objects_that_cannot_be_described_do_not_starve_the_others() -> None:
    """More of them than are asked about at once."""
    cloud = Cloud(kinds=["TrainingJob"])
    hidden = {f"job-{number}" for number in range(10)}
    fault(cloud, "ListTrainingJobs", FaultKind.ACCESS_DENIED)
    fault(
        cloud,
        "DescribeTrainingJob",
        FaultKind.ACCESS_DENIED,
        when=lambda request: request.input.get("TrainingJobName") in hidden,
    )
    async with operator(cloud):
        for number in range(12):
            await cloud.apply(job(number))
        await cloud.pass_time(HOUR)
        for number in range(12):
            # What Create answered has no time.
            observed = "creationTime" in await cloud.status(f"job-{number}")
            assert observed == (f"job-{number}" not in hidden)
        assert cloud.sagemaker.calls.operations["DescribeTrainingJob"] < 1000


async def test_an_outage_is_reported_after_three_polls_and_cleared() -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud):
        await cloud.apply(job(1))
        await cloud.until_status("job-1", "InProgress")
        fixes = [fault(cloud, name, FaultKind.SERVER_ERROR) for name in ("DescribeTrainingJob", "ListTrainingJobs")]
        await cloud.pass_time(60)
        assert RECOVERABLE not in await cloud.conditions("job-1"), "it may be over in a minute"
        await cloud.pass_time(1000)
        assert (await cloud.conditions("job-1"))[RECOVERABLE]["reason"] == "Transient"
        for fix in fixes:
            fix()
        await cloud.pass_time(1000)
        conditions = await cloud.conditions("job-1")
        assert RECOVERABLE not in conditions
        assert TERMINAL not in conditions


@pytest.mark.parametrize("kind", [FaultKind.ACCESS_DENIED, FaultKind.SERVER_ERROR])
async def test_a_deletion_that_cannot_describe_its_job_says_so_and_ends_when_it_can(kind: FaultKind) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud):
        await cloud.apply(job(1))
        await cloud.until_status("job-1", "InProgress")
        fixes = [fault(cloud, name, kind) for name in ("DescribeTrainingJob", "ListTrainingJobs")]
        await cloud.user.delete(cloud.job, "default", "job-1")
        await cloud.pass_time(1200)
        assert "DescribeTrainingJob" in (await cloud.conditions("job-1"))[RECOVERABLE]["message"]
        for fix in fixes:
            fix()
        await cloud.until_gone("job-1")
        assert cloud.sagemaker.calls.operations["StopTrainingJob"] == 1
