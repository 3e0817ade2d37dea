"""Which API server the tests use, how envtest's is started, and that CI requires one."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests import servers
from tests.apiserver import build, standins

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = ("KUBEBUILDER_ASSETS", "TEST_KUBECONFIG", "SAGEMAKER_OPERATOR_APISERVER", "CI")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which there is nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(servers, "_SCRIPT", tmp_path / "nowhere")
    return monkeypatch


def test_without_a_server_the_error_says_what_to_do(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(servers.NoServer, match="build one with"), servers.real_apiserver(tmp_path):
        pass
    with pytest.raises(pytest.skip.Exception, match="set KUBEBUILDER_ASSETS"):
        next(servers.server_or_skip(tmp_path))


def test_ci_requires_a_server(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("CI", "true")
    with pytest.raises(servers.NoServer):
        next(servers.server_or_skip(tmp_path))


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_a_wrong_server_variable_is_an_error_and_not_a_skip(
    bare: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    bare.setenv(variable, str(tmp_path / "nowhere"))
    with pytest.raises(servers.BrokenServer, match=variable):
        next(servers.server_or_skip(tmp_path))


def test_a_configured_server_comes_before_discovered_ones(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert servers.program() is None
    built = build.program()
    built.parent.mkdir(parents=True)
    built.touch()
    assert servers.program() == built
    beside = tmp_path / "serve"
    beside.touch()
    bare.setattr(servers, "_SCRIPT", beside)
    assert servers.program() == beside
    named = tmp_path / "named"
    named.touch()
    bare.setenv("SAGEMAKER_OPERATOR_APISERVER", str(named))
    assert servers.program() == named


def test_envtests_programs_are_started_on_loopback_behind_a_token(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assets, work = tmp_path / "assets", tmp_path / "work"
    assets.mkdir()
    work.mkdir()
    standins.install(assets)
    bare.setenv("KUBEBUILDER_ASSETS", str(assets))
    bare.setenv("TEST_KUBECONFIG", str(tmp_path / "never-read"))
    with servers.real_apiserver(work) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert server.kubeconfig == work / "kubeconfig"
        assert answer(server, "/api/v1/namespaces/default", server.headers) == 200
        assert answer(server, "/api/v1/namespaces/default", {}) == 401
        etcd, apiserver = (standins.flags_of(assets, name) for name in ("etcd", "kube-apiserver"))
    assert apiserver["etcd-servers"] == etcd["listen-client-urls"] == etcd["advertise-client-urls"]
    assert etcd["listen-client-urls"].startswith("http://127.0.0.1:")
    assert etcd["listen-peer-urls"].startswith("http://127.0.0.1:")
    assert apiserver["bind-address"] == "127.0.0.1"
    assert server.url.endswith(f":{apiserver['secure-port']}")
    assert apiserver["authorization-mode"] == "RBAC"
    with pytest.raises(urllib.error.URLError, match="refused"):
        answer(server, "/readyz", server.headers)


def test_an_api_server_that_does_not_start_is_reported_with_its_exit_code(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, code in (("etcd", 0), ("kube-apiserver", 3)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    bare.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(RuntimeError, match="the API server ended with code"), servers.real_apiserver(tmp_path):
        pass


def answer(server: servers.ApiServer, path: str, headers: dict[str, str]) -> int:
    """The status of a GET."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=server.ssl)
    )
    try:
        with opener.open(urllib.request.Request(server.url + path, headers=headers), timeout=5) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
