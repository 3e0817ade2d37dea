"""Helpers that traverse schemas and install CRDs on a server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.servers import ApiServer

ROOT = Path(__file__).resolve().parents[2]
SAMPLE: dict[str, Any] = yaml.safe_load(
    (ROOT / "manifests" / "samples" / "trainingjob.yaml").read_text(encoding="utf-8")
)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JOBS = "/apis/sagemaker.services.k8s.aws/v1alpha1/namespaces/default/trainingjobs"
_SECONDS = 10.0


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node below `schema` with its path: `inputDataConfig[].channelName`, `hyperParameters{}`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, message) of each cause of a refusal."""
        return [(cause["field"], cause["message"]) for cause in self.body["details"]["causes"]]


class Client:
    """What these tests need of HTTP."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        async with self._session.request(
            method,
            self._server.url + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", **self._server.headers, **headers},
            ssl=self._server.ssl,
            timeout=aiohttp.ClientTimeout(_SECONDS),
        ) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else {})

    async def merge(self, path: str, patch: Any) -> Answer:
        return await self.ask("PATCH", path, patch, **{"Content-Type": "application/merge-patch+json"})

    async def install(self, manifest: dict[str, Any], path: str) -> None:
        """Create the CRD unless it is there, and wait until its objects at `path` are served."""
        created = await self.ask("POST", CRDS, manifest)
        assert created.status in (201, 409), created.body
        await until(lambda: self.ask("GET", path), 200)

    async def replace(self, manifest: dict[str, Any]) -> None:
        """Put another schema in the place of a CRD's. Servers take a moment to notice: see `until`."""
        name = manifest["metadata"]["name"]
        version = (await self.ask("GET", f"{CRDS}/{name}")).body["metadata"]["resourceVersion"]
        metadata = {"name": name, "resourceVersion": version}
        replaced = await self.ask("PUT", f"{CRDS}/{name}", manifest | {"metadata": metadata})
        assert replaced.status == 200, replaced.body


async def until(ask: Callable[[], Awaitable[Answer]], status: int) -> None:
    """Ask until the answer is this one: a server starts to serve a new CRD after a while, without an event."""
    for _ in range(500):
        answer = await ask()
        if answer.status == status:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {answer.status}, not {status}: {answer.body}")


@asynccontextmanager
async def client_of(server: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(server, session)
