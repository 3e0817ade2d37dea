"""Metrics report the state that kstatus reads from an object."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from sagemaker_operator.conditions import Findings, ObjectState, Progress, compute
from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.scrape import state_of
from tests.control.kstatus import kstatus

TROUBLES: tuple[dict[str, str], ...] = ({}, {"terminal": "an edit"}, {"recoverable": "a wait"})


@pytest.mark.parametrize("deleting", [False, True])
@pytest.mark.parametrize(
    ("progress", "job", "trouble"), list(itertools.product(Progress, (False, True), TROUBLES)), ids=str
)
def test_every_reconcile_result_has_a_state(
    progress: Progress, job: bool, trouble: dict[str, str], deleting: bool
) -> None:
    time = "2026-01-01T00:00:00Z"
    findings = Findings(progress, "It is so.", "Reason", **trouble)
    status = {"conditions": compute((), findings, job=job, generation=1, now=time)}
    meta = Meta(name="a", namespace="default", generation=1, deletion_timestamp=time if deleting else None)
    obj = KubeObject(kind="TrainingJob", metadata=meta, status=msgspec.Raw(msgspec.json.encode(status)))
    verdict = kstatus({"generation": 1, **({"deletionTimestamp": time} if deleting else {})}, status)
    state, reason = state_of(obj)
    assert state.value == verdict.value
    assert reason == next(c["reason"] for c in status["conditions"] if c["type"] == "Ready")


def test_before_the_first_reconcile_there_is_no_state() -> None:
    """kstatus would call it Current, having nothing to go by."""
    meta = Meta(name="a", namespace="default", generation=1)
    assert state_of(KubeObject(kind="TrainingJob", metadata=meta)) == (ObjectState.UNKNOWN, "")
