"""Converged means silent: five passes over a settled object of any kind change nothing, here or there."""

from __future__ import annotations

import pytest

from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage

pytestmark = VIRTUAL

RESYNC_SECONDS = 60.0
PASSES = 5


@pytest.mark.parametrize("kind", KINDS)
async def test_five_more_passes_change_nothing(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud, resync_seconds=RESYNC_SECONDS) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        before = await stage.get()
        cloud.forget()
        for number in range(PASSES):
            await cloud.annotate(stage.name, {"example.com/note": str(number)}, kind=kind)
            await cloud.pass_time(1.2 * RESYNC_SECONDS)
        assert stage.mutating() == []
        assert stage.writes() == []
        looks = len(cloud.sagemaker.calls.of(stage.kind.describe))
        assert looks == 0 if stage.kind.stop_on_delete else looks >= PASSES
        after = await stage.get()
        assert (after["spec"], after["status"]) == (before["spec"], before["status"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_over_a_converged_object_changes_nothing(kind: str) -> None:
    """A new process knows nothing but what is stored: it compares each object that it did not write the status of."""
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    # As if another controller had written it: the comparison is made although there is no edit.
    await cloud.patch(stage.name, {"status": {"observedGeneration": None}}, kind=kind, subresource="status")
    before = await stage.get()
    cloud.forget()
    async with operator(cloud, identity="two", resync_seconds=RESYNC_SECONDS):
        await stage.settled()
        await cloud.pass_time(PASSES * RESYNC_SECONDS)
        assert stage.mutating() == []
        assert stage.writes() == ["patch status"], "the observed generation, once"
    after = await stage.get()
    assert after["spec"] == before["spec"]
    assert after["status"] == before["status"] | {"observedGeneration": before["metadata"]["generation"]}
