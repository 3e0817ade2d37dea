"""`Transport` over HTTP: one aiohttp session to one API server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import weakref
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from sagemaker_operator import __version__
from sagemaker_operator.errors import ConfigurationError, Unavailable
from sagemaker_operator.kube.transport import Query, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Self

    from sagemaker_operator.kube.access import ClusterAccess

USER_AGENT = f"sagemaker-operator/{__version__}"

# A SYN without an answer: a node that is gone. A longer limit would use up a call's timeout before a second try.
_CONNECT_SECONDS = 10.0
# Below the API server's own 90 s, so that the client closes an idle connection first.
_KEEPALIVE_SECONDS = 60.0
# Probes after 30 s of silence, each 10 s, three times: a vanished peer is noticed within 60 s, as a load balancer that
# drops idle connections would be (the shortest common limit is 60 s).
_PROBE_IDLE, _PROBE_INTERVAL, _PROBE_COUNT = 30, 10, 3
_UNACKED_MILLISECONDS = 60_000
# A hung-up connection is gone after at most 4 turns of the loop, handshakes included (measured, asyncio and uvloop).
_CLOSE_TURNS = 50
_ERROR_BODY_LIMIT = 64 * 1024
# aiohttp's own 8 kB are too few for a proxy that adds cookies or tokens; Go takes 10 MB in all.
_HEADER_BYTES = 1024 * 1024
_HEADER_COUNT = 10_000
_DEAD_CONNECTION = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class HttpTransport:
    """Implements `Transport`. Use as an async context manager, or call `close`; construct it inside a running loop.

    Proxies come from the kubeconfig's `proxy-url` or from `proxy`, never from the environment: reading that for each
    request takes almost three times as long (measured: 566 against 208 us).
    """

    def __init__(self, access: ClusterAccess, *, proxy: str | None = None, max_requests: int = 64) -> None:
        """`max_requests` bounds the requests in flight; further ones wait, at most until their timeout."""
        self._access = access
        self._proxy = proxy
        # Not the connector's limit: a watch holds its connection as long as it runs, and 50 would block the requests.
        self._slots = asyncio.Semaphore(max_requests)
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, socket_factory=self._open_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Compression costs both sides more than a cluster's network: a gzipped 2 MB page blocks the loop.
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=None),
            trust_env=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADER_COUNT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drops all connections. Requests after this raise Unavailable."""
        await self._session.close()
        # aiohttp does not close the connections of cancelled requests and of streams that were left: they wait up to 30 s
        # for the server's TLS close_notify. After a shutdown the loop reads the end of the stream and closes them.
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for _ in range(_CLOSE_TURNS):
            if all(sock.fileno() < 0 for sock in self._sockets):
                break
            await asyncio.sleep(0)

    def _open_socket(self, address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        sock = _keepalive_socket(address)
        self._sockets.add(sock)
        return sock

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        timeout: float,
    ) -> Response:
        """See `Transport.request`. After a 401 the credentials are refreshed and the request is sent once more."""
        with _translated(f"{method} {path}", self._access.server, timeout):
            async with asyncio.timeout(timeout), self._slots:
                response = await self._open(method, path, query, headers, body)
                try:
                    return Response(response.status, response.headers, await response.read())
                finally:
                    response.release()

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AsyncIterator[HttpStream]:
        """See `Transport.stream`. Leaving the context closes the connection."""
        with _translated(f"GET {path}", self._access.server, timeout):
            async with asyncio.timeout(timeout):
                response = await self._open("GET", path, query, headers, None)
        try:
            yield HttpStream(response, f"GET {path}", self._access.server, timeout)
        finally:
            response.close()

    async def _open(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        response = await self._send(method, path, query, headers, body)
        if response.status == 401:
            response.release()
            await self._access.refresh()
            response = await self._send(method, path, query, headers, body)
        return response

    async def _send(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise Unavailable(f"{method} {path}: the connection to Kubernetes has been closed")
        try:
            return await self._send_once(method, path, query, headers, body)
        except _DEAD_CONNECTION as error:
            connected = not isinstance(error, aiohttp.ClientConnectorError)
            renewed = _may_be_refused_certificate(error) and await self._access.renew()
            # aiohttp itself resends GET, PUT and DELETE if the server had closed a kept connection, but no PATCH.
            # Ours may be sent twice: a merge patch changes nothing the second time, a JSON patch fails its `test`.
            # A POST may have been executed, unless the connection was not even made.
            again = method != "POST" if connected and renewed else method == "PATCH" if connected else renewed
            if not again:
                raise
            return await self._send_once(method, path, query, headers, body)

    async def _send_once(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        access = self._access
        identity = await access.headers()
        tls = access.ssl_context()
        url = URL(access.server + quote(path, safe="/:"), encoded=True)
        return await self._session.request(
            method,
            url.with_query(query) if query else url,
            headers=CIMultiDict([*identity.items(), *access.impersonation, *headers.items()]),
            data=body,
            ssl=tls if tls is not None else True,
            server_hostname=access.server_name,
            proxy=self._proxy or access.proxy,
            allow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"<HttpTransport {self._access.server}{' closed' if self._session.closed else ''}>"


def _may_be_refused_certificate(error: aiohttp.ClientError) -> bool:
    """Whether a connection failed in a way that an expired client certificate causes.

    In TLS 1.2 the handshake fails, or the server resets the connection during it; in 1.3 it succeeds for the client,
    and the connection ends without an answer.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False  # this is about the server's certificate
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionResetError):
        return True
    return isinstance(error, aiohttp.ClientConnectorSSLError) or not isinstance(error, aiohttp.ClientConnectorError)


class HttpStream:
    """Implements `StreamingResponse`."""

    def __init__(self, response: aiohttp.ClientResponse, what: str, server: str, timeout: float) -> None:
        self._response = response
        self._what = what
        self._server = server
        self._timeout = timeout

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """See `StreamingResponse.chunks`."""
        return _Chunks(self._response, self._what, self._server)

    async def read(self) -> bytes:
        """See `StreamingResponse.read`."""
        body = bytearray()
        with _translated(self._what, self._server, self._timeout):
            async with asyncio.timeout(self._timeout):
                while len(body) < _ERROR_BODY_LIMIT:
                    part = await self._response.content.read(_ERROR_BODY_LIMIT - len(body))
                    if not part:
                        break
                    body += part
        return bytes(body)


class _Chunks:
    """An iterator rather than a generator, which would have to be closed when it is dropped half-way."""

    def __init__(self, response: aiohttp.ClientResponse, what: str, server: str) -> None:
        self._chunks = response.content.iter_any()
        self._what = what
        self._server = server

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except _FAILURES as error:
            raise Unavailable(f"{self._what}: {_explain(error, self._server, 0.0)}") from error


# HttpProcessingError is not a ClientError, yet a malformed chunk raises it.
_FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError)


@contextlib.contextmanager
def _translated(what: str, server: str, timeout: float) -> Iterator[None]:
    """Maps the errors of aiohttp, ssl and the OS to Unavailable. `what`: the request, for the text."""
    try:
        yield
    except (*_FAILURES, ConfigurationError) as error:
        raise Unavailable(f"{what}: {_explain(error, server, timeout)}") from error


def _explain(error: Exception, server: str, timeout: float) -> str:
    match error:
        case ConfigurationError():
            return f"cannot refresh the credentials: {error}"
        case aiohttp.ConnectionTimeoutError():
            return f"{server} did not accept a connection in {_CONNECT_SECONDS:g} s"
        case TimeoutError():
            return f"{server} gave no answer in {timeout:g} s"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {server} was not accepted: {error.certificate_error}"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status} instead of connecting to {server}"
        case aiohttp.ClientProxyConnectionError():
            return f"cannot reach the proxy: {_plain(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name of {server} cannot be resolved"
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {server}: {_plain(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return f"{server} closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return f"the answer of {server} was cut"
    return f"{server}: {type(error).__name__}"


def _plain(error: OSError) -> str:
    """asyncio's own text for "Connection refused" is "Connect call failed" and an address."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, ConnectionResetError) and not error.errno:
        return "the server ended the TLS handshake"  # asyncio raises it without any text
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _keepalive_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """A socket that reports a vanished peer as an error instead of waiting indefinitely: aiohttp has no HTTP/2 pings."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _PROBE_IDLE),
        ("TCP_KEEPINTVL", _PROBE_INTERVAL),
        ("TCP_KEEPCNT", _PROBE_COUNT),
        ("TCP_USER_TIMEOUT", _UNACKED_MILLISECONDS),
    ):
        # Outside Linux the names differ; there the system's default of two hours applies.
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock
