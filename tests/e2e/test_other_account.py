"""Credentials that are renewed as another account's: no call is made with them, and readiness reports it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import structlog

from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.sagemaker.faults import ANY, Fault, FaultKind
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = VIRTUAL

OURS, THEIRS = "123456789012", "999999999999"
NAME = sample("model")["metadata"]["name"]


class Keys:
    """A shared credentials file, as a mounted Secret is one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, account: str, *, renewed: bool = False) -> None:
        key = f"{'ASIA' if renewed else 'AKIA'}{account}"
        self._file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s3cret\n")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    found = Keys(tmp_path / "credentials")
    found.of(OURS)
    return found


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    out = io.StringIO()
    configure(level="info", format_="json", clock=lambda: 0.0, stream=out)
    yield out
    structlog.reset_defaults()


def expired(key: str) -> Fault:
    return Fault(
        operation=ANY,
        kind=FaultKind.REJECT,
        times=None,
        code="ExpiredTokenException",
        message="The security token included in the request is expired",
        when=lambda request: request.access_key == key,
    )


def asked_as(cloud: Cloud, account: str) -> set[str]:
    return {call.operation for call in cloud.sagemaker.calls.recent if call.account == account}


async def test_credentials_of_another_account_are_refused_until_the_right_ones_are_back(
    keys: Keys, log: io.StringIO
) -> None:
    cloud = Cloud(kinds=["Model"])
    async with operator(cloud, credentials=None) as manager:
        await cloud.until(lambda: manager.ready() is None)
        await cloud.apply(sample("model"))
        await cloud.pass_time(30)
        arn = (await cloud.status(NAME, kind="Model"))["ackResourceMetadata"]["arn"]
        assert f":{OURS}:" in arn
        cloud.forget()

        cloud.sagemaker.faults.add(expired(f"AKIA{OURS}"))
        keys.of(THEIRS)
        second = sample("model") | {"metadata": {"name": "second", "namespace": "default"}}
        second["spec"]["modelName"] = "second"
        await cloud.apply(second)
        await cloud.pass_time(3600)
        readiness = str(manager.ready())
        assert THEIRS in readiness
        assert OURS in readiness
        assert manager.live() is None
        assert asked_as(cloud, THEIRS) == {"GetCallerIdentity"}
        assert cloud.sagemaker.calls.operations["GetCallerIdentity"] <= 3, "one question for each new key, not each try"
        waiting = (await cloud.conditions("second", kind="Model"))["ACK.Recoverable"]
        assert waiting["reason"] == "Credentials"
        assert THEIRS in waiting["message"]
        assert (await cloud.status(NAME, kind="Model"))["ackResourceMetadata"]["arn"] == arn

        keys.of(OURS, renewed=True)
        await cloud.until(lambda: manager.ready() is None, seconds=60)
        await cloud.until(lambda: "CreateModel" in asked_as(cloud, OURS), seconds=900)
    assert asked_as(cloud, THEIRS) == {"GetCallerIdentity"}
    errors = [json.loads(line) for line in log.getvalue().splitlines() if '"aws.error"' in line]
    assert [THEIRS in error["err"] for error in errors].count(True) == 1, "logged once"
    assert "s3cret" not in log.getvalue()


async def test_a_renewal_that_never_expired_is_checked_too(keys: Keys) -> None:
    """A rotated Secret: the old key is refused as unknown, and the new one is of another account."""
    cloud = Cloud(kinds=["Model"])
    async with operator(cloud, credentials=None) as manager:
        await cloud.until(lambda: manager.ready() is None)
        fault = Fault(
            operation=ANY,
            kind=FaultKind.REJECT,
            times=None,
            code="UnrecognizedClientException",
            message="The security token included in the request is invalid.",
            when=lambda request: request.access_key == f"AKIA{OURS}",
        )
        cloud.sagemaker.faults.add(fault)
        keys.of(THEIRS)
        await cloud.apply(sample("model"))
        await cloud.until(lambda: THEIRS in str(manager.ready()), seconds=120)
        assert asked_as(cloud, THEIRS) == {"GetCallerIdentity"}
        keys.of(OURS, renewed=True)
        await cloud.until(lambda: manager.ready() is None, seconds=60)
        await cloud.until(lambda: "CreateModel" in asked_as(cloud, OURS), seconds=900)


async def test_a_rotation_within_the_account_goes_unnoticed(keys: Keys) -> None:
    cloud = Cloud(kinds=["Model"])
    async with operator(cloud, credentials=None) as manager:
        await cloud.until(lambda: manager.ready() is None)
        cloud.sagemaker.faults.add(expired(f"AKIA{OURS}"))
        keys.of(OURS, renewed=True)
        await cloud.apply(sample("model"))
        await cloud.until(lambda: "CreateModel" in asked_as(cloud, OURS), seconds=5)
        assert manager.ready() is None
