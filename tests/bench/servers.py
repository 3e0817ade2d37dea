"""The servers of a benchmark of CPU, memory or loop stalls, in a separate process, so that their cost is not counted.

`python -m tests.bench.servers canned`: a Kubernetes API of stored objects and a SageMaker without latency, both with answers
made beforehand. `python -m tests.bench.servers world`: the sandbox's simulators over HTTP. Both print one line of JSON when
they are up, and take commands on standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sagemaker_operator.kinds.catalog import catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MANAGED = 700
"""Bytes of managedFields in a typical object of 3.7 KB."""
STS = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>arn:aws:iam::123456789012:user/bench</Arn><UserId>BENCH</UserId><Account>123456789012</Account>"
    "</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)


class Canned:
    """Objects under one resourceVersion. A PATCH is stored unchanged; a watch sends only what is given to `stream`."""

    def __init__(self, template: dict[str, Any], described: dict[str, Any], count: int) -> None:
        self._kind = catalog()[template["kind"]]
        self._described = json.dumps(described).encode()
        self._items = [_numbered(template, number) for number in range(count)]
        self._namespace = json.dumps(
            {"metadata": {"name": template["metadata"]["namespace"], "uid": "namespace", "resourceVersion": "1"}}
        ).encode()
        self._version = count + 1000
        self._watches: list[asyncio.Queue[bytes]] = []
        self._leases: dict[str, Any] = {}
        self.counts = {"describes": 0, "lists": 0, "mutations": 0, "writes": 0}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/", self._aws)
        app.router.add_route("*", "/{path:.*}", self._kubernetes)
        return app

    async def _aws(self, request: web.Request) -> web.Response:
        operation = request.headers.get("X-Amz-Target", "").partition(".")[2]
        await request.read()
        if not operation:
            return web.Response(text=STS, content_type="text/xml")
        if operation.startswith("Describe"):
            self.counts["describes"] += 1
            return web.Response(body=self._described, content_type="application/x-amz-json-1.1")
        self.counts["lists" if operation.startswith("List") else "mutations"] += 1
        return web.Response(text="{}", content_type="application/x-amz-json-1.1")

    async def _kubernetes(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if "/leases" in path:
            return await self._lease(request)
        ours = path.endswith(f"/{self._kind.plural}")
        if request.query.get("watch"):
            return await self._watch(request, ours=ours)
        if request.method == "GET":
            return self._page(request, ours=ours)
        self.counts["writes"] += 1
        body = await request.json()
        if request.method == "PATCH":
            name = path.split("/")[7]
            obj = json.loads(self._items[int(name.rpartition("-")[2])])
            self._version += 1
            obj["metadata"]["resourceVersion"] = str(self._version)
            obj["status"] = {**obj.get("status", {}), **body.get("status", {})}
            return web.json_response(obj)
        return web.json_response(body, status=201)

    def _page(self, request: web.Request, *, ours: bool) -> web.Response:
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0) or 10**9
        # Nothing is reconciled in a namespace that the operator has not listed.
        stored = self._items if ours else [self._namespace] if request.path == "/api/v1/namespaces" else []
        items = stored[start : start + limit]
        more = str(start + limit) if start + limit < len(stored) else ""
        head = json.dumps({"resourceVersion": str(self._version), "continue": more})
        body = f'{{"kind":"List","apiVersion":"v1","metadata":{head},"items":['.encode() + b",".join(items) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request, *, ours: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        if ours:
            self._watches.append(queue)
        while True:
            await response.write(await queue.get())

    async def _lease(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            if not self._leases:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                return web.json_response({**status, "message": "none"}, status=404)
            return web.json_response(self._leases)
        self._version += 1
        self._leases = await request.json()
        self._leases["metadata"]["resourceVersion"] = str(self._version)
        return web.json_response(self._leases)

    def stream(self, events: int, each: int = 64) -> None:
        """Queue this many MODIFIED events for all watches, `each` per write."""
        lines = []
        for number in range(events):
            self._version += 1
            item = self._items[number % len(self._items)]
            lines.append(b'{"type":"MODIFIED","object":' + _versioned(item, self._version) + b"}\n")
            if len(lines) == each:
                self._send(b"".join(lines))
                lines = []
        self._send(b"".join(lines))

    def create(self) -> str:
        """Create an object and send it to all watches; returns its name."""
        obj = json.loads(self._items[0])
        number = len(self._items)
        obj = {**obj, "status": {}, "metadata": {**obj["metadata"], "name": f"new-{number}", "uid": f"new-{number}"}}
        obj["metadata"].pop("finalizers", None)
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self._items.append(json.dumps(obj).encode())
        self._send(b'{"type":"ADDED","object":' + self._items[-1] + b"}\n")
        return f"new-{number}"

    def _send(self, data: bytes) -> None:
        for queue in self._watches:
            if data:
                queue.put_nowait(data)


def _numbered(template: dict[str, Any], number: int) -> bytes:
    name = f"object-{number}"
    meta = {
        **template["metadata"],
        "name": name,
        "uid": f"00000000-0000-4000-8000-{number:012d}",
        "resourceVersion": str(1000 + number),
        "managedFields": [{"manager": "bench", "operation": "Apply", "fieldsV1": {"f:spec": "x" * _MANAGED}}],
    }
    return json.dumps({**template, "metadata": meta}).encode()


def _versioned(item: bytes, version: int) -> bytes:
    before, _, after = item.partition(b'"resourceVersion": "')
    return before + b'"resourceVersion": "' + str(version).encode() + after[after.index(b'"') :]


async def _canned() -> None:
    given = json.loads(await _line())
    canned = Canned(given["template"], given["described"], given["count"])
    runner = web.AppRunner(canned.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _answer({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    while command := await _line():
        match json.loads(command):
            case {"stream": events, "each": each}:
                canned.stream(events, each)
                _answer({})
            case {"create": _}:
                _answer({"name": canned.create()})
            case _:
                _answer(canned.counts)


async def _world() -> None:
    from sagemaker_operator.kube.client import KubeClient
    from sagemaker_operator.kube.config import load_config
    from sagemaker_operator.kube.http import HttpTransport
    from sagemaker_operator.sandbox.world import World
    from tests.bench.virtual import job

    resource = catalog()["TrainingJob"].resource
    with tempfile.TemporaryDirectory() as directory:
        async with World(speed=1.0, directory=Path(directory)) as world:
            access = await load_config(kubeconfig=str(world.kubeconfig))
            async with HttpTransport(access) as transport:
                kube = KubeClient(transport)
                _answer({"kubeconfig": str(world.kubeconfig), "aws": world.aws_url})
                while command := await _line():
                    match json.loads(command):
                        case {"apply": jobs, "seconds": seconds}:
                            for number in range(jobs):
                                await kube.create(resource, "default", job(f"job-{number:05d}", seconds=seconds))
                            _answer({})
                        case _:
                            page = await kube.list_page(resource, limit=0)
                            done = [obj.decode_status().get("trainingJobStatus") == "Completed" for obj in page.items]
                            _answer({"completed": sum(done), "calls": dict(world._simulator.calls.operations)})


async def _line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


class Remote:
    """The benchmark's side of the process. `up` is its first message."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.up: dict[str, Any] = {}

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return dict(json.loads(line))


@asynccontextmanager
async def remote(mode: str, given: dict[str, Any] | None = None) -> AsyncIterator[Remote]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.servers",
        mode,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        server = Remote(process)
        server.up = await (server.answer() if given is None else server.ask(given))
        yield server
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_canned() if sys.argv[1] == "canned" else _world())
