"""Lost replies and kills in the lifecycle of every kind: one resource, no orphan, and the same final state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagemaker_operator.control.spec.create_input import identifiers
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import killed, operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage, at
from tests.e2e.wire import Mode, Wire

pytestmark = VIRTUAL

EDITABLE = tuple(kind for kind in KINDS if STORIES[kind].edit is not None)


async def resources(stage: Stage) -> list[dict[str, Any]]:
    """All resources of the kind, as SageMaker lists them."""
    listing = stage.kind.listing
    assert listing is not None
    params: dict[str, Any] = {
        name: stage.create_input()[name] for name in listing.required if name in stage.create_input()
    }
    if stage.kind.name == "ModelPackage":
        params["ModelPackageType"] = "Both"
    found: list[dict[str, Any]] = (await stage.cloud.ask(listing.operation, **params))[listing.result]
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_reply_of_the_create_leaves_one_resource(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        others = len(await resources(stage))
        fault = cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.LOST_REPLY))
        await stage.apply()
        await stage.settled()
        assert fault.matched >= 1
        assert len(await resources(stage)) == others + 1
        described = await stage.describe()
        assert (await stage.status())["ackResourceMetadata"]["arn"] == described[stage.kind.arn_member]
        await stage.delete()
    if not stage.kind.stop_on_delete:
        member = stage.kind.status_member or ""
        left = [one for one in await resources(stage) if stage.kind.classify(one.get(member)) is not StatusClass.GONE]
        assert len(left) == others, "nothing may be left behind"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_reply_and_a_restart_leave_one_resource(kind: str) -> None:
    """The process dies with the reply: only the finalizer shows that there may be a resource."""
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
    others = len(await resources(stage))
    await stage.apply()
    await killed(cloud, Wire(f"SageMaker.{stage.kind.create}", Mode.KILL_AFTER), seed=11)
    assert len(await resources(stage)) == others + 1
    async with operator(cloud, identity="two"):
        await stage.settled()
    assert len(await resources(stage)) == others + 1


@pytest.mark.parametrize("kind", EDITABLE)
async def test_a_restart_right_after_an_update_finds_it_settled(kind: str) -> None:
    stage = Stage(kind)
    cloud, edit = stage.cloud, stage.story.edit
    assert edit is not None
    async with operator(cloud):
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()
        cloud.forget()
        await stage.edit(edit.spec)
        await cloud.until(lambda: edit.calls[-1] in stage.mutating(), step=0.5)
    # Whatever the update takes, it is over when the next process begins.
    await cloud.pass_time(300)
    async with operator(cloud, identity="two"):
        await stage.settled()
    assert at(await stage.describe(), edit.at) == edit.value
    assert stage.mutating() == list(edit.calls)


@pytest.mark.parametrize("kind", [name for name in KINDS if catalog()[name].stop_on_delete and catalog()[name].delete])
async def test_a_job_whose_finalizer_and_record_are_lost_is_not_run_a_second_time(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    await stage.cloud.patch(stage.name, {"metadata": {"finalizers": None}}, kind=kind)
    spec = stage.manifest["spec"]
    await stage.cloud.ask(stage.kind.delete or "", **identifiers(stage.kind, spec, None))
    await stage.cloud.pass_time(60)
    async with operator(stage.cloud):
        reported = await stage.condition("ACK.Terminal")
        await stage.cloud.pass_time(40_000)
        assert await stage.condition("ACK.Terminal") == reported
    assert "not run a second time" in reported["message"]
    assert stage.creates() == 1


async def _ready(stage: Stage) -> None:
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()


async def _edit_and_delete(stage: Stage) -> None:
    assert stage.story.edit is not None
    await stage.edit(stage.story.edit.spec)
    await stage.settled()
    described = await stage.describe()
    assert at(described, stage.story.edit.at) == stage.story.edit.value
    assert described[stage.kind.status_member or ""] == stage.story.ends
    await stage.delete()


async def _life(stage: Stage) -> None:
    await stage.apply()
    await stage.settled()
    await stage.delete()


async def _supplied(stage: Stage) -> None:
    async with operator(stage.cloud):
        await stage.prepare()


SCENARIOS = {
    "Endpoint": (_supplied, _life),
    "Domain": (_supplied, _life),
    "NotebookInstance": (_ready, _edit_and_delete),
}


UNCHANGING = ("GET ", "POST /api", "PATCH /apis/events", "SageMaker.Describe", "SageMaker.List", "STS")
"""Calls after which the object and the resource are as before."""


@pytest.mark.parametrize("kind", SCENARIOS)
async def test_a_kill_after_any_change_ends_in_the_same_state(kind: str) -> None:
    """A kill after a read, or before a change, leaves what a kill after the change before it leaves."""
    begin, live = SCENARIOS[kind]
    stage, wire = Stage(kind), Wire()
    await begin(stage)
    async with operator(stage.cloud, wire=wire, seed=11):
        await live(stage)
    changes = [number for number, call in enumerate(wire.calls, start=1) if not call.startswith(UNCHANGING)]
    assert len(changes) > 5
    for number in changes:
        stage = Stage(kind)
        await begin(stage)
        user = asyncio.create_task(live(stage))
        await killed(stage.cloud, Wire(number, Mode.KILL_AFTER), seed=11)
        async with operator(stage.cloud, identity="two", seed=8):
            await user
        assert stage.creates() == 1, wire.calls[number - 1]
        assert await resources(stage) == [], wire.calls[number - 1]
