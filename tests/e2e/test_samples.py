"""`kubectl apply -f manifests/samples/` and `kubectl delete -f`: the first commands of a new user."""

from __future__ import annotations

from typing import Any

import yaml

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from tests.e2e.harness import SAMPLES, Cloud, operator
from tests.e2e.kinds import KINDS, VIRTUAL

pytestmark = VIRTUAL

Identity = tuple[str, str]


def everything() -> dict[Identity, dict[str, Any]]:
    """Each object once, in the order of kubectl: some are in their own file and in a chain."""
    found = {}
    for path in sorted(SAMPLES.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            manifest["metadata"].setdefault("namespace", "default")
            identity = manifest["kind"], manifest["metadata"]["name"]
            assert found.setdefault(identity, manifest) == manifest, f"{path.name} says something else"
    return found


async def unready(cloud: Cloud, objects: dict[Identity, Any]) -> list[tuple[Identity, Any]]:
    reported = [(identity, await cloud.conditions(identity[1], kind=identity[0])) for identity in objects]
    return [(identity, found) for identity, found in reported if found.get("Ready", {}).get("status") != "True"]


async def test_all_samples_applied_at_once_become_ready_and_can_be_deleted_at_once() -> None:
    cloud, objects = Cloud(), everything()
    assert {kind for kind, _ in objects} == set(KINDS)
    async with operator(cloud):
        for manifest in objects.values():
            await cloud.apply(manifest)
        await cloud.pass_time(3600)
        assert await unready(cloud, objects) == []
        created = {kind.name: cloud.sagemaker.made[kind.name] for kind in catalog().values()}
        assert created == {kind: sum(kind == made for made, _ in objects) for kind in KINDS}
        for kind, name in objects:
            await cloud.user.delete(catalog()[kind].resource, "default", name)
        for kind, name in objects:
            await cloud.until_gone(name, kind=kind, seconds=4 * 3600, step=30)
    now = cloud.sagemaker.now()
    left = {r.kind.name for r in cloud.sagemaker.resources() if r.status_class(now) is not StatusClass.GONE}
    assert left == {kind.name for kind in catalog().values() if kind.stop_on_delete}, (
        "records of jobs stay, as with ACK"
    )
