"""An object restored from a backup: a new UID, no status, and a resource whose identifier AWS generated."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.annotations import CREATED, RECONCILE_REQUESTED
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import operator
from tests.e2e.kinds import NAMELESS, VIRTUAL, Stage

pytestmark = VIRTUAL

OF_EACH = pytest.mark.parametrize("kind", NAMELESS)


async def backup_of(stage: Stage) -> dict[str, Any]:
    """Made, settled, and lost in Kubernetes alone: what a backup has of it, which is all but status and UID."""
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        stored = await stage.get()
    await stage.cloud.patch(stage.name, {"metadata": {"finalizers": None}}, kind=stage.kind.name)
    await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
    stage.cloud.forget()
    kept = {name: stored["metadata"][name] for name in ("name", "namespace", "finalizers", "annotations")}
    return {**{name: stored[name] for name in ("apiVersion", "kind", "spec")}, "metadata": kept}


async def restore(stage: Stage, backup: dict[str, Any]) -> None:
    await stage.cloud.user.create(stage.kind.resource, "default", backup)


@OF_EACH
@pytest.mark.parametrize("stripped", [False, True])
async def test_a_restored_object_finds_its_resource(kind: str, stripped: bool) -> None:
    stage = Stage(kind)
    backup = await backup_of(stage)
    if stripped:
        del backup["metadata"]["finalizers"]
    async with operator(stage.cloud, identity="two"):
        await restore(stage, backup)
        await stage.settled()
        await stage.cloud.pass_time(1200)
        assert stage.mutating() == []
        status = await stage.status()
        assert backup["metadata"]["annotations"][CREATED].endswith(status["ackResourceMetadata"]["arn"])
        await stage.delete()
    assert len(stage.mutating()) == (0 if kind == "PipelineExecution" else 1), "what it made is deleted with it"


@OF_EACH
async def test_a_removed_finalizer_is_added_again_by_the_next_reconcile(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        stage.cloud.forget()
        await stage.cloud.patch(stage.name, {"metadata": {"finalizers": None}}, kind=kind)
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind=kind)

        async def back() -> bool:
            return stage.kind.finalizer in (await stage.get())["metadata"].get("finalizers", ())

        await stage.cloud.until(back)
        await stage.settled()
        assert stage.mutating() == []
        await stage.delete()
    assert len(stage.mutating()) == (0 if kind == "PipelineExecution" else 1)


@OF_EACH
async def test_a_copy_under_another_name_gets_its_own_resource(kind: str) -> None:
    stage = Stage(kind)
    backup = await backup_of(stage)
    backup["metadata"]["name"] = "copy"
    mark = backup["metadata"]["annotations"][CREATED]
    async with operator(stage.cloud, identity="two"):
        await restore(stage, backup)
        await stage.cloud.pass_time(1800)
        stored = await stage.cloud.get("copy", kind=kind)
    assert stage.kind.create in stage.mutating()
    arn = stored["status"]["ackResourceMetadata"]["arn"]
    assert stored["metadata"]["annotations"][CREATED] == f"default/copy {arn}" != mark


@OF_EACH
async def test_without_the_adoption_gate_the_annotation_is_ignored(kind: str) -> None:
    stage = Stage(kind)
    backup = await backup_of(stage)
    async with operator(stage.cloud, identity="two", feature_gates=FeatureGates(resource_adoption=False)):
        await restore(stage, backup)
        await stage.cloud.pass_time(1800)
    assert stage.kind.create in stage.mutating()


@pytest.mark.parametrize("change", [(":us-west-2:", ":eu-west-1:"), (":123456789012:", ":999999999999:"), ("arn:", "")])
async def test_an_annotation_that_names_another_account_or_region_is_ignored(change: tuple[str, str]) -> None:
    stage = Stage("PipelineExecution")
    backup = await backup_of(stage)
    marks = backup["metadata"]["annotations"]
    marks[CREATED] = marks[CREATED].replace(*change)
    async with operator(stage.cloud, identity="two"):
        await restore(stage, backup)
        await stage.cloud.pass_time(1800)
    assert stage.mutating() == ["StartPipelineExecution"]


async def test_a_run_that_sagemaker_no_longer_has_is_not_run_again() -> None:
    stage = Stage("PipelineExecution")
    backup = await backup_of(stage)
    marks = backup["metadata"]["annotations"]
    marks[CREATED] = marks[CREATED][:-1] + ("0" if marks[CREATED][-1] != "0" else "1")
    async with operator(stage.cloud, identity="two"):
        await restore(stage, backup)
        reported = await stage.condition("ACK.Terminal")
    assert reported["reason"] == "Vanished"
    assert stage.mutating() == []


@OF_EACH
async def test_the_annotation_costs_one_write_and_no_reconcile(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as states:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        described = len(stage.cloud.sagemaker.calls.of(stage.kind.describe))
        await stage.cloud.pass_time(1200)
        assert len(stage.cloud.sagemaker.calls.of(stage.kind.describe)) == described
    marks = [obj["metadata"].annotations.get(CREATED) for obj in states if obj["metadata"].name == stage.name]
    assert len({mark for mark in marks if mark}) == 1
    first = next(obj for obj in states if obj["metadata"].annotations.get(CREATED))
    assert not first["status"], "who dies before the status finds the resource by it"
