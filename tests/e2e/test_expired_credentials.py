"""Credentials that AWS calls expired: the operator is unready and waits, at the start and later, without an exit or Terminal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import structlog

from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.sagemaker.faults import ANY, Fault, FaultKind
from tests.e2e.harness import USER_KEY, Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = VIRTUAL

_CODES = pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
_NAME = sample()["metadata"]["name"]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    out = io.StringIO()
    configure(level="info", format_="json", clock=lambda: 0.0, stream=out)
    yield out
    structlog.reset_defaults()


def expired(code: str, operation: str = ANY) -> Fault:
    """All that the operator asks is answered so."""
    return Fault(
        operation=operation,
        kind=FaultKind.REJECT,
        times=None,
        code=code,
        message="The security token included in the request is expired",
        when=lambda request: request.access_key != USER_KEY,
    )


def events(log: io.StringIO, *names: str) -> list[str]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line for line in lines if "exception" in line] == []
    return [line["event"] for line in lines if line.get("event") in names]


@_CODES
async def test_expired_credentials_at_the_start_are_waited_for(code: str, log: io.StringIO) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.faults.add(expired(code))
    await cloud.apply(sample())
    async with operator(cloud) as manager:
        await cloud.pass_time(600)
        readiness = str(manager.ready())
        assert "credentials have expired" in readiness
        assert "renew what the operator was given" in readiness
        assert manager.live() is None, "a restart would not help"
        assert cloud.sagemaker.calls.total <= 600 / 15 + 1
        assert events(log, "aws.error") == ["aws.error"], "logged once, and not every 15 s"
        assert "renew what the operator was given" in log.getvalue()
        cloud.sagemaker.faults.clear()
        await cloud.until(lambda: manager.ready() is None, seconds=60)
        await cloud.until_status(_NAME, "Completed")
    assert cloud.creates() == 1


async def test_credentials_that_expire_during_a_job_are_waited_for_and_nothing_is_terminal(log: io.StringIO) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud) as manager, cloud.watching() as observed:
        await cloud.apply(sample())
        await cloud.until_status(_NAME, "InProgress")
        await cloud.until(lambda: manager.ready() is None)
        cloud.sagemaker.faults.add(expired("ExpiredTokenException"))
        second = sample(trainingJobName="second") | {"metadata": {"name": "second", "namespace": "default"}}
        await cloud.apply(second)
        await cloud.until(lambda: manager.ready() is not None, seconds=60)
        await cloud.pass_time(1200)
        assert "renew what the operator was given" in str(manager.ready())
        assert manager.live() is None
        waiting = (await cloud.conditions("second"))["ACK.Recoverable"]
        assert waiting["reason"] == "Credentials"
        assert "renew what the operator was given" in waiting["message"]
        assert events(log, "operator.degraded", "operator.ready")[-1] == "operator.degraded"
        cloud.sagemaker.faults.clear()
        await cloud.until(lambda: manager.ready() is None, seconds=30)
        await cloud.until(lambda: cloud.creates() == 2, seconds=10)
        await cloud.until_status(_NAME, "Completed")
    conditions = [found for state in observed for found in state["status"].get("conditions", ())]
    assert [found for found in conditions if found["type"] == "ACK.Terminal"] == []


async def test_credentials_refused_by_sagemaker_alone_are_retried_with_backoff(log: io.StringIO) -> None:
    """A clock that is off, or a broken region: STS answers, but the next call of every object fails."""
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        cloud.sagemaker.faults.add(expired("RequestExpired", "CreateTrainingJob"))
        await cloud.apply(sample())
        await cloud.pass_time(3600)
        cloud.forget()
        await cloud.pass_time(3600)
        # Every 15 minutes at the latest, twice each (the credentials are loaded anew in between), and hurried 4 times.
        assert cloud.sagemaker.calls.operations["CreateTrainingJob"] <= 2 * (8 + 4 * 4)
        assert manager.live() is None


def refused_for_the_clock() -> Fault:
    fault = expired("InvalidSignatureException")
    fault.message = (
        "Signature expired: 20260101T000000Z is now earlier than 20260101T025500Z (20260101T030000Z - 5 min.)"
    )
    return fault


async def test_a_clock_that_is_hours_behind_is_named_and_waited_for_at_the_start(log: io.StringIO) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    cloud.sagemaker.faults.add(refused_for_the_clock())
    await cloud.apply(sample())
    async with operator(cloud) as manager:
        await cloud.pass_time(600)
        assert "set the clock of the node" in str(manager.ready())
        assert manager.live() is None
        assert events(log, "aws.error") == ["aws.error"]
        cloud.sagemaker.faults.clear()
        await cloud.until_status(_NAME, "Completed")
    assert cloud.creates() == 1


async def test_a_clock_that_goes_wrong_later_is_named_by_readiness_and_by_each_object(log: io.StringIO) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    async with operator(cloud) as manager:
        await cloud.until(lambda: manager.ready() is None)
        cloud.sagemaker.faults.add(refused_for_the_clock())
        await cloud.apply(sample())
        await cloud.until(lambda: "set the clock of the node" in str(manager.ready()), seconds=60)
        await cloud.pass_time(600)
        waiting = (await cloud.conditions(_NAME))["ACK.Recoverable"]
        assert waiting["reason"] == "Credentials"
        assert "Signature expired; set the clock of the node" in waiting["message"]
        cloud.sagemaker.faults.clear()
        await cloud.until(lambda: manager.ready() is None, seconds=30)
        await cloud.until_status(_NAME, "Completed")
    assert cloud.creates() == 1
