"""The emulator on a loopback port, for kubectl and any other client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from aiohttp import web

from sagemaker_operator.kube.transport import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.sandbox.kubernetes.emulator import KubernetesEmulator

# A CRD may have 1.5 MB (etcd's limit for one object); the 5 MB of a real server's body limit are enough for it.
_BODY_LIMIT = 5 * 1024 * 1024
_CONTEXT = "sagemaker-operator-sandbox"


class EmulatorServer:
    """A running server. `url` has no trailing slash."""

    def __init__(self, url: str) -> None:
        self.url = url

    def kubeconfig(self, *, namespace: str = "default") -> str:
        """A kubeconfig (YAML) that has this server as its current context. The server asks for no credentials."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": _CONTEXT, "cluster": {"server": self.url}}],
                "users": [{"name": _CONTEXT, "user": {}}],
                "contexts": [
                    {"name": _CONTEXT, "context": {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": namespace}}
                ],
                "current-context": _CONTEXT,
            },
            sort_keys=False,
        )

    def write_kubeconfig(self, path: str | Path) -> None:
        Path(path).write_text(self.kubeconfig(), encoding="utf-8")

    def __repr__(self) -> str:
        return f"<EmulatorServer {self.url}>"


@asynccontextmanager
async def serve(
    emulator: KubernetesEmulator, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[EmulatorServer]:
    """Serves until the block ends; watches open here (and only here) are cut then.

    Port 0 picks a free one. There is no authentication.
    """
    application = web.Application(client_max_size=_BODY_LIMIT)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _answer(emulator, request)

    application.router.add_route("*", "/{path:.*}", answer)
    # Without handler_cancellation a watch whose client has disconnected would stay until its own end, up to an hour.
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield EmulatorServer(f"http://{shown}:{bound_port}")
    finally:
        await runner.cleanup()


async def _answer(emulator: KubernetesEmulator, request: web.Request) -> web.StreamResponse:
    body = await request.read() if request.can_read_body else None
    try:
        answer = await emulator.handle(
            request.method, request.url.raw_path, list(request.query.items()), dict(request.headers), body
        )
    except ConnectionResetError:
        return _abort(request)
    if isinstance(answer, Response):
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    try:
        await stream.prepare(request)
        async for chunk in answer.chunks():
            await stream.write(chunk)
        await stream.write_eof()
    except ConnectionResetError:
        return _abort(request, stream)
    finally:
        answer.close()
    return stream


def _abort(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Breaks the connection in the middle of the answer."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response(status=500)
