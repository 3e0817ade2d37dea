"""The auth-provider `oidc`: an expired token is refreshed once, over verified TLS, and written back."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from aiohttp import web

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.config import load_config

from .scripted import ScriptedServer, serve
from .test_kube_config import kubeconfig, server_context

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


def id_token(expires: float, name: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires, "sub": name}).encode()).decode().rstrip("=")
    return f"e30.{claims}.signature"


class Provider:
    """An identity provider whose refresh tokens are good for one use."""

    def __init__(self) -> None:
        self.url = ""
        self.good = "refresh-1"
        self.refreshes = 0
        self.expires = NOW + 900

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/.well-known/openid-configuration"):
            return web.json_response({"token_endpoint": f"{self.url}/token"})
        form = await request.post()
        if form["refresh_token"] != self.good:
            return web.json_response({"error": "invalid_grant planted"}, status=400)
        self.refreshes += 1
        self.good = f"refresh-{self.refreshes + 1}"
        token = id_token(self.expires, f"n{self.refreshes}")
        return web.json_response({"id_token": token, "refresh_token": self.good})


def config(directory: Path, issuer: str, ca: trustme.CA | None, **more: str) -> Path:
    given = {
        "idp-issuer-url": issuer,
        "client-id": "client",
        "client-secret": "planted",
        "id-token": id_token(NOW - 1, "old"),
        "refresh-token": "refresh-1",
        **({"idp-certificate-authority-data": base64.b64encode(ca.cert_pem.bytes()).decode()} if ca else {}),
        **more,
    }
    return kubeconfig(directory / "config", user={"auth-provider": {"name": "oidc", "config": given}})


async def tokens(path: Path, **more: Any) -> Any:
    return await load_config(kubeconfig=str(path), environ={}, clock=lambda: NOW, **more)


async def test_an_expired_token_is_refreshed_and_written_back(tmp_path: Path) -> None:
    ca, provider = trustme.CA(), Provider()
    async with serve(provider.handle, ssl_context=server_context(ca)) as server:
        provider.url = server.url
        path = config(tmp_path, server.url, ca)
        path.chmod(0o600)
        access = await tokens(path)
        new = id_token(NOW + 900, "n1")
        assert await access.headers() == {"Authorization": f"Bearer {new}"}
        assert await (await tokens(path)).headers() == {"Authorization": f"Bearer {new}"}, "from the file"
        assert authorization(server) == "Basic " + base64.b64encode(b"client:planted").decode()
    assert provider.refreshes == 1
    written = yaml.safe_load(path.read_text())["users"][0]["user"]["auth-provider"]["config"]
    assert (written["id-token"], written["refresh-token"]) == (new, "refresh-2")
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["config"]


def authorization(server: ScriptedServer) -> str:
    return server.requests[-1].headers["Authorization"]


async def test_a_kubeconfig_that_cannot_be_written_does_not_lose_the_refresh_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError("Read-only file system")

    monkeypatch.setattr(os, "replace", refused)
    ca, provider = trustme.CA(), Provider()
    provider.expires = NOW + 5  # at once due again
    async with serve(provider.handle, ssl_context=server_context(ca)) as server:
        provider.url = server.url
        access = await tokens(config(tmp_path, server.url, ca))
        access._tried_at -= 60
        await access.refresh()
        assert await access.headers() == {"Authorization": f"Bearer {id_token(NOW + 5, 'n2')}"}
    assert provider.refreshes == 2
    assert os.listdir(tmp_path) == ["config"]


@pytest.mark.parametrize("known", [None, trustme.CA()], ids=["system", "another"])
async def test_a_provider_with_an_unknown_certificate_gets_no_token(known: trustme.CA | None, tmp_path: Path) -> None:
    provider = Provider()
    async with serve(provider.handle, ssl_context=server_context(trustme.CA())) as server:
        provider.url = server.url
        with pytest.raises(ConfigurationError, match="the identity provider gave no token"):
            await tokens(config(tmp_path, server.url, known))
        assert server.requests == []


async def test_a_refused_refresh_quotes_nothing(tmp_path: Path) -> None:
    ca, provider = trustme.CA(), Provider()
    async with serve(provider.handle, ssl_context=server_context(ca)) as server:
        provider.url = server.url
        with pytest.raises(ConfigurationError, match="the identity provider gave no token") as caught:
            await tokens(config(tmp_path, server.url, ca, **{"refresh-token": "planted-other"}))
    assert "planted" not in str(caught.value)
