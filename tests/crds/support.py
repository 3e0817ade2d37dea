"""Walking schemas, and putting CRDs to a server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
            return Answer(answer.status, await answer.json())

    async def merge(self, path: str, patch: Any) -> Answer:
        return await self.ask("PATCH", path, patch, **{"Content-Type": "application/merge-patch+json"})

    async def install(self, manifest: dict[str, Any]) -> Answer:
        """Create the CRD, or replace it, and wait until it serves."""
        name = manifest["metadata"]["name"]
        stored = await self.ask("GET", f"{CRDS}/{name}")
        if stored.status == 404:
            answer = await self.ask("POST", CRDS, manifest)
        else:
            version = stored.body["metadata"]["resourceVersion"]
            answer = await self.ask(
                "PUT", f"{CRDS}/{name}", manifest | {"metadata": {"name": name, "resourceVersion": version}}
            )
        if answer.status in (200, 201):
            async with asyncio.timeout(_SECONDS):
                while not await self._established(name):
                    await asyncio.sleep(0.02)
        return answer

    async def _established(self, name: str) -> bool:
        crd = await self.ask("GET", f"{CRDS}/{name}")
        conditions = crd.body.get("status", {}).get("conditions", ())
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


@asynccontextmanager
async def client_of(server: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(server, session)
