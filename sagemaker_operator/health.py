"""The pod's two HTTP servers: probes, and metrics."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from sagemaker_operator.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client import Metric

Check = Callable[[], str | None]
"""None: healthy. Otherwise the problem, in one line."""


def _probe(check: Check) -> Callable[[web.Request], object]:
    async def answer(_: web.Request) -> web.Response:
        wrong = check()
        return web.Response(status=200 if wrong is None else 503, text="ok\n" if wrong is None else f"{wrong}\n")

    return answer


def probes_app(*, live: Check, ready: Check) -> web.Application:
    """`/healthz` (liveness) and `/readyz` (readiness), the paths of ACK's controller."""
    app = web.Application()
    app.router.add_get("/healthz", _probe(live))  # type: ignore[arg-type]
    app.router.add_get("/readyz", _probe(ready))  # type: ignore[arg-type]
    return app


def metrics_app(
    registry: CollectorRegistry, *, debug: Mapping[str, Callable[[], Any]] | None = None
) -> web.Application:
    """`/metrics`, and for each name in `debug` a page `/debug/NAME` of the JSON that its function returns."""

    async def answer(_: web.Request) -> web.Response:
        families = []
        for family in registry.collect():
            families.append(family)
            await asyncio.sleep(0)
        collected = CollectorRegistry()
        collected.register(_Collected(families))
        # In one piece it would block the loop for 145 ms if 10,000 objects have a series each; the text is 90 ms of that.
        text = await asyncio.to_thread(generate_latest, collected)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    for name, show in (debug or {}).items():
        app.router.add_get(f"/debug/{name}", _debug_page(show))  # type: ignore[arg-type]
    return app


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _debug_page(show: Callable[[], Any]) -> Callable[[web.Request], object]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(show())

    return answer


@asynccontextmanager
async def serve(app: web.Application, address: tuple[str, int] | None, flag: str) -> AsyncIterator[int | None]:
    """Serves until the block ends; yields the bound port, None if `address` is None (turned off).

    Raises ConfigurationError, naming `flag`, if the address cannot be bound.
    """
    if address is None:
        yield None
        return
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        host, port = address
        try:
            site: web.BaseSite = (
                web.TCPSite(runner, host, port) if host else web.SockSite(runner, _listen_everywhere(port))
            )
            await site.start()
        except OSError as error:
            # The event loop's own text repeats the address.
            why = os.strerror(error.errno) if error.errno else str(error)
            shown = f"[{host}]" if ":" in host else host
            raise ConfigurationError(f"{flag}: cannot listen on {shown}:{port}: {why}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _listen_everywhere(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, as Go's `:PORT`: the kubelet of an IPv6 cluster probes the pod's IPv6 address.

    Without IPv6 (disabled in the kernel or by sysctl) only IPv4. Raises OSError if the port is taken.
    """
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return socket.create_server(("", port))
