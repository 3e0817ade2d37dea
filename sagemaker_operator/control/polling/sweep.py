"""One sweep, from its plan to its last page: which List is asked, how far it got, whom it should have shown. Pure.

Guarantees:
- A sweep that is refused at a page goes on at that page: among 3,000 jobs and 20 % refusals one that started over would never
  reach its last page.
- The watermark never lies beyond the time at which the sweep began, on SageMaker's clock. What an answer shows was modified
  before it, so a time of modification less the seconds since the sweep began is a lower bound that needs no clock of ours.
- A LastModifiedTime in the future does not count: it must not hide the changes of all others until then.

Assumptions: our clock and SageMaker's differ by less than five minutes, beyond which AWS refuses signatures. A clock that is
behind only makes the sweeps of changes show more. One that is ahead believes times that lie so little in the future: they may
hide changes until the next sweep of all.
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

# Kubernetes' clock against AWS's: the bound on creation times must never cut off a live resource.
CLOCK_MARGIN = 300.0
# The watermark is SageMaker's own time; what was modified before it may reach the List this much later.
OVERLAP = 60.0
# A refused sweep goes on where it was for as long; after it the pages before the token are too old to be worth the rest.
RESUMABLE_SECONDS = 900.0
# Refusals in a row after which the members that no page reached are described, a few at a time.
GIVE_UP_AFTER = 5
MAX_PAGES = 200

Name = tuple[Any, ...]
"""How a List identifies a resource."""

_REFUSALS = (ErrorCategory.THROTTLED, ErrorCategory.TRANSIENT, ErrorCategory.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The List to ask."""

    params: Mapping[str, Any]
    whole: bool
    """It shows all that exist: what it does not show needs a Describe. Otherwise: what it does not show has not changed."""


@dataclass(slots=True)
class Progress:
    """How far a sweep is."""

    sweep: Sweep
    begun: float
    """Loop time."""
    limit: float
    """Our clock at its begin, seconds since the epoch: times of modification after it and the seconds since are impossible."""
    unseen: set[Name]
    watermark: float
    token: str | None = None
    pages: int = 0
    refused: int = 0
    """Refusals in a row."""
    restarted: bool = False
    describe_after: float = 0.0
    """Loop time before which no more of those that it has not reached are described."""

    def params(self) -> dict[str, Any]:
        return dict(self.sweep.params) | ({"NextToken": self.token} if self.token else {})

    def next_page(self, token: str | None) -> bool:
        """Records a page; whether another one is needed."""
        self.pages += 1
        self.refused = 0
        # Some of SageMaker's Lists have been seen to repeat a token indefinitely.
        more = bool(token) and bool(self.unseen) and token != self.token and self.pages < MAX_PAGES
        self.token = token
        return more

    def saw(self, name: Name, modified: float, now: float) -> None:
        """`now` is the loop time of the answer."""
        self.unseen.discard(name)
        elapsed = now - self.begun
        if modified <= self.limit + elapsed:
            self.watermark = max(self.watermark, modified - elapsed)

    def resumes(self, error: AwsError, now: float) -> bool:
        """Whether to go on at the token after this error. Counts a refusal."""
        if error.category not in _REFUSALS or self.token is None or now - self.begun > RESUMABLE_SECONDS:
            return False
        self.refused += 1
        return True

    def starts_over(self, error: AwsError) -> bool:
        """Whether the token was refused: once, the sweep begins anew."""
        if error.category is not ErrorCategory.VALIDATION or self.token is None or self.restarted:
            return False
        self.token, self.restarted = None, True
        return True


@dataclass(slots=True)
class Marks:
    """What a group remembers from sweep to sweep."""

    watermark: float | None = None
    """SageMaker's time up to which changes have been observed."""
    whole_at: float = 0.0
    """Loop time of the next sweep of all."""
    lists_after: float = 0.0
    """Loop time before which the List is not tried: it was denied."""
    pages: dict[bool, int] = field(default_factory=lambda: {True: 1, False: 1})
    """Pages of the last sweep, of all (True) or of changes: what the next one will cost."""
    progress: Progress | None = None
    """A sweep that was refused and goes on."""


def plan(kind: Kind, parent: Sequence[str], marks: Marks, *, oldest: float, now: float, whole: bool) -> Sweep | None:
    """The List that shows what is due; None if no List can.

    `oldest` is the earliest creation time of all members, `now` loop time; `whole`: a sweep of changes would not do.
    """
    listing = kind.listing
    if listing is None or tier(kind) is Tier.NONE or now < marks.lists_after:
        return None
    params: dict[str, Any] = {"MaxResults": PAGE} | dict(listing.fixed)
    params |= {f"{name}Equals": value for name, value in zip(parents(kind), parent, strict=True)}
    if listing.created_after is not None:
        params[listing.created_after] = oldest - CLOCK_MARGIN
    whole = whole or listing.modified_after is None or marks.watermark is None or now >= marks.whole_at
    if not whole and listing.modified_after is not None and marks.watermark is not None:
        params[listing.modified_after] = marks.watermark - OVERLAP
    return Sweep(params, whole)


def summary_name(kind: Kind, listing: ListFacts, summary: Mapping[str, Any], known: Container[Name]) -> Name:
    """Its ARN where its name is not `known`: a version of a model has no name, and Describe takes the ARN for it."""
    name = tuple(summary.get(member) for member, _ in listing.identifiers)
    return name if name in known else (summary.get(kind.arn_member),)


def handle_name(listing: ListFacts, handle: Handle) -> Name:
    return tuple(handle.identifiers.get(identifier) for _, identifier in listing.identifiers)


def modified(summary: Mapping[str, Any]) -> float:
    """SageMaker's time of the last change that a summary reports; 0 if it has none."""
    times = (summary.get(name) for name in ("LastModifiedTime", "CreationTime"))
    return max((float(time) for time in times if isinstance(time, (int, float))), default=0.0)


def is_leaving(handle: Handle) -> bool:
    """It will vanish, and what vanished is in no List of changes."""
    return handle.last is not None and handle.last.state(handle.kind) is StatusClass.DELETING


def needs_describe(handle: Handle) -> bool:
    """What it waits for is in no summary: debug rules that run on after the job's end."""
    return handle.last is not None and not handle.last.state(handle.kind).in_transition


@cache
def _compared(kind: Kind) -> tuple[str, ...]:
    """Members whose change matters: what a List shows, without times (a heartbeat changes nothing), and the status."""
    shapes = described_members(kind)
    shown = set(kind.listing.observed) if kind.listing else set()
    shown |= {member for member in (kind.status_member, kind.secondary_member) if member}
    identity = {member.api for member in kind.identifiers} | {kind.arn_member, kind.name_member}
    return tuple(sorted(name for name in shown - identity if shapes[name].type_name != "timestamp"))


def fingerprint(kind: Kind, observation: Observation) -> tuple[Any, ...]:
    """Equal for a summary and a Describe of the same state; pending work is part of it, as only a Describe shows it."""
    if not observation.found:
        return ("absent",)
    values = tuple(repr(observation.data.get(name)) for name in _compared(kind))
    return (*values, observation.pending(kind))


def overdue(members: Iterable[tuple[float, Any]], now: float, *, seconds: float, most: int) -> list[Any]:
    """Of (due, key) pairs the keys that are overdue by more than `seconds`, the longest first, no more than `most`."""
    late = sorted((due, number, key) for number, (due, key) in enumerate(members) if now - due > seconds)
    return [key for _, _, key in late[:most]]
