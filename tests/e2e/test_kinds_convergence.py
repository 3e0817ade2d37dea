"""A settled object stays settled: reconciles that compare it change nothing in Kubernetes or SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.sandbox.sagemaker.rewriting import echo
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage
from tests.e2e.patches import merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.model import Shape

pytestmark = VIRTUAL

RESYNC_SECONDS = 60.0
PASSES = 5

TAGS = [{"key": "stage", "value": "test"}, {"key": "team", "value": "growth"}]


class Settled(Stage):
    """A sample with sets, and an edit of it that asks for nothing new."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        spec = merged(self.manifest["spec"], self.story.sets)
        if self.kind.tags_on_create:
            spec["tags"] = TAGS
        self.manifest["spec"] = {name: value for name, value in spec.items() if name not in self.story.no_op}

    async def touch(self) -> None:
        """Raises the generation, after which even a job is compared at every Describe."""
        before = (await self.get())["metadata"]["generation"]
        await self.edit(self.story.no_op or {"tags": TAGS[::-1]})
        assert (await self.get())["metadata"]["generation"] == before + 1

    def describes(self) -> int:
        return len(self.cloud.sagemaker.calls.of(self.kind.describe))


def _has_sets(shape: Shape, above: frozenset[str] = frozenset()) -> bool:
    """Whether the simulator's reordering can be met anywhere in an input."""
    if shape.type_name == "list":
        return _has_sets(shape.member, above)
    if shape.type_name != "structure" or shape.name in above:
        return False
    return any(
        (
            inner.type_name == "list"
            and inner.member.type_name == "string"
            and echo({name: ["a", "b"]})[name] != ["a", "b"]
        )
        or _has_sets(inner, above | {shape.name})
        for name, inner in members(shape).items()
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_the_simulator_reorders_lists_for_these_tests(kind: str) -> None:
    """Or the others would say nothing about lists."""
    assert _has_sets(operation(catalog()[kind].create).input_shape) == bool(STORIES[kind].sets)
    given = Settled(kind).create_input()
    assert (echo(given) != given) == bool(STORIES[kind].sets)


@pytest.mark.parametrize("kind", KINDS)
async def test_five_more_reconciles_change_nothing(kind: str) -> None:
    stage = Settled(kind)
    cloud = stage.cloud
    async with operator(cloud, resync_seconds=RESYNC_SECONDS) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        await stage.touch()
        await stage.settled()
        await stage.idle(manager)
        before = await stage.get()
        cloud.forget()
        for _ in range(PASSES):
            await cloud.pass_time(1.2 * RESYNC_SECONDS)
        assert stage.mutating() == []
        assert stage.writes() == []
        # A finished job is never asked about by itself.
        assert stage.describes() == 0 if stage.kind.stop_on_delete else stage.describes() >= PASSES
        assert _spec_and_status(await stage.get()) == _spec_and_status(before)
        cloud.forget()
        for number in range(PASSES):
            await cloud.annotate(stage.name, {RECONCILE_REQUESTED: str(number)}, kind=kind)
            await cloud.pass_time(1.0)
            await stage.idle(manager)
            assert (await stage.status())["lastHandledReconcileAt"] == str(number)
        assert stage.mutating() == []
        assert stage.writes() == ["patch status"] * PASSES, "that each request was carried out, and nothing else"
        assert stage.describes() >= PASSES
        assert _spec_and_status(await stage.get()) == _spec_and_status(before)


def _spec_and_status(stored: Mapping[str, Any]) -> tuple[Any, Any]:
    """Spec and status, without which request was the last."""
    reported = {
        name: value for name, value in stored["status"].items() if name not in ("lastHandledReconcileAt", "observedAt")
    }
    return stored["spec"], reported


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_over_a_converged_object_changes_nothing(kind: str) -> None:
    """A new process knows nothing but what is stored: it compares each object that it did not write the status of."""
    stage = Settled(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        # A job as it was made cannot differ, and is not compared.
        await stage.touch()
        await stage.settled()
    # As if another controller had written it: the comparison is made although there is no edit.
    await cloud.patch(stage.name, {"status": {"observedGeneration": None}}, kind=kind, subresource="status")
    before = await stage.get()
    cloud.forget()
    async with operator(cloud, identity="two", resync_seconds=RESYNC_SECONDS):
        await stage.settled()
        assert stage.describes() >= 1
        await cloud.pass_time(PASSES * RESYNC_SECONDS)
        assert stage.mutating() == []
        assert stage.writes() == ["patch status"], "the observed generation, once"
    after = await stage.get()
    assert after["spec"] == before["spec"]
    assert after["status"] == before["status"] | {"observedGeneration": before["metadata"]["generation"]}
