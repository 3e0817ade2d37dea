"""One sweep, from its plan to its last page: the List request, its progress, and the resources it has not shown. Pure.

Guarantees:
- A sweep that is refused at a page resumes at that page: with 3,000 jobs and 20 % refusals, one that started over would never
  reach its last page.
- The watermark is never later than the beginning of the sweep, on SageMaker's clock. What an answer shows was modified
  before it, so a time of modification less the seconds since the sweep began is a lower bound that does not use our clock.
- A LastModifiedTime in the future is ignored: it would hide the changes of all other resources until then.

Assumptions: our clock and SageMaker's differ by less than five minutes; beyond that AWS rejects signatures. If ours is behind,
sweeps of changes show more than necessary. If it is ahead, a time up to that far in the future is accepted, and may hide
changes until the next full sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.control.polling.schedule import PAGE, Tier, parents, tier
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.described import described_members
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from sagemaker_operator.control.interfaces import Handle
    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.kinds.descriptor import Kind, ListFacts

# Kubernetes' clock against AWS's: the bound on creation times must not exclude an existing resource.
CLOCK_MARGIN = 300.0
# The watermark is SageMaker's time; a modification before it may appear in the List this much later.
OVERLAP = 60.0
# A refused sweep can resume for this long; after that its first pages are too old for the rest to be useful.
RESUMABLE_SECONDS = 900.0
# Refusals in a row after which the members that no page has shown are described, a few at a time.
GIVE_UP_AFTER = 5
MAX_PAGES = 200

Name = tuple[Any, ...]
"""How a List identifies a resource."""

_REFUSALS = (ErrorCategory.THROTTLED, ErrorCategory.TRANSIENT, ErrorCategory.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A List request."""

    params: Mapping[str, Any]
    full: bool
    """A full sweep: a member that it does not show needs a Describe. In a sweep of changes such a member has not changed."""


@dataclass(slots=True)
class Progress:
    """The progress of a sweep."""

    sweep: Sweep
    begun: float
    """Loop time."""
    limit: float
    """Our clock at its beginning, seconds since the epoch. Later times of modification, less the elapsed seconds, are ignored."""
    missing: set[Name]
    """Names of members that no page has shown yet."""
    watermark: float
    token: str | None = None
    pages: int = 0
    refused: int = 0
    """Refusals in a row."""
    restarted: bool = False
    describe_after: float = 0.0
    """Loop time before which no more of the overdue members are described."""

    def params(self) -> dict[str, Any]:
        return dict(self.sweep.params) | ({"NextToken": self.token} if self.token else {})

    def next_page(self, token: str | None) -> bool:
        """Records a page. Returns whether another one is needed."""
        self.pages += 1
        self.refused = 0
        # Some of SageMaker's Lists repeat a token indefinitely.
        more = bool(token) and bool(self.missing) and token != self.token and self.pages < MAX_PAGES
        self.token = token
        return more

    def record(self, name: Name, modified: float, now: float) -> None:
        """Records a summary. `now` is the loop time of the answer."""
        self.missing.discard(name)
        elapsed = now - self.begun
        if modified <= self.limit + elapsed:
            self.watermark = max(self.watermark, modified - elapsed)

    def resumes(self, error: AwsError, now: float) -> bool:
        """Whether to resume at the token after this error. Counts a refusal."""
        if error.category not in _REFUSALS or self.token is None or now - self.begun > RESUMABLE_SECONDS:
            return False
        self.refused += 1
        return True

    def starts_over(self, error: AwsError) -> bool:
        """Whether the token was rejected for the first time: then the sweep starts over, once."""
        if error.category is not ErrorCategory.VALIDATION or self.token is None or self.restarted:
            return False
        self.token, self.restarted = None, True
        return True


@dataclass(slots=True)
class SweepState:
    """The state of a group between sweeps."""

    watermark: float | None = None
    """SageMaker's time up to which changes have been observed."""
    full_at: float = 0.0
    """Loop time of the next full sweep."""
    lists_after: float = 0.0
    """Loop time before which the List is not called, because it was denied."""
    pages: dict[bool, int] = field(default_factory=lambda: {True: 1, False: 1})
    """Pages of the last full sweep (True) and of the last sweep of changes: the estimate for the next one."""
    progress: Progress | None = None
    """A sweep that was refused and will resume."""


def plan(
    kind: Kind, parent: Sequence[str], state: SweepState, *, oldest: float, now: float, full: bool
) -> Sweep | None:
    """The List request that shows the due members; None if no List can.

    `oldest` is the earliest creation time of all members, `now` loop time; `full`: a sweep of changes is not sufficient.
    """
    listing = kind.listing
    if listing is None or tier(kind) is Tier.NONE or now < state.lists_after:
        return None
    params: dict[str, Any] = {"MaxResults": PAGE} | dict(listing.fixed)
    params |= {f"{name}Equals": value for name, value in zip(parents(kind), parent, strict=True)}
    if listing.created_after is not None:
        params[listing.created_after] = oldest - CLOCK_MARGIN
    full = full or listing.modified_after is None or state.watermark is None or now >= state.full_at
    if not full and listing.modified_after is not None and state.watermark is not None:
        params[listing.modified_after] = state.watermark - OVERLAP
    return Sweep(params, full)


def summary_name(kind: Kind, listing: ListFacts, summary: Mapping[str, Any], known: Container[Name]) -> Name:
    """The name in a summary, or its ARN if the name is not `known`: a version of a model has no name and is described by ARN."""
    name = tuple(summary.get(member) for member, _ in listing.identifiers)
    return name if name in known else (summary.get(kind.arn_member),)


def handle_name(listing: ListFacts, handle: Handle) -> Name:
    return tuple(handle.identifiers.get(identifier) for _, identifier in listing.identifiers)


def modified(summary: Mapping[str, Any]) -> float:
    """SageMaker's time of the last change in a summary; 0 if it has none."""
    times = (summary.get(name) for name in ("LastModifiedTime", "CreationTime"))
    return max((float(time) for time in times if isinstance(time, (int, float))), default=0.0)


def is_deleting(handle: Handle) -> bool:
    """Whether it is being deleted: a deleted resource is not in a List of changes."""
    return handle.last is not None and handle.last.state(handle.kind) is StatusClass.DELETING


def needs_describe(handle: Handle) -> bool:
    """Whether its next change is not in a summary: debug rules continue after the end of a job."""
    return handle.last is not None and not handle.last.state(handle.kind).in_transition


@cache
def _compared(kind: Kind) -> tuple[str, ...]:
    """Members whose change is published: those of a summary, without times (a heartbeat is not a change), and the status."""
    shapes = described_members(kind)
    shown = set(kind.listing.observed) if kind.listing else set()
    shown |= {member for member in (kind.status_member, kind.secondary_member) if member}
    identity = {member.api for member in kind.identifiers} | {kind.arn_member, kind.name_member}
    return tuple(sorted(name for name in shown - identity if shapes[name].type_name != "timestamp"))


def fingerprint(kind: Kind, observation: Observation) -> tuple[Any, ...]:
    """Equal for a summary and a Describe of the same state. Includes pending work, which only a Describe shows."""
    if not observation.found:
        return ("absent",)
    values = tuple(repr(observation.data.get(name)) for name in _compared(kind))
    return (*values, observation.pending(kind))


def overdue(members: Iterable[tuple[float, Any]], now: float, *, seconds: float, most: int) -> list[Any]:
    """The keys of (due, key) pairs that are overdue by more than `seconds`, the longest first, at most `most`."""
    late = sorted((due, number, key) for number, (due, key) in enumerate(members) if now - due > seconds)
    return [key for _, _, key in late[:most]]
