"""TLS certificates of AWS and of Kubernetes are verified unless a setting explicitly turns it off."""

from __future__ import annotations

import ast
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.errors import AwsError, ConfigurationError
from sagemaker_operator.sandbox.sagemaker.http import serve
from sagemaker_operator.settings import Settings
from tests.e2e.live import CREDENTIALS, REGION, simulator
from tests.e2e.processes import ROOT
from tests.e2e.test_in_cluster import terminated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

PACKAGE = ROOT / "sagemaker_operator"


@asynccontextmanager
async def aws(ca: trustme.CA, simulated: SageMakerSimulator) -> AsyncIterator[str]:
    """The simulator behind TLS with a certificate of `ca`; its URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with serve(simulated) as plain, terminated(plain.url.rpartition(":")[2], context) as port:
        yield f"https://127.0.0.1:{port}"


async def test_aws_with_an_unknown_certificate_gets_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    simulated = simulator()
    async with (
        aws(trustme.CA(), simulated) as url,
        Sessions(clock=wall_clock, credentials=CREDENTIALS, sts_endpoint_url=url) as sessions,
    ):
        with pytest.raises(AwsError):
            await sessions.identity(REGION)
    assert not simulated.calls.operations


async def test_a_private_ca_of_aws_is_trusted_when_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca, simulated = trustme.CA(), simulator()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    async with (
        aws(ca, simulated) as url,
        Sessions(clock=wall_clock, credentials=CREDENTIALS, sts_endpoint_url=url) as sessions,
    ):
        assert (await sessions.identity(REGION)).account == simulated.account
    assert simulated.calls.operations == {"GetCallerIdentity": 1}


@pytest.mark.parametrize("field", ["aws_endpoint_url", "aws_identity_endpoint_url"])
def test_an_unencrypted_endpoint_needs_the_flag_that_says_so(field: str) -> None:
    with pytest.raises(ConfigurationError, match="is not encrypted"):
        Settings(aws_region=REGION, **{field: "http://aws.example"})
    Settings(aws_region=REGION, allow_unsafe_aws_endpoint_urls=True, **{field: "http://aws.example"})


def test_one_place_only_can_turn_verification_off() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(_turns_off(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {"kube/tls.py"}, "a kubeconfig's insecure-skip-tls-verify, and nothing else"


def _turns_off(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="CERT_NONE" | "CERT_OPTIONAL" | "_create_unverified_context"):
            return True
        case ast.Assign(targets=[ast.Attribute(attr="check_hostname")], value=ast.Constant(value=False)):
            return True
        case ast.keyword(arg="verify" | "ssl" | "verify_ssl", value=ast.Constant(value=False)):
            return True
    return False
