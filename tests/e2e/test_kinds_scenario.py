"""The lifecycle of every kind in virtual time: applied, ready, edited, settled, deleted; and every call that it needs."""

from __future__ import annotations

import pytest

from sagemaker_operator.errors import KubeError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kinds.updates import fixed_within
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage, at

pytestmark = VIRTUAL

EDITABLE = tuple(kind for kind in KINDS if STORIES[kind].edit is not None)
FROZEN = tuple(kind for kind in KINDS if STORIES[kind].frozen)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sample_is_created_becomes_ready_and_is_deleted(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    story = stage.story
    async with operator(cloud), cloud.watching(kind) as states:
        await stage.prepare()
        cloud.forget()
        await stage.apply()
        await stage.settled()
        first = next(obj["status"] for obj in states if obj["metadata"].name == stage.name and obj.get("status"))
        assert first["ackResourceMetadata"]["arn"], "the first status carries the ARN"
        status = await stage.status()
        described = await stage.describe()
        assert status["ackResourceMetadata"]["arn"] == described[stage.kind.arn_member]
        if story.ends:
            field = next(m.field for m in stage.kind.status_members if m.api == stage.kind.status_member)
            assert status[field] == story.ends
        assert [name for name in story.status if not status.get(name)] == []
        conditions = {type_: found["status"] for type_, found in (await stage.conditions()).items()}
        wanted = {"Ready": "True", "ACK.ResourceSynced": "True"}
        assert conditions == (wanted | {"Complete": "True"} if stage.kind.is_job else wanted)
        stored = await stage.get()
        assert stored["spec"] == stage.manifest["spec"], "the spec belongs to the user"
        assert stage.mutating() == [stage.kind.create]
        await stage.delete()
    after = await stage.ask_about(stored["spec"], status["ackResourceMetadata"]["arn"])
    if stage.kind.stop_on_delete:
        assert stage.mutating() == [stage.kind.create], "a finished job is left as it is"
        assert after[stage.kind.status_member or ""] == story.ends
    else:
        assert stage.mutating()[-1] == stage.kind.delete
        assert stage.mutating().count(stage.kind.delete or "") == 1
        # The record of an app stays for a day.
        gone = stage.kind.classify(after.get(stage.kind.status_member or "")) is StatusClass.GONE
        assert gone or stage.kind.arn_member not in after


@pytest.mark.parametrize("kind", EDITABLE)
async def test_an_edit_reaches_sagemaker_once(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    edit = stage.story.edit
    assert edit is not None
    async with operator(cloud) as manager:
        await stage.prepare()
        await stage.supply(stage.story.also)
        await stage.apply()
        await stage.settled()
        cloud.forget()
        await stage.edit(edit.spec)
        await stage.settled()
        await stage.idle(manager)
        assert at(await stage.describe(), edit.at) == edit.value
        assert stage.mutating() == list(edit.calls)
        assert [type_ for type_ in await stage.conditions() if type_ in ("ACK.Terminal", "ACK.Recoverable")] == []


@pytest.mark.parametrize("kind", FROZEN)
async def test_an_edit_that_sagemaker_cannot_make_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    with pytest.raises(KubeError) as refused:
        await stage.edit(stage.story.frozen)
    assert f"spec.{next(iter(stage.story.frozen))}" in str(refused.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if fixed_within(catalog()[kind])])
async def test_an_impossible_edit_inside_an_updatable_field_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    assert stage.story.frozen_inside is not None
    field, inside = stage.story.frozen_inside
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
    with pytest.raises(KubeError) as refused:
        await stage.edit({field: inside})
    assert f"SageMaker cannot change spec.{field}.{next(iter(inside))} of an existing" in str(refused.value)


async def test_updatable_members_of_a_structure_can_be_changed_or_added() -> None:
    stage = Stage("FeatureGroup")
    async with operator(stage.cloud):
        await stage.apply()
        await stage.settled()
        await stage.edit({"onlineStoreConfig": {"ttlDuration": {"unit": "Days", "value": 1}}})
        await stage.settled()
    assert stage.mutating() == ["CreateFeatureGroup", "UpdateFeatureGroup"]
    without = Stage("FeatureGroup")
    del without.manifest["spec"]["onlineStoreConfig"]
    async with operator(without.cloud):
        await without.apply()
        await without.settled()
        await without.edit({"featureDefinitions": [*without.manifest["spec"]["featureDefinitions"], _VISITS]})
        await without.settled()
    with pytest.raises(
        KubeError, match=r"SageMaker cannot change spec\.onlineStoreConfig\.enableOnlineStore of an existing"
    ):
        await without.edit({"onlineStoreConfig": {"enableOnlineStore": True}})


_VISITS = {"featureName": "visits", "featureType": "Integral"}


@pytest.mark.parametrize("kind", FROZEN)
async def test_an_edit_that_sagemaker_cannot_make_is_named_under_acks_crds(kind: str) -> None:
    stage = Stage(kind, relaxed=True)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        cloud.forget()
        await stage.edit(stage.story.frozen)
        terminal = await stage.condition("ACK.Terminal")
        assert f"spec.{next(iter(stage.story.frozen))}" in terminal["message"]
        assert (await stage.conditions())["Ready"]["status"] == "False"
        await stage.edit({name: stage.manifest["spec"].get(name) for name in stage.story.frozen})
        await stage.settled()
    assert stage.mutating() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edit_that_changes_nothing_costs_no_mutating_call(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    tags = [{"key": "team", "value": "growth"}, {"key": "stage", "value": "test"}]
    if stage.kind.tags_on_create:
        stage.manifest["spec"]["tags"] = tags
    async with operator(cloud) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.idle(manager)
        cloud.forget()
        await cloud.annotate(stage.name, {"example.com/note": "touched"}, kind=kind)
        await stage.idle(manager)
        assert stage.writes() == []
        if stage.kind.tags_on_create:
            await stage.edit({"tags": tags[::-1]})
            await stage.settled()
            await stage.idle(manager)
    assert stage.mutating() == []
