"""Client certificates: in memory only, renewed before they expire and after a connection that they caused to fail."""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import ssl
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop

from sagemaker_operator.clock import rfc3339
from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube import tls
from sagemaker_operator.kube.access import ClusterAccess
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.kube.tls import PemError, TlsContext

from .scripted import answer, drop, serve
from .test_kube_config import kubeconfig

if TYPE_CHECKING:
    from aiohttp import web


class Rotating:
    """A plug-in that answers with the certificate of `state/current`, and a server that takes those of `ca` alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server_ca, self.old_ca, self.new_ca = trustme.CA(), trustme.CA(), trustme.CA()
        self.expiry = ""
        plugin = directory / "plug-in"
        plugin.write_text(f"#!/bin/sh\necho >> {directory}/runs\ncat {directory}/answer\n")
        plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
        version = "client.authentication.k8s.io/v1"
        self.user = {"exec": {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}}

    def issue(self, ca: trustme.CA, expires: float | None = None) -> None:
        issued = ca.issue_cert("me@example.org")
        status: dict[str, Any] = {
            "clientCertificateData": issued.cert_chain_pems[0].bytes().decode(),
            "clientKeyData": issued.private_key_pem.bytes().decode(),
        }
        if expires is not None:
            status["expirationTimestamp"] = rfc3339(expires)
        version = "client.authentication.k8s.io/v1"
        text = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
        (self.directory / "answer").write_text(text)

    @property
    def runs(self) -> int:
        return len((self.directory / "runs").read_text().splitlines())

    def server(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server_ca.issue_cert("127.0.0.1").configure_cert(context)
        self.new_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = version
        return context

    async def access(self, url: str, **more: Any) -> Any:
        ca = self.directory / "ca.pem"
        self.server_ca.cert_pem.write_to_path(str(ca))
        path = kubeconfig(
            self.directory / "config", cluster={"server": url, "certificate-authority": str(ca)}, user=self.user
        )
        access = await load_config(kubeconfig=str(path), environ={}, **more)
        access._tried_at -= 60  # a plug-in is a real process, for which virtual time cannot pass
        return access


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_certificate_that_the_server_refuses_is_renewed_once(
    version: ssl.TLSVersion, method: str, loop: Any, tmp_path: Path
) -> None:
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.old_ca)

    async def run() -> int:
        async with serve(answer({}), ssl_context=plugin.server(version)) as server:
            access = await plugin.access(server.url)
            plugin.issue(plugin.new_ca)
            async with HttpTransport(access) as transport:
                for _ in range(3):
                    assert (await transport.request(method, "/x", body=b"{}", timeout=20)).status == 200
        return len(server.requests)

    assert loop(run()) == 3
    assert plugin.runs == 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
async def test_a_refused_certificate_that_stays_refused_is_an_error_with_a_reason(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.old_ca)
    async with (
        serve(answer({}), ssl_context=plugin.server(version)) as server,
        HttpTransport(await plugin.access(server.url)) as transport,
    ):
        with pytest.raises(Unavailable) as caught:
            await transport.request("PATCH", "/x", body=b"{}", timeout=20)
    assert plugin.runs == 2
    assert not str(caught.value).rstrip().endswith(":")


async def test_a_post_is_not_sent_again_and_the_next_one_has_the_new_certificate(tmp_path: Path) -> None:
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.old_ca)
    async with serve(answer({}), ssl_context=plugin.server()) as server:
        access = await plugin.access(server.url)
        plugin.issue(plugin.new_ca)
        async with HttpTransport(access) as transport:
            with pytest.raises(Unavailable):
                await transport.request("POST", "/x", body=b"{}", timeout=20)
            assert (await transport.request("POST", "/x", body=b"{}", timeout=20)).status == 200
    assert (plugin.runs, len(server.requests)) == (2, 1)


async def test_an_unreachable_server_runs_the_plug_in_once_more(tmp_path: Path) -> None:
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.new_ca)
    async with serve(drop, ssl_context=plugin.server()) as server:
        access = await plugin.access(server.url)
        async with HttpTransport(access) as transport:
            for _ in range(3):
                with pytest.raises(Unavailable, match=r"without an answer|Connection reset"):
                    await transport.request("DELETE", "/x", timeout=20)
    assert plugin.runs == 2
    assert len(server.requests) <= 2 * 3, "aiohttp sends a DELETE once more by itself"


async def test_a_certificate_is_renewed_before_it_expires(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.new_ca, expires=now + 900)
    async with serve(answer({}), ssl_context=plugin.server()) as server:
        access = await plugin.access(server.url, clock=lambda: now)
        async with HttpTransport(access) as transport:
            await transport.request("GET", "/x", timeout=20)
            assert plugin.runs == 1
            now += 850
            plugin.issue(plugin.new_ca, expires=now + 900)
            await transport.request("GET", "/x", timeout=20)
            assert plugin.runs == 2


async def test_an_expired_certificate_that_cannot_be_renewed_says_why(tmp_path: Path) -> None:
    """Without it the server may answer 403 as to anybody, which would be taken for a missing right."""
    now = 1_800_000_000.0
    plugin = Rotating(tmp_path)
    plugin.issue(plugin.new_ca, expires=now + 900)
    async with serve(answer({}), ssl_context=plugin.server()) as server:
        access = await plugin.access(server.url, clock=lambda: now)
        (tmp_path / "answer").unlink()
        async with HttpTransport(access) as transport:
            now += 850
            assert (await transport.request("GET", "/x", timeout=20)).status == 200
            now += 100
            with pytest.raises(Unavailable, match=r"cannot refresh the credentials: .*failed with exit code 1"):
                await transport.request("GET", "/x", timeout=20)
    assert len(server.requests) == 1


# Where certificates are kept.


def certificate() -> tuple[bytes, bytes]:
    issued = trustme.CA().issue_cert("me@example.org")
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


def test_no_certificate_or_key_is_written_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only root without /tmp."""
    cert, key = certificate()
    written: list[Any] = []
    opened = builtins.open

    def watching(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if isinstance(file, str | bytes | os.PathLike) and set(mode) & set("wax+"):
            written.append(file)
        return opened(file, mode, *rest, **more)

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError("Read-only file system")

    monkeypatch.setattr(builtins, "open", watching)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)
    monkeypatch.setattr(tempfile, "mkstemp", refused)
    before = set(os.listdir("/proc/self/fd"))
    context = TlsContext(ca_data=trustme.CA().cert_pem.bytes(), cert_data=cert, key_data=key).current()
    assert context.get_ca_certs()
    assert written == []
    assert set(os.listdir("/proc/self/fd")) == before


def test_without_memory_files_the_directory_is_private_and_gone_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tls, "_memory_file", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def observed(self: ssl.SSLContext, certfile: str, *rest: Any, **more: Any) -> None:
        modes.append(stat.S_IMODE(os.stat(Path(certfile).parent).st_mode))
        load(self, certfile, *rest, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", observed)
    cert, key = certificate()
    TlsContext(cert_data=cert, key_data=key)
    assert modes == [0o700]
    assert list(tmp_path.iterdir()) == []


def test_a_key_with_a_password_is_refused_without_asking_for_it(tmp_path: Path) -> None:
    cert, key = certificate()
    (tmp_path / "key").write_bytes(key)
    command = ["openssl", "pkey", "-in", str(tmp_path / "key"), "-aes256", "-passout", "pass:secret"]
    encrypted = subprocess.run(command, capture_output=True, check=True).stdout
    with pytest.raises(PemError, match="has a password"):
        TlsContext(cert_data=cert, key_data=encrypted)


def test_a_rotated_certificate_file_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    for name, content in zip(("cert", "key"), certificate(), strict=True):
        (tmp_path / name).write_bytes(content)
    context = TlsContext(cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key"))
    first = context.current()
    cert, key = certificate()
    (tmp_path / "cert").write_bytes(cert)
    assert context.current() is first, "the key of the old one"
    (tmp_path / "key").write_bytes(key)
    second = context.current()
    assert second is not first
    (tmp_path / "key").unlink()
    assert context.current() is second


async def test_response_headers_may_be_large() -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = await answer({})(request)
        response.headers["Set-Cookie"] = "a" * 200_000
        for number in range(500):
            response.headers[f"X-{number}"] = "b"
        return response

    async with serve(large) as server, HttpTransport(ClusterAccess(server=server.url)) as transport:
        assert (await transport.request("GET", "/x", timeout=20)).status == 200
