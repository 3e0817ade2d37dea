"""Two ways to call the simulator: a socket for any SDK, and an aiobotocore HTTP session without one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit

from aiobotocore.awsrequest import AioAWSResponse
from aiohttp import web
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, HTTPClientError, ReadTimeoutError

from sagemaker_operator.sandbox.sagemaker.protocol import Answer, ConnectionCut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

_LARGEST_BODY = 8 * 2**20
"""No SageMaker request comes near; aiohttp's default of 1 MB would refuse a large pipeline definition."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` is the endpoint URL to give to an SDK."""

    url: str


@asynccontextmanager
async def serve(simulator: SageMakerSimulator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    """Serve the simulator over HTTP until the block ends. Port 0 takes a free one. Raises OSError if it is taken."""

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            answer = await simulator.handle(request.method, request.path, request.headers, body)
        except ConnectionCut:
            if request.transport is not None:
                request.transport.abort()
            # The client never sees this: it only ends the handler.
            return web.Response(status=500)
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)

    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        yield Server(f"http://{bound[0]}:{bound[1]}")
    finally:
        await runner.cleanup()


def in_process_session(simulator: SageMakerSimulator) -> type:
    """A class for `AioConfig(http_session_cls=...)` whose requests go straight to the simulator.

    The whole of aiobotocore runs (signing, serializing, parsing, retries, timeouts), but no socket: whole-operator
    tests can run in virtual time.
    """

    class InProcessSession:
        """What aiobotocore expects of an HTTP session; arguments that concern sockets are accepted and ignored."""

        def __init__(self, *_: Any, timeout: Any = None, **__: Any) -> None:
            # botocore passes (connect, read) or one number for both.
            self._read_timeout: float | None = timeout[1] if isinstance(timeout, list | tuple) else timeout
            self._closed = False

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            self._closed = True

        async def close(self) -> None:
            self._closed = True

        async def send(self, request: Any) -> AioAWSResponse:
            if self._closed:
                raise HTTPClientError(error=RuntimeError("the session is closed"))
            # A real request always lets other tasks run, and races between them are what such tests are for.
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(self._read_timeout):
                    answer = await simulator.handle(
                        request.method, urlsplit(request.url).path, _text_headers(request.headers), _bytes(request.body)
                    )
            except TimeoutError as error:
                raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
            except ConnectionCut as error:
                _raise_cut(error, request)
            return AioAWSResponse(request.url, answer.status, _lower(answer.headers), _Body(answer))

    return InProcessSession


class _Body:
    """The raw answer as aiobotocore reads it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def read(self) -> bytes:
        return self._answer.body


def _raise_cut(error: ConnectionCut, request: Any) -> NoReturn:
    if error.applied:
        raise ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
    raise EndpointConnectionError(endpoint_url=request.url, error=error) from error


def _text_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    return {key: value.decode() if isinstance(value, bytes) else str(value) for key, value in headers.items()}


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b"")
