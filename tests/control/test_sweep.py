"""Which List is called with which bounds, how a sweep proceeds, and what it leaves to Describe. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.control.polling import sweep as sweeps
from sagemaker_operator.control.polling.sweep import Progress, Sweep, SweepState
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import input_members

JOB = catalog()["TrainingJob"]
EPOCH = 1_700_000_000.0
WATERMARK = EPOCH + 50.0

# What decides which resources a List shows, other than paging, order, bounds of time and names: each looked up in AWS's
# reference. None but the type of model packages leaves anything out by default.
REVIEWED = {"EndpointName", "MonitoringJobDefinitionName", "ModelApprovalStatus", "ModelPackageGroupName"}
REVIEWED |= {"ModelPackageType", "PipelineNamePrefix", "PipelineName", "CrossAccountFilterOption"}
REVIEWED |= {"SourceUri", "ActionType", "ArtifactType", "ContextType", "ExperimentName", "TrialName", "SourceArn"}
_NARROWING = ("After", "Before", "Contains", "Equals")
_PAGING = {"NextToken", "MaxResults", "SortBy", "SortOrder"}


def plan(state: SweepState, *, now: float = 100.0, full: bool = False, kind: str = "TrainingJob") -> Sweep | None:
    return sweeps.plan(catalog()[kind], (), state, oldest=EPOCH, now=now, full=full)


def progress(*, limit: float = EPOCH, watermark: float = 0.0, missing: int = 2) -> Progress:
    return Progress(Sweep({"MaxResults": 100}, full=True), 10.0, limit, {(str(n),) for n in range(missing)}, watermark)


def error(category: ErrorCategory) -> AwsError:
    return AwsError("no", category=category, operation="ListTrainingJobs")


def test_a_sweep_of_changes_overlaps_the_last_one_and_misses_no_resource() -> None:
    found = plan(SweepState(watermark=WATERMARK, full_at=1000.0))
    assert found == Sweep(
        {"MaxResults": 100, "CreationTimeAfter": EPOCH - 300.0, "LastModifiedTimeAfter": WATERMARK - 60.0}, full=False
    )


@pytest.mark.parametrize(
    ("state", "full"),
    [
        (SweepState(), False),
        (SweepState(watermark=WATERMARK, full_at=100.0), False),
        (SweepState(watermark=WATERMARK, full_at=1000.0), True),
    ],
    ids=["nothing was observed", "ten minutes are over", "one of them will vanish"],
)
def test_a_full_sweep(state: SweepState, full: bool) -> None:
    found = plan(state, full=full)
    assert found == Sweep({"MaxResults": 100, "CreationTimeAfter": EPOCH - 300.0}, full=True)


def test_a_denied_list_is_not_retried_before_its_time() -> None:
    assert plan(SweepState(lists_after=101.0)) is None
    assert plan(SweepState(lists_after=100.0)) is not None


def test_model_packages_are_listed_with_and_without_a_version() -> None:
    found = plan(SweepState(), kind="ModelPackage")
    assert found is not None
    assert found.params["ModelPackageType"] == "Both"


@pytest.mark.parametrize("kind", [kind for kind in catalog().values() if kind.listing], ids=lambda kind: kind.name)
def test_no_list_has_an_unreviewed_filter(kind: Any) -> None:
    """A new member may have a default that leaves resources out, as ModelPackageType has."""
    members = set(input_members(kind.listing.operation)) - _PAGING
    assert {member for member in members if not member.endswith(_NARROWING)} <= REVIEWED


@pytest.mark.parametrize(
    ("modified", "answered", "limit", "watermark"),
    [
        (EPOCH - 5.0, 10.0, EPOCH, EPOCH - 5.0),
        (EPOCH + 30.0, 40.0, EPOCH, EPOCH),
        (EPOCH + 30.0, 40.0, EPOCH + 250.0, EPOCH),
        (EPOCH + 86400.0, 10.0, EPOCH, 0.0),
        (EPOCH, 10.0, EPOCH - 250.0, 0.0),
    ],
    ids=["at once", "on a late page", "our clock is ahead", "in the future", "our clock is behind"],
)
def test_the_watermark_is_not_after_the_sweeps_start_on_sagemakers_clock(
    modified: float, answered: float, limit: float, watermark: float
) -> None:
    """It began at EPOCH by SageMaker's clock, which is loop time 10."""
    sweep = progress(limit=limit)
    sweep.record(("0",), modified, answered)
    assert sweep.watermark == watermark


def test_the_watermark_never_goes_back() -> None:
    sweep = progress(watermark=WATERMARK, limit=WATERMARK)
    sweep.record(("0",), EPOCH, 10.0)
    assert sweep.watermark == WATERMARK


def test_pages_end_with_the_last_token_or_when_all_are_shown_or_when_a_token_repeats() -> None:
    sweep = progress()
    assert sweep.next_page("a")
    assert sweep.params() == {"MaxResults": 100, "NextToken": "a"}
    assert sweep.next_page("b")
    assert not sweep.next_page("b")
    assert not progress().next_page(None)
    done = progress(missing=1)
    done.record(("0",), EPOCH, 10.0)
    assert not done.next_page("a")


def test_alternating_page_tokens_end_the_sweep() -> None:
    sweep = progress()
    pages = 1
    while sweep.next_page("ab"[pages % 2]):
        pages += 1
    assert pages == sweeps.MAX_PAGES


@pytest.mark.parametrize("category", [ErrorCategory.THROTTLED, ErrorCategory.TRANSIENT, ErrorCategory.UNKNOWN])
def test_a_refused_sweep_resumes_at_its_token(category: ErrorCategory) -> None:
    sweep = progress()
    assert not sweep.resumes(error(category), 20.0), "nothing is known yet: it starts over"
    sweep.next_page("a")
    assert sweep.resumes(error(category), 20.0)
    assert sweep.params()["NextToken"] == "a"
    assert not sweep.resumes(error(category), 10.0 + sweeps.RESUMABLE_SECONDS + 1.0)


def test_a_denied_page_ends_the_sweep() -> None:
    sweep = progress()
    sweep.next_page("a")
    assert not sweep.resumes(error(ErrorCategory.ACCESS_DENIED), 20.0)


def test_a_refused_token_starts_over_once() -> None:
    sweep = progress()
    invalid = error(ErrorCategory.VALIDATION)
    assert not sweep.starts_over(invalid), "it is not the token that is wrong"
    sweep.next_page("a")
    assert sweep.starts_over(invalid)
    assert sweep.params() == {"MaxResults": 100}
    sweep.next_page("a")
    assert not sweep.starts_over(invalid)


def test_the_most_overdue_come_first_and_few() -> None:
    members = [(float(due), due) for due in (50, 10, 30, 95)]
    assert sweeps.overdue(members, 100.0, seconds=20.0, most=2) == [10, 30]


@pytest.mark.parametrize(
    ("known", "found"),
    [({("one",)}, ("one",)), ({("arn:1",)}, ("arn:1",)), (set(), ("arn:1",))],
    ids=["by name", "by ARN", "somebody else's"],
)
def test_a_summary_is_recognised_by_name_or_by_arn(known: set[sweeps.Name], found: sweeps.Name) -> None:
    kind = catalog()["ModelPackage"]
    assert kind.listing is not None
    summary = {"ModelPackageName": "one", "ModelPackageArn": "arn:1"}
    assert sweeps.summary_name(kind, kind.listing, summary, known) == found
