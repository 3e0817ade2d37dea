"""Conditions are consistent for all findings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagemaker_operator.conditions import Findings, Progress, compute
from tests.control.kstatus import Verdict, contradictions, kstatus

NOW, LATER = "2026-11-24T10:00:00Z", "2026-11-24T10:05:00Z"

texts = st.one_of(st.none(), st.text(min_size=1, max_size=20))
findings = st.builds(
    lambda progress, message, reason, trouble, text, failure: Findings(
        progress,
        message,
        reason,
        terminal=text if trouble == "terminal" else None,
        recoverable=text if trouble == "recoverable" else None,
        failure=failure,
    ),
    st.sampled_from(Progress),
    st.text(min_size=1, max_size=20),
    st.sampled_from(["", "InProgress", "Busy"]),
    st.sampled_from(["none", "terminal", "recoverable"]),
    texts,
    texts,
)


jobs = st.booleans()


def by_type(conditions: list[dict[str, object]]) -> dict[str, str]:
    return {str(condition["type"]): str(condition["status"]) for condition in conditions}


@given(findings, jobs)
def test_conditions_never_contradict_each_other(found: Findings, job: bool) -> None:
    conditions = compute((), found, job=job, generation=1, now=NOW)
    now = by_type(conditions)
    assert contradictions(conditions) == []
    assert {"Ready", "ACK.ResourceSynced"} <= now.keys()
    assert not (now["ACK.ResourceSynced"] == "True" and found.terminal)
    assert not ("ACK.Terminal" in now and "ACK.Recoverable" in now)
    assert not (now["Ready"] == "True" and {"Stalled", "Reconciling", "Failed", "ACK.Terminal"} & now.keys())
    assert not {"Stalled", "Reconciling"} <= now.keys()
    assert not {"Complete", "Failed"} <= now.keys()
    assert job or not {"Complete", "Failed"} & now.keys()


@given(findings, jobs)
def test_kstatus_reads_what_was_found(found: Findings, job: bool) -> None:
    """The tools that wait by kstatus (kubectl's, Flux, kpt, Argo's) come to the verdict that we mean."""
    conditions = compute((), found, job=job, generation=3, now=NOW)
    wanted = (
        Verdict.FAILED
        if found.terminal
        else Verdict.IN_PROGRESS
        if found.recoverable or not found.progress.at_rest
        else Verdict.CURRENT
        if found.progress in (Progress.SETTLED, Progress.COMPLETE)
        else Verdict.FAILED
    )
    status = {"observedGeneration": 3, "conditions": conditions}
    assert kstatus({"generation": 3}, status) is wanted
    assert kstatus({"generation": 4}, status) is Verdict.IN_PROGRESS, "an edit that was not observed yet"
    assert kstatus({"generation": 4, "deletionTimestamp": NOW}, status) is Verdict.TERMINATING


@given(findings, findings)
def test_a_time_moves_only_with_its_status(first: Findings, second: Findings) -> None:
    before = compute((), first, generation=1, now=NOW)
    after = compute(before, second, generation=2, now=LATER)
    known = by_type(before)
    for condition in after:
        same = known.get(str(condition["type"])) == condition["status"]
        assert condition["lastTransitionTime"] == (NOW if same else LATER)


@given(findings)
def test_the_same_findings_change_nothing(found: Findings) -> None:
    before = compute((), found, generation=1, now=NOW)
    assert compute(before, found, generation=1, now=LATER) == before


def test_conditions_of_others_are_kept() -> None:
    theirs = {"type": "example.com/Reviewed", "status": "True"}
    assert theirs in compute([theirs], Findings(Progress.MOVING, "moving"), generation=1, now=NOW)


def test_conditions_as_ack_writes_them_are_accepted() -> None:
    """ACK's Terminal and Recoverable have no lastTransitionTime and no reason."""
    stored = [{"type": "ACK.Recoverable", "status": "True", "message": "wait"}]
    found = Findings(Progress.UNKNOWN, "?", recoverable="wait")
    recoverable = next(c for c in compute(stored, found, generation=1, now=NOW) if c["type"] == "ACK.Recoverable")
    assert recoverable["lastTransitionTime"] == NOW


def test_a_failed_job_is_not_ready_and_says_why() -> None:
    found = Findings(Progress.FAILED, "TrainingJob is in Failed status.", "Failed", failure="AlgorithmError: exit 1")
    conditions = {c["type"]: c for c in compute((), found, job=True, generation=1, now=NOW)}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Failed"]["message"] == "TrainingJob is in Failed status. AlgorithmError: exit 1"
    assert conditions["ACK.ResourceSynced"]["message"] == "TrainingJob is in Failed status."
