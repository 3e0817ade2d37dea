"""A minimal HTTP client for the contract tests."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import ApiServer

CRD: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "fixtures" / "trainingjob-crd.yaml").read_text(encoding="utf-8")
)
GROUP_VERSION = "sagemaker.services.k8s.aws/v1alpha1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
FINALIZER = "finalizers.sagemaker.services.k8s.aws/TrainingJob"
_SECONDS = 10.0
_numbers = itertools.count(1)


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, reason) of each cause of a Status."""
        return [(cause["field"], cause["reason"]) for cause in self.body["details"]["causes"]]


class Stream:
    """The events of one watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status

    async def next(self) -> dict[str, Any] | None:
        """The next event; None when the server ends the watch."""
        async with asyncio.timeout(_SECONDS):
            line = await self._answer.content.readline()
        return json.loads(line) if line else None

    async def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next `count` events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events if event]


class Client:
    """One server, one namespace of its own."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, namespace: str) -> None:
        self.server = server
        self._session = session
        self.namespace = namespace
        self.jobs = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/trainingjobs"
        self.core = f"/api/v1/namespaces/{namespace}"

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Accept": accept, **({"Content-Type": content_type} if data is not None else {})}
        async with self._session.request(
            method,
            self.server.url + path,
            params=query,
            data=data,
            headers={**self.server.headers, **headers},
            ssl=self.server.ssl,
            timeout=aiohttp.ClientTimeout(_SECONDS),
        ) as answer:
            content = await answer.read()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(content) if is_json else content, answer.headers)

    async def get(self, path: str, **query: str) -> Answer:
        return await self.ask("GET", path, **query)

    async def create(self, path: str, body: Any, **query: str) -> Answer:
        return await self.ask("POST", path, body, **query)

    async def merge(self, path: str, patch: Any, **query: str) -> Answer:
        return await self.ask("PATCH", path, patch, content_type=MERGE, **query)

    async def job(self, name: str = "one", **spec: Any) -> dict[str, Any]:
        """A created TrainingJob."""
        answer = await self.create(self.jobs, training_job(name, **spec))
        assert answer.status == 201, answer.body
        created: dict[str, Any] = answer.body
        return created

    async def version(self) -> str:
        """The resourceVersion of the collection now."""
        return str((await self.get(self.jobs)).body["metadata"]["resourceVersion"])

    async def served(self, path: str) -> None:
        """Waits until a new CRD's collection is served: there is no event for it."""
        async with asyncio.timeout(_SECONDS):
            while (await self.get(path)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def watch(self, path: str = "", **query: str) -> AsyncIterator[Stream]:
        async with self._session.get(
            self.server.url + (path or self.jobs),
            params={"watch": "true", **query},
            headers=self.server.headers,
            ssl=self.server.ssl,
            timeout=aiohttp.ClientTimeout(None, sock_connect=_SECONDS),
        ) as answer:
            yield Stream(answer)


def training_job(name: str = "one", *, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"trainingJobName": name, "roleARN": "arn:aws:iam::111122223333:role/r", **spec},
    }


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def names(api: Client, path: str = "", **query: str) -> list[str]:
    """The names in a list."""
    answer = await api.get(path or api.jobs, **query)
    assert answer.status == 200, answer.body
    return [item["metadata"]["name"] for item in answer.body["items"]]


@asynccontextmanager
async def client_of(server: ApiServer) -> AsyncIterator[Client]:
    """A client in a namespace of its own, with the TrainingJob CRD installed."""
    async with _session() as session:
        client = Client(server, session, f"contract-{os.getpid()}-{next(_numbers)}")
        installed = await client.create(CRDS, CRD)
        assert installed.status in (201, 409), installed.body
        await client.served(f"/apis/{GROUP_VERSION}/trainingjobs")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}}
        created = await client.create("/api/v1/namespaces", namespace)
        assert created.status == 201, created.body
        yield client


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """aiohttp closes TLS connections in the background, and a test's loop must not end before that has happened."""
    sockets: list[socket.socket] = []

    def make(address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setblocking(False)
        sockets.append(made)
        return made

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=make)) as session:
        yield session
    async with asyncio.timeout(_SECONDS):
        while any(made.fileno() != -1 for made in sockets):  # noqa: ASYNC110
            await asyncio.sleep(0)
