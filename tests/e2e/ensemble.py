"""Every kind's sample at once, on a server over HTTP and in real time: each is applied when its dependencies are ready."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from sagemaker_operator.control.spec.create_input import identifiers
from sagemaker_operator.errors import NotFound
from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.kinds import KINDS, STORIES, document
from tests.e2e.live import REGION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sagemaker_operator.kube.client import KubeClient
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

# Forty objects asked about four times a second are 160 requests, which leave the server its time for the operator.
_POLL_SECONDS = 0.25
_PATIENCE = 50.0


def cast() -> dict[str, tuple[str, ...]]:
    """Every document of the stories, with the documents that must be settled before it.

    Chains contain copies of objects that are samples too; here there is one of each.
    """
    needs: dict[str, tuple[str, ...]] = {kind.lower(): STORIES[kind].needs for kind in KINDS}
    for kind in KINDS:
        for reference in (*STORIES[kind].needs, *STORIES[kind].also):
            file, _, number = reference.partition("#")
            needs.setdefault(reference, (f"{file}#{int(number) - 1}",) if int(number or 0) else ())
    first: dict[tuple[str, str], str] = {}
    for reference in needs:
        first.setdefault(_identity(reference), reference)
    return {
        reference: tuple(first[_identity(needed)] for needed in needed_first)
        for reference, needed_first in needs.items()
        if first[_identity(reference)] == reference
    }


def _identity(reference: str) -> tuple[str, str]:
    manifest = document(reference)
    return manifest["kind"], manifest["metadata"]["name"]


class Ensemble:
    """The documents of `cast` in one namespace, by reference."""

    def __init__(self, client: KubeClient, namespace: str, simulated: SageMakerSimulator) -> None:
        self.client = client
        self._namespace = namespace
        self._simulated = simulated
        self.needs = cast()
        self.manifests = {reference: document(reference) for reference in self.needs}

    async def perform(self, act: Callable[[str], Awaitable[None]], *, backwards: bool = False) -> None:
        """Does `act` with every document, as soon as it is done with those it needs (or, backwards, that need it)."""
        waits = self.needs
        if backwards:
            waits = {name: tuple(other for other, its in self.needs.items() if name in its) for name in self.needs}
        done = {name: asyncio.Event() for name in waits}

        async def turn(name: str) -> None:
            for other in waits[name]:
                await done[other].wait()
            await act(name)
            done[name].set()

        async with asyncio.TaskGroup() as group:
            for name in waits:
                group.create_task(turn(name))

    async def create(self, reference: str) -> None:
        """Applies the document and waits until it is Ready."""
        manifest = self.manifests[reference]
        manifest["metadata"]["namespace"] = self._namespace
        if "domainID" in manifest["spec"]:
            # AWS makes the identifier, so the manifest can name it only now.
            manifest["spec"]["domainID"] = (await self.get("domain"))["status"]["domainID"]
        await self.client.create(catalog()[manifest["kind"]].resource, self._namespace, manifest)
        await self.ready(reference)

    async def edit(self, reference: str, spec: dict[str, Any]) -> None:
        """Changes the spec and waits until Describe returns the new value."""
        manifest = self.manifests[reference]
        resource = catalog()[manifest["kind"]].resource
        await self.client.merge_patch(resource, self._namespace, manifest["metadata"]["name"], {"spec": spec})
        await self.ready(reference)

    async def delete(self, reference: str) -> None:
        """Deletes the object and waits until it is gone."""
        manifest = self.manifests[reference]
        resource = catalog()[manifest["kind"]].resource
        await self.client.delete(resource, self._namespace, manifest["metadata"]["name"])

        async def gone() -> bool:
            try:
                await self.get(reference)
            except NotFound:
                return True
            return False

        await self._until(gone, f"{reference} to go")

    async def get(self, reference: str) -> dict[str, Any]:
        manifest = self.manifests[reference]
        resource = catalog()[manifest["kind"]].resource
        return await self.client.get_json(resource.path(self._namespace, manifest["metadata"]["name"]))

    async def ready(self, reference: str) -> None:
        """Waits until the object is Ready in its present generation."""

        async def reached() -> bool:
            stored = await self.get(reference)
            status = stored.get("status", {})
            conditions = {found["type"]: found["status"] for found in status.get("conditions", ())}
            observed = status.get("observedGeneration") == stored["metadata"]["generation"]
            return observed and conditions.get("Ready") == "True"

        await self._until(reached, f"{reference} to be ready")

    async def _until(self, reached: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while not await reached():  # noqa: ASYNC110  it happens elsewhere
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            reference = what.partition(" ")[0]
            raise AssertionError(f"waited in vain for {what}: {(await self.get(reference)).get('status')}") from None

    async def describe(self, reference: str) -> dict[str, Any]:
        """Its Describe output; an error has `__type`."""
        stored = await self.get(reference)
        kind = catalog()[stored["kind"]]
        arn = stored["status"]["ackResourceMetadata"]["arn"]
        return await ask(self._simulated, kind.describe, **identifiers(kind, stored["spec"], arn))


async def ask(simulated: SageMakerSimulator, operation: str, **params: Any) -> dict[str, Any]:
    """SageMaker's answer to a call that is not counted."""
    credential = f"AWS4-HMAC-SHA256 Credential=AKIA123456789012/20260101/{REGION}/sagemaker/aws4_request"
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": credential}
    answer = await simulated.handle("POST", "/", headers, json.dumps(params).encode())
    return dict(json.loads(answer.body)) if answer.body else {}
