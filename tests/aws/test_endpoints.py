"""The endpoint of each service, compared with the real botocore's."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from botocore.loaders import create_loader
from botocore.session import Session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagemaker_operator.aws.endpoints import configured_endpoint
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ConfigurationError
from tests.aws.fake_aws import FakeAws, serve, sts_error

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
OWN = {
    "sagemaker": "https://api.sagemaker.us-east-1.amazonaws.com",
    "sts": "https://sts.us-east-1.amazonaws.com",
}
VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SAGEMAKER")
CONFIGS = {
    "nothing": "",
    "profile": "[default]\nendpoint_url = https://profile.test\n",
    "service": "[default]\nservices = mine\n[services mine]\nsts =\n  endpoint_url = https://sts.file.test\n",
    "both": "[default]\nendpoint_url = https://profile.test\nservices = mine\n"
    "[services mine]\nsagemaker =\n  endpoint_url = https://sagemaker.file.test\n",
    "ignored": "[default]\nendpoint_url = https://profile.test\nignore_configured_endpoint_urls = true\n",
    "another profile": "[profile other]\nendpoint_url = https://other.test\n",
}


@cache
def _loader() -> object:
    """One for all: parsing SageMaker's model for each client would take 0.2 s, a hundred times."""
    return create_loader()


def botocores(service: str) -> str:
    session = Session()
    session.register_component("data_loader", _loader())
    client = session.create_client(service, region_name="us-east-1")
    url: str = client.meta.endpoint_url
    client.close()
    return url


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.sampled_from(VARIABLES)), ignore=st.sampled_from(["", "true", "false"]))
def test_the_configured_endpoint_is_the_one_that_botocore_uses(
    config: str, chosen: set[str], ignore: str, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    file.write_text(config)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("AWS_CONFIG_FILE", str(file))
        for name in chosen:
            environ.setenv(name, f"https://{name.lower().replace('_', '-')}.test")
        if ignore:
            environ.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignore)
        for service, own in OWN.items():
            found = configured_endpoint(service)
            assert (found.url if found else own) == botocores(service)


@pytest.mark.parametrize(
    ("config", "environment", "says"),
    [
        ("", {"AWS_ENDPOINT_URL_STS": "https://x.test"}, "AWS_ENDPOINT_URL_STS"),
        ("", {"AWS_ENDPOINT_URL": "https://x.test"}, "AWS_ENDPOINT_URL"),
        (CONFIGS["service"], {}, "endpoint_url of sts in [services mine] of {file}"),
        (CONFIGS["profile"], {}, "endpoint_url of profile default in {file}"),
        (CONFIGS["another profile"], {"AWS_PROFILE": "other"}, "endpoint_url of profile other in {file}"),
    ],
)
def test_it_says_where_the_endpoint_is_configured(
    config: str, environment: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = configured_endpoint("sts")
    assert found is not None
    assert found.source == says.format(file=file)


def test_a_services_section_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nservices = mine\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"services 'mine'; .*config has no \[services mine\]"):
        configured_endpoint("sagemaker")


@pytest.fixture
def web_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("a.jwt.token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/irsa")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))


@pytest.mark.usefixtures("web_identity")
async def test_every_call_to_sts_goes_to_the_identity_endpoint(fake: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Web identity too, which botocore calls by itself: a SageMaker-only endpoint never gets a token or a key."""
    async with serve() as sagemaker:
        monkeypatch.setenv("AWS_ENDPOINT_URL", sagemaker.url)
        role = "arn:aws:iam::222233334444:role/team"
        async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
            await sessions.identity("us-east-1")
            async with sessions.client("sagemaker", Target("222233334444", "us-east-1", role, sagemaker.url)) as client:
                await client.list_models()
    assert [request.operation for request in fake.requests] == [
        "AssumeRoleWithWebIdentity",
        "GetCallerIdentity",
        "AssumeRole",
    ]
    assert [request.operation for request in sagemaker.requests] == ["ListModels"]


@pytest.mark.usefixtures("web_identity")
async def test_a_web_identity_request_is_not_retried_by_botocore(fake: FakeAws) -> None:
    """Repeating is the operator's own decision: botocore's own client would make five attempts of a minute each."""
    fake.script("AssumeRoleWithWebIdentity", *[sts_error("ServiceUnavailable", "later", status=503)] * 5)
    async with Sessions(clock=lambda: NOW, sts_endpoint_url=fake.url) as sessions:
        with pytest.raises(AwsError, match="later"):
            await sessions.identity("us-east-1")
    assert fake.count("AssumeRoleWithWebIdentity") == 1
