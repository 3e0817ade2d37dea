"""The targets that are counts, at sizes that take seconds. `python -m tests.bench` prints times; no test asserts them."""

from __future__ import annotations

import pytest

from tests.bench import virtual

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(end=400_000)]


async def test_a_ten_minute_job_among_many_costs_less_than_four_calls_and_ten_writes() -> None:
    """ACK: 47 and 26."""
    figures = await virtual.lifecycle(jobs=100, quiet=True)
    assert figures["callsPerJob"] <= 3.5
    assert figures["writesPerJob"] <= 9.0
    assert figures["callsByOperation"]["CreateTrainingJob"] == 100
    assert figures["callsByOperation"]["DescribeTrainingJob"] == 200, "one before its first status, one at its end"


async def test_many_jobs_applied_at_once_are_submitted_within_20_seconds() -> None:
    figures = await virtual.lifecycle(jobs=300, seconds=120.0, quiet=True)
    assert figures["submittedAfterSeconds"]["max"] <= 20.0


async def test_running_jobs_cost_less_than_a_read_a_second_and_no_write_without_a_change() -> None:
    figures = await virtual.steady(jobs=200, quiet=True)
    assert figures["callsPerSecond"] <= 1.0
    assert figures["callsByOperation"]["DescribeTrainingJob"] <= 200 * 1.5, (
        "one Describe an hour for each, and one at the end"
    )
    assert figures["detectionLagSeconds"]["p99"] <= 20.0
    # Of a job's end: its status and its Event.
    assert sum(figures["writesByResource"].values()) <= 4 * figures["ended"]


async def test_an_account_that_allows_4_creates_a_second_is_used_fully_and_rarely_throttles() -> None:
    figures = await virtual.throttle(jobs=400, quiet=True)
    assert figures["timesIdeal"] <= 1.2
    assert figures["refusedShare"] < 0.05


async def test_a_burst_of_one_namespace_delays_another_ones_create_by_at_most_twice_its_time() -> None:
    figures = await virtual.fairness(jobs=1000, quiet=True)
    assert figures["burstLeft"] > 0, "the burst was still there when the last create was measured"
    assert figures["delayTimesAlone"] <= 2.0


async def test_a_killed_leader_is_replaced_within_its_lease_and_no_create_is_sent_twice() -> None:
    figures = await virtual.failover(jobs=60, quiet=True)
    assert figures["secondsToNextMutation"] <= 35.0
    assert figures["createsPerJob"] == 1.0


async def test_a_start_with_many_objects_changes_nothing_and_serves_a_new_one_at_once() -> None:
    figures = await virtual.restart(objects=600, quiet=True)
    calls, writes = figures["callsByOperation"], figures["writesByResource"]
    assert figures["newObjectServedSeconds"] <= 1.0
    assert calls.pop("CreateTrainingJob") == 1, "of the new object"
    assert set(calls) <= {"ListTrainingJobs", "DescribeTrainingJob"}
    assert calls["ListTrainingJobs"] <= 20
    assert calls.get("DescribeTrainingJob", 0) <= 2
    assert writes["trainingjobs"] <= 4, "of the new object: finalizer, status, what it does next"
