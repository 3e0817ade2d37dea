"""The same kubeconfig read by the real kubectl and the operator: same server, path, credentials, certificate and impersonation.

Where kubectl refuses a file we refuse it too, in one line that names the file and the field.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import ssl
import stat
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme
from aiohttp import web

from sagemaker_operator.errors import ConfigurationError, OperatorError
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport

from .scripted import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

pytestmark = [
    pytest.mark.kubectl,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH"),
]


class RecordedRequest(NamedTuple):
    """What a server sees of a client."""

    path: str
    headers: tuple[tuple[str, str], ...]
    certificate: str
    server_name: str


class Recorder:
    """Records the requests for one path; kubectl asks for /version too."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.url = ""
        self.requests: list[RecordedRequest] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(self._path):
            headers = sorted(
                (name.lower(), value)
                for name, value in request.headers.items()
                if name.lower() == "authorization" or name.lower().startswith("impersonate-")
            )
            assert request.transport is not None
            subject = dict(
                pair for part in (request.get_extra_info("peercert") or {}).get("subject", ()) for pair in part
            )
            tls = request.get_extra_info("ssl_object")
            name = getattr(tls, "asked", "") or ""
            self.requests.append(
                RecordedRequest(
                    request.rel_url.raw_path, tuple(headers), subject.get("organizationalUnitName", ""), name
                )
            )
        return web.json_response({"major": "1", "minor": "32", "gitVersion": "v1.32.4"})


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def client(name: str) -> tuple[bytes, bytes]:
    """Certificate and key, PEM; `name` is the organizational unit."""
    issued = authority().issue_cert("client@example.org", organization_unit_name=name)
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


@contextlib.asynccontextmanager
async def recorder(*, tls: bool = True, record: str = "/probe") -> AsyncIterator[Recorder]:
    found = Recorder(record)
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority().issue_cert("127.0.0.1", "localhost", "api.example").configure_cert(context)
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL

        def remember(connection: Any, name: str | None, _: Any) -> None:
            connection.asked = name

        context.sni_callback = remember
    async with serve(found.handle, ssl_context=context) as server:
        found.url = server.url
        yield found


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def ca_data() -> str:
    return b64(authority().cert_pem.bytes())


def content(url: str, user: Any, cluster: Mapping[str, Any] = {}, context: Mapping[str, Any] = {}) -> dict[str, Any]:
    https = {"certificate-authority-data": ca_data()} if url.startswith("https") else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": url, **https, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


async def kubectl(
    env: Mapping[str, str], home: Path, *flags: str, command: tuple[str, ...] = ("get", "--raw", "/probe")
) -> str:
    """ "" if it got its answer, else its error."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *(*command, "--request-timeout=10s", *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **env},
    )
    _, err = await process.communicate()
    return "" if process.returncode == 0 else err.decode() or "failed"


async def ours(env: Mapping[str, str], home: Path, *, request: str = "/probe", **options: Any) -> str:
    try:
        access = await load_config(environ=env, service_account=home / "none", home=home, **options)
        async with HttpTransport(access) as transport:
            answer = await transport.request("GET", request, timeout=10)
            return "" if answer.status == 200 else f"{answer.status}"
    except OperatorError as error:
        return str(error)


async def both(
    server: Recorder, paths: str, home: Path
) -> tuple[list[RecordedRequest], list[RecordedRequest], str, str]:
    """The requests of kubectl and of the operator, and the error of each."""
    env = {"KUBECONFIG": paths}
    theirs = await kubectl(env, home)
    wanted, server.requests = server.requests, []
    mine = await ours(env, home)
    return wanted, server.requests, theirs, mine


PROBE_CERT, PROBE_KEY = "CERT", "KEY"

USERS: dict[str, Any] = {
    "token": {"token": "secret-token"},
    "nothing beside a token is null": {"token": "t", "client-certificate": None, "exec": None, "as-groups": None},
    "certificate data null beside a token": {"token": "t", "client-certificate-data": None, "client-key-data": None},
    "token as a date": {"token": "2020-01-01"},
    "basic": {"username": "me", "password": "söcret"},
    "password alone": {"token": "t", "password": None},
    "token and basic": {"token": "t", "username": "me"},
    "token file": {"tokenFile": "token.txt"},
    "token file and token": {"tokenFile": "token.txt", "token": "other"},
    "token beside a missing file": {"tokenFile": "missing", "token": "other"},
    "token beside an empty file": {"tokenFile": "empty", "token": "other"},
    "missing token file": {"tokenFile": "missing"},
    "empty token file": {"tokenFile": "empty"},
    "token file and basic": {"tokenFile": "token.txt", "username": "me"},
    "token of two lines": {"token": "a\nb"},
    "as": {"token": "t", "as": "jane"},
    "as all": {
        "token": "t",
        "as": "jane",
        "as-uid": "123",
        "as-groups": ["a", "b c", "a", None],
        "as-user-extra": {"scopes": ["x", "y"], "acme.com/Über %": ["1"], "it's~ok": ["z"], "none": []},
    },
    "as empty": {"token": "t", "as": ""},
    "groups without as": {"token": "t", "as-groups": ["a"]},
    "uid without as": {"token": "t", "as-uid": "a"},
    "extra without as": {"token": "t", "as-user-extra": {"a": ["b"]}},
    "as of two lines": {"token": "t", "as": "a\nb"},
    "number as token": {"token": 123},
    "group is a number": {"token": "t", "as": "a", "as-groups": [1]},
    "groups are text": {"token": "t", "as": "a", "as-groups": "g"},
    "user is text": "token",
    "user is a list": [],
    "certificate data": {"client-certificate-data": PROBE_CERT, "client-key-data": PROBE_KEY},
    "certificate files": {"client-certificate": "cert.pem", "client-key": "key.pem"},
    "certificate file and key data": {"client-certificate": "cert.pem", "client-key-data": PROBE_KEY},
    "certificate with a token": {
        "client-certificate-data": PROBE_CERT,
        "client-key-data": PROBE_KEY,
        "token": "t",
    },
    "certificate without key": {"client-certificate-data": PROBE_CERT},
    "key without certificate": {"client-key-data": PROBE_KEY, "token": "t"},
    "certificate twice": {
        "client-certificate-data": PROBE_CERT,
        "client-certificate": "cert.pem",
        "client-key-data": PROBE_KEY,
    },
    "key twice": {"client-certificate-data": PROBE_CERT, "client-key": "key.pem", "client-key-data": PROBE_KEY},
    "certificate is not PEM": {"client-certificate-data": "YWJj", "client-key-data": PROBE_KEY},
    "certificate is not base64": {"client-certificate-data": "%%%", "client-key-data": PROBE_KEY},
    "key of another": {"client-certificate-data": PROBE_CERT, "client-key-data": "OTHER"},
    "missing certificate file": {"client-certificate": "missing", "client-key": "key.pem"},
    "exec": {"exec": {}},
    "exec beside a token": {"exec": {}, "token": "t"},
    "exec beside a certificate": {
        "exec": {},
        "client-certificate-data": PROBE_CERT,
        "client-key-data": PROBE_KEY,
    },
    "exec without mode": {"exec": {"interactiveMode": None}},
    "exec without mode in v1beta1": {
        "exec": {
            "interactiveMode": None,
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "env": [{"name": "VERSION", "value": "client.authentication.k8s.io/v1beta1"}],
        }
    },
    "exec of another version": {"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1"}},
    "exec answers another version": {"exec": {"env": [{"name": "VERSION", "value": "v9"}]}},
    "exec without version": {"exec": {"apiVersion": None}},
    "exec of an unknown mode": {"exec": {"interactiveMode": "Sometimes"}},
    "exec without command": {"exec": {"command": ""}},
    "exec wants a terminal": {"exec": {"interactiveMode": "Always"}},
    "exec if available": {"exec": {"interactiveMode": "IfAvailable"}},
    "exec env without name": {"exec": {"env": [{"value": "x"}]}},
    "exec env null": {"exec": {"env": [None]}},
    "exec env of a number": {"exec": {"env": [{"name": "A", "value": 1}]}},
    "exec args of a number": {"exec": {"args": [1]}},
    "exec beside a provider": {"exec": {}, "auth-provider": {"name": "oidc"}},
    "exec with a null provider": {"exec": {}, "auth-provider": None},
    "exec that answers null": {"exec": {"args": ["null"]}},
    "exec that answers no status": {"exec": {"args": ["{}"]}},
    "exec that answers no JSON": {"exec": {"args": ["hello: ["]}},
    "exec that answers YAML": {"exec": {"args": ["status: {token: yaml}"]}},
    "exec that answers a wrong time": {"exec": {"args": ['{"status": {"token": "t", "expirationTimestamp": "soon"}}']}},
    "exec that answers a null time": {"exec": {"args": ['{"status": {"token": "t", "expirationTimestamp": null}}']}},
    "exec that answers a number": {"exec": {"args": ['{"status": {"token": 1}}']}},
    "exec that answers nothing": {"exec": {"args": ['{"status": {}}']}},
    "exec that answers a certificate": {"exec": {"args": ["certificate"]}},
    "exec that answers both": {"exec": {"args": ["certificate", "token"]}},
    "exec that answers half": {"exec": {"args": ['{"status": {"clientKeyData": "x"}}']}},
    "exec that fails": {"exec": {"args": ["fail"]}},
    "exec is missing": {"exec": {"command": "no-such-plug-in", "installHint": "get it"}},
    "gcp": {"auth-provider": {"name": "gcp"}},
    "oidc without issuer": {"auth-provider": {"name": "oidc", "config": {"client-id": "x"}}},
    "oidc": {
        "auth-provider": {
            "name": "oidc",
            # {"exp": 4102444800} with the letters that only URL-safe base64 has
            "config": {
                "idp-issuer-url": "https://idp.invalid",
                "client-id": "x",
                "client-secret": None,
                "id-token": "e30.eyJleHAiOjQxMDI0NDQ4MDAsImEiOiI_Pz8-Pj4ifQ.x",
            },
        }
    },
    "oidc expired, no refresh token": {
        "auth-provider": {
            "name": "oidc",
            "config": {"idp-issuer-url": "https://idp.invalid", "client-id": "x", "id-token": "e30.eyJleHAiOjF9.x"},
        }
    },
}

PLUGIN = """#!{python} -IS
import json, os, sys
version = os.environ.get("VERSION", "client.authentication.k8s.io/v1")
args = sys.argv[1:]
if args == ["fail"]:
    sys.exit("no luck")
if args == ["null"]:
    answer = "null"
elif args and args[0] == "certificate":
    status = {{"clientCertificateData": open({cert!r}).read(), "clientKeyData": open({key!r}).read()}}
    if args[1:]:
        status["token"] = "plug-in"
    answer = json.dumps({{"status": status}})
elif args:
    answer = args[0]
else:
    answer = json.dumps({{"status": {{"token": "plug-in"}}}})
if answer.startswith("{{"):
    given = {{"apiVersion": version, "kind": "ExecCredential"}}
    answer = json.dumps({{**given, **json.loads(answer)}})
elif answer.startswith("status"):
    answer = "apiVersion: " + version + "\\nkind: ExecCredential\\n" + answer
print(answer)
with open({log!r}, "a") as log:
    log.write(os.environ["KUBERNETES_EXEC_INFO"] + "\\n")
"""


def prepare(directory: Path, user: Any) -> Any:
    """The files beside the kubeconfig, and `user` with what it names by a placeholder."""
    (directory / "token.txt").write_text(" from-file\n")
    (directory / "empty").write_text("")
    cert, key = client("one")
    (directory / "cert.pem").write_bytes(cert)
    (directory / "key.pem").write_bytes(key)
    plugin = directory / "bin" / "plug-in"
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text(
        PLUGIN.format(
            python=sys.executable,
            cert=str(directory / "cert.pem"),
            key=str(directory / "key.pem"),
            log=str(directory / "log"),
        )
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    if not isinstance(user, dict):
        return user
    data = {PROBE_CERT: b64(cert), PROBE_KEY: b64(key), "OTHER": b64(client("two")[1])}
    user = {name: data.get(value, value) if isinstance(value, str) else value for name, value in user.items()}
    if isinstance(user.get("exec"), dict):
        usual = {
            "command": "./bin/plug-in",
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "Never",
        }
        user["exec"] = {**usual, **user["exec"]}
    return user


def same(wanted: list[RecordedRequest], got: list[RecordedRequest], theirs: str, mine: str, *, where: str) -> None:
    assert bool(theirs) == bool(mine), f"kubectl: {theirs or 'accepts'}; ours: {mine or 'accepts'}"
    assert got == wanted
    assert "\n" not in mine
    if mine:
        assert where in mine


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
async def test_a_user_is_read_as_kubectl_reads_it(user: Any, tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with recorder() as server:
        path.write_text(json.dumps(content(server.url, prepare(tmp_path, user))))
        same(*await both(server, str(path), tmp_path), where=str(path))


CLUSTERS: dict[str, dict[str, Any]] = {
    "query without a path": {"server": "{url}?b=c"},
    "upper case": {"server": "{URL}"},
    "user in the URL": {"server": "https://me:se%20cret@{host}"},
    "CA file": {"certificate-authority": "ca.pem", "certificate-authority-data": None},
    "CA with comments": {"certificate-authority": "commented.pem", "certificate-authority-data": None},
    "CA twice": {"certificate-authority": "ca.pem"},
    "CA missing": {"certificate-authority": "missing.pem", "certificate-authority-data": None},
    "no CA": {"certificate-authority-data": None},
    "CA no PEM": {"certificate-authority-data": "YWJj"},
    "CA no base64": {"certificate-authority-data": "a"},
    "CA base64 of several lines": {"certificate-authority-data": "LINES"},
    "CA empty": {"certificate-authority-data": ""},
    "insecure": {"certificate-authority-data": None, "insecure-skip-tls-verify": True},
    "insecure beside a CA": {"insecure-skip-tls-verify": True},
    "insecure as text": {"certificate-authority-data": None, "insecure-skip-tls-verify": "true"},
    "server name": {"tls-server-name": "api.example"},
    "wrong server name": {"tls-server-name": "other.example"},
    "server name null": {"tls-server-name": None},
    "proxy is not a URL": {"proxy-url": "localhost:3128"},
    "proxy of another kind": {"proxy-url": "ftp://localhost"},
    "proxy null": {"proxy-url": None},
    "compression": {"disable-compression": True},
    "no URL": {"server": "ftp://127.0.0.1"},
    "a bad port": {"server": "https://127.0.0.1:x"},
    "a number": {"server": 1},
    "extensions": {"extensions": [{"name": "a", "extension": {"b": None}}]},
    "extensions as text": {"extensions": "a"},
}


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
async def test_a_cluster_is_read_as_kubectl_reads_it(cluster: dict[str, Any], tmp_path: Path) -> None:
    pem = authority().cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(pem)
    broken = b"-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
    (tmp_path / "commented.pem").write_bytes("Über\n".encode() + broken + pem)
    async with recorder() as server:
        host = server.url.removeprefix("https://")
        given = {
            name: value.format(url=server.url, host=host, URL=server.url.replace("https", "HTTPS"))
            if name == "server" and isinstance(value, str)
            else value
            for name, value in cluster.items()
        }
        if given.get("certificate-authority-data") == "LINES":
            given["certificate-authority-data"] = "\n".join([ca_data()[:40], ca_data()[40:]])
        certificate = {"client-certificate-data": PROBE_CERT, "client-key-data": PROBE_KEY}
        user = prepare(tmp_path, certificate if "@" in str(given.get("server")) else {"token": "t"})
        path = tmp_path / "config"
        path.write_text(json.dumps(content(server.url, {"as": "a", **user}, given)))
        same(*await both(server, str(path), tmp_path), where="")


@pytest.mark.parametrize("suffix", ["/a/b/", "/a/b", "/", "/a?b=c#d", "/a%2Fb", "/ä"])
async def test_a_path_of_the_server_comes_before_every_path(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with recorder(record="/version") as server:
        path.write_text(json.dumps(content(server.url + suffix, {"token": "t"})))
        assert not await kubectl({"KUBECONFIG": str(path)}, tmp_path, command=("version",))
        wanted, server.requests = server.requests, []
        assert not await ours({"KUBECONFIG": str(path)}, tmp_path, request="/version")
    assert server.requests[0] in wanted


@pytest.mark.parametrize(
    "user",
    [{"token": "t", "as": "jane"}, {"username": "a", "password": "b"}, {"tokenFile": "missing"}, {"exec": {}}],
    ids=["token", "basic", "file", "exec"],
)
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_without_tls_no_credentials_are_sent(user: dict[str, Any], scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with recorder(tls=False) as server:
        url = scheme + server.url.removeprefix("http://")
        path.write_text(json.dumps(content(url, prepare(tmp_path, user))))
        wanted, got, theirs, mine = await both(server, str(path), tmp_path)
    assert not theirs
    same(wanted, got, theirs, mine, where="")
    assert "authorization" not in dict(got[0].headers)


CONTEXTS: dict[str, dict[str, Any]] = {
    "user of no entry": {"user": "nobody"},
    "no user": {"user": None},
    "empty user": {"user": ""},
    "namespace": {"namespace": "ml"},
    "namespace of a number": {"namespace": 1},
    "user of a number": {"user": 1},
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
async def test_a_context_is_read_as_kubectl_reads_it(context: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with recorder(tls=False) as server:  # with TLS and without credentials kubectl asks for a password
        path.write_text(json.dumps(content(server.url, {"as": "jane"}, context=context)))
        same(*await both(server, str(path), tmp_path), where=str(path))


FILES: dict[str, str] = {
    "null": "null",
    "comment": "# nothing",
    "list": "- a",
    "text": "a",
    "version": "apiVersion: v2",
    "version of a number": "apiVersion: 1",
    "kind": "kind: Secret",
    "preferences of a number": "preferences: 1",
    "extensions of a number": "extensions: 1",
    "lists null": "clusters: null\nusers: null\ncontexts: null\ncurrent-context: null\npreferences: null",
    "lists of null": "clusters: [null]\nusers: [null]\ncontexts: [null]",
    "names twice": "clusters: [{name: a}, {name: a}]",
    "unknown field": "colour: red\nusers: [{name: z, user: {colour: red}}]",
    "another user's token is a number": "users: [{name: z, user: {token: 1}}]",
    "two documents": "kind: Config\n---\nkind: [",
    "a key twice": "kind: Secret\nkind: Config",
    "alias of itself": "users: &a [*a]",
    "merge key": "users: [{name: z, <<: {user: {token: a}}}]",
    "bool as name": "users: [{name: y}]",
    "broken": "users: [",
    "tab": "users:\n\t- a",
    "unknown tag": "kind: !x Config",
    "not UTF-8": "kind: \udcff",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
async def test_a_second_file_is_read_as_kubectl_reads_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(text.encode(errors="surrogateescape"))
    async with recorder() as server:
        (tmp_path / "b").write_text(json.dumps(content(server.url, {"token": "t"})))
        paths = os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "missing"), str(tmp_path / "b")])
        same(*await both(server, paths, tmp_path), where=str(tmp_path / "a"))


@pytest.mark.parametrize("order", ["ab", "ba", "aab", "ea", "ae", "n", "nab"])
async def test_files_are_merged_as_kubectl_merges_them(order: str, tmp_path: Path) -> None:
    """a and b have the same names; e is empty, and n names a context that only the others have."""
    async with recorder() as one, recorder() as two:
        for name, server in (("a", one), ("b", two)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "token").write_text(f"token-{name}")
            config = content(server.url, {"tokenFile": "token"})
            config["contexts"].append({"name": f"only-{name}", "context": {"cluster": f"c-{name}", "user": "u"}})
            config["clusters"].append({"name": f"c-{name}", "cluster": config["clusters"][0]["cluster"]})
            config["current-context"] = f"only-{name}" if name == "a" else "x"
            (tmp_path / name / "config").write_text(json.dumps(config))
        for name, text in (("e", ""), ("n", "current-context: only-b\nusers: [{name: u, user: {token: n}}]")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "config").write_text(text)
        paths = os.pathsep.join(str(tmp_path / name / "config") for name in order)
        theirs = await kubectl({"KUBECONFIG": paths}, tmp_path)
        wanted, one.requests, two.requests = (one.requests, two.requests), [], []
        mine = await ours({"KUBECONFIG": paths}, tmp_path)
        assert (one.requests, two.requests) == wanted
        assert bool(theirs) == bool(mine)


async def test_an_explicit_file_is_one_path_and_hides_the_variable(tmp_path: Path) -> None:
    path = tmp_path / f"a{os.pathsep}b"
    async with recorder() as server:
        path.write_text(json.dumps(content(server.url, {"token": "explicit"})))
        env = {"KUBECONFIG": str(tmp_path / "missing")}
        assert not await kubectl(env, tmp_path, "--kubeconfig", str(path))
        assert not await ours(env, tmp_path, kubeconfig=str(path))
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"tls-server-name": "api.example", "disable-compression": True},
        {"certificate-authority": "ca.pem", "certificate-authority-data": None},
        {"certificate-authority-data": None, "insecure-skip-tls-verify": True},
        {"extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"a": [1, None, {"b": "c"}]}}]},
        {"extensions": [{"name": "other", "extension": {"a": 1}}]},
    ],
    ids=["plain", "name", "file", "insecure", "config", "other"],
)
@pytest.mark.parametrize("provide", [True, False])
async def test_a_plug_in_gets_the_cluster_that_kubectl_gives_it(
    cluster: dict[str, Any], provide: bool, tmp_path: Path
) -> None:
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    path = tmp_path / "config"
    async with recorder() as server:
        user = prepare(tmp_path, {"exec": {"provideClusterInfo": provide}})
        path.write_text(json.dumps(content(server.url, user, cluster)))
        same(*await both(server, str(path), tmp_path), where="")
    infos = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line]
    assert infos[0] == infos[-1]
    assert ("cluster" in infos[0]["spec"]) == provide


async def test_a_proxy_is_used_as_kubectl_uses_it(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        auth = [line for line in head.splitlines() if line.lower().startswith("proxy-authorization")]
        asked.append((head.split()[0], "".join(auth).partition(":")[2].strip()))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        path = tmp_path / "config"
        cluster = {"proxy-url": f"http://me:planted@127.0.0.1:{port}"}
        path.write_text(json.dumps(content("https://api.example", {"token": "t"}, cluster)))
        assert await kubectl({"KUBECONFIG": str(path)}, tmp_path)
        wanted = asked[0]
        asked.clear()
        mine = await ours({"KUBECONFIG": str(path)}, tmp_path)
    assert asked[0] == wanted
    assert "planted" not in mine


@pytest.mark.parametrize("minified", [USERS["as all"], USERS["certificate data"], USERS["token file"]])
async def test_the_output_of_kubectl_config_view_means_the_same(minified: Any, tmp_path: Path) -> None:
    """`kubectl config view --minify --raw` is a kubeconfig of its own, with null and absolute paths."""
    path, printed = tmp_path / "config", tmp_path / "printed.json"
    async with recorder() as server:
        path.write_text(json.dumps(content(server.url, prepare(tmp_path, minified))))
        process = await asyncio.create_subprocess_exec(
            *("kubectl", "config", "view", "--minify", "--raw", "-o", "json"),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(path)},
        )
        out, _ = await process.communicate()
        printed.write_bytes(out)
        (tmp_path / "elsewhere").mkdir()
        for file in (path, printed):
            assert not await ours({"KUBECONFIG": str(file)}, tmp_path)
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize(
    "written",
    [
        "y",
        "No",
        "on",
        "2020-01-01",
        "1:30",
        "1e5",
        "0o7",
        "0x1F",
        "0x",
        "1_0",
        "08",
        "~",
        "=",
        "!!binary YQ==",
        "!foo bar",
        "- 1",
        '"\\ud800"',
        "'a\n\n      b'",
        "'1'",
        ".inf",
        "|\n      t",
        "&a b",
        "*a",
        "NULL",
        "{}",
        "[]",
        "'a\tb'",
        "é",
    ],
)
async def test_a_token_is_text_where_it_is_for_kubectl(written: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with recorder() as server:
        config = content(server.url, None)
        del config["users"]
        text = f"users:\n- name: u\n  user:\n    token: {written}\n    as: a\n"
        text += "".join(f"{name}: {json.dumps(value)}\n" for name, value in config.items())
        path.write_text(text)
        wanted, got, theirs, mine = await both(server, str(path), tmp_path)
    if theirs == "error: EOF\n":  # no token at all: kubectl asks for a password
        assert got[0].headers == (("impersonate-user", "a"),)
    else:
        same(wanted, got, theirs, mine, where=str(path))


async def test_without_any_file_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        await load_config(environ={"KUBECONFIG": str(tmp_path / "missing")})
