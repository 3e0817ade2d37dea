"""Polls resources in transition: one sweep of List pages for all of a kind, or single Describes where those are fewer.

It makes no calls of Kubernetes. A change becomes an observation and a key on the work queue; a poll without a change costs
its share of a List call and nothing else.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_operator.backoff import SLOW
from sagemaker_operator.control.observation import ABSENT, Missed, Observation
from sagemaker_operator.control.polling import sweep as sweeps
from sagemaker_operator.control.polling.schedule import (
    LIST_RATE,
    PAGE,
    describes_polling,
    interval,
    list_is_cheaper,
    parents,
)
from sagemaker_operator.control.polling.sweep import Progress, Sweep, SweepState
from sagemaker_operator.errors import UNCERTAIN, AwsError, ErrorCategory
from sagemaker_operator.guard import Guard
from sagemaker_operator.logs import Event, emit, get_logger

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.clock import Clock
    from sagemaker_operator.control.interfaces import AwsPort, Handle
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import ObjectKey
    from sagemaker_operator.settings import Cadence

# Polls that become due within this share of the base interval are combined: fewer sweeps, without a noticeable delay.
_COALESCE = 0.25
# Few, although a rate limiter applies: a create that needs a Describe waits behind at most these.
_CONCURRENT_DESCRIBES = 8
# A created resource may be missing from Lists for seconds (eventual consistency). Only after this is absence checked.
_LISTED_AFTER = 60.0
# A change that the sweeps of changes missed is found by a full sweep (10 pages for 1,000, every ten minutes) ...
_FULL_EVERY = 600.0
# ... and one that no List shows by a Describe of each resource: 0.3 per second for 1,000 of them.
_DESCRIBE_EVERY = 3600.0
# While a sweep is refused repeatedly, so many members that are overdue by so many seconds are described at a time.
_OVERDUE_DESCRIBES = 20
_OVERDUE_SECONDS = 120.0
# Between a refused page and the next attempt, without a Retry-After; doubled with each refusal in a row up to a minute.
_PAGE_RETRY = 1.0
_PAGE_RETRY_MAX = 60.0
# Three failed polls take more than a minute; a failure that ends sooner is not reported. A denied one does not end by itself.
_REPORTED_AFTER = 3
# A denied List is called again this much later; Describe may be allowed.
_LIST_RETRY = 900.0
_AFFECTS_ALL = (*UNCERTAIN, ErrorCategory.CREDENTIALS)
# Seconds. The loop's clock has a resolution; waiting for less than that would be a busy loop.
_CLOCK_RESOLUTION = 0.001


@dataclass(slots=True)
class _Member:
    """One tracked resource. Times are loop times."""

    handle: Handle
    since: float
    """When tracking began."""
    changed: float
    """When a change of its state was last observed, or when tracking began."""
    due: float
    describe_at: float
    """When a Describe is due regardless of the Lists."""
    polls: int = 0
    missed: int = 0
    """Polls in a row without an answer."""
    not_before: float = 0.0
    """Answers to calls that began earlier are dropped, because SageMaker has accepted a mutation since."""
    swept: bool = False
    """It was created by this process, or a sweep has shown it: from now on sweeps of changes show its changes."""
    fingerprint: Any = None


@dataclass(slots=True)
class _Group:
    """All tracked resources of one kind in one account and region: those that one List call can show."""

    kind: Kind
    target: Target
    parent: tuple[str, ...] = ()
    members: dict[ObjectKey, _Member] = field(default_factory=dict)
    by_name: dict[sweeps.Name, dict[ObjectKey, _Member]] = field(default_factory=dict)
    """The index of members by their name in a List. A resource may have several objects: its owner, and observers.

    It is kept up to date, because it takes 28 ms to build for 3,000 members, and members change between two pages.
    """
    sweep_state: SweepState = field(default_factory=SweepState)
    not_before: float = 0.0
    """Loop time before which no sweep begins: after a long one the List quota of the account is left to other clients."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[str, Target, tuple[str, ...]]:
        return (self.kind.name, self.target, self.parent)

    def add(self, key: ObjectKey, member: _Member) -> None:
        self.members[key] = member
        self.by_name.setdefault(self._name(member), {})[key] = member

    def remove(self, key: ObjectKey) -> None:
        member = self.members.pop(key, None)
        if member is not None:
            name = self._name(member)
            del self.by_name[name][key]
            if not self.by_name[name]:
                del self.by_name[name]

    def _name(self, member: _Member) -> sweeps.Name:
        listing = self.kind.listing
        return sweeps.handle_name(listing, member.handle) if listing is not None else ()


class Poller:
    """`track` resources in transition, `take` their observations. `enqueue(key)` is called for every change."""

    def __init__(
        self,
        aws: AwsPort,
        *,
        enqueue: Callable[[ObjectKey], None],
        cadence: Cadence,
        clock: Clock,
        rng: random.Random,
        guard: Guard | None = None,
    ) -> None:
        self._aws = aws
        self._enqueue = enqueue
        self._cadence = cadence
        self._clock = clock
        self._rng = rng
        self._guard = guard or Guard(rng=rng)
        self._groups: dict[tuple[str, Target, tuple[str, ...]], _Group] = {}
        self._group_of: dict[ObjectKey, _Group] = {}
        self._observations: dict[ObjectKey, tuple[Handle, Observation | Missed]] = {}
        self._closing = False
        self._log = get_logger("poller")

    def __repr__(self) -> str:
        return f"<Poller {len(self._group_of)} resources in {len(self._groups)} groups>"

    def __len__(self) -> int:
        return len(self._group_of)

    def tracked(self, kind: str) -> int:
        return sum(len(group.members) for (name, *_), group in self._groups.items() if name == kind)

    def lag(self, kind: str) -> float:
        """Seconds by which the most overdue poll of this kind is late; 0 if none is."""
        now = asyncio.get_running_loop().time()
        groups = [group for (name, *_), group in self._groups.items() if name == kind]
        return max(0.0, max((now - member.due for group in groups for member in group.members.values()), default=0.0))

    def track(self, key: ObjectKey, handle: Handle) -> None:
        """Polls it from now on. For a tracked key the handle is replaced and the schedule kept."""
        if self._closing:
            return
        now = asyncio.get_running_loop().time()
        parent = tuple(str(handle.identifiers.get(name, "")) for name in parents(handle.kind))
        place = (handle.kind.name, handle.target, parent)
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group(handle.kind, handle.target, parent)
        if self._group_of.get(key) is not group:
            self.untrack(key)
        self._group_of[key] = group
        member = group.members.get(key)
        if member is not None and not member.handle.same_resource(handle):
            self.untrack(key)
            self._group_of[key] = group
            member = None
        if member is None:
            due = now + interval(self._cadence, polls=0, age=0.0, still=0.0, rng=self._rng)
            # Without a last observation this process has just changed it, so the next sweep of changes shows it.
            member = _Member(handle, now, now, due, self._describe_after(now), swept=handle.last is None)
            group.add(key, member)
        member.handle = handle
        if handle.mutated:
            member.not_before = now
            self._observations.pop(key, None)
        fingerprint = sweeps.fingerprint(handle.kind, handle.last) if handle.last is not None else None
        if fingerprint != member.fingerprint:
            member.changed = now
        member.fingerprint = fingerprint
        group.wake.set()
        if group.task is None:
            group.task = asyncio.create_task(self._run(group), name=f"poller {handle.kind.name} {handle.target.region}")

    def explain(self) -> list[dict[str, Any]]:
        """The schedule of every group, for `/debug/poller`. Times are seconds from now; the watermark is SageMaker's time."""
        now = asyncio.get_running_loop().time()
        return [
            {
                "kind": group.kind.name,
                "account": group.target.account,
                "region": group.target.region,
                "parent": list(group.parent),
                "resources": len(group.members),
                "how": describes_polling(group.kind),
                "next": self._explain_next(group, now),
                "nextPollIn": round(max(0.0, self._next_poll(group) - now), 1),
                "nextFullSweepIn": round(max(0.0, group.sweep_state.full_at - now), 1),
                "watermark": group.sweep_state.watermark,
                "pages": {"all": group.sweep_state.pages[True], "changes": group.sweep_state.pages[False]},
                "withoutAnswer": sum(member.missed > 0 for member in group.members.values()),
                "oldestStateSeconds": round(now - min(member.changed for member in group.members.values()), 1),
            }
            for group in self._groups.values()
            if group.members
        ]

    @staticmethod
    def _explain_next(group: _Group, now: float) -> str:
        sweep = _plan(group, group.members.values(), now)
        if sweep is None or not list_is_cheaper(len(group.members), pages=group.sweep_state.pages[sweep.full]):
            return f"{group.kind.describe} each"
        assert group.kind.listing is not None  # noqa: S101  there is no sweep without
        return f"{group.kind.listing.operation} of {'all' if sweep.full else 'what changed'}"

    def untrack(self, key: ObjectKey) -> None:
        self._observations.pop(key, None)
        group = self._group_of.pop(key, None)
        if group is not None:
            group.remove(key)

    def take(self, key: ObjectKey, uid: str, identifiers: Mapping[str, Any]) -> Observation | Missed | None:
        """Removes and returns the newest observation, or the failure of polling; None if there is nothing new.

        An observation of another object or resource that had the same key is dropped.
        """
        found = self._observations.pop(key, None)
        if found is None:
            return None
        handle, observation = found
        return observation if (handle.uid, handle.identifiers) == (uid, identifiers) else None

    async def close(self) -> None:
        """Ends all sweeps. Idempotent."""
        self._closing = True
        tasks = [group.task for group in self._groups.values() if group.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._groups.clear()
        self._group_of.clear()

    async def _run(self, group: _Group) -> None:
        """Polls one group: sleeps until a member is due, polls, repeats. Ends when there are no members."""
        loop = asyncio.get_running_loop()
        while group.members:
            group.wake.clear()
            wait = self._next_poll(group) - loop.time()
            if wait > _CLOCK_RESOLUTION:
                try:
                    async with asyncio.timeout(wait):
                        await group.wake.wait()
                except TimeoutError:
                    pass
                continue
            try:
                await self._poll(group)
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
                self._fail(group, error)
            except Exception as error:
                # A bug must not stop the polling of all other resources; the next poll may succeed.
                self._guard.failed("poller", error)
                group.sweep_state.progress = None
                self._postpone(group, 0.0)
        group.task = None
        self._groups.pop(group.key, None)

    def _next_poll(self, group: _Group) -> float:
        return max(group.not_before, min(member.due for member in group.members.values()))

    def _describe_after(self, now: float) -> float:
        return now + _DESCRIBE_EVERY * self._rng.uniform(0.8, 1.2)

    def _fail(self, group: _Group, error: AwsError) -> None:
        """A poll of the group failed: in a List, or in Describes, which have been recorded for their members already."""
        now = asyncio.get_running_loop().time()
        listing = group.kind.listing
        if listing is None or error.operation != listing.operation:
            self._postpone(group, error.retry_after or 0.0)
        elif (progress := group.sweep_state.progress) is not None:
            wait = min(_PAGE_RETRY_MAX, _PAGE_RETRY * 2.0 ** (progress.refused - 1))
            group.not_before = now + max(error.retry_after or 0.0, wait) * self._rng.uniform(1.0, 1.25)
        elif error.category in _AFFECTS_ALL:
            for key, member in self._due(group).items():
                self._record_failure(key, member, error)
        else:
            # Describe may be allowed. Due members are still due.
            group.sweep_state.lists_after = now + _LIST_RETRY

    def _record_failure(self, key: ObjectKey, member: _Member, error: AwsError) -> None:
        """A poll of this resource failed: the next one is later, and repeated failures are reported to the user."""
        now = asyncio.get_running_loop().time()
        wait = max(error.retry_after or 0.0, self._next(member, now))
        if error.category is not ErrorCategory.THROTTLED:
            member.missed += 1
            wait = max(wait, SLOW.delay(member.missed - 1, self._rng))
            if member.missed >= _REPORTED_AFTER or error.category is ErrorCategory.ACCESS_DENIED:
                # Any next answer counts as a change, so that the reported failure is removed.
                member.fingerprint = None
                self._observations[key] = (member.handle, Missed(error, member.missed))
                self._enqueue(key)
        member.due = now + wait

    def _postpone(self, group: _Group, at_least: float) -> None:
        """Nothing was observed: members that are due wait for another interval, at least `at_least` seconds."""
        now = asyncio.get_running_loop().time()
        for member in self._due(group).values():
            member.due = now + max(at_least, self._next(member, now))

    def _due(self, group: _Group) -> dict[ObjectKey, _Member]:
        horizon = asyncio.get_running_loop().time() + _COALESCE * self._cadence.base
        return {key: member for key, member in group.members.items() if member.due <= horizon}

    def _next(self, member: _Member, now: float, *, sharing: int = 1) -> float:
        return interval(
            self._cadence,
            polls=member.polls,
            age=now - member.since,
            still=now - member.changed,
            rng=self._rng,
            sharing=sharing,
        )

    def _polled(self, member: _Member, *, sharing: int = 1) -> None:
        now = asyncio.get_running_loop().time()
        member.polls += 1
        member.missed = 0
        member.due = now + self._next(member, now, sharing=sharing)

    async def _poll(self, group: _Group) -> None:
        now = asyncio.get_running_loop().time()
        due = self._due(group)
        progress = group.sweep_state.progress
        if progress is not None:
            await self._resume(group, progress)
            return
        sweep = _plan(group, due.values(), now)
        by_describe = {
            key: member
            for key, member in due.items()
            if sweeps.needs_describe(member.handle) or member.describe_at <= now
        }
        # A sweep of changes shows all members, not only those that are due.
        listed = len(due if sweep is None or sweep.full else group.members) - len(by_describe)
        if sweep is None or not list_is_cheaper(listed, pages=group.sweep_state.pages[sweep.full]):
            await self._describe(group, due)
            # The estimates decrease, so that a List is tried again eventually.
            for full, pages in group.sweep_state.pages.items():
                least = math.ceil(len(group.members) / PAGE) if full else 1
                group.sweep_state.pages[full] = max(1, least, pages - 1)
            return
        names = set(group.by_name)
        await self._sweep(group, Progress(sweep, now, self._clock(), names, group.sweep_state.watermark or 0.0))
        await self._describe(group, by_describe)

    async def _resume(self, group: _Group, progress: Progress) -> None:
        """Resumes a sweep that was refused. If that takes long, the most overdue members are described meanwhile."""
        now = asyncio.get_running_loop().time()
        slow = progress.refused >= sweeps.GIVE_UP_AFTER or now - progress.begun > _OVERDUE_SECONDS
        if slow and now >= progress.describe_after:
            progress.describe_after = now + _OVERDUE_DESCRIBES  # one Describe a second
            late = sweeps.overdue(
                ((member.due, key) for key, member in group.members.items()),
                now,
                seconds=_OVERDUE_SECONDS,
                most=_OVERDUE_DESCRIBES,
            )
            await self._describe(group, {key: group.members[key] for key in late})
        await self._sweep(group, progress)

    async def _describe(self, group: _Group, due: Mapping[ObjectKey, _Member]) -> None:
        """Raises the last AwsError, after all other members have been described."""
        waiting = iter(list(due.items()))
        errors: list[AwsError] = []

        async def describe_next() -> None:
            for key, member in waiting:
                handle, begun = member.handle, asyncio.get_running_loop().time()
                try:
                    answer = await self._aws.call(
                        group.target, group.kind.describe, handle.identifiers, kind=group.kind
                    )
                except AwsError as error:
                    if error.category is not ErrorCategory.NOT_FOUND:
                        if group.members.get(key) is member:
                            self._record_failure(key, member, error)
                        errors.append(error)
                        if error.category in _AFFECTS_ALL:
                            return
                        continue
                    observation = ABSENT
                else:
                    observation = Observation(answer)
                if group.members.get(key) is not member:
                    continue  # its object, or the resource of its object, has been replaced
                self._polled(member)
                member.describe_at = self._describe_after(asyncio.get_running_loop().time())
                self._publish(key, member, observation, begun)

        # One task per concurrent call, not one per resource.
        workers = (describe_next() for _ in range(min(len(due), _CONCURRENT_DESCRIBES)))
        results = await asyncio.gather(*workers, return_exceptions=True)
        for result in (*results, *errors[-1:]):
            if isinstance(result, BaseException):
                raise result

    async def _sweep(self, group: _Group, progress: Progress) -> None:
        """All pages of one List. Pages may be short or empty before the last: filters come after paging."""
        listing, state = group.kind.listing, group.sweep_state
        assert listing is not None  # noqa: S101  there is no sweep without
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                answer = await self._aws.call(group.target, listing.operation, progress.params(), kind=group.kind)
            except AwsError as error:
                state.progress = None
                if progress.starts_over(error):
                    continue
                state.progress = progress if progress.resumes(error, loop.time()) else None
                raise
            for summary in answer.get(listing.result, ()):
                name = sweeps.summary_name(group.kind, listing, summary, group.by_name)
                progress.record(name, sweeps.modified(summary), loop.time())
                for key, member in tuple(group.by_name.get(name, {}).items()):
                    # A member that was added after the call may be another resource than the one in the answer.
                    if member.since < begun:
                        self._polled(member, sharing=len(group.members))
                        member.swept = True
                        shown = {name: summary[name] for name in listing.observed if name in summary}
                        self._publish(key, member, Observation(shown, complete=False), begun)
            if not progress.next_page(answer.get("NextToken")):
                break
        state.progress = None
        state.pages[progress.sweep.full] = progress.pages
        # Only now: a sweep that failed half-way has not observed its later pages.
        state.watermark = progress.watermark or None
        if progress.sweep.full:
            state.full_at = loop.time() + _FULL_EVERY
        group.not_before = loop.time() + (progress.pages - 1) / LIST_RATE
        not_shown = [key for name in progress.missing for key in group.by_name.get(name, ())]
        sharing = len(group.members)
        await self._describe(group, self._missing(group, not_shown, full=progress.sweep.full, sharing=sharing))

    def _missing(
        self, group: _Group, keys: Iterable[ObjectKey], *, full: bool, sharing: int
    ) -> dict[ObjectKey, _Member]:
        """Those of `keys`, which a sweep did not show, that it should have shown. The others count as polled.

        A full sweep should show all members that are old enough. A sweep of changes should show only those without an
        observation, which this process has just created or changed; it confirms that all others are unchanged.
        """
        now = asyncio.get_running_loop().time()
        missing: dict[ObjectKey, _Member] = {}
        for key in keys:
            member = group.members.get(key)
            if member is None:
                continue
            if (full or member.fingerprint is None) and now - member.since >= _LISTED_AFTER:
                missing[key] = member
            else:
                self._polled(member, sharing=sharing)
        return missing

    def _publish(self, key: ObjectKey, member: _Member, observation: Observation, begun: float) -> None:
        """`begun` is when the call of this observation was sent."""
        if begun < member.not_before:
            return
        fingerprint = sweeps.fingerprint(member.handle.kind, observation)
        if fingerprint == member.fingerprint:
            return
        member.fingerprint = fingerprint
        member.changed = asyncio.get_running_loop().time()
        self._observations[key] = (member.handle, observation)
        self._enqueue(key)


def _plan(group: _Group, due: Iterable[_Member], now: float) -> Sweep | None:
    return sweeps.plan(
        group.kind,
        group.parent,
        group.sweep_state,
        oldest=min(member.handle.created_at for member in group.members.values()),
        now=now,
        full=any(not member.swept or sweeps.is_deleting(member.handle) for member in due),
    )
