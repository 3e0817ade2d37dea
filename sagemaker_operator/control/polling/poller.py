"""Follows in-flight resources: one sweep of List pages for all of a kind, or single Describes where those are fewer.

It never touches Kubernetes. What it sees becomes an observation and a key on the work queue, and only if something changed:
a poll without news costs one share of a List call and nothing else.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
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
from sagemaker_operator.control.polling.sweep import Marks, Progress, Sweep
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

# Looks that fall due within this share of the interval are taken together: fewer sweeps, and nobody waits noticeably.
_COALESCE = 0.25
# Under the limiter, and few: a create that needs a Describe of its own waits behind no more than these.
_CONCURRENT_DESCRIBES = 8
# A created resource may be missing from a List for seconds (eventual consistency); only then is absence worth a Describe.
_LISTED_AFTER = 60.0
# A change that no sweep of changes showed is found by a sweep of all (10 pages for 1,000, every ten minutes) ...
_WHOLE_EVERY = 600.0
# ... and one that no List shows at all by a Describe of each resource: 0.3 a second for 1,000 of them.
_DESCRIBE_EVERY = 3600.0
# Where a sweep is refused again and again, so many of those that are overdue by so many seconds are described at once.
_RESCUED = 20
_OVERDUE_SECONDS = 120.0
# Between a refused page and the next try, where AWS does not say; doubled with each refusal in a row up to a minute.
_PAGE_AGAIN = 1.0
_PAGE_AGAIN_MOST = 60.0
# Three looks without an answer take a minute and more: what heals sooner is nothing to tell. A denied one does not heal.
_REPORTED_AFTER = 3
# A List that is denied, while Describe may be allowed, is tried again this much later.
_LIST_AGAIN = 900.0
_AFFECTS_ALL = (*UNCERTAIN, ErrorCategory.CREDENTIALS)
# Seconds. A loop's clock has a resolution, and to wait for less than that is to wait for ever, busily.
_AT_ONCE = 0.001


@dataclass(slots=True)
class _Member:
    """One followed resource. Times are the loop's."""

    handle: Handle
    since: float
    """When following it began."""
    changed: float
    """When its state was last seen to change, or when following it began."""
    due: float
    describe_at: float
    """When a Describe is due whatever the Lists say."""
    polls: int = 0
    missed: int = 0
    """Looks in a row that brought no answer."""
    not_before: float = 0.0
    """Answers to calls that began earlier are dropped: a mutation has been accepted since."""
    swept: bool = False
    """It was created by this process, or a sweep of all has shown it: sweeps of changes will tell what changes."""
    fingerprint: Any = None


@dataclass(slots=True)
class _Group:
    """All followed resources of one kind at one place: what one List call can see."""

    kind: Kind
    target: Target
    parent: tuple[str, ...] = ()
    members: dict[ObjectKey, _Member] = field(default_factory=dict)
    names: dict[sweeps.Name, list[tuple[ObjectKey, _Member]]] | None = None
    """The members by the name in a List, replaced (never changed) when one comes or goes; None: not built yet."""
    marks: Marks = field(default_factory=Marks)
    not_before: float = 0.0
    """Loop time before which no sweep begins: a long one leaves the account's List quota to others for as long again."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[str, Target, tuple[str, ...]]:
        return (self.kind.name, self.target, self.parent)


class Poller:
    """`track` what moves, `take` what was seen. `enqueue(key)` is called for every change."""

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
        self._seen: dict[ObjectKey, tuple[Handle, Observation | Missed]] = {}
        self._closing = False
        self._log = get_logger("poller")

    def __repr__(self) -> str:
        return f"<Poller {len(self._group_of)} resources in {len(self._groups)} groups>"

    def __len__(self) -> int:
        return len(self._group_of)

    def tracked(self, kind: str) -> int:
        return sum(len(group.members) for (name, *_), group in self._groups.items() if name == kind)

    def lag(self, kind: str) -> float:
        """Seconds by which the look at this kind that is most overdue is late; 0 if none is."""
        now = asyncio.get_running_loop().time()
        groups = [group for (name, *_), group in self._groups.items() if name == kind]
        return max(0.0, max((now - member.due for group in groups for member in group.members.values()), default=0.0))

    def track(self, key: ObjectKey, handle: Handle) -> None:
        """Follow it from now on; a handle for a followed key renews what is known and keeps its rhythm."""
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
            # Without a last observation this process has just changed it, and the next sweep of changes shows it.
            group.names = None
            member = group.members[key] = _Member(
                handle, now, now, due, self._describe_after(now), swept=handle.last is None
            )
        member.handle = handle
        if handle.mutated:
            member.not_before = now
            self._seen.pop(key, None)
        fingerprint = sweeps.fingerprint(handle.kind, handle.last) if handle.last is not None else None
        if fingerprint != member.fingerprint:
            member.changed = now
        member.fingerprint = fingerprint
        group.wake.set()
        if group.task is None:
            group.task = asyncio.create_task(
                self._follow(group), name=f"poller {handle.kind.name} {handle.target.region}"
            )

    def explain(self) -> list[dict[str, Any]]:
        """The schedule of every group, for `/debug/poller`. Times are seconds from now, the watermark SageMaker's time."""
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
                "nextLookIn": round(max(0.0, self._next_poll(group) - now), 1),
                "nextSweepOfAllIn": round(max(0.0, group.marks.whole_at - now), 1),
                "watermark": group.marks.watermark,
                "pages": {"all": group.marks.pages[True], "changes": group.marks.pages[False]},
                "withoutAnswer": sum(member.missed > 0 for member in group.members.values()),
                "oldestStateSeconds": round(now - min(member.changed for member in group.members.values()), 1),
            }
            for group in self._groups.values()
            if group.members
        ]

    @staticmethod
    def _explain_next(group: _Group, now: float) -> str:
        sweep = _plan(group, group.members.values(), now)
        if sweep is None or not list_is_cheaper(len(group.members), pages=group.marks.pages[sweep.whole]):
            return f"{group.kind.describe} each"
        assert group.kind.listing is not None  # noqa: S101  there is no sweep without
        return f"{group.kind.listing.operation} of {'all' if sweep.whole else 'what changed'}"

    def untrack(self, key: ObjectKey) -> None:
        self._seen.pop(key, None)
        group = self._group_of.pop(key, None)
        if group is not None:
            group.members.pop(key, None)
            group.names = None

    def take(self, key: ObjectKey, uid: str, identifiers: Mapping[str, Any]) -> Observation | Missed | None:
        """The newest observation, or why there is none, once: the reconcile that takes it acts on it.

        Only of this very object and resource: what was observed of a former one is dropped.
        """
        found = self._seen.pop(key, None)
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

    async def _follow(self, group: _Group) -> None:
        """The life of one group: sleep until somebody is due, look, again; ends when nobody is left."""
        loop = asyncio.get_running_loop()
        while group.members:
            group.wake.clear()
            wait = self._next_poll(group) - loop.time()
            if wait > _AT_ONCE:
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
                # A bug must not end the following of every other resource; the next poll may well succeed.
                self._guard.failed("poller", error)
                group.marks.progress = None
                self._postpone(group, 0.0)
        group.task = None
        self._groups.pop(group.key, None)

    def _next_poll(self, group: _Group) -> float:
        return max(group.not_before, min(member.due for member in group.members.values()))

    def _describe_after(self, now: float) -> float:
        return now + _DESCRIBE_EVERY * self._rng.uniform(0.8, 1.2)

    def _fail(self, group: _Group, error: AwsError) -> None:
        """A look at the group failed: somewhere in a List, or at single resources, which know it already."""
        now = asyncio.get_running_loop().time()
        listing = group.kind.listing
        if listing is None or error.operation != listing.operation:
            self._postpone(group, error.retry_after or 0.0)
        elif (progress := group.marks.progress) is not None:
            wait = min(_PAGE_AGAIN_MOST, _PAGE_AGAIN * 2.0 ** (progress.refused - 1))
            group.not_before = now + max(error.retry_after or 0.0, wait) * self._rng.uniform(1.0, 1.25)
        elif error.category in _AFFECTS_ALL:
            for key, member in self._due(group).items():
                self._miss(key, member, error)
        else:
            # Single Describes may well be allowed, and those who are due are still due.
            group.marks.lists_after = now + _LIST_AGAIN

    def _miss(self, key: ObjectKey, member: _Member, error: AwsError) -> None:
        """A look at this resource brought no answer: the next one is later, and in the end its user is told."""
        now = asyncio.get_running_loop().time()
        wait = max(error.retry_after or 0.0, self._next(member, now))
        if error.category is not ErrorCategory.THROTTLED:
            member.missed += 1
            wait = max(wait, SLOW.delay(member.missed - 1, self._rng))
            if member.missed >= _REPORTED_AFTER or error.category is ErrorCategory.ACCESS_DENIED:
                # The next answer is news, whatever it says: what was told is to be taken back.
                member.fingerprint = None
                self._seen[key] = (member.handle, Missed(error, member.missed))
                self._enqueue(key)
        member.due = now + wait

    def _postpone(self, group: _Group, at_least: float) -> None:
        """Nobody learned anything: whoever is still due waits another turn, and no less than `at_least` seconds."""
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
        progress = group.marks.progress
        if progress is not None:
            await self._resume(group, progress)
            return
        sweep = _plan(group, due.values(), now)
        by_describe = {
            key: member
            for key, member in due.items()
            if sweeps.needs_describe(member.handle) or member.describe_at <= now
        }
        # A sweep shows all members, not only those that are due.
        listed = len(due if sweep is None or sweep.whole else group.members) - len(by_describe)
        if sweep is None or not list_is_cheaper(listed, pages=group.marks.pages[sweep.whole]):
            await self._describe(group, due)
            # The estimates fade, so that a cheaper List is tried again some day.
            for whole, pages in group.marks.pages.items():
                least = math.ceil(len(group.members) / PAGE) if whole else 1
                group.marks.pages[whole] = max(1, least, pages - 1)
            return
        names = set(self._by_name(group))
        await self._sweep(group, Progress(sweep, now, self._clock(), names, group.marks.watermark or 0.0))
        await self._describe(group, by_describe)

    async def _resume(self, group: _Group, progress: Progress) -> None:
        """Goes on with a sweep that was refused. Where that takes long, the most overdue are described meanwhile."""
        now = asyncio.get_running_loop().time()
        slow = progress.refused >= sweeps.GIVE_UP_AFTER or now - progress.begun > _OVERDUE_SECONDS
        if slow and now >= progress.describe_after:
            progress.describe_after = now + _RESCUED  # one Describe a second
            late = sweeps.overdue(
                ((member.due, key) for key, member in group.members.items()),
                now,
                seconds=_OVERDUE_SECONDS,
                most=_RESCUED,
            )
            await self._describe(group, {key: group.members[key] for key in late})
        await self._sweep(group, progress)

    async def _describe(self, group: _Group, due: Mapping[ObjectKey, _Member]) -> None:
        """Raises the last AwsError, after everybody else has been looked at."""
        waiting = iter(list(due.items()))
        errors: list[AwsError] = []

        async def describe_in_turn() -> None:
            for key, member in waiting:
                handle, begun = member.handle, asyncio.get_running_loop().time()
                try:
                    answer = await self._aws.call(
                        group.target, group.kind.describe, handle.identifiers, kind=group.kind
                    )
                except AwsError as error:
                    if error.category is not ErrorCategory.NOT_FOUND:
                        if group.members.get(key) is member:
                            self._miss(key, member, error)
                        errors.append(error)
                        if error.category in _AFFECTS_ALL:
                            return
                        continue
                    observation = ABSENT
                else:
                    observation = Observation(answer)
                if group.members.get(key) is not member:
                    continue  # its object, or the resource of its object, is another one by now
                self._polled(member)
                member.describe_at = self._describe_after(asyncio.get_running_loop().time())
                self._publish(key, member, observation, begun)

        # As many tasks as calls at once, not one per resource.
        turns = (describe_in_turn() for _ in range(min(len(due), _CONCURRENT_DESCRIBES)))
        results = await asyncio.gather(*turns, return_exceptions=True)
        for result in (*results, *errors[-1:]):
            if isinstance(result, BaseException):
                raise result

    @staticmethod
    def _by_name(group: _Group) -> dict[sweeps.Name, list[tuple[ObjectKey, _Member]]]:
        """One resource may have several objects: its owner, and others that only observe it."""
        listing = group.kind.listing
        assert listing is not None  # noqa: S101  there is no sweep without
        if group.names is None:
            found: dict[sweeps.Name, list[tuple[ObjectKey, _Member]]] = defaultdict(list)
            for key, member in group.members.items():
                found[sweeps.handle_name(listing, member.handle)].append((key, member))
            group.names = found
        return group.names

    async def _sweep(self, group: _Group, progress: Progress) -> None:
        """All pages of one List. Pages may be short or empty before the last: filters come after paging."""
        listing, marks = group.kind.listing, group.marks
        assert listing is not None  # noqa: S101  there is no sweep without
        loop = asyncio.get_running_loop()
        while True:
            members, begun = self._by_name(group), loop.time()
            try:
                answer = await self._aws.call(group.target, listing.operation, progress.params(), kind=group.kind)
            except AwsError as error:
                marks.progress = None
                if progress.starts_over(error):
                    continue
                marks.progress = progress if progress.resumes(error, loop.time()) else None
                raise
            for summary in answer.get(listing.result, ()):
                name = sweeps.summary_name(group.kind, listing, summary, members)
                progress.saw(name, sweeps.modified(summary), loop.time())
                for key, member in members.get(name, ()):
                    if group.members.get(key) is member:
                        self._polled(member, sharing=len(group.members))
                        member.swept = True
                        shown = {name: summary[name] for name in listing.observed if name in summary}
                        self._publish(key, member, Observation(shown, complete=False), begun)
            if not progress.next_page(answer.get("NextToken")):
                break
        marks.progress = None
        marks.pages[progress.sweep.whole] = progress.pages
        # Only now: a sweep that failed half-way has not observed what its later pages hold.
        marks.watermark = progress.watermark or None
        if progress.sweep.whole:
            marks.whole_at = loop.time() + _WHOLE_EVERY
        group.not_before = loop.time() + (progress.pages - 1) / LIST_RATE
        members = self._by_name(group)
        unseen = [key for name in progress.unseen for key, _ in members.get(name, ())]
        sharing = len(group.members)
        await self._describe(group, self._missing(group, unseen, whole=progress.sweep.whole, sharing=sharing))

    def _missing(
        self, group: _Group, keys: Iterable[ObjectKey], *, whole: bool, sharing: int
    ) -> dict[ObjectKey, _Member]:
        """Those that the sweep should have shown and did not, although they are old enough to be shown.

        A sweep of changes should show what this process has just changed; about the others its silence says that they
        are as they were.
        """
        now = asyncio.get_running_loop().time()
        missing: dict[ObjectKey, _Member] = {}
        for key in keys:
            member = group.members.get(key)
            if member is None:
                continue
            if (whole or member.fingerprint is None) and now - member.since >= _LISTED_AFTER:
                missing[key] = member
            else:
                self._polled(member, sharing=sharing)
        return missing

    def _publish(self, key: ObjectKey, member: _Member, observation: Observation, begun: float) -> None:
        """`begun` is when the call was sent that the observation answers."""
        if begun < member.not_before:
            return
        fingerprint = sweeps.fingerprint(member.handle.kind, observation)
        if fingerprint == member.fingerprint:
            return
        member.fingerprint = fingerprint
        member.changed = asyncio.get_running_loop().time()
        self._seen[key] = (member.handle, observation)
        self._enqueue(key)


def _plan(group: _Group, due: Iterable[_Member], now: float) -> Sweep | None:
    return sweeps.plan(
        group.kind,
        group.parent,
        group.marks,
        oldest=min(member.handle.created_at for member in group.members.values()),
        now=now,
        whole=any(not member.swept or sweeps.is_leaving(member.handle) for member in due),
    )
