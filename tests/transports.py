"""The forwarding transport from which all transports between an operator and an API server derive.

A subclass overrides `answer` (requests whose body ends) or `open` (watches), and passes the request on with `super()`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from sagemaker_operator.kube.transport import Query, Response, StreamingResponse, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of `Transport.request`, and of `Transport.stream` as a GET without a body."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float

    def with_query(self, query: Query) -> Request:
        return replace(self, query=query)


class ForwardingTransport:
    """Implements `Transport` over another one, which is given now or later (`through`)."""

    def __init__(self, inner: Transport | None = None) -> None:
        self._inner = inner

    def through(self, inner: Transport) -> Transport:
        """This transport, over `inner`."""
        self._inner = inner
        return self

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
        return await self.answer(
            Request(method=method, path=path, query=query, headers=headers, body=body, timeout=timeout)
        )

    def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return self.open(Request(method="GET", path=path, query=query, headers=headers, body=None, timeout=timeout))

    async def answer(self, request: Request) -> Response:
        assert self._inner is not None
        return await self._inner.request(
            request.method,
            request.path,
            query=request.query,
            headers=request.headers,
            body=request.body,
            timeout=request.timeout,
        )

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        assert self._inner is not None
        async with self._inner.stream(
            request.path, query=request.query, headers=request.headers, timeout=request.timeout
        ) as stream:
            yield stream


class ForwardingStream:
    """Implements `StreamingResponse` over another one; a subclass overrides `chunks`."""

    def __init__(self, inner: StreamingResponse) -> None:
        self._inner = inner

    @property
    def status(self) -> int:
        return self._inner.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._inner.headers

    def chunks(self) -> AsyncIterator[bytes]:
        return self._inner.chunks()

    async def read(self) -> bytes:
        return await self._inner.read()


class WholeStream:
    """A `StreamingResponse` whose body is there from the start: an error status, or one event."""

    headers: Mapping[str, str] = {"Content-Type": "application/json"}

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def read(self) -> Any:
        return self._body
