"""An HTTP proxy on loopback between the operator and the API server that returns wrong answers on demand."""

from __future__ import annotations

import contextlib
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from tests.endurance.plan import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import ApiServer

_KEPT = ("Content-Type", "Accept", "User-Agent")


class Proxy:
    """Passes requests on to `server`, unless `trouble` is set."""

    def __init__(self) -> None:
        self.server: ApiServer | None = None
        self.trouble: Trouble | None = None
        self.answered: Counter[str] = Counter()
        """Requests that were answered with each trouble."""
        self.url = ""
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        trouble = self.trouble
        if trouble is not None and (answer := self._nonsense(trouble)) is not None:
            self.answered[trouble] += 1
            return answer
        assert self.server is not None
        assert self._session is not None
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers} | self.server.headers
        try:
            async with self._session.request(
                request.method,
                f"{self.server.url}{request.path_qs}",
                headers=headers,
                data=await request.read(),
                ssl=self.server.ssl,
            ) as answer:
                return await self._passed(request, answer, cut=trouble is Trouble.TRUNCATED)
        except aiohttp.ClientError:
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")

    @staticmethod
    def _nonsense(trouble: Trouble) -> web.Response | None:
        match trouble:
            case Trouble.NOT_FOUND:
                return web.Response(status=404, text="404 page not found\n")
            case Trouble.TOO_MANY:
                return web.Response(status=429, text="maintenance\n", headers={"Retry-After": "86400"})
            case Trouble.SERVER_ERROR:
                return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
        return None

    async def _passed(self, request: web.Request, answer: aiohttp.ClientResponse, *, cut: bool) -> web.StreamResponse:
        kind = answer.headers.get("Content-Type", "application/json")
        if request.query.get("watch") in ("true", "1"):
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": kind})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response
        body = await answer.read()
        if cut and request.method == "GET" and b'"items"' in body:
            self.answered[Trouble.TRUNCATED] += 1
            body = body[: len(body) // 2]
        return web.Response(status=answer.status, body=body, headers={"Content-Type": kind})


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        proxy._session = session
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", proxy.handle)
        runner = web.AppRunner(app, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
