from __future__ import annotations

import asyncio
import json
import os
import ssl
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.errors import ConfigurationError, Unavailable
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport

from .scripted import answer, serve, status_body

if TYPE_CHECKING:
    from aiohttp import web

NOWHERE: dict[str, str] = {}


def server_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "api.example").configure_cert(context)
    return context


def mount(directory: Path, *, token: str, ca: trustme.CA, namespace: str = "operators") -> None:
    """A service account as the kubelet mounts it: files behind a symlink that is swapped as a whole."""
    version = directory / f"..{len(list(directory.iterdir()))}"
    version.mkdir()
    (version / "token").write_text(token + "\n")
    (version / "namespace").write_text(namespace)
    ca.cert_pem.write_to_path(str(version / "ca.crt"))
    swap = directory / "..tmp"
    swap.symlink_to(version.name)
    swap.rename(directory / "..data")
    for name in ("token", "namespace", "ca.crt"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def accepts(*tokens: str) -> Any:
    """A handler that takes these bearer tokens only; change the list to rotate."""
    allowed = list(tokens)

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") in [f"Bearer {token}" for token in allowed]:
            return await answer({"ok": True})(request)
        return await answer(status_body(401, "Unauthorized"), 401)(request)

    handler.allowed = allowed  # type: ignore[attr-defined]
    return handler


def in_pod(url: str) -> dict[str, str]:
    host, port = url.removeprefix("https://").split(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


async def test_in_a_pod_the_service_account_is_used_and_its_rotations_are_followed(tmp_path: Path) -> None:
    ca, other_ca = trustme.CA(), trustme.CA()
    handler = accepts("one")
    mount(tmp_path, token="one", ca=ca)
    async with serve(handler, ssl_context=server_context(ca)) as server:
        access = await load_config(environ=in_pod(server.url), service_account=tmp_path)
        assert access.server == server.url
        assert access.namespace == "operators"
        async with HttpTransport(access) as transport:
            client = KubeClient(transport)
            assert await client.get_json("/version") == {"ok": True}
            mount(tmp_path, token="two", ca=ca)
            handler.allowed[:] = ["two"]
            assert await client.get_json("/version") == {"ok": True}
            assert len(server.requests) == 2  # the new token was read before any 401
            mount(tmp_path, token="two", ca=other_ca)
            with pytest.raises(Unavailable, match=r"certificate of https://127\.0\.0\.1:\d+ was not accepted"):
                await client.get_json("/version")
            mount(tmp_path, token="two", ca=ca)
            assert await client.get_json("/version") == {"ok": True}


async def test_a_half_written_ca_or_token_file_changes_nothing(tmp_path: Path) -> None:
    ca = trustme.CA()
    mount(tmp_path, token="one", ca=ca)
    async with serve(accepts("one"), ssl_context=server_context(ca)) as server:
        access = await load_config(environ=in_pod(server.url), service_account=tmp_path)
        async with HttpTransport(access) as transport:
            (tmp_path / "..data" / "ca.crt").write_text("-----BEGIN CERT")
            (tmp_path / "..data" / "token").write_text("")
            assert (await transport.request("GET", "/version", timeout=5)).status == 200
            (tmp_path / "..data").unlink()
            assert (await transport.request("GET", "/version", timeout=5)).status == 200


@pytest.mark.looptime
async def test_the_token_is_read_again_each_minute_even_if_the_file_seems_unchanged(tmp_path: Path) -> None:
    mount(tmp_path, token="one", ca=trustme.CA())
    access = await load_config(environ=in_pod("https://10.0.0.1:443"), service_account=tmp_path)
    file = (tmp_path / "token").resolve()
    before = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await access.headers() == {"Authorization": "Bearer one"}
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "Bearer two"}


async def test_a_pod_without_service_links_uses_the_well_known_name(tmp_path: Path) -> None:
    mount(tmp_path, token="one", ca=trustme.CA())
    access = await load_config(environ=NOWHERE, service_account=tmp_path)
    assert access.server == "https://kubernetes.default.svc"


async def test_an_ipv6_service_host_is_bracketed(tmp_path: Path) -> None:
    mount(tmp_path, token="one", ca=trustme.CA())
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert (await load_config(environ=environ, service_account=tmp_path)).server == "https://[fd00::1]:6443"


async def test_a_pod_without_a_token_gets_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    mount(tmp_path, token="", ca=trustme.CA())
    with pytest.raises(ConfigurationError, match="automountServiceAccountToken"):
        await load_config(environ=in_pod("https://10.0.0.1:443"), service_account=tmp_path)
    with pytest.raises(ConfigurationError, match="CA certificate"):
        await load_config(environ=in_pod("https://10.0.0.1:443"), service_account=tmp_path / "absent")


def kubeconfig(
    path: Path,
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    context: str | None = "dev",
) -> Path:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster or {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
        "contexts": [
            {"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "ml"}},
            {"name": "prod", "context": {"cluster": "c", "user": "u"}},
        ],
    }
    if context:
        content["current-context"] = context
    path.write_text(yaml.safe_dump(content))
    return path


def unverified(url: str) -> dict[str, Any]:
    return {"server": url, "insecure-skip-tls-verify": True}


async def open_(path: Path, context: str | None = None, **more: Any) -> Any:
    return await load_config(kubeconfig=str(path), context=context, environ=NOWHERE, **more)


async def test_a_kubeconfig_with_token_and_ca_reaches_its_server(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serve(accepts("secret"), ssl_context=server_context(ca)) as server:
        cluster = {"server": server.url + "/", "certificate-authority": "ca.pem", "tls-server-name": "api.example"}
        access = await open_(kubeconfig(tmp_path / "config", cluster=cluster))
        assert access.namespace == "ml"
        assert str(tmp_path / "config") in access.source
        assert "secret" not in repr(access)
        async with HttpTransport(access) as transport:
            assert (await transport.request("GET", "/version", timeout=5)).status == 200


async def test_a_certificate_is_refused_unless_verification_is_off(tmp_path: Path) -> None:
    async with serve(accepts("secret"), ssl_context=server_context(trustme.CA())) as server:
        for cluster, works in (
            ({"server": server.url}, False),
            ({"server": server.url, "insecure-skip-tls-verify": True}, True),
        ):
            async with HttpTransport(await open_(kubeconfig(tmp_path / "config", cluster=cluster))) as transport:
                if works:
                    assert (await transport.request("GET", "/version", timeout=5)).status == 200
                else:
                    with pytest.raises(Unavailable, match="was not accepted"):
                        await transport.request("GET", "/version", timeout=5)


async def test_where_the_configuration_comes_from(tmp_path: Path) -> None:
    pod, home = tmp_path / "pod", tmp_path / "home"
    pod.mkdir()
    mount(pod, token="one", ca=trustme.CA())
    (home / ".kube").mkdir(parents=True)
    kubeconfig(home / ".kube" / "config", cluster={"server": "http://home"})
    by_flag = kubeconfig(tmp_path / "flag", cluster={"server": "http://flag"})
    by_env = kubeconfig(tmp_path / "env", cluster={"server": "http://env"})
    environ = in_pod("https://10.0.0.1:443") | {"KUBECONFIG": str(by_env)}
    nothing: dict[str, Any] = {"service_account": tmp_path / "none", "home": tmp_path / "none"}

    async def server(**arguments: Any) -> str:
        return (await load_config(**({"service_account": pod, "home": home} | arguments))).server

    assert await server(kubeconfig=str(by_flag), environ=environ) == "http://flag"
    assert await server(environ=environ) == "http://env"
    assert await server(environ=in_pod("https://10.0.0.1:443")) == "https://10.0.0.1:443"
    assert await server(environ=NOWHERE | {"KUBECONFIG": ""}, service_account=tmp_path / "none") == "http://home"
    assert await server(environ=in_pod("https://10.0.0.1:443"), context="prod") == "http://home"
    with pytest.raises(ConfigurationError, match="no cluster found"):
        await server(environ=NOWHERE, **nothing)


async def test_kubeconfigs_of_the_environment_are_merged(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "a", cluster={"server": "http://a"})
    both = os.pathsep.join([str(tmp_path / "missing"), str(first), str(kubeconfig(tmp_path / "b"))])
    access = await load_config(environ={"KUBECONFIG": both})
    assert access.server == "http://a"


@pytest.mark.parametrize(
    ("content", "context", "says"),
    [
        ("clusters: [\n- x: }", None, "broken YAML at line 2"),
        ("", None, "has no current context"),
        ("- a\n- b", None, "is not a kubeconfig"),
        ("hello", None, "is not a kubeconfig"),
        ("apiVersion: v1\nkind: Config", None, "has no current context: pass --context; it has none at all"),
        ("current-context: x\ncontexts: []", None, "has no context 'x'; it has none at all"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: nope, user: u}}]\nusers: []\nclusters: []",
            None,
            r"contexts\[0\]\.context\.cluster: the kubeconfig has no cluster of this name",
        ),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_says_why(
    tmp_path: Path, content: str, context: str | None, says: str
) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        await open_(path, context)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


async def test_a_missing_kubeconfig_or_context_error_lists_what_exists(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist: pass --kubeconfig"):
        await open_(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="has no context 'stage'; it has dev, prod"):
        await open_(kubeconfig(tmp_path / "config"), "stage")
    with pytest.raises(ConfigurationError, match="has no current context: pass --context; it has dev, prod"):
        await open_(kubeconfig(tmp_path / "config", context=None))


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        (
            {"server": "https://h", "certificate-authority": "x.pem"},
            r"\.certificate-authority: the file cannot be read: No such",
        ),
        (
            {"server": "https://h", "certificate-authority-data": "bm8gcGVt"},
            "certificate-authority-data: has no certificate in PEM form",
        ),
        ({"server": "h:6443/x"}, "server: is not a URL"),
        ({"server": "http://h", "proxy-url": "socks5://p"}, "proxy-url"),
    ],
)
async def test_a_cluster_entry_that_cannot_work_is_refused_at_once(
    tmp_path: Path, cluster: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await open_(kubeconfig(tmp_path / "config", cluster=cluster))


async def test_a_token_file_is_stripped_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    user = {"tokenFile": str(tmp_path / "token")}
    access = await open_(kubeconfig(tmp_path / "config", user=user))
    assert await access.headers() == {"Authorization": "Bearer one"}


@pytest.mark.looptime
async def test_a_token_file_is_read_again_each_minute(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    access = await open_(kubeconfig(tmp_path / "config", user={"tokenFile": str(tmp_path / "token")}))
    (tmp_path / "token").write_text("two\n")
    await asyncio.sleep(59)
    assert await access.headers() == {"Authorization": "Bearer one"}
    await asyncio.sleep(2)
    assert await access.headers() == {"Authorization": "Bearer two"}
    (tmp_path / "token").unlink()
    await asyncio.sleep(61)
    assert await access.headers() == {"Authorization": "Bearer two"}


class Plugin:
    """A credential plug-in that counts its runs: token-1, token-2... and fails on demand."""

    def __init__(self, directory: Path) -> None:
        self.runs_file = directory / "runs"
        self.expiry_file = directory / "expiry"
        self.path = directory / "plug-in"
        self.path.write_text(f"""#!{sys.executable} -IS
import json, os, sys
runs = {str(self.runs_file)!r}
n = int(open(runs).read()) + 1 if os.path.exists(runs) else 1
open(runs, "w").write(str(n))
if os.path.exists({str(directory / "fail")!r}):
    sys.exit("no credentials\\nanother line")
status = {{"token": f"token-{{n}}"}}
if os.path.exists({str(self.expiry_file)!r}):
    status["expirationTimestamp"] = open({str(self.expiry_file)!r}).read()
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
""")
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.fail = directory / "fail"

    @property
    def runs(self) -> int:
        return int(self.runs_file.read_text())

    @property
    def user(self) -> dict[str, Any]:
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": str(self.path), "interactiveMode": "Never"}}


def a_minute_later(access: Any) -> None:
    """A plug-in is a real process, for which virtual time cannot pass: the last load is set back instead."""
    access._tried_at -= 60


async def test_a_plug_in_runs_again_before_its_token_expires(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    plugin = Plugin(tmp_path)
    plugin.expiry_file.write_text(rfc3339(now + 900))
    access = await open_(kubeconfig(tmp_path / "config", user=plugin.user), clock=lambda: now)
    assert await access.headers() == {"Authorization": "Bearer token-1"}
    now += 800
    assert await access.headers() == {"Authorization": "Bearer token-1"}
    assert plugin.runs == 1
    now += 50
    plugin.expiry_file.write_text(rfc3339(now + 900))
    a_minute_later(access)
    got = await asyncio.gather(*(access.headers() for _ in range(10)))
    assert got == [{"Authorization": "Bearer token-2"}] * 10
    assert plugin.runs == 2


async def test_many_401s_run_the_plug_in_once(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path)
    async with serve(accepts("token-2"), ssl_context=server_context(trustme.CA())) as server:
        access = await open_(kubeconfig(tmp_path / "config", cluster=unverified(server.url), user=plugin.user))
        a_minute_later(access)
        async with HttpTransport(access) as transport:
            got = await asyncio.gather(*(transport.request("GET", "/x", timeout=20) for _ in range(10)))
            assert [one.status for one in got] == [200] * 10
    assert plugin.runs == 2


async def test_a_plug_in_that_fails_later_is_an_unavailable_that_says_so(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path)
    async with serve(accepts("never"), ssl_context=server_context(trustme.CA())) as server:
        access = await open_(kubeconfig(tmp_path / "config", cluster=unverified(server.url), user=plugin.user))
        plugin.fail.touch()
        a_minute_later(access)
        async with HttpTransport(access) as transport:
            for _ in range(3):
                with pytest.raises(Unavailable, match=r"plug-in .* failed with exit code 1: no credentials"):
                    await transport.request("GET", "/x", timeout=20)
    assert plugin.runs == 2


async def test_a_plug_in_that_is_missing_or_fails_at_the_start_is_named(tmp_path: Path) -> None:
    user = Plugin(tmp_path).user
    user["exec"]["command"] = "no-such-plug-in"
    with pytest.raises(ConfigurationError, match="plug-in 'no-such-plug-in' is not installed"):
        await open_(kubeconfig(tmp_path / "config", user=user))
    plugin = Plugin(tmp_path)
    plugin.fail.touch()
    with pytest.raises(ConfigurationError, match="no credentials another line") as caught:
        await open_(kubeconfig(tmp_path / "config", user=plugin.user))
    assert "\n" not in str(caught.value)
    plugin.path.write_text("#!/bin/sh\necho not json\n")
    plugin.path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="is not an ExecCredential"):
        await open_(kubeconfig(tmp_path / "config", user=plugin.user))
    plugin.path.chmod(0o600)
    if os.geteuid() != 0 or not os.access(plugin.path, os.X_OK):
        with pytest.raises(ConfigurationError, match="is not executable"):
            await open_(kubeconfig(tmp_path / "config", user=plugin.user))


async def test_in_a_pod_kubernetes_asyncio_is_never_imported(tmp_path: Path) -> None:
    mount(tmp_path, token="one", ca=trustme.CA())
    program = f"""
import asyncio, pathlib, sys
from sagemaker_operator.kube import client, config, events, http, lease
access = asyncio.run(config.load_config(
    environ={json.dumps(in_pod("https://10.0.0.1:443"))}, service_account=pathlib.Path({str(tmp_path)!r})))
print(access.namespace, "kubernetes_asyncio" in sys.modules)
"""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env=environ
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["operators", "False"]
