"""A valid spec, an invalid one, the valid one again: the same state, no secret is shown, a second object is unaffected."""

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.errors import KubeError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.logs import configure
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage
from tests.e2e.patches import reverse
from tests.faults.fuzz import NASTY, spoiled
from tests.faults.oracle import leaks
from tests.faults.scenarios import comparable, plant_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = VIRTUAL

_ROUNDS = 4
_NEIGHBOUR = {
    "apiVersion": "sagemaker.services.k8s.aws/v1alpha1",
    "kind": "ModelPackageGroup",
    "metadata": {"name": "neighbour", "namespace": "default"},
    "spec": {"modelPackageGroupName": "neighbour"},
}


@pytest.fixture
def _plain_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_plain_logs")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_spec_affects_only_its_object_and_can_be_fixed(kind: str) -> None:
    stage, out = Stage(kind, relaxed=True), io.StringIO()
    cloud = stage.cloud
    if "ModelPackageGroup" not in cloud.kinds:
        cloud.kinds["ModelPackageGroup"] = catalog()["ModelPackageGroup"]
        cloud.kubernetes.install(crd_manifest(catalog()["ModelPackageGroup"], relaxed=True))
    configure(level="debug", format_="json", clock=cloud.clock, stream=out)
    plant_secrets(stage.manifest)
    schema = crd_manifest(stage.kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rng = random.Random(kind)
    async with operator(cloud, leader_election=False) as manager, cloud.watching(kind) as states:
        await cloud.apply(_NEIGHBOUR)
        await stage.settled(_NEIGHBOUR)
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        good = (await stage.get())["spec"]
        before = await _state(stage)
        neighbour = await cloud.get("neighbour", kind="ModelPackageGroup")
        tried = 0
        for _ in range(_ROUNDS):
            bad = spoiled(good, schema, rng)
            # A merge patch removes what is null.
            changed = {name: bad.get(name) for name in {*good, *bad} if bad.get(name) != good.get(name)}
            try:
                await stage.edit(changed)
            except KubeError:
                continue
            tried += 1
            await cloud.annotate(stage.name, {"example.com/note": rng.choice(NASTY)}, kind=kind)
            await cloud.pass_time(120)
            await stage.edit(reverse(good, changed))
            assert (await stage.get())["spec"] == good
            await stage.settled(seconds=7200)
            await stage.idle(manager)
            assert await _state(stage) == before, changed
        assert await cloud.get("neighbour", kind="ModelPackageGroup") == neighbour
        await stage.delete()
    reported = json.dumps([[state["status"] for state in states], cloud.kubernetes.list(EVENTS)], default=str)
    assert list(leaks(out.getvalue().splitlines(), reported)) == []
    assert tried


async def _state(stage: Stage) -> Any:
    status = await stage.status()
    conditions = {found["type"]: found["status"] for found in status.pop("conditions")}
    status.pop("observedGeneration")
    return conditions, comparable(status)
