"""Finds a real Kubernetes API server for the tests, starts it if need be, and says why if there is none.

In this order: `KUBEBUILDER_ASSETS` (etcd and kube-apiserver, as envtest has them), `TEST_KUBECONFIG` (a server that runs
already), `SAGEMAKER_OPERATOR_APISERVER` (a program that serves as `PROGRAM DIR` and writes DIR/kubeconfig), such a program in
a folder `shared/apiserver` beside this repository, and the one that `tests/apiserver/build.py` has built. A variable that is
set and points to no server is an error: the user who sets it wants these tests to run.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.apiserver import build

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPT = Path(__file__).resolve().parents[2] / "shared" / "apiserver" / "serve"
_READY_SECONDS = 60.0


class NoServer(Exception):
    """There is none; the text says what to set."""


class Uncompactable(NoServer):
    """There is one, and nothing makes it forget its history within seconds."""


class BrokenServer(Exception):
    """A variable names one that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """How to reach a server. `ssl` is False for plain HTTP."""

    url: str
    kubeconfig: Path
    headers: dict[str, str]
    ssl: ssl.SSLContext | bool

    @classmethod
    def from_kubeconfig(cls, path: Path) -> ApiServer:
        config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config.get("current-context") or config["contexts"][0]["name"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config.get("users") or [], context.get("user", "")).get("user", {})
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        url = cluster["server"].rstrip("/")
        return cls(url, path, headers, _ssl(cluster, user) if url.startswith("https:") else False)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((entry for entry in entries if entry["name"] == name), {})


def _ssl(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif "certificate-authority-data" in cluster:
        context.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif "certificate-authority" in cluster:
        context.load_verify_locations(cafile=cluster["certificate-authority"])
    if "client-certificate-data" in user:
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory, name) for name in ("client.crt", "client.key")]
            for file, field in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
                file.write_bytes(base64.b64decode(user[field]))
            context.load_cert_chain(*files)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def must_not_be_missing() -> bool:
    """In CI a skipped contract test would be an unnoticed gap."""
    return os.environ.get("CI") == "true"


def program() -> Path | None:
    """A program that serves as `PROGRAM DIR`, or None. Raises BrokenServer."""
    if named := os.environ.get("SAGEMAKER_OPERATOR_APISERVER"):
        if not Path(named).exists():
            raise BrokenServer(f"SAGEMAKER_OPERATOR_APISERVER: there is no {named}")
        return Path(named)
    return next((found for found in (_SCRIPT, build.program()) if found.exists()), None)


@contextmanager
def real_apiserver(directory: Path, *, compaction: str = "") -> Iterator[ApiServer]:
    """A ready server, stopped afterwards if we started it; its files are in `directory`. Raises NoServer, BrokenServer.

    `compaction` ("1s") is how often its history is compacted, five minutes as a rule; it has no watch cache then, which would
    remember pages for 15 s more. Raises Uncompactable if it cannot be compacted.
    """
    with ExitStack() as stack:
        if assets := os.environ.get("KUBEBUILDER_ASSETS"):
            server = stack.enter_context(_envtest(Path(assets), directory, compaction))
        elif given := os.environ.get("TEST_KUBECONFIG"):
            if not Path(given).exists():
                raise BrokenServer(f"TEST_KUBECONFIG: there is no {given}")
            if compaction:
                raise Uncompactable("TEST_KUBECONFIG names a server that runs already")
            server = ApiServer.from_kubeconfig(Path(given))
            _wait_ready(server, [])
        elif found := program():
            server = stack.enter_context(_scripted(found, directory, compaction))
        else:
            raise NoServer(
                "no real API server: set KUBEBUILDER_ASSETS, TEST_KUBECONFIG or SAGEMAKER_OPERATOR_APISERVER, or build one"
                " with `python3 tests/apiserver/build.py` (on Debian, three minutes)"
            )
        yield server


def is_written(file: Path) -> bool:
    """Whether another process has written it: it exists, empty, a moment before."""
    return file.exists() and file.stat().st_size > 0


@contextmanager
def _scripted(script: Path, directory: Path, compaction: str) -> Iterator[ApiServer]:
    where, flags = directory / "server", ["-compaction", compaction, "-watch-cache=false"]
    if not compaction:
        command = [script, where]
    elif script == _SCRIPT:
        command = [script, where, "0", *flags]
    elif script == build.program():
        command = [script, *flags, where]
    else:
        raise Uncompactable("SAGEMAKER_OPERATOR_APISERVER names a program whose flags are not known")
    with _process(command, directory / "server.log") as process:
        kubeconfig = directory / "server" / "kubeconfig"
        deadline = time.monotonic() + _READY_SECONDS
        while not is_written(kubeconfig):
            _check_alive([process], deadline, directory)
            time.sleep(0.05)
        server = ApiServer.from_kubeconfig(kubeconfig)
        _wait_ready(server, [process])
        yield server


@contextmanager
def _envtest(assets: Path, directory: Path, compaction: str) -> Iterator[ApiServer]:
    for needed in ("etcd", "kube-apiserver"):
        if not (assets / needed).exists():
            raise BrokenServer(f"KUBEBUILDER_ASSETS has no {needed}: {assets}")
    client, peer, port = (_free_port() for _ in range(3))
    etcd = f"http://127.0.0.1:{client}"
    key = directory / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    token = base64.b16encode(os.urandom(16)).decode().lower()
    (directory / "tokens.csv").write_text(f'{token},tests,tests,"system:masters"\n', encoding="utf-8")
    commands = [
        [
            assets / "etcd",
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ],
        [
            assets / "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--cert-dir={directory / 'certs'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={directory / 'tokens.csv'}",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            *([f"--etcd-compaction-interval={compaction}", "--watch-cache=false"] if compaction else []),
        ],
    ]
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "envtest",
                        "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True},
                    }
                ],
                "users": [{"name": "tests", "user": {"token": token}}],
                "contexts": [{"name": "envtest", "context": {"cluster": "envtest", "user": "tests"}}],
                "current-context": "envtest",
            }
        ),
        encoding="utf-8",
    )
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_process(command, directory / f"{Path(command[0]).name}.log")) for command in commands
        ]
        server = ApiServer.from_kubeconfig(kubeconfig)
        _wait_ready(server, processes)
        yield server


@contextmanager
def _process(command: list[Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # A group of its own, so that a script's child ends with it.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_ready(server: ApiServer, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    request = urllib.request.Request(f"{server.url}/readyz", headers=server.headers)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        *([urllib.request.HTTPSHandler(context=server.ssl)] if isinstance(server.ssl, ssl.SSLContext) else []),
    )
    while True:
        try:
            with opener.open(request, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        _check_alive(processes, deadline, server.kubeconfig)
        time.sleep(0.05)


def _check_alive(processes: list[subprocess.Popen[bytes]], deadline: float, where: Path) -> None:
    for process in processes:
        if process.poll() is not None:
            raise RuntimeError(f"the API server ended with code {process.returncode}; its log is beside {where}")
    if time.monotonic() > deadline:
        raise RuntimeError(f"the API server was not ready within {_READY_SECONDS:g} s; its log is beside {where}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_or_skip(directory: Path, *, compaction: str = "") -> Iterator[ApiServer]:
    """The body of a fixture. Each test package has its own server: two of them install different CRDs of the same name."""
    try:
        with real_apiserver(directory, compaction=compaction) as server:
            yield server
    except Uncompactable as error:
        pytest.skip(str(error))
    except NoServer as error:
        if must_not_be_missing():
            raise
        pytest.skip(str(error))
