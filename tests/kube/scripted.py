"""A scripted HTTP server on loopback, and a scripted `Transport` without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from sagemaker_operator.kube.transport import Query, Response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedServer:
    """Answers the n-th request with the n-th handler, and every later one with the last."""

    def __init__(self, *handlers: Handler) -> None:
        self.handlers = list(handlers)
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        handler = self.handlers[min(len(self.requests), len(self.handlers) - 1)]
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await handler(request)


@contextlib.asynccontextmanager
async def serve(*handlers: Handler, ssl_context: Any = None) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(*handlers)
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", server.dispatch)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"{'https' if ssl_context else 'http'}://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def answer(body: Any, status: int = 200, **headers: str) -> Handler:
    """JSON, or bytes as they are. `Retry_After="1"` becomes the header Retry-After."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if data.startswith(b"<") else "application/json"

    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=data, content_type=kind, headers=named)

    return handler


def status_body(code: int, reason: str, message: str = "no", **details: Any) -> dict[str, Any]:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    return body | {"reason": reason, "message": message, "details": details}


def streaming(*chunks: bytes, then: str = "end", left: asyncio.Event | None = None) -> Handler:
    """A chunked body. `then`: "end" finishes it, "cut" breaks the connection, "stall" says nothing more.

    `left` is set when the client goes away from a stalled one.
    """

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "stall":
            try:
                await asyncio.Event().wait()
            finally:
                if left is not None:
                    left.set()
        return response

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def drop(request: web.Request) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class MemoryTransport:
    """`Transport.request` over one coroutine function (method, path, body) -> Response: for tests in virtual time."""

    def __init__(self, handler: Callable[[str, str, dict[str, Any]], Awaitable[Response]]) -> None:
        self.handler = handler

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
        return await self.handler(method, path, json.loads(body) if body else {})

    def stream(self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float) -> Any:
        raise AssertionError("no test without sockets watches")


def response(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(status, headers, json.dumps(body).encode())
