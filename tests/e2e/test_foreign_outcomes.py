"""The state of a foreign resource is in no log line, Event, status or metric of an object that names it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.annotations import READ_ONLY, RECONCILE_REQUESTED
from sagemaker_operator.conditions import TERMINAL
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.settings import FeatureGates
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL
from tests.e2e.test_metrics import values

if TYPE_CHECKING:
    from sagemaker_operator.manager import Manager

pytestmark = VIRTUAL

STORIES = ("job.", "resource.status", "resource.created", "resource.recovered")


def listening(cloud: Cloud) -> io.StringIO:
    stream = io.StringIO()
    configure(level="debug", format_="json", clock=cloud.clock, stream=stream)
    return stream


def lines(stream: io.StringIO, uid: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line.get("uid") == uid]


def ends(manager: Manager) -> dict[str, float]:
    """Ends of jobs that the metrics count."""
    found = values(manager, "sagemaker_operator_transitions_total", "event")
    return {event: count for event, count in found.items() if event in ("job.completed", "job.failed", "job.stopped")}


def manifest(name: str, **annotations: str) -> dict[str, Any]:
    made = sample(trainingJobName="shared", tags=[{"key": "sandbox/outcome", "value": "Failed"}])
    made["metadata"] = {"name": name, "namespace": "default", "annotations": annotations}
    return made


async def uid_of(cloud: Cloud, name: str) -> str:
    return str((await cloud.get(name))["metadata"]["uid"])


@pytest.mark.parametrize("when", ["running", "ended"])
async def test_an_object_that_names_a_foreign_job_shows_nothing_of_it(when: str) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    stream = listening(cloud)
    async with operator(cloud) as manager:
        await cloud.apply(manifest("owner"))
        await cloud.until_status("owner", "InProgress" if when == "running" else "Failed", seconds=7200)
        await cloud.apply(manifest("other"))
        await cloud.until_status("owner", "Failed", seconds=7200)
        # Every reconcile, and every restart, described it again.
        await cloud.annotate("other", {RECONCILE_REQUESTED: "now"})
        await cloud.pass_time(7200)
        assert ends(manager) == {"job.failed": 1}
    async with operator(cloud, identity="two") as manager:
        await cloud.pass_time(7200)
        assert ends(manager) == {}
    uid = await uid_of(cloud, "other")
    reported = [line["event"] for line in lines(stream, uid) if line.get("event", "").startswith(STORIES)]
    assert reported == []
    assert any(line.get("event") == "resource.terminalError" for line in lines(stream, uid)), (
        "but that the name is taken"
    )
    events = [event for event in cloud.kubernetes.list(EVENTS) if event["regarding"]["name"] == "other"]
    assert [event["reason"] for event in events] == ["AlreadyExists"]
    status = await cloud.status("other")
    assert set(status) <= {"conditions", "observedGeneration", "lastHandledReconcileAt", "observedAt"}
    reason = str((await cloud.status("owner"))["failureReason"])
    assert reason
    assert reason not in json.dumps([status, events, lines(stream, uid)])


async def test_a_foreign_job_is_not_shown_where_its_tags_cannot_be_read() -> None:
    """Whose it is, is not known then."""
    cloud = Cloud(kinds=["TrainingJob"])
    stream = listening(cloud)
    async with operator(cloud):
        await cloud.apply(manifest("owner"))
        await cloud.until_status("owner", "Failed", seconds=7200)
        denied = Fault(operation="ListTags", kind=FaultKind.ACCESS_DENIED, times=None)
        cloud.sagemaker.faults.add(denied)
        await cloud.apply(manifest("other"))
        await cloud.pass_time(3600)
    uid = await uid_of(cloud, "other")
    assert [line["event"] for line in lines(stream, uid) if line.get("event", "").startswith(STORIES)] == []
    assert str((await cloud.status("owner"))["failureReason"]) not in json.dumps(lines(stream, uid))
    assert TERMINAL not in await cloud.conditions("other")


async def test_the_end_of_a_read_only_resource_is_not_counted() -> None:
    """It is there to show another's job; sums over log lines and metrics must not have the job twice."""
    cloud = Cloud(kinds=["TrainingJob"])
    stream = listening(cloud)
    async with operator(cloud, feature_gates=FeatureGates(read_only_resources=True)) as manager:
        await cloud.apply(manifest("owner"))
        await cloud.apply(manifest("view", **{READ_ONLY: "true"}))
        for name in ("owner", "view"):
            await cloud.until_status(name, "Failed", seconds=7200)
        assert ends(manager) == {"job.failed": 1}
    reported = {
        name: {
            line.get("readOnly") for line in lines(stream, await uid_of(cloud, name)) if line["event"] == "job.failed"
        }
        for name in ("owner", "view")
    }
    assert reported == {"owner": {None}, "view": {True}}
