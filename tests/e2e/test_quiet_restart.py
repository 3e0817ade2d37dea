"""A settled object causes no calls: after a restart, after the switch from ACK, and with invalid annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.annotations import ADOPTION_POLICY, READ_ONLY
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL
from tests.e2e.test_kinds_ack_corpus import Ack
from tests.e2e.test_metrics import values

if TYPE_CHECKING:
    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

MODELS = 40
INTERVAL = 36_000.0


def model(name: str) -> dict[str, Any]:
    made = sample("model", modelName=name)
    made["metadata"] = {"name": name, "namespace": "default"}
    return made


async def test_a_restart_describes_no_settled_object_at_once_and_each_within_the_interval() -> None:
    """It was one in ten, all at once."""
    cloud = Cloud(kinds=["Model"])
    names = [f"model-{number}" for number in range(MODELS)]

    async def ready() -> bool:
        stored = [await cloud.conditions(name, kind="Model") for name in names]
        return all(conditions.get("Ready", {}).get("status") == "True" for conditions in stored)

    async with operator(cloud, resync_seconds=INTERVAL):
        for name in names:
            await cloud.apply(model(name))
        await cloud.until(ready)
    cloud.forget()
    async with operator(cloud, identity="two", seed=11, resync_seconds=INTERVAL):
        await cloud.pass_time(INTERVAL / MODELS / 2)
        assert len(cloud.sagemaker.calls.of("DescribeModel")) <= 2
        await cloud.pass_time(1.1 * INTERVAL)
        assert {call.name for call in cloud.sagemaker.calls.of("DescribeModel")} == set(names)


async def test_tags_of_an_ack_object_wait_for_its_next_edit() -> None:
    """They were compared at any time within the first ten hours, and written then."""
    ack = Ack("Model")
    await ack.make()
    stage, cloud = ack.stage, ack.cloud
    arn = (await stage.status())["ackResourceMetadata"]["arn"]
    await stage.edit({"tags": [{"key": "team", "value": "retention"}]})
    await cloud.ask("AddTags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "somebody-else"}])
    cloud.forget()
    async with operator(cloud, resync_seconds=60.0):
        await stage.settled()
        writes = len(stage.writes())
        await cloud.pass_time(3600)
        assert stage.mutating() == []
        assert cloud.sagemaker.calls.of("ListTags") == []
        assert len(stage.writes()) == writes <= 1, "one: what the conditions of ACK's lack"
    async with operator(cloud, identity="two", resync_seconds=60.0):
        await cloud.pass_time(3600)
        assert len(stage.writes()) == writes
        assert stage.mutating() == []
        await stage.edit({"tags": [{"key": "team", "value": "growth"}]})
        await stage.settled()
        await cloud.pass_time(60)
        assert stage.mutating() == ["AddTags"]
        assert (await stage.status())["managedTagKeys"] == ["team"]
        # From then on they are kept as spec has them.
        await cloud.ask("AddTags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "somebody-else"}])
        await cloud.pass_time(300)
        assert stage.mutating().count("AddTags") == 3


async def test_a_read_only_object_with_invalid_annotations_makes_no_calls() -> None:
    """After one interval it was reconciled once a second, until an edit."""
    cloud = Cloud(kinds=["Model"])
    wrong = model("wrong")
    wrong["metadata"]["annotations"] = {READ_ONLY: "true", ADOPTION_POLICY: "adpot"}
    gates = FeatureGates(read_only_resources=True)
    async with operator(cloud, feature_gates=gates, resync_seconds=600.0) as manager:
        await cloud.apply(wrong)
        await cloud.pass_time(60)
        assert "must be adopt or adopt-or-create" in (await cloud.conditions("wrong", kind="Model"))["Ready"]["message"]
        before = reconciles(manager)
        await cloud.pass_time(6000)
        assert reconciles(manager) - before <= 12


def reconciles(manager: Manager) -> float:
    found = values(manager, "controller_runtime_reconcile_total", "controller", "result")
    return sum(count for (controller, _), count in found.items() if controller == "model")
