"""AWS maintains an endpoint or a notebook without being asked: what people want of it meanwhile has to wait."""

from __future__ import annotations

import pytest

from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

AFTER = 3_600
LONG = 300
KINDS = {"Endpoint": ["SystemUpdating"], "NotebookInstance": ["PendingMaintenance", "InMaintenance"]}


async def maintained(stage: Stage) -> None:
    tags = {"sandbox/maintenance-after": AFTER, "sandbox/change-seconds": LONG}
    stage.manifest["spec"]["tags"] = [{"key": key, "value": str(value)} for key, value in tags.items()]
    await stage.prepare()
    await stage.apply()
    await stage.settled()
    stage.cloud.forget()

    async def begun() -> bool:
        return (await stage.describe())[str(stage.kind.status_member)] == KINDS[stage.kind.name][0]

    await stage.cloud.until(begun, step=5.0, seconds=2 * AFTER)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edit_waits_for_the_end_of_the_maintenance(kind: str) -> None:
    stage = Stage(kind)
    assert stage.story.edit is not None
    async with operator(stage.cloud):
        await stage.supply(stage.story.also)
        await maintained(stage)
        before = len(stage.mutating())
        await stage.edit(stage.story.edit.spec)
        told = await stage.condition("ACK.Recoverable")
        assert KINDS[kind][0] in told["message"]
        assert (await stage.conditions())["Ready"]["status"] == "False"
        assert len(stage.mutating()) == before, "nothing was asked for in vain"
        await stage.settled(seconds=7200.0)
        assert "ACK.Recoverable" not in await stage.conditions()
        done = stage.mutating()[before:]
        await stage.cloud.pass_time(36_000)
        assert stage.mutating()[before:] == done
    assert done.count(str(stage.kind.update)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deletion_waits_for_the_end_of_the_maintenance(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await maintained(stage)
        await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
        await stage.cloud.pass_time(60)
        conditions = await stage.conditions()
        assert "ACK.Terminal" not in conditions
        assert conditions["Ready"]["status"] == "False"
        await stage.cloud.until_gone(stage.name, kind=kind, step=5.0)
        assert len(stage.mutating()) <= 3, stage.mutating()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_maintenance_that_nobody_is_in_the_way_of_costs_nothing(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await maintained(stage)
        calls, writes = len(stage.cloud.sagemaker.calls), stage.writes()
        await stage.cloud.pass_time(3 * LONG)
        assert (len(stage.cloud.sagemaker.calls), stage.writes()) == (calls, writes)
