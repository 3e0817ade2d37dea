"""Runs the sample of a kind: its dependencies, its manifest and its resource in SageMaker."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator.control.spec.adoption import adoption_keys
from sagemaker_operator.control.spec.create_input import desired_input, identifiers
from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.harness import SAMPLES, Cloud
from tests.stories import STORIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.manager import Manager

KINDS = tuple(catalog())

# All events come from this process, so two idle iterations of the loop are enough, instead of looptime's 42.
VIRTUAL = [pytest.mark.asyncio, pytest.mark.looptime(end=500_000, noop_cycles=2)]


@cache
def _documents(file: str) -> tuple[dict[str, Any], ...]:
    return tuple(yaml.safe_load_all((SAMPLES / f"{file}.yaml").read_text()))


def document(reference: str) -> dict[str, Any]:
    """`model` or `chain-endpoint#1`."""
    file, _, number = reference.partition("#")
    manifest = deepcopy(_documents(file)[int(number or 0)])
    manifest["metadata"].setdefault("namespace", "default")
    if manifest["spec"].pop("domainRef", None):
        # As in ACK, which has no references to domains; test_samples tests the references.
        manifest["spec"]["domainID"] = "d-example12345"
    return manifest


NAMELESS = tuple(name for name, story in STORIES.items() if story.nameless)
"""Kinds whose samples have no field in spec that identifies the resource: AWS generates the identifier."""


class Stage:
    """One object of a kind in its own Cloud, with the objects that it depends on and its resource in SageMaker."""

    def __init__(self, kind: str, *, relaxed: bool = False) -> None:
        self.kind = catalog()[kind]
        self.story = STORIES[kind]
        cast = {document(reference)["kind"] for reference in (*self.story.needs, *self.story.also)}
        self.cloud = Cloud(relaxed=relaxed, kinds={kind, *cast})
        self.manifest = self.manifest_of(kind)
        self.name: str = self.manifest["metadata"]["name"]

    @staticmethod
    def manifest_of(kind: str) -> dict[str, Any]:
        return document(kind.lower())

    async def prepare(self) -> None:
        """Applies its dependencies and waits until they are ready."""
        await self.supply(self.story.needs)

    async def supply(self, references: tuple[str, ...]) -> None:
        for reference in references:
            manifest = document(reference)
            await self.place(manifest)
            await self.cloud.apply(manifest)
            await self.settled(manifest)
        await self.place(self.manifest)

    async def place(self, manifest: dict[str, Any]) -> None:
        """AWS generates a domain's identifier, so a manifest can only name it once the domain exists."""
        if "domainID" in manifest["spec"]:
            page = await self.cloud.user.list_page(catalog()["Domain"].resource)
            if page.items:
                manifest["spec"]["domainID"] = page.items[0].decode_status()["domainID"]

    async def apply(self) -> None:
        await self.cloud.apply(self.manifest)

    async def get(self) -> dict[str, Any]:
        return await self.cloud.get(self.name, kind=self.kind.name)

    async def status(self) -> dict[str, Any]:
        return await self.cloud.status(self.name, kind=self.kind.name)

    async def conditions(self) -> dict[str, dict[str, Any]]:
        return await self.cloud.conditions(self.name, kind=self.kind.name)

    async def condition(self, type_: str) -> dict[str, Any]:
        """Waits until a condition is True and returns it."""

        async def reached() -> Any:
            found = (await self.conditions()).get(type_)
            return found if found is not None and found["status"] == "True" else None

        return dict(await self.cloud.until(reached))

    async def edit(self, spec: Mapping[str, Any]) -> None:
        await self.cloud.patch(self.name, {"spec": dict(spec)}, kind=self.kind.name)

    async def settled(self, manifest: Mapping[str, Any] | None = None, *, seconds: float = 1800.0) -> None:
        """Waits until it is Ready for the current generation."""
        manifest = manifest or self.manifest
        kind, name = manifest["kind"], manifest["metadata"]["name"]

        async def ready() -> bool:
            stored = await self.cloud.get(name, kind=kind)
            status = stored.get("status", {})
            conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
            observed = status.get("observedGeneration") == stored["metadata"]["generation"]
            return observed and conditions.get("Ready") == "True"

        try:
            await self.cloud.until(ready, seconds=seconds, step=5.0)
        except AssertionError:
            status = await self.cloud.status(name, kind=kind)
            raise AssertionError(f"{kind} {name} is not ready: {status}, {self.mutating()[-20:]}") from None

    async def idle(self, manager: Manager) -> None:
        """Waits until it is neither queued, reconciled nor polled."""
        queue = manager.controllers[self.kind.name].queue
        await self.cloud.until(lambda: not queue.unfinished() and not len(manager.poller), step=5.0)

    async def delete(self) -> None:
        await self.cloud.user.delete(self.kind.resource, "default", self.name)
        await self.cloud.until_gone(self.name, kind=self.kind.name, step=5.0)

    async def describe(self) -> dict[str, Any]:
        """Its Describe output; has no ARN if the resource does not exist."""
        stored = await self.get()
        arn = stored.get("status", {}).get("ackResourceMetadata", {}).get("arn")
        return await self.ask_about(stored["spec"], arn)

    async def ask_about(self, spec: Mapping[str, Any], arn: str | None) -> dict[str, Any]:
        return await self.cloud.ask(self.kind.describe, **identifiers(self.kind, spec, arn))

    def create_input(self) -> dict[str, Any]:
        """The Create request that a user of SageMaker's API would send for the manifest."""
        request = desired_input(self.kind, self.manifest["spec"])
        return request | ({self.kind.token_member: "0" * 36} if self.kind.token_member else {})

    def mutating(self) -> list[str]:
        """The names of all mutating calls, in order."""
        return [call.operation for call in self.cloud.sagemaker.calls.mutating()]

    def creates(self) -> int:
        """Creates of this kind that took effect."""
        return sum(1 for call in self.cloud.sagemaker.calls.of(self.kind.create) if call.applied)

    def writes(self) -> list[str]:
        """The operator's writes to this object: verb and subresource or plural."""
        verbs = {"create", "update", "patch", "delete"}
        return [
            f"{r.verb} {r.subresource or r.plural}"
            for r in self.cloud.kubernetes.requests
            if r.user_agent == "sagemaker-operator"
            and r.verb in verbs
            and (r.plural, r.name) == (self.kind.plural, self.name)
        ]


def adoptable(kind: Kind, spec: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """`spec.aws` of an AdoptedResource for the resource, as ACK's users write it."""
    required, optional = adoption_keys(kind)
    if required == ("arn",):
        return {"arn": arn}
    if kind.id_in_arn:
        return {"nameOrID": arn.rpartition("/")[2]}
    own = next(key for key in required if key not in ("domainID", "appType"))
    more = {key: spec[key] for key in (*required, *optional) if key != own and key in spec}
    return {"nameOrID": spec[own]} | ({"additionalKeys": more} if more else {})


def at(data: Any, path: str) -> Any:
    """The value at a dotted path, with numbers as indexes of lists; None if it does not exist."""
    for name in path.split("."):
        if isinstance(data, list):
            data = data[int(name)] if int(name) < len(data) else None
        elif isinstance(data, dict):
            data = data.get(name)
        else:
            return None
    return data
