"""The error for each wrong variable or file: it names the variable or file, says why, and shows no secret.

Against the real botocore and a loopback STS. A row that fails here had a Python exception's name as its whole text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.errors import AwsError, ErrorCategory
from tests.aws.fake_aws import html, sts_error, xml

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from tests.aws.fake_aws import FakeAws

NOW = 1_800_000_000.0
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "s3cret"}
ROLE = "arn:aws:iam::111122223333:role/irsa"
RECOVERS, STAYS = ErrorCategory.TRANSIENT, ErrorCategory.CREDENTIALS


class Row(NamedTuple):
    environment: dict[str, str]
    says: tuple[str, ...]
    category: ErrorCategory = STAYS


# {dir} is a folder with: token (a good one), empty, broken (with a line break), junk.pem, config, credentials.
ROWS = {
    "key with a line break": Row(
        KEYS | {"AWS_ACCESS_KEY_ID": "AKIDOWN\n"}, ("AWS_ACCESS_KEY_ID contains a line break", "echo -n")
    ),
    "secret with a line break": Row(
        KEYS | {"AWS_SECRET_ACCESS_KEY": "s3cret\n"}, ("AWS_SECRET_ACCESS_KEY contains a line break",)
    ),
    "secret with a blank": Row(
        KEYS | {"AWS_SECRET_ACCESS_KEY": " s3cret"}, ("AWS_SECRET_ACCESS_KEY contains white space",)
    ),
    "session token with a line break": Row(
        KEYS | {"AWS_SESSION_TOKEN": "s3cret\r\n"}, ("AWS_SESSION_TOKEN contains a line break",)
    ),
    "half a pair": Row({"AWS_ACCESS_KEY_ID": "AKIDOWN"}, ("AWS_SECRET_ACCESS_KEY is missing",)),
    "no credentials at all": Row({}, ("no usable AWS credentials", "IAM role for its service account")),
    "profile that is nowhere": Row(
        {"AWS_PROFILE": "dev"}, ("AWS_PROFILE names profile 'dev'", "neither in {dir}/config nor in {dir}/credentials")
    ),
    "other variable of the profile": Row({"AWS_DEFAULT_PROFILE": "dev"}, ("AWS_DEFAULT_PROFILE names profile 'dev'",)),
    "empty profile": Row({"AWS_PROFILE": ""}, ("AWS_PROFILE is empty: unset it",)),
    "config that is none": Row({"AWS_CONFIG_FILE": "{dir}/junk.pem"}, ("Unable to parse config file: {dir}/junk.pem",)),
    "role of a profile without a source": Row(
        {"AWS_PROFILE": "lost"}, ('source_profile "nowhere"', "AWS configuration:")
    ),
    "metadata timeout": Row(
        {"AWS_METADATA_SERVICE_TIMEOUT": "5s"}, ("AWS_METADATA_SERVICE_TIMEOUT='5s' is not a number",)
    ),
    "metadata attempts": Row(
        {"AWS_METADATA_SERVICE_NUM_ATTEMPTS": "many"}, ("AWS_METADATA_SERVICE_NUM_ATTEMPTS='many' is not a number",)
    ),
    "metadata mode": Row(
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv5"}, ("Invalid EC2 Instance Metadata endpoint mode: ipv5",)
    ),
    "regional STS": Row(
        KEYS | {"AWS_STS_REGIONAL_ENDPOINTS": "yes"}, ("STS regional endpoints option yes is invalid",)
    ),
    "CA bundle that is not there": Row(
        KEYS | {"AWS_CA_BUNDLE": "{dir}/ca.pem"}, ("AWS_CA_BUNDLE names {dir}/ca.pem: No such file",), RECOVERS
    ),
    "CA bundle of requests": Row(
        KEYS | {"REQUESTS_CA_BUNDLE": "{dir}/ca.pem"},
        ("REQUESTS_CA_BUNDLE names {dir}/ca.pem: No such file",),
        RECOVERS,
    ),
    "CA bundle without certificates": Row(
        KEYS | {"AWS_CA_BUNDLE": "{dir}/junk.pem"},
        ("AWS_CA_BUNDLE names {dir}/junk.pem: no PEM certificates",),
        RECOVERS,
    ),
    "CA bundle that is a folder": Row(
        KEYS | {"AWS_CA_BUNDLE": "{dir}"}, ("AWS_CA_BUNDLE names {dir}: Is a directory",), RECOVERS
    ),
    "empty CA bundle": Row(KEYS | {"AWS_CA_BUNDLE": ""}, ("AWS_CA_BUNDLE", "empty")),
    "CA bundle of the profile": Row(
        {"AWS_PROFILE": "bundle"}, ("ca_bundle of the AWS profile names /nowhere/ca.pem: No such file",), RECOVERS
    ),
    "web identity without a token file": Row(
        {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "{dir}/gone"},
        ("AWS_WEB_IDENTITY_TOKEN_FILE names {dir}/gone: No such file",),
        RECOVERS,
    ),
    "web identity with an empty token": Row(
        {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "{dir}/empty"},
        ("AWS_WEB_IDENTITY_TOKEN_FILE names {dir}/empty: no token in it",),
        RECOVERS,
    ),
    "web identity without a role": Row({"AWS_WEB_IDENTITY_TOKEN_FILE": "{dir}/token"}, ("AWS_ROLE_ARN",)),
    "web identity with half a role": Row(
        {"AWS_ROLE_ARN": "irsa", "AWS_WEB_IDENTITY_TOKEN_FILE": "{dir}/token"},
        ("AWS_ROLE_ARN='irsa' is not the ARN of a role",),
    ),
    "Pod Identity without a token file": Row(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{dir}/gone",
        },
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names {dir}/gone: No such file",),
        RECOVERS,
    ),
    "Pod Identity with a broken token": Row(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{dir}/broken",
        },
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names {dir}/broken", "contains a line break"),
        RECOVERS,
    ),
    "Pod Identity at a host that botocore does not trust": Row(
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://agent.test/v1"},
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI 'http://agent.test/v1'", "loopback"),
    ),
    "Pod Identity's agent is down": Row(
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/v1/credentials"},
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI http://127.0.0.1:1/v1/credentials",
            "is the EKS Pod Identity agent running",
        ),
        RECOVERS,
    ),
}

CONFIG = """
[profile lost]
role_arn = arn:aws:iam::111122223333:role/r
source_profile = nowhere
[profile bundle]
ca_bundle = /nowhere/ca.pem
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    contents = {"token": "a.jwt", "empty": "", "broken": "s3cret\n", "junk.pem": "s3cret", "config": CONFIG}
    for name, content in (contents | {"credentials": ""}).items():
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    # Its three attempts are a second apart, by the real clock.
    monkeypatch.setattr("aiobotocore.utils.AioContainerMetadataFetcher.SLEEP_TIME", 0)
    return tmp_path


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_a_wrong_setting_is_named_with_the_reason(
    row: Row, fake: FakeAws, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value.format(dir=files))
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        with pytest.raises(AwsError) as failed:
            await sessions.identity("us-east-1")
    error = failed.value
    for words in row.says:
        assert words.format(dir=files) in error.message
    assert (error.category, error.sent) == (row.category, False)
    assert "s3cret" not in str(error)
    assert not fake.requests


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_the_service_model_needs_no_profile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagemaker_operator.kinds.model import service_model

    monkeypatch.setenv(name, "missing")
    assert service_model.__wrapped__().service_name == "sagemaker"


async def xml_nothing(_: web.Request) -> web.StreamResponse:
    return xml("", 403)


async def test_an_answer_without_a_text_still_says_operation_host_and_status(
    fake: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    host = fake.url.removeprefix("http://")
    answers = {404: html(404), 503: html(503), 400: sts_error("", "", status=400), 403: xml_nothing, 200: html(200)}
    fake.script("GetCallerIdentity", *answers.values())
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        for status in answers:
            with pytest.raises(AwsError) as failed:
                await sessions.identity("us-east-1")
            assert str(failed.value).startswith("GetCallerIdentity: ")
            assert f"HTTP {status}" in failed.value.message
            assert host in failed.value.message


async def test_an_endpoint_that_does_not_answer_is_named_with_the_systems_reason(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=url) as sessions:
        with pytest.raises(AwsError) as failed:
            await sessions.identity("us-east-1")
    assert failed.value.message.startswith(f"no answer from 127.0.0.1:{unused_tcp_port} (EndpointConnectionError")
    assert "Connect call failed" in failed.value.message or "refused" in failed.value.message
