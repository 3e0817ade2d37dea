"""The API server and the credentials of one kubeconfig context.

Guarantees: the same server, proxy, TLS, credentials and impersonation as kubectl with the same file. As in kubectl, a server with
plain http gets no credentials. Credentials are loaded again before they expire, on a 401, and when a connection with a client
certificate of a plug-in fails.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import msgspec

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.access import REREAD_SECONDS, ClusterAccess
from sagemaker_operator.kube.kubeconfig import Kubeconfig, reason_of
from sagemaker_operator.kube.oidc import OidcTokens
from sagemaker_operator.kube.plugin import run_plugin
from sagemaker_operator.kube.tls import PemError, TlsContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kube.kubeconfig import Chosen, Cluster, Entry, User

# A request sent with a token must be answered before the token expires; no request takes longer than 60 s.
_EXPIRY_MARGIN = 60.0
# `aws eks get-token` takes about 1 s of CPU: a burst of 401s must not start one process per request.
_RELOAD_INTERVAL = 5.0
# For a plug-in that asks its user to log in.
_LOAD_TIMEOUT = 60.0

_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"


class _Credentials(msgspec.Struct, frozen=True):
    authorization: str = ""
    certificate: bytes = b""
    """PEM, from a plug-in; those of files are only in the TLS context."""
    key: bytes = b""
    expires: float | None = None
    reads_file: bool = False

    def __repr__(self) -> str:
        return "<_Credentials>"


class _Server(NamedTuple):
    url: str
    authorization: str
    """From a user and password in the URL, as in Go's HTTP client."""


class KubeconfigAccess(ClusterAccess):
    """One context of a kubeconfig. Made by `open`."""

    def __init__(
        self, *, files: Sequence[str], context: str | None, clock: Clock, limit: float = _LOAD_TIMEOUT
    ) -> None:
        super().__init__(server="", source=f"kubeconfig {os.pathsep.join(files)}")
        self._files = list(files)
        self._context = context
        self._clock = clock
        self._limit = limit
        self._oidc = OidcTokens(clock)
        self._headers: Mapping[str, str] = {}
        self._credentials = _Credentials()
        self._tried_at = 0.0
        self._failure: ConfigurationError | None = None
        self._lock = asyncio.Lock()

    @classmethod
    async def open(
        cls, *, files: Sequence[str], context: str | None, clock: Clock, limit: float = _LOAD_TIMEOUT
    ) -> KubeconfigAccess:
        """`limit`: seconds for a plug-in or identity provider. Raises ConfigurationError."""
        access = cls(files=files, context=context, clock=clock, limit=limit)
        await access._load()
        return access

    async def headers(self) -> Mapping[str, str]:
        if self._due():
            try:
                await self.refresh()
            except ConfigurationError:
                # A token may still be valid for a minute; after that the 401 leads to this error. An expired client
                # certificate must raise here: a server that does not require one ignores it and answers 403.
                if self._credentials.certificate and self._expired(margin=0.0):
                    raise
        return self._headers

    def _due(self) -> bool:
        if self._credentials.reads_file and asyncio.get_running_loop().time() >= self._tried_at + REREAD_SECONDS:
            return True
        return self._expired(margin=_EXPIRY_MARGIN)

    def _expired(self, *, margin: float) -> bool:
        expires = self._credentials.expires
        return expires is not None and self._clock() >= expires - margin

    async def refresh(self) -> None:
        async with self._lock:
            # The interval also makes it one refresh for all callers that wait for the lock.
            if asyncio.get_running_loop().time() >= self._tried_at + _RELOAD_INTERVAL:
                try:
                    await self._load()
                except ConfigurationError as error:
                    self._failure = error
            if self._failure is not None:
                raise self._failure

    async def renew(self) -> bool:
        before = self._credentials.certificate
        if not before:
            return False
        await self.refresh()
        return self._credentials.certificate != before

    async def _load(self) -> None:
        self._tried_at = asyncio.get_running_loop().time()
        chosen = Kubeconfig(self._files).choose(self._context)
        cluster, user = chosen.cluster, chosen.user
        server = _server(cluster)
        proxy = _proxy(cluster)
        impersonation = _impersonation(user)
        credentials, tls = _Credentials(), None
        if server.url.startswith("https://"):
            credentials = await self._authenticate(chosen)
            tls = _tls(chosen, credentials)
        authorization = credentials.authorization or server.authorization
        self.server = server.url
        self.namespace = chosen.namespace or "default"
        self.proxy = proxy
        self.server_name = cluster.value.tls_server_name or None
        self.impersonation = impersonation
        self._tls = tls
        self._headers = {"Authorization": authorization} if authorization else {}
        self._credentials = credentials
        self._failure = None

    async def _authenticate(self, chosen: Chosen) -> _Credentials:
        """client-go's order: a token or password, else those of a plug-in or provider; a certificate in addition to either."""
        user = chosen.user
        value = user.value
        if value.token_file or value.token:
            return _Credentials(authorization=_bearer(user), reads_file=bool(value.token_file))
        if value.username:
            return _Credentials(authorization=_basic(value.username, value.password))
        if value.auth_provider is not None:
            token, expires = await self._oidc.token(user, chosen.user_name, limit=self._limit)
            return _Credentials(authorization=f"Bearer {_header(user, 'auth-provider', token)}", expires=expires)
        if value.exec is None or value.client_certificate or value.client_certificate_data.content:
            return _Credentials()
        described = _describe(chosen.cluster) if value.exec.provide_cluster_info else None
        try:
            found = await run_plugin(value.exec, described, limit=self._limit)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.source}: {error}") from None
        token = _header(user, "exec", found.token)
        return _Credentials(
            authorization=f"Bearer {token}" if token else "",
            certificate=found.certificate,
            key=found.key,
            expires=found.expires,
        )


# --- the server ----------------------------------------------------------------------------------------------------------

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/:@?#\[\]]+)(?::[0-9]+)?/?")


def _server(cluster: Entry[Cluster]) -> _Server:
    """As client-go: HOST:PORT alone is http, a query is dropped, a user in the URL is the Authorization header."""
    wrong = cluster.problem("server", "is not a URL of an API server: write https://HOST:PORT")
    text = cluster.value.server
    if _HOST_AND_PORT.fullmatch(text):
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise wrong
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    authorization = ""
    if parts.username is not None:
        authorization = _basic(unquote(parts.username), unquote(parts.password or ""))
    path = quote(unquote(parts.path), safe="/:@!$&'()*+,;=~").rstrip("/")
    return _Server(f"{parts.scheme}://{netloc}{path}", authorization)


def _proxy(cluster: Entry[Cluster]) -> str | None:
    text = cluster.value.proxy_url
    if not text:
        return None
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise cluster.problem("proxy-url", "must be an http:// or https:// proxy (socks5 is not supported)")
    return text


def _tls(chosen: Chosen, credentials: _Credentials) -> TlsContext:
    cluster, user = chosen.cluster.value, chosen.user.value
    try:
        return TlsContext(
            ca_file=cluster.certificate_authority or None,
            ca_data=cluster.certificate_authority_data.content,
            cert_file=user.client_certificate or None,
            cert_data=credentials.certificate or user.client_certificate_data.content,
            key_file=user.client_key or None,
            key_data=credentials.key or user.client_key_data.content,
            verify=not cluster.insecure_skip_tls_verify,
        )
    except PemError as error:
        if error.part == "ca":
            field = "certificate-authority" if cluster.certificate_authority else "certificate-authority-data"
            raise chosen.cluster.problem(field, error.reason) from None
        if credentials.certificate:
            raise chosen.user.problem("exec", f"the plug-in's client {error.reason}") from None
        field = "client-certificate" if user.client_certificate else "client-certificate-data"
        raise chosen.user.problem(field, error.reason) from None
    except OSError as error:
        raise chosen.user.problem("", f"a certificate or key cannot be read: {reason_of(error)}") from None


def _describe(cluster: Entry[Cluster]) -> dict[str, Any]:
    """The cluster as passed to a plug-in (`provideClusterInfo`)."""
    value = cluster.value
    ca = value.certificate_authority_data.content
    if not ca and value.certificate_authority:
        try:
            ca = Path(value.certificate_authority).read_bytes()
        except OSError as error:
            raise cluster.problem("certificate-authority", f"the file cannot be read: {reason_of(error)}") from None
    extensions = {one.name: one.extension for one in value.extensions if one is not None}
    described: dict[str, Any] = {
        "server": value.server,
        "tls-server-name": value.tls_server_name,
        "insecure-skip-tls-verify": value.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "proxy-url": value.proxy_url,
        "disable-compression": value.disable_compression,
    }
    return {name: member for name, member in described.items() if member} | {
        "config": extensions.get(_PLUGIN_EXTENSION)
    }


# --- headers -------------------------------------------------------------------------------------------------------------


def _bearer(user: Entry[User]) -> str:
    """The file has precedence, as in client-go; `token` is used while the file has none."""
    token = user.value.token
    if user.value.token_file:
        try:
            content = Path(user.value.token_file).read_bytes().decode().strip()
        except (OSError, ValueError) as error:
            if not token:
                raise user.problem("tokenFile", f"the file cannot be read: {reason_of(error)}") from None
            content = ""
        if content:
            return f"Bearer {_header(user, 'tokenFile', content)}"
        if not token:
            raise user.problem("tokenFile", "the file is empty")
    return f"Bearer {_header(user, 'token', token)}"


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def _header(user: Entry[User], field: str, value: str) -> str:
    if _NO_HEADER.search(value):
        raise user.problem(field, "has a line break or control character, which no HTTP header can hold")
    return value


def _impersonation(user: Entry[User]) -> tuple[tuple[str, str], ...]:
    value = user.value
    if not value.impersonate:
        return ()
    headers = [("Impersonate-User", _header(user, "as", value.impersonate))]
    if value.impersonate_uid:
        headers.append(("Impersonate-Uid", _header(user, "as-uid", value.impersonate_uid)))
    headers += [("Impersonate-Group", _header(user, "as-groups", group or "")) for group in value.impersonate_groups]
    for key, members in value.impersonate_extra.items():
        # Characters that a header's name cannot have are percent-encoded, the percent sign too.
        name = "Impersonate-Extra-" + quote(key, safe="!#$&'*+^`|")
        headers += [(name, _header(user, "as-user-extra", member or "")) for member in members]
    return tuple(headers)
