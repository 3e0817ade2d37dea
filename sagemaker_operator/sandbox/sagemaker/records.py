"""The resources that exist: one record each, grouped by account, region and kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import Kind, StatusClass
from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, Scenario, Step, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope

Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An update in progress, of which Describe shows nothing before it is over."""

    at: float
    """When it is over."""
    input: dict[str, Any] = field(repr=False)
    notes: dict[str, Any] = field(default_factory=dict, repr=False)
    failure: str = ""
    """Why it fails; empty: it succeeds."""


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """One resource. Everything that changes with time is computed from `timeline` when it is read."""

    kind: Kind
    scope: Scope
    identity: Identity
    """Values of `kind.identifiers`, in their order."""
    name: str
    arn: str
    number: int
    """Rises with every creation; breaks ties between equal creation times."""
    input: dict[str, Any] = field(repr=False)
    """The Create input with the server's defaults, without tags."""
    tags: dict[str, str]
    created: float
    modified: float
    """The last change by a call; the status also changes with time."""
    scenario: Scenario
    luck: float
    """A number in [0, 1) drawn at creation, for what a real job would measure."""
    timeline: Timeline = field(default_factory=Timeline)
    deleting: bool = False
    pending: Change | None = None
    failure: str = ""
    """Why the last update failed."""
    notes: dict[str, Any] = field(default_factory=dict, repr=False)
    """Further state of the resource; the behaviour of its kind documents it."""

    def move(self, steps: Sequence[Step], now: float) -> None:
        """Begin a stop, an update or a deletion: it takes as long as the resource's tags say. No steps: done at once."""
        if not steps:
            return
        change_seconds = self.scenario.change_seconds
        self.timeline.schedule(
            [replace(step, seconds=change_seconds) if step.seconds == CHANGE_SECONDS else step for step in steps],
            start=now,
        )

    def settle(self, now: float) -> None:
        """Apply a pending update whose time has come."""
        change = self.pending
        if change is None or now < change.at:
            return
        self.pending, self.failure = None, change.failure
        if not change.failure:
            self.input.update(change.input)
            self.notes.update(change.notes)

    def status(self, now: float) -> str:
        return self.timeline.at(now).step.status

    def status_class(self, now: float) -> StatusClass:
        return self.kind.classify(self.status(now))

    def finished(self, now: float) -> bool:
        """A job has succeeded, failed or been stopped."""
        return self.status_class(now) in (StatusClass.SUCCEEDED, StatusClass.FAILED, StatusClass.STOPPED)

    def gone(self, now: float) -> bool:
        return self.deleting and now >= self.timeline.end

    def last_modified(self, now: float) -> float:
        return max(self.modified, self.timeline.at(now).start)


class Collection:
    """The resources of one kind in one account and region, in order of creation."""

    def __init__(self) -> None:
        self._records: dict[Identity, Record] = {}
        self._tokens: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"<Collection {len(self._records)} records>"

    def get(self, identity: Identity, *, now: float) -> Record | None:
        record = self._records.get(identity)
        if record is not None and record.gone(now):
            self.remove(record)
            return None
        return record

    def by_token(self, token: str, *, now: float) -> Record | None:
        """The record that a create with this idempotency token made."""
        record = self._tokens.get(token)
        return None if record is None or record.gone(now) else record

    def add(self, record: Record, *, token: str) -> None:
        self._records[record.identity] = record
        if token:
            self._tokens[token] = record

    def remove(self, record: Record) -> None:
        del self._records[record.identity]
        self._tokens = {token: other for token, other in self._tokens.items() if other is not record}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())


class Store:
    """Every collection, and the records by ARN."""

    def __init__(self) -> None:
        self._collections: dict[tuple[Scope, str], Collection] = {}
        self._arns: dict[str, Record] = {}
        self.made: Counter[str] = Counter()
        """How many of each kind were ever created."""

    def __repr__(self) -> str:
        return f"<Store {self.made.total()} records made>"

    def collection(self, scope: Scope, kind: Kind) -> Collection:
        return self._collections.setdefault((scope, kind.name), Collection())

    def next_number(self) -> int:
        return self.made.total() + 1

    def records(self, now: float) -> list[Record]:
        """All that exist, in order of creation."""
        found = [record for collection in self._collections.values() for record in collection if not record.gone(now)]
        return sorted(found, key=lambda record: record.number)

    def add(self, record: Record, *, token: str) -> None:
        self.made[record.kind.name] += 1
        self.collection(record.scope, record.kind).add(record, token=token)
        self._arns[record.arn] = record

    def remove(self, record: Record) -> None:
        self.collection(record.scope, record.kind).remove(record)
        self._arns.pop(record.arn, None)

    def by_arn(self, arn: str, scope: Scope, *, now: float) -> Record | None:
        """A record of this account and region; the last one created if several had the ARN in turn."""
        record = self._arns.get(arn)
        if record is None or record.scope != scope:
            return None
        return self.collection(scope, record.kind).get(record.identity, now=now)
