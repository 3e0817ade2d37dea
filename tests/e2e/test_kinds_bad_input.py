"""Errors of objects of every kind: each sets a condition with the reason, and recovers when the cause is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.crds.schema import spec_schema
from sagemaker_operator.errors import KubeError
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage
from tests.e2e.patches import merged, reverse
from tests.stories.story import NEW_ROLE

if TYPE_CHECKING:
    from sagemaker_operator.kinds.model import Shape

pytestmark = VIRTUAL

TAKEN = tuple(kind for kind in KINDS if not STORIES[kind].nameless)
DEPENDENT = tuple(kind for kind in KINDS if STORIES[kind].needs)

WITH_ROLE = tuple(kind for kind in KINDS if STORIES[kind].role)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_missing_or_mistyped_field_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    spec = stage.manifest["spec"]
    required = spec_schema(stage.kind).get("required", ())
    # What a reference can give is required by a rule, beside the groups of which one must be set.
    ruled = [*(field for field in stage.kind.required if field not in required), *(g[1] for g in stage.kind.either_or)]
    missing = required[0] if required else ruled[0]
    stage.manifest["spec"] = {name: value for name, value in spec.items() if name != missing}
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    # Also where a rule about two fields refuses it: the rule is quoted.
    assert missing in str(refused.value)
    text = next(name for name, value in spec.items() if isinstance(value, str))
    stage.manifest["spec"] = spec | {text: {"not": "a text"}}
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    assert f"spec.{text}" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_value_is_refused_at_apply(kind: str) -> None:
    stage = Stage(kind)
    bad = stage.story.bad
    stage.manifest["spec"] = merged(stage.manifest["spec"], bad.spec)
    with pytest.raises(KubeError) as refused:
        await stage.apply()
    assert bad.at in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bad_value_under_acks_crds_is_named_and_recovers_with_the_edit(kind: str) -> None:
    stage = Stage(kind, relaxed=True)
    bad = stage.story.bad
    async with operator(stage.cloud):
        await stage.prepare()
        stage.cloud.forget()
        good = stage.manifest["spec"]
        stage.manifest["spec"] = merged(good, bad.spec)
        await stage.apply()
        terminal = await stage.condition("ACK.Terminal")
        assert bad.at in terminal["message"]
        asked = [stage.kind.create] if bad.newer else []
        assert stage.mutating() == asked, "SageMaker is not bothered with what it can only refuse"
        assert not (await stage.get())["metadata"].get("finalizers"), "deleting it never waits for anything"
        await stage.edit(reverse(good, bad.spec))
        await stage.settled()
    assert stage.mutating() == [*asked, stage.kind.create]


@pytest.mark.parametrize("kind", TAKEN)
async def test_a_foreign_resource_of_this_name_is_never_touched(kind: str) -> None:
    stage = Stage(kind)
    cloud = stage.cloud
    async with operator(cloud):
        await stage.prepare()
        answer = await cloud.ask(stage.kind.create, **stage.create_input())
        assert "__type" not in answer, answer
        cloud.forget()
        await stage.apply()
        terminal = await stage.condition("ACK.Terminal")
        assert terminal["message"].startswith("Resource already exists")
        assert "services.k8s.aws/adoption-policy=adopt-or-create" in terminal["message"]
        assert not (await stage.status()).get("ackResourceMetadata", {}).get("arn")
        spec = (await stage.get())["spec"]
        await stage.delete()
    assert [call.operation for call in cloud.sagemaker.calls.mutating() if call.applied] == []
    assert stage.kind.arn_member in await stage.ask_about(spec, None)


@pytest.mark.parametrize("kind", DEPENDENT)
async def test_a_reference_that_does_not_exist_yet_is_waited_for(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "DependencyNotReady"
        await stage.prepare()
        if "domainID" in stage.manifest["spec"]:
            await stage.edit({"domainID": stage.manifest["spec"]["domainID"]})
        await stage.settled(seconds=7200)
    assert stage.creates() == 1


def _names_a_role(shape: Shape, above: frozenset[str] = frozenset()) -> bool:
    if shape.type_name == "list":
        return _names_a_role(shape.member, above)
    if shape.type_name != "structure" or shape.name in above:
        return shape.name == "RoleArn"
    return any(_names_a_role(inner, above | {shape.name}) for inner in members(shape).values())


async def test_every_kind_with_a_role_is_in_the_table() -> None:
    assert {name for name, kind in catalog().items() if _names_a_role(operation(kind.create).input_shape)} == set(
        WITH_ROLE
    )


@pytest.mark.parametrize("kind", WITH_ROLE)
async def test_a_role_that_cannot_be_assumed_yet_is_waited_for(kind: str) -> None:
    """IAM needs seconds to spread a new role."""
    stage = Stage(kind)
    stage.manifest["spec"] = merged(stage.manifest["spec"], stage.story.role)
    text = (
        f"Could not assume role {NEW_ROLE}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
    async with operator(stage.cloud):
        await stage.prepare()
        fault = Fault(operation=stage.kind.create, kind=FaultKind.REJECT, times=4, message=text)
        stage.cloud.sagemaker.faults.add(fault)
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "DependencyNotReady"
        assert NEW_ROLE in waiting["message"]
        await stage.settled(seconds=7200)
    assert fault.matched == 5
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_quota_throttling_and_outage_are_reported_and_recover(kind: str) -> None:
    stage = Stage(kind)
    faults = stage.cloud.sagemaker.faults
    async with operator(stage.cloud):
        await stage.prepare()
        faults.add(Fault(operation=stage.kind.create, kind=FaultKind.QUOTA, times=2))
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "QuotaExceeded"
        faults.add(Fault(operation="*", kind=FaultKind.THROTTLE, times=5))
        faults.add(Fault(operation=stage.kind.create, kind=FaultKind.SERVER_ERROR, nth=3, times=2))
        await stage.settled(seconds=14_400)
        assert "ACK.Recoverable" not in await stage.conditions()
    assert stage.creates() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_throttling_for_minutes_is_reported_once_and_recovers(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud):
        await stage.prepare()
        throttled = Fault(operation=stage.kind.create, kind=FaultKind.THROTTLE, times=1000)
        stage.cloud.sagemaker.faults.add(throttled)
        await stage.apply()
        await stage.cloud.pass_time(90)
        assert await stage.conditions() == {}, "a few seconds are not reported"
        waiting = await stage.condition("ACK.Recoverable")
        assert waiting["reason"] == "Throttled"
        assert "throttles this account" in waiting["message"]
        stage.cloud.kubernetes.requests.clear()
        await stage.cloud.pass_time(600)
        assert stage.writes() == []
        stage.cloud.sagemaker.faults.remove(throttled)
        await stage.settled(seconds=7200)
        assert "ACK.Recoverable" not in await stage.conditions()
    assert stage.creates() == 1
