"""The smallest status patch, or none."""

from __future__ import annotations

from typing import Any

from sagemaker_operator.aws.target import Target
from sagemaker_operator.conditions import Findings, Progress
from sagemaker_operator.control.observation import Observation, recall, to_status
from sagemaker_operator.control.placement.target import Placement
from sagemaker_operator.control.plan.actions import Facts
from sagemaker_operator.control.spec.references import Resolution
from sagemaker_operator.control.status.patch import Outcome, status_patch
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.objects import Meta
from sagemaker_operator.settings import DeletionPolicy

KIND = catalog()["TrainingJob"]
ARN = "arn:aws:sagemaker:us-west-2:123456789012:training-job/xgb"
MOVING = Findings(Progress.MOVING, "TrainingJob is in InProgress status.", "InProgress")
OBSERVED = Observation(
    {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training", "CreationTime": 1_790_000_000.0}
)

PLACEMENT = Placement(
    target=Target("123456789012", "us-west-2"),
    partition="aws",
    deletion_policy=DeletionPolicy.DELETE,
    policy_from="flag",
)


def patch(
    stored: dict[str, Any], observed: Observation | None = OBSERVED, findings: Findings = MOVING
) -> dict[str, Any] | None:
    return status_patch(
        Outcome(
            facts=Facts(kind=KIND, managed=True, arn=ARN, observed=observed),
            findings=findings,
            placement=PLACEMENT,
            resolution=Resolution({}),
            stored=stored,
            meta=Meta(name="churn", namespace="default", uid="u", resource_version="1", generation=1),
            release=False,
            now="2026-11-24T10:00:00Z",
        )
    )


def applied(stored: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (stored | change).items() if value is not None}


def test_the_same_observation_writes_nothing() -> None:
    first = patch({})
    assert first is not None
    assert patch(applied({}, first)) is None


def test_times_are_whole_seconds_with_a_z() -> None:
    first = patch({})
    assert first is not None
    assert first["creationTime"] == "2026-09-21T14:13:20Z"


def test_a_member_that_describe_no_longer_returns_is_removed() -> None:
    stored = applied({}, patch({}, Observation({**OBSERVED.data, "FailureReason": "no"})) or {})
    assert stored["failureReason"] == "no"
    assert patch(stored) == {"failureReason": None}


def test_a_summary_changes_only_the_members_it_has() -> None:
    stored = applied({}, patch({}, Observation({**OBSERVED.data, "FailureReason": "no"})) or {})
    assert patch(stored, Observation({"SecondaryStatus": "Uploading"}, complete=False)) == {
        "secondaryStatus": "Uploading"
    }


def test_a_key_removed_from_an_object_is_removed_by_the_patch() -> None:
    """A merge patch merges: without an explicit null the old key would stay, and every reconcile would send the patch again."""
    stored = applied(
        {}, patch({}, Observation({**OBSERVED.data, "WarmPoolStatus": {"Status": "InUse", "ReusedByJob": "j"}})) or {}
    )
    change = patch(stored, Observation({**OBSERVED.data, "WarmPoolStatus": {"Status": "Terminated"}}))
    assert change == {"warmPoolStatus": {"reusedByJob": None, "status": "Terminated"}}


def test_an_absent_resource_keeps_its_last_state() -> None:
    stored = applied({}, patch({}) or {})
    assert patch(stored, Observation({}, found=False)) is None


def test_the_stored_status_is_recalled_as_it_was_observed() -> None:
    status = applied({}, dict(to_status(KIND, OBSERVED).items()))
    recalled = recall(KIND, status)
    assert recalled is not None
    assert dict(recalled.data) == dict(OBSERVED.data)
    assert recall(KIND, {"conditions": []}) is None
