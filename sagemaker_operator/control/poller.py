"""Follows in-flight resources: one sweep of List pages for all of a kind, or single Describes where those are fewer.

It never touches Kubernetes. What it sees becomes an observation and a key on the work queue, and only if something changed:
a poll without news costs one share of a List call and nothing else.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.control.observation import ABSENT, Observation
from sagemaker_operator.control.schedule import PAGE, interval, list_is_cheaper
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.model import output_members
from sagemaker_operator.logs import Event, emit, get_logger

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.control.ports import AwsPort, Handle
    from sagemaker_operator.kinds.descriptor import Kind, ListFacts
    from sagemaker_operator.objects import ObjectKey
    from sagemaker_operator.settings import Cadence

# Looks that fall due within this share of the interval are taken together: fewer sweeps, and nobody waits noticeably.
_COALESCE = 0.25
_CONCURRENT_DESCRIBES = 8
# Kubernetes' clock against AWS's: the bound on creation times must never cut off a live resource.
_CLOCK_MARGIN = 300.0
# A created resource may be missing from a List for seconds (eventual consistency); only then is absence worth a Describe.
_LISTED_AFTER = 60.0
_MAX_PAGES = 200


@dataclass(slots=True)
class _Member:
    """One followed resource."""

    handle: Handle
    since: float
    due: float
    looks: int = 0
    fingerprint: Any = None


@dataclass(slots=True)
class _Group:
    """All followed resources of one kind at one place: what one List call can see."""

    kind: Kind
    target: Target
    members: dict[ObjectKey, _Member] = field(default_factory=dict)
    pages: int = 1
    """Pages of the last whole sweep: what the next one will cost."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Poller:
    """`track` what moves, `take` what was seen. `enqueue(key)` is called for every change."""

    def __init__(
        self, aws: AwsPort, *, enqueue: Callable[[ObjectKey], None], cadence: Cadence, rng: random.Random
    ) -> None:
        self._aws = aws
        self._enqueue = enqueue
        self._cadence = cadence
        self._rng = rng
        self._groups: dict[tuple[str, Target], _Group] = {}
        self._group_of: dict[ObjectKey, _Group] = {}
        self._seen: dict[ObjectKey, Observation] = {}
        self._closing = False
        self._log = get_logger("poller")

    def __repr__(self) -> str:
        return f"<Poller {len(self._group_of)} resources in {len(self._groups)} groups>"

    def __len__(self) -> int:
        return len(self._group_of)

    def tracked(self, kind: str) -> int:
        return sum(len(group.members) for (name, _), group in self._groups.items() if name == kind)

    def track(self, key: ObjectKey, handle: Handle) -> None:
        """Follow it from now on; a handle for a followed key renews what is known and keeps its rhythm."""
        if self._closing:
            return
        now = asyncio.get_running_loop().time()
        group = self._groups.setdefault((handle.kind.name, handle.target), _Group(handle.kind, handle.target))
        if self._group_of.get(key) is not group:
            self.untrack(key)
        self._group_of[key] = group
        member = group.members.get(key)
        if member is None:
            due = now + interval(self._cadence, looks=0, age=0.0, rng=self._rng)
            member = group.members[key] = _Member(handle, since=now, due=due)
        member.handle = handle
        member.fingerprint = _fingerprint(handle.kind, handle.last) if handle.last is not None else None
        group.wake.set()
        if group.task is None:
            group.task = asyncio.create_task(
                self._follow(group), name=f"poller {handle.kind.name} {handle.target.region}"
            )

    def untrack(self, key: ObjectKey) -> None:
        self._seen.pop(key, None)
        group = self._group_of.pop(key, None)
        if group is not None:
            group.members.pop(key, None)

    def take(self, key: ObjectKey) -> Observation | None:
        """The newest observation, once: the pass that takes it acts on it."""
        return self._seen.pop(key, None)

    async def close(self) -> None:
        """Ends all sweeps. Idempotent."""
        self._closing = True
        tasks = [group.task for group in self._groups.values() if group.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._groups.clear()
        self._group_of.clear()

    async def _follow(self, group: _Group) -> None:
        """The life of one group: sleep until somebody is due, look, again; ends when nobody is left."""
        loop = asyncio.get_running_loop()
        while group.members:
            group.wake.clear()
            wait = min(member.due for member in group.members.values()) - loop.time()
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await group.wake.wait()
                except TimeoutError:
                    pass
                continue
            try:
                await self._look(group)
            except AwsError as error:
                event = Event.AWS_THROTTLED if error.category is ErrorCategory.THROTTLED else Event.AWS_ERROR
                emit(
                    self._log,
                    event,
                    operation=error.operation,
                    errorCode=error.code,
                    requestID=error.request_id,
                    err=error.message,
                )
                self._postpone(group, error.retry_after or 0.0)
            except Exception:
                # A bug must not end the following of every other resource; the next look may well succeed.
                self._log.exception("Poll failed", kind=group.kind.name)
                self._postpone(group, 0.0)
        group.task = None
        self._groups.pop((group.kind.name, group.target), None)

    def _postpone(self, group: _Group, at_least: float) -> None:
        """Nobody learned anything: whoever is still due waits another turn, and no less than `at_least` seconds."""
        now = asyncio.get_running_loop().time()
        for member in self._due(group).values():
            member.due = now + max(at_least, self._next(member, now))

    def _due(self, group: _Group) -> dict[ObjectKey, _Member]:
        horizon = asyncio.get_running_loop().time() + _COALESCE * self._cadence.base
        return {key: member for key, member in group.members.items() if member.due <= horizon}

    def _next(self, member: _Member, now: float) -> float:
        return interval(self._cadence, looks=member.looks, age=now - member.since, rng=self._rng)

    def _looked(self, member: _Member) -> None:
        now = asyncio.get_running_loop().time()
        member.looks += 1
        member.due = now + self._next(member, now)

    async def _look(self, group: _Group) -> None:
        due = self._due(group)
        listing = group.kind.listing
        by_describe = {key: member for key, member in due.items() if _needs_describe(group.kind, member)}
        by_list = {key: member for key, member in due.items() if key not in by_describe}
        if (
            listing is None
            or not listing.has_status
            or listing.required
            or not list_is_cheaper(len(by_list), pages=group.pages)
        ):
            await self._describe(group, due)
            # The estimate fades, so that a cheaper List is tried again some day.
            group.pages = max(1, math.ceil(len(group.members) / PAGE), group.pages - 1)
            return
        await self._sweep(group, listing)
        await self._describe(group, by_describe)

    async def _describe(self, group: _Group, due: Mapping[ObjectKey, _Member]) -> None:
        gate = asyncio.Semaphore(_CONCURRENT_DESCRIBES)

        async def one(key: ObjectKey, member: _Member) -> None:
            async with gate:
                try:
                    answer = await self._aws.call(
                        group.target, group.kind.describe, member.handle.identifiers, kind=group.kind
                    )
                except AwsError as error:
                    if error.category is not ErrorCategory.NOT_FOUND:
                        raise
                    observation = ABSENT
                else:
                    observation = Observation(answer)
            self._looked(member)
            self._publish(key, member, observation)

        results = await asyncio.gather(*(one(key, member) for key, member in due.items()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _sweep(self, group: _Group, listing: ListFacts) -> None:
        """All pages down to the oldest live resource. Pages may be short or empty before the last: filters come after paging."""
        names = {self._name(listing, member.handle.identifiers): key for key, member in group.members.items()}
        params: dict[str, Any] = {"MaxResults": PAGE}
        if listing.created_after is not None:
            oldest = min(member.handle.created_at for member in group.members.values())
            params[listing.created_after] = oldest - _CLOCK_MARGIN
        pages = 0
        while pages < _MAX_PAGES:
            answer = await self._aws.call(group.target, listing.operation, params, kind=group.kind)
            pages += 1
            for summary in answer.get(listing.result, ()):
                key = names.pop(tuple(summary.get(member) for member, _ in listing.identifiers), None)
                member = group.members.get(key) if key is not None else None
                if key is not None and member is not None:
                    self._looked(member)
                    seen = {name: summary[name] for name in listing.observed if name in summary}
                    self._publish(key, member, Observation(seen, complete=False))
            token = answer.get("NextToken")
            if not token or not names:
                break
            params = {**params, "NextToken": token}
        group.pages = pages
        await self._describe(group, self._missing(group, names.values()))

    def _missing(self, group: _Group, keys: Any) -> dict[ObjectKey, _Member]:
        """Those that a whole sweep did not show although they are old enough to be shown."""
        now = asyncio.get_running_loop().time()
        missing: dict[ObjectKey, _Member] = {}
        for key in keys:
            member = group.members.get(key)
            if member is None:
                continue
            if now - member.since >= _LISTED_AFTER:
                missing[key] = member
            else:
                self._looked(member)
        return missing

    @staticmethod
    def _name(listing: ListFacts, identifiers: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(identifiers.get(identifier) for _, identifier in listing.identifiers)

    def _publish(self, key: ObjectKey, member: _Member, observation: Observation) -> None:
        fingerprint = _fingerprint(member.handle.kind, observation)
        if fingerprint == member.fingerprint:
            return
        member.fingerprint = fingerprint
        self._seen[key] = observation
        self._enqueue(key)


def _needs_describe(kind: Kind, member: _Member) -> bool:
    """What it waits for is in no summary: debug rules that run on after the job's end."""
    last = member.handle.last
    return last is not None and not last.state(kind).in_transition


@cache
def _news(kind: Kind) -> tuple[str, ...]:
    """Members whose change is news: what a List shows, without times (a heartbeat is no news), plus the status itself."""
    shapes = output_members(kind.describe)
    shown = set(kind.listing.observed) if kind.listing else set()
    shown |= {member for member in (kind.status_member, kind.secondary_member) if member}
    identity = {member.api for member in kind.identifiers} | {kind.arn_member, kind.name_member}
    return tuple(sorted(name for name in shown - identity if shapes[name].type_name != "timestamp"))


def _fingerprint(kind: Kind, observation: Observation) -> tuple[Any, ...]:
    """Equal for a summary and a Describe of the same state; pending work is part of it, as only a Describe shows it."""
    if not observation.found:
        return ("absent",)
    values = tuple(repr(observation.data.get(name)) for name in _news(kind))
    return (*values, observation.pending(kind))
