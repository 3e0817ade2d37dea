"""An EKS Pod Identity agent that starts after the operator: the operator waits, unready, and names the cause."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from sagemaker_operator import awsidentity
from sagemaker_operator.aws import credentials
from sagemaker_operator.aws.expiry import Expiry
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.awsidentity import AwsIdentity
from tests.aws.fake_aws import serve
from tests.e2e.harness import settings
from tests.e2e.processes import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


@asynccontextmanager
async def agent(port: int, observed: list[str]) -> AsyncIterator[None]:
    async def answer(request: web.Request) -> web.Response:
        observed.append(request.headers["Authorization"])
        keys = {
            "AccessKeyId": "ASIAAGENT",
            "SecretAccessKey": "s3cret",
            "Token": "t",
            "Expiration": "2100-01-01T00:00:00Z",
        }
        return web.json_response(keys)

    app = web.Application()
    app.router.add_get("/v1/credentials", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_an_agent_that_is_down_at_the_start_is_waited_for(
    unused_tcp_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{unused_tcp_port}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    # Real sockets, so real seconds: nothing of what is tested depends on how many.
    monkeypatch.setattr("aiobotocore.utils.AioContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.setattr(awsidentity, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(credentials, "FAILURE_PAUSE", 0.0)

    async with serve() as fake, Sessions(clock=lambda: 1.8e9, sts_endpoint_url=fake.url) as sessions:
        identity = AwsIdentity(sessions, Expiry(), settings(), renewed=lambda: None)
        establishing = asyncio.create_task(identity.establish())

        def message(*words: str) -> bool:
            return all(word in str(identity.trouble) for word in words)

        async def token_missing() -> bool:
            return message("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", f"{tmp_path}/token: No such file or directory")

        async def agent_missing() -> bool:
            return message(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"127.0.0.1:{unused_tcp_port}", "Pod Identity agent running"
            )

        await until(token_missing, "readiness names the token file")
        (tmp_path / "token").write_text("jwt")
        await until(agent_missing, "readiness names the agent")
        assert not establishing.done(), "the process continues"
        observed: list[str] = []
        async with agent(unused_tcp_port, observed):
            assert (await asyncio.wait_for(establishing, PATIENCE)).account == "111122223333"
        assert identity.trouble is None
        assert set(observed) == {"jwt"}
        assert fake.requests[-1].access_key == "ASIAAGENT"
