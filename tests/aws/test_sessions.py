"""Clients, identities and credentials against a loopback STS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiobotocore.httpsession
import pytest

from sagemaker_operator.aws import sessions as sessions_module
from sagemaker_operator.aws.sessions import Identity, Sessions
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory
from tests.aws.fake_aws import FakeAws, serve, sts_error
from tests.aws.models import models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_800_000_000.0
ROLE = "arn:aws:iam::222233334444:role/team"


class CountingTransport(aiobotocore.httpsession.AIOHTTPSession):
    """aiobotocore's own transport, which knows how many of it are open."""

    open = 0

    async def __aenter__(self) -> CountingTransport:
        type(self).open += 1
        await super().__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        type(self).open -= 1
        await super().__aexit__(*exc)


@pytest.fixture
def transport() -> type[CountingTransport]:
    class Transport(CountingTransport):
        open = 0

    return Transport


@pytest.fixture
async def opened(transport: type[CountingTransport], fake: FakeAws) -> AsyncIterator[Sessions]:
    async with Sessions(
        clock=lambda: NOW,
        credentials=("AKIDOWN", "secret"),
        max_clients=2,
        http_session_cls=transport,
        sts_endpoint_url=fake.url,
        loader=models(),
    ) as sessions:
        yield sessions


def target(fake: FakeAws, region: str = "us-east-1", role_arn: str | None = None) -> Target:
    return Target("111122223333", region, role_arn, fake.url)


async def test_one_target_has_one_client_even_when_asked_for_concurrently(opened: Sessions, fake: FakeAws) -> None:
    async def borrow() -> object:
        async with opened.client("sagemaker", target(fake)) as client:
            return client

    clients = await asyncio.gather(*(borrow() for _ in range(5)))
    assert len({id(client) for client in clients}) == 1


async def test_the_least_recently_used_client_is_closed_beyond_the_limit(
    opened: Sessions, fake: FakeAws, transport: type[CountingTransport]
) -> None:
    for region in ("us-east-1", "us-east-2"):
        async with opened.client("sagemaker", target(fake, region)):
            pass
    async with opened.client("sagemaker", target(fake, "us-east-1")) as kept:
        pass
    async with opened.client("sagemaker", target(fake, "us-west-2")):
        pass
    assert transport.open == 2
    async with opened.client("sagemaker", target(fake, "us-east-1")) as again:
        assert again is kept


async def test_an_evicted_client_stays_open_until_its_last_call_ends(
    opened: Sessions, fake: FakeAws, transport: type[CountingTransport]
) -> None:
    async with opened.client("sagemaker", target(fake, "us-east-1")) as client:
        for region in ("us-east-2", "us-west-2", "eu-west-1"):
            async with opened.client("sagemaker", target(fake, region)):
                pass
        assert transport.open == 3
        assert await client.list_models(MaxResults=1)
    assert transport.open == 2
    assert repr(opened) == "<Sessions 2/2 clients, 0 busy>"


async def test_exiting_closes_every_client(fake: FakeAws, transport: type[CountingTransport]) -> None:
    async with Sessions(clock=lambda: NOW, credentials=("A", "s"), http_session_cls=transport) as sessions:
        for region in ("us-east-1", "eu-west-1"):
            async with sessions.client("sagemaker", target(fake, region)):
                pass
        assert transport.open == 2
    assert transport.open == 0


async def test_timestamps_are_floats_and_one_attempt_is_made(opened: Sessions, fake: FakeAws) -> None:
    async with opened.client("sagemaker", target(fake)) as client:
        assert client.meta.config.retries["total_max_attempts"] == 1
        assert client.meta.config.read_timeout == 20.0
    assert sessions_module._timestamp(1_700_000_000.25) == 1_700_000_000.25
    assert isinstance(sessions_module._timestamp(1_700_000_000), float)


async def test_the_identity_comes_from_sts(opened: Sessions, fake: FakeAws) -> None:
    identity = await opened.identity("us-east-1")
    assert identity == Identity("111122223333", "aws-cn", "arn:aws-cn:sts::111122223333:assumed-role/op/x")
    assert fake.requests[0].access_key == "AKIDOWN"


async def test_a_region_that_does_not_exist_is_refused_without_a_call_and_the_nearest_is_named(fake: FakeAws) -> None:
    async with Sessions(clock=lambda: NOW, credentials=("A", "s")) as sessions:
        with pytest.raises(ConfigurationError, match=r"'us-esat-1' does not exist \(did you mean us-east-1\?\)"):
            await sessions.identity("us-esat-1")
        with pytest.raises(ConfigurationError, match=r"'mars' does not exist;"):
            async with sessions.client("sagemaker", Target("1", "mars")):
                pass
    assert not fake.requests


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "eusc-de-east-1", "ap-southeast-3"])
async def test_every_partition_has_its_regions(opened: Sessions, region: str) -> None:
    async with opened.client("sagemaker", Target("1", region)) as client:
        assert region in client.meta.endpoint_url


async def test_without_credentials_the_error_says_what_to_do(fake: FakeAws) -> None:
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        with pytest.raises(AwsError, match="IAM role for its service account") as failed:
            await sessions.identity("us-east-1")
    assert failed.value.category is ErrorCategory.CREDENTIALS
    assert not failed.value.sent
    assert not fake.requests


async def test_half_a_pair_of_keys_is_a_credentials_error(fake: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        with pytest.raises(AwsError, match="PartialCredentialsError") as failed:
            await sessions.identity("us-east-1")
    assert failed.value.category is ErrorCategory.CREDENTIALS


async def test_wrong_credentials_are_a_credentials_error(opened: Sessions, fake: FakeAws) -> None:
    fake.script("GetCallerIdentity", sts_error("InvalidClientTokenId", "The security token is invalid."))
    with pytest.raises(AwsError, match="The security token is invalid") as failed:
        await opened.identity("us-east-1")
    assert failed.value.category is ErrorCategory.CREDENTIALS
    assert failed.value.http_status == 403


async def test_the_environments_credentials_are_used_and_reread_after_a_drop(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        for key in ("FIRST", "SECOND", "SECOND"):
            async with sessions.client("sagemaker", target(fake)) as client:
                await client.list_models()
                monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECOND")
                if key == "FIRST":
                    await sessions.drop(target(fake), stale=client)
    assert [request.access_key for request in fake.requests] == ["FIRST", "SECOND", "SECOND"]


async def test_a_client_that_was_dropped_before_is_not_dropped_again(opened: Sessions, fake: FakeAws) -> None:
    async with opened.client("sagemaker", target(fake)) as old:
        await opened.drop(target(fake), stale=old)
        async with opened.client("sagemaker", target(fake)) as new:
            assert new is not old
            await opened.drop(target(fake), stale=old)
            async with opened.client("sagemaker", target(fake)) as still:
                assert still is new


@pytest.fixture
async def assuming(fake: FakeAws) -> AsyncIterator[Sessions]:
    async with Sessions(
        clock=lambda: NOW,
        credentials=("AKIDOWN", "secret"),
        external_id="ext",
        session_tags={"team": "ml"},
        sts_endpoint_url=fake.url,
    ) as sessions:
        yield sessions


async def test_credentials_never_come_from_the_endpoint_of_a_namespace(assuming: Sessions, fake: FakeAws) -> None:
    async with (
        serve() as theirs,
        assuming.client("sagemaker", Target("111122223333", "us-east-1", ROLE, theirs.url)) as sagemaker,
    ):
        await sagemaker.list_models()
        assert [request.operation for request in theirs.requests] == ["ListModels"]
    assert [request.operation for request in fake.requests] == ["AssumeRole"]


async def test_a_role_is_assumed_once_for_all_its_clients(assuming: Sessions, fake: FakeAws) -> None:
    for region in ("us-east-1", "us-east-2", "us-east-1"):
        async with assuming.client("sagemaker", target(fake, region, ROLE)) as client:
            await client.list_models()
    assert fake.count("AssumeRole") == 1
    assumed = fake.requests[0]
    assert (assumed.access_key, assumed.body["RoleArn"]) == ("AKIDOWN", ROLE)
    assert (assumed.body["ExternalId"], assumed.body["RoleSessionName"]) == ("ext", "sagemaker-operator")
    assert (assumed.body["Tags.member.1.Key"], assumed.body["Tags.member.1.Value"]) == ("team", "ml")
    assert [r.access_key for r in fake.requests if r.operation == "ListModels"] == ["ASSUMED1"] * 3


async def test_a_role_never_leaks_into_the_operators_own_identity(assuming: Sessions, fake: FakeAws) -> None:
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        await client.list_models()
    async with assuming.client("sagemaker", target(fake)) as client:
        await client.list_models()
    assert [r.access_key for r in fake.requests if r.operation == "ListModels"] == ["ASSUMED1", "AKIDOWN"]


async def test_credentials_about_to_expire_are_refreshed(assuming: Sessions, fake: FakeAws) -> None:
    # botocore reads the machine's clock for this: a moment long past is expired whatever it says.
    fake.expires_at = 4102444800.0
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        await client.list_models()
        assert assuming.seconds_to_expiry() == pytest.approx(4102444800.0 - NOW)
        await assuming.drop(target(fake, role_arn=ROLE), stale=client)
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        await client.list_models()
    assert [r.access_key for r in fake.requests if r.operation == "ListModels"] == ["ASSUMED1", "ASSUMED2"]


async def test_static_credentials_never_expire(opened: Sessions, fake: FakeAws) -> None:
    assert opened.seconds_to_expiry() is None
    async with opened.client("sagemaker", target(fake)):
        assert opened.seconds_to_expiry() is None


async def test_a_role_that_may_not_be_assumed_is_asked_for_once_and_named(assuming: Sessions, fake: FakeAws) -> None:
    fake.script("AssumeRole", sts_error("AccessDenied", "User is not authorized to perform: sts:AssumeRole"))
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        for _ in range(3):
            with pytest.raises(AwsError, match=f"cannot assume {ROLE}: User is not authorized") as failed:
                await client.list_models()
    assert failed.value.category is ErrorCategory.ACCESS_DENIED
    assert not failed.value.sent
    assert [request.operation for request in fake.requests] == ["AssumeRole"]


async def test_an_sts_error_about_a_role_is_not_an_error_of_the_object(assuming: Sessions, fake: FakeAws) -> None:
    fake.script("AssumeRole", sts_error("ValidationError", "1 validation error detected", status=400))
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        with pytest.raises(AwsError, match=f"cannot assume {ROLE}") as failed:
            await client.list_models()
    assert failed.value.category is ErrorCategory.ACCESS_DENIED


async def test_throttled_sts_is_transient_for_the_call_that_waits(assuming: Sessions, fake: FakeAws) -> None:
    fake.script("AssumeRole", sts_error("Throttling", "Rate exceeded", status=400))
    async with assuming.client("sagemaker", target(fake, role_arn=ROLE)) as client:
        with pytest.raises(AwsError) as failed:
            await client.list_models()
    assert failed.value.category is ErrorCategory.TRANSIENT
    assert not failed.value.sent


async def test_a_web_identity_is_exchanged_at_sts(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a.jwt.token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/irsa")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", fake.url)
    fake.script("AssumeRoleWithWebIdentity", sts_error("ExpiredTokenException", "Token expired", status=400))
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        with pytest.raises(AwsError) as failed:
            await sessions.identity("us-east-1")
    assert failed.value.category is ErrorCategory.CREDENTIALS
    assert not failed.value.sent
    assert failed.value.operation == "AssumeRoleWithWebIdentity"


async def test_a_role_refused_as_expired_reloads_the_credentials_that_assume_it(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary own credentials expire together with what they assumed: with the old ones no role could be assumed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        async with sessions.client("sagemaker", target(fake, role_arn=ROLE)) as client:
            await client.list_models()
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECOND")
            await sessions.drop(target(fake, role_arn=ROLE), stale=client)
        async with sessions.client("sagemaker", target(fake, role_arn=ROLE)) as client:
            await client.list_models()
    assert [r.access_key for r in fake.requests if r.operation == "AssumeRole"] == ["FIRST", "SECOND"]
