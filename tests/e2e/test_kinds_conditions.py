"""Every status of every kind, in successful and failed lifecycles, is consistent, and kstatus reads the right state from it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.control.spec.create_input import identifiers
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from tests.control.argo import health
from tests.control.kstatus import TIME, Verdict, contradictions, kstatus
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, STORIES, VIRTUAL, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = VIRTUAL

FAILING = tuple(
    name
    for name, kind in catalog().items()
    if kind.tags_on_create and StatusClass.FAILED in kind.classes.values() and name != "PipelineExecution"
)


def history(stage: Stage, watched: Sequence[dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """(metadata, status) of the stage's object, in order, from its first status on."""
    mine = [(obj["metadata"], obj["status"]) for obj in watched if obj["metadata"].name == stage.name]
    return [(meta, status) for meta, status in mine if status]


def check(stage: Stage, reported: Sequence[tuple[Any, dict[str, Any]]]) -> None:
    assert reported
    for (_, before), (meta, status) in pairwise([(None, {}), *reported]):
        conditions = status["conditions"]
        states = {c["type"]: c["status"] for c in conditions}
        assert contradictions(conditions) == [], status
        assert stage.kind.is_job or not {"Complete", "Failed"} & states.keys()
        assert status["observedGeneration"] >= before.get("observedGeneration", 0)
        assert status["observedGeneration"] <= meta.generation
        written_while_deleting = meta.deletion_timestamp and status != before
        assert not (written_while_deleting and states["Ready"] == "True"), status
        final = {Verdict.CURRENT: "Healthy", Verdict.FAILED: "Degraded"}
        mine = {"generation": status["observedGeneration"]}
        assert health(status) == final.get(kstatus(mine, status), "Progressing"), status
        known = {c["type"]: c for c in before.get("conditions", ())}
        for condition in conditions:
            old = known.get(condition["type"])
            if old is not None and old["status"] == condition["status"]:
                assert condition["lastTransitionTime"] == old["lastTransitionTime"], condition
            elif old is not None:
                assert condition["lastTransitionTime"] >= old["lastTransitionTime"], condition


def verdicts(reported: Sequence[tuple[Any, dict[str, Any]]]) -> list[Verdict]:
    """What kstatus reads, without repetitions."""
    read = [
        kstatus({"generation": meta.generation, "deletionTimestamp": meta.deletion_timestamp}, status)
        for meta, status in reported
    ]
    return [verdict for verdict, before in zip(read, [None, *read], strict=False) if verdict is not before]


@pytest.mark.parametrize("kind", KINDS)
async def test_conditions_through_the_lifecycle_of_a_kind(kind: str) -> None:
    """Created, edited in a mutable and in an immutable field, fixed, deleted."""
    stage = Stage(kind, relaxed=True)
    story = STORIES[kind]
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        await stage.supply(story.also)
        await stage.apply()
        await stage.settled()
        born = verdicts(history(stage, watched))
        if story.edit is not None:
            await stage.edit(story.edit.spec)
            await stage.settled()
        edited = len(history(stage, watched))
        if story.frozen:
            await stage.edit(story.frozen)
            await stage.condition("ACK.Terminal")
            await stage.edit({name: stage.manifest["spec"].get(name) for name in story.frozen})
            await stage.settled()
        fixed = verdicts(history(stage, watched)[edited:])
        await stage.delete()
    reported = history(stage, watched)
    check(stage, reported)
    moves = StatusClass.IN_PROGRESS in stage.kind.classes.values()
    assert born == [Verdict.IN_PROGRESS, Verdict.CURRENT][not moves :]
    if story.frozen:
        assert fixed == [Verdict.IN_PROGRESS, Verdict.FAILED, Verdict.IN_PROGRESS, Verdict.CURRENT]
    assert verdicts(reported)[-1] is Verdict.TERMINATING


@pytest.mark.parametrize("kind", FAILING)
async def test_conditions_of_a_failure_in_sagemaker(kind: str) -> None:
    stage = Stage(kind)
    stage.manifest["spec"]["tags"] = [{"key": "sandbox/outcome", "value": "Failed"}]
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        await stage.apply()
        await stage.condition("Stalled")
        read = verdicts(history(stage, watched))
        conditions = await stage.conditions()
        await stage.delete()
    check(stage, history(stage, watched))
    assert read == [Verdict.IN_PROGRESS, Verdict.FAILED]
    assert conditions["Ready"]["status"] == "False"
    terminal = bool(stage.kind.terminal_statuses)
    # What SageMaker has is what was asked for; but not beside a Terminal of ACK's.
    assert conditions["ACK.ResourceSynced"]["status"] == ("False" if terminal else "True")
    assert conditions["ACK.Terminal"]["status"] == "True"
    assert ("Failed" in conditions) == stage.kind.is_job


@pytest.mark.parametrize("kind", [name for name in FAILING if catalog()[name].terminal_statuses])
async def test_a_failure_that_ack_calls_terminal_is_terminal(kind: str) -> None:
    stage = Stage(kind)
    stage.manifest["spec"]["tags"] = [{"key": "sandbox/outcome", "value": "Failed"}]
    async with operator(stage.cloud):
        await stage.prepare()
        await stage.apply()
        reported = await stage.condition("ACK.Terminal")
        status = (await stage.get())["status"]
        events = [event for event in stage.cloud.kubernetes.list(EVENTS) if event["type"] == "Warning"]
    (failed,) = stage.kind.terminal_statuses
    text = f"{kind} status reached terminal state: {failed}. Check the FailureReason."
    assert reported["message"] == f"{text} {status['failureReason']}"
    assert [event["reason"] for event in events] == [failed], "reported once"


@pytest.mark.parametrize("kind", KINDS)
async def test_conditions_while_waiting_for_a_quota_and_then_for_the_network(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        stage.cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.QUOTA, times=2))
        stage.cloud.sagemaker.faults.add(Fault(operation=stage.kind.create, kind=FaultKind.LOST_REPLY))
        await stage.apply()
        waiting = await stage.condition("ACK.Recoverable")
        await stage.settled(seconds=7200)
    reported = history(stage, watched)
    check(stage, reported)
    assert TIME.fullmatch(waiting["lastTransitionTime"])
    assert verdicts(reported) == [Verdict.IN_PROGRESS, Verdict.CURRENT]


@pytest.mark.parametrize("kind", [name for name in KINDS if catalog()[name].is_job])
async def test_a_job_stopped_outside_the_operator_is_failed_and_not_ready(kind: str) -> None:
    stage = Stage(kind)
    async with operator(stage.cloud), stage.cloud.watching(kind) as watched:
        await stage.prepare()
        await stage.apply()
        await stage.cloud.until(stage.describe)
        await stage.cloud.pass_time(20)
        stored = await stage.get()
        arn = stored["status"]["ackResourceMetadata"]["arn"]
        token = {stage.kind.token_member: "0" * 36} if stage.kind.token_member else {}
        await stage.cloud.ask(stage.kind.stop or "", **identifiers(stage.kind, stored["spec"], arn), **token)
        await stage.condition("Failed")
        conditions = await stage.conditions()
    reported = history(stage, watched)
    check(stage, reported)
    assert conditions["Ready"]["status"] == "False"
    assert verdicts(reported) == [Verdict.IN_PROGRESS, Verdict.FAILED]
