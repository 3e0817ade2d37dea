"""The result of Argo CD's built-in check for ACK on every final state of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sagemaker_operator.conditions import Findings, Progress, compute
from sagemaker_operator.control.observation import ABSENT, Observation
from sagemaker_operator.control.plan.actions import Facts, Finish
from sagemaker_operator.control.plan.next_action import next_action
from sagemaker_operator.control.plan.progress import progress_of
from sagemaker_operator.control.spec.adoption import Adoption, Policy
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass, Verdict
from tests.control.argo import health
from tests.control.kstatus import contradictions
from tests.control.test_conditions import findings

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind

NOW = "2026-11-24T10:00:00Z"
ARN = "arn:aws:sagemaker:us-west-2:123456789012:thing/x"

HEALTH = {
    StatusClass.IN_PROGRESS: "Progressing",
    StatusClass.STOPPING: "Progressing",
    StatusClass.DELETING: "Progressing",
    StatusClass.STEADY: "Healthy",
    StatusClass.SUCCEEDED: "Healthy",
    StatusClass.FAILED: "Degraded",
    StatusClass.DELETE_FAILED: "Degraded",
    StatusClass.GONE: "Degraded",
}


def read(kind: Kind, found: Findings, previous: tuple[dict[str, Any], ...] = ()) -> str:
    conditions = compute(previous, found, job=kind.is_job, generation=1, now=NOW)
    assert contradictions(conditions) == []
    return health({"conditions": conditions})


def settled(facts: Facts) -> Findings:
    step = next_action(facts)
    assert isinstance(step, Finish), step
    assert step.findings is not None
    return step.findings


@pytest.mark.parametrize("name", catalog())
def test_every_status_of_every_kind(name: str) -> None:
    kind = catalog()[name]
    for status, state in kind.classes.items() or {"": StatusClass.STEADY}.items():
        observed = Observation({kind.status_member or "": status, kind.arn_member: ARN})
        facts = Facts(kind=kind, managed=True, arn=ARN, observed=observed, recalled=observed)
        stopped = "Degraded" if kind.stop_on_delete else "Healthy"
        wanted = stopped if state is StatusClass.STOPPED else HEALTH[state]
        assert read(kind, settled(facts)) == wanted, status


@pytest.mark.parametrize("name", catalog())
def test_every_kind_adopted_or_read_only(name: str) -> None:
    kind = catalog()[name]
    status = next((value for value, state in kind.classes.items() if HEALTH.get(state) == "Healthy"), "")
    observed = Observation({kind.status_member or "": status, kind.arn_member: ARN})
    facts = Facts(kind=kind, managed=True, arn=ARN, observed=observed)
    adopted = replace(facts, adoption=Adoption(policy=Policy.ADOPT, adopted=True))
    watched = replace(facts, managed=False, adoption=Adoption(read_only=True))
    assert read(kind, settled(adopted)) == read(kind, settled(watched)) == "Healthy"
    differs = settled(replace(watched, differing=("spec.x",)))
    assert read(kind, differs) == "Healthy", "an advisory changes nothing"
    missing = settled(replace(watched, observed=ABSENT))
    assert read(kind, missing) == "Progressing"


@pytest.mark.parametrize("name", catalog())
def test_every_kind_with_an_impossible_edit_or_in_deletion(name: str) -> None:
    kind = catalog()[name]
    status = next((value for value, state in kind.classes.items() if HEALTH.get(state) == "Healthy"), "")
    observed = Observation({kind.status_member or "": status, kind.arn_member: ARN})
    facts = Facts(kind=kind, managed=True, arn=ARN, observed=observed)
    assert read(kind, settled(replace(facts, verdict=Verdict(reject="no")))) == "Degraded"
    going = replace(facts, deleting=True, ready=True, other_finalizers=("example.com/hold",), retain=True)
    assert read(kind, settled(going)) == "Progressing"


@given(findings, findings, st.booleans())
def test_argo_reads_the_order_correctly_whatever_conditions_existed_before(
    first: Findings, second: Findings, job: bool
) -> None:
    """Also in a list that an earlier version or ACK wrote, with conditions of others in it."""
    theirs = {"type": "example.com/Reviewed", "status": "True"}
    before = [*reversed(compute((), first, job=job, generation=1, now=NOW)), theirs]
    after = compute(before, second, job=job, generation=1, now=NOW)
    progress = second.progress
    ended_badly = progress.at_rest and progress not in (Progress.SETTLED, Progress.COMPLETE)
    good = "Healthy" if progress in (Progress.SETTLED, Progress.COMPLETE) else "Progressing"
    wanted = "Progressing" if second.recoverable else "Degraded" if second.terminal or ended_badly else good
    assert health({"conditions": after}) == wanted


def test_the_order_is_acks_and_conditions_of_others_keep_their_place() -> None:
    theirs = {"type": "example.com/Reviewed", "status": "True"}
    found = Findings(Progress.SETTLED, "is", "InService", also={"ACK.Adopted": ("True", "", "")})
    conditions = compute((), found, generation=1, now=NOW)
    assert [c["type"] for c in conditions] == ["ACK.ResourceSynced", "ACK.Adopted", "Ready"]
    conditions.insert(1, theirs)
    failed = Findings(Progress.FAILED, "no", "Failed")
    types = [c["type"] for c in compute(conditions, failed, job=True, generation=1, now=NOW)]
    assert types == ["ACK.ResourceSynced", theirs["type"], "ACK.Terminal", "Ready", "Stalled", "Failed"]


def test_progress_of_a_failed_job_is_final() -> None:
    kind = catalog()["TrainingJob"]
    observed = Observation({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: exit 1"})
    conditions = compute((), progress_of(Facts(kind=kind), observed), job=True, generation=1, now=NOW)
    terminal = next(c for c in conditions if c["type"] == "ACK.Terminal")
    assert terminal["message"] == "TrainingJob is in Failed status. AlgorithmError: exit 1"
