from __future__ import annotations

import asyncio
import contextlib
import random
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest

from sagemaker_operator.errors import (
    Forbidden,
    Gone,
    KubeError,
    NotFound,
    NotServed,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from sagemaker_operator.listwatch import EventType, ListPage, WatchEvent
from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.runtime.store import Store
from sagemaker_operator.runtime.watcher import State, Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def new(name: str, version: int | str) -> KubeObject:
    return KubeObject(kind="Model", metadata=Meta(name=name, namespace="ns", uid=name, resource_version=str(version)))


def added(name: str, version: int) -> WatchEvent:
    return WatchEvent(EventType.ADDED, new(name, version))


def modified(name: str, version: int) -> WatchEvent:
    return WatchEvent(EventType.MODIFIED, new(name, version))


def deleted(name: str, version: int) -> WatchEvent:
    return WatchEvent(EventType.DELETED, new(name, version))


def bookmark(version: int) -> WatchEvent:
    return WatchEvent(EventType.BOOKMARK, KubeObject(metadata=Meta(resource_version=str(version))))


def page(*objects: KubeObject, at: int, continue_: str | None = None) -> ListPage:
    return ListPage(list(objects), str(at), continue_)


FOREVER = float("inf")

Step = WatchEvent | float | KubeError
"""A watch yields events, is silent for some seconds, or fails; after its last step the server ends it."""


class Listed(NamedTuple):
    at: float
    continue_: str | None
    limit: int


class Watched(NamedTuple):
    at: float
    resource_version: str
    timeout_seconds: int


class Server:
    """Answers from a script, repeating its last answer; records the requests with their times."""

    def __init__(self, lists: list[ListPage | KubeError], watches: list[list[Step]]) -> None:
        self.lists = lists
        self.watches = watches
        self.listed: list[Listed] = []
        self.watched: list[Watched] = []
        self.open = 0

    async def list_page(self, *, continue_: str | None, limit: int) -> ListPage:
        self.listed.append(Listed(now(), continue_, limit))
        answer = self.lists[min(len(self.listed), len(self.lists)) - 1]
        if isinstance(answer, KubeError):
            raise answer
        return answer

    async def watch(self, *, resource_version: str, timeout_seconds: int) -> AsyncGenerator[WatchEvent, None]:
        self.watched.append(Watched(now(), resource_version, timeout_seconds))
        self.open += 1
        try:
            for step in self.watches[min(len(self.watched), len(self.watches)) - 1]:
                if isinstance(step, KubeError):
                    raise step
                if isinstance(step, WatchEvent):
                    yield step
                elif step == FOREVER:
                    await asyncio.get_running_loop().create_future()
                else:
                    await asyncio.sleep(step)
        finally:
            self.open -= 1


class Log:
    """A handler that records its calls as text."""

    def __init__(self) -> None:
        self.reported: list[str] = []

    def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
        names = " ".join(f"{obj.metadata.name}@{obj.metadata.resource_version}" for obj in objects)
        self.reported.append(f"replaced [{names}] at {resource_version}{' although older' if rewound else ''}")

    def applied(self, obj: KubeObject) -> None:
        self.reported.append(f"applied {obj.metadata.name}@{obj.metadata.resource_version}")

    def deleted(self, obj: KubeObject) -> None:
        self.reported.append(f"deleted {obj.metadata.name}@{obj.metadata.resource_version}")


class Case(NamedTuple):
    server: Server
    log: Log
    watcher: Watcher
    errors: list[tuple[KubeError, float]]


def case(lists: list[ListPage | KubeError], watches: list[list[Step]], *, seed: int = 3) -> Case:
    server, log = Server(lists, watches), Log()
    errors: list[tuple[KubeError, float]] = []
    watcher = Watcher(
        "models",
        list_page=server.list_page,
        watch=server.watch,
        handler=log,
        rng=random.Random(seed),
        on_error=lambda error, delay: errors.append((error, delay)),
    )
    return Case(server, log, watcher, errors)


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        assert not task.done(), "the watcher ended by itself"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run_for(seconds: float, case: Case) -> None:
    """Run for so long, then check that no stream is left open."""
    async with running(case.watcher):
        await asyncio.sleep(seconds)
    assert case.server.open == 0


def unavailable() -> KubeError:
    return Unavailable("cut")


QUIET_WATCH: list[Step] = [FOREVER]

# Listing


async def test_a_list_is_handed_over_and_followed_by_a_watch_from_its_version() -> None:
    it = case([page(new("a", 3), at=7)], [[added("b", 8), modified("a", 9), deleted("b", 10), FOREVER]])
    assert it.watcher.state is State.LISTING
    assert not it.watcher.synced
    async with running(it.watcher):
        await asyncio.sleep(1)
        assert it.watcher.state is State.WATCHING
        assert it.watcher.synced
        assert it.watcher.degraded is None
    assert it.log.reported == ["replaced [a@3] at 7", "applied b@8", "applied a@9", "deleted b@10"]
    assert [request.resource_version for request in it.server.watched] == ["7"]
    assert it.server.open == 0


async def test_pages_are_put_together_before_anything_is_handed_over() -> None:
    it = case(
        [
            page(new("a", 1), at=7, continue_="t1"),
            page(new("b", 2), at=7, continue_="t2"),
            page(new("c", 3), at=7, continue_=""),
        ],
        [QUIET_WATCH],
    )
    await run_for(1, it)
    assert it.log.reported == ["replaced [a@1 b@2 c@3] at 7"]
    assert [(request.continue_, request.limit) for request in it.server.listed] == [
        (None, 500),
        ("t1", 500),
        ("t2", 500),
    ]


async def test_an_expired_continue_token_restarts_the_list_once_and_whole() -> None:
    it = case(
        [page(new("a", 1), at=7, continue_="t1"), Gone("expired"), page(new("a", 8), new("b", 2), at=9)],
        [QUIET_WATCH],
    )
    await run_for(1, it)
    assert it.log.reported == ["replaced [a@8 b@2] at 9"]
    assert [(request.continue_, request.limit) for request in it.server.listed] == [
        (None, 500),
        ("t1", 500),
        (None, 0),
    ]
    assert it.errors == []


async def test_a_410_of_the_full_list_backs_off_instead_of_looping() -> None:
    it = case([page(at=7, continue_="t1"), Gone("expired"), Gone("again"), page(at=9)], [QUIET_WATCH])
    await run_for(30, it)
    assert [str(error) for error, _ in it.errors] == ["again"]
    assert it.log.reported == ["replaced [] at 9"]


async def test_a_list_that_fails_half_way_hands_over_nothing() -> None:
    it = case([page(new("a", 1), at=7, continue_="t1"), unavailable(), page(new("b", 2), at=8)], [QUIET_WATCH])
    await run_for(30, it)
    assert it.log.reported == ["replaced [b@2] at 8"]


# Watching and resuming


async def test_a_watch_asks_to_be_ended_at_a_random_time_of_five_to_ten_minutes() -> None:
    it = case([page(at=7)], [[5.0]])
    await run_for(600, it)
    asked = [request.timeout_seconds for request in it.server.watched]
    assert len(asked) > 100
    assert 300 <= min(asked) < 330
    assert 570 < max(asked) <= 600


async def test_a_watch_that_ends_is_resumed_at_the_last_version_without_a_list() -> None:
    it = case([page(at=7)], [[added("a", 8), 300.0], [modified("a", 9), bookmark(15), 80.0], QUIET_WATCH])
    await run_for(400, it)
    assert [(request.at, request.resource_version) for request in it.server.watched] == [
        (0, "7"),
        (300, "8"),
        (380, "15"),
    ]
    assert len(it.server.listed) == 1
    assert it.errors == []


async def test_bookmarks_never_reach_the_handler() -> None:
    it = case([page(at=7)], [[bookmark(9), added("a", 10), FOREVER]])
    await run_for(1, it)
    assert it.log.reported == ["replaced [] at 7", "applied a@10"]


@pytest.mark.parametrize("error", [Unavailable("500"), Unauthorized("401"), TooManyRequests("429"), KubeError("400")])
async def test_a_watch_that_fails_is_resumed_at_the_last_version_after_a_wait(error: KubeError) -> None:
    it = case([page(at=7)], [[added("a", 8), 50.0, error], QUIET_WATCH])
    await run_for(60, it)
    assert [request.resource_version for request in it.server.watched] == ["7", "8"]
    assert 50.2 <= it.server.watched[1].at <= 50.8
    assert len(it.server.listed) == 1


async def test_a_410_lists_again_and_finds_deletions_in_the_gap() -> None:
    it = case([page(new("a", 1), new("b", 2), at=7), page(new("b", 2), at=20)], [[5.0, Gone("expired")], QUIET_WATCH])
    store = Store()
    removed: list[str] = []

    class Handler(Log):
        def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
            removed.extend(
                change.old.metadata.name
                for change in store.replace(objects, resource_version)
                if change.new is None and change.old is not None
            )

    it.watcher._handler = Handler()
    await run_for(30, it)
    assert removed == ["a"]
    assert [request.resource_version for request in it.server.watched] == ["7", "20"]


async def test_repeated_410s_back_off_instead_of_listing_in_a_loop() -> None:
    it = case([page(at=7)], [[Gone("expired")]])
    await run_for(60, it)
    assert 3 < len(it.server.listed) < 20


async def test_an_exception_of_the_handler_propagates() -> None:
    it = case([page(at=7)], [[added("a", 8), FOREVER]])

    class Broken(Log):
        def applied(self, obj: KubeObject) -> None:
            raise RuntimeError("a bug")

    it.watcher._handler = Broken()
    with pytest.raises(RuntimeError, match="a bug"):
        await it.watcher.run()
    assert it.server.open == 0


async def test_a_long_burst_of_events_yields_to_the_event_loop() -> None:
    it = case([page(at=7)], [[*(added(f"a{number}", 8 + number) for number in range(2560)), FOREVER]])
    reported = []
    async with running(it.watcher):
        for _ in range(50):
            reported.append(len(it.log.reported))
            await asyncio.sleep(0)
    assert reported[-1] == 2561
    assert max(later - earlier for earlier, later in pairwise(reported)) <= 257


# Failing


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_hot_loop() -> None:
    it = case([page(at=7)], [[]])
    await run_for(60, it)
    assert 3 < len(it.server.watched) < 20
    assert len(it.server.listed) == 1


@pytest.mark.parametrize(
    "answer",
    [[bookmark(9)], [added("a", 8), added("b", 9)]],
    ids=["the same bookmark", "the same events"],
)
async def test_a_server_that_repeats_itself_and_ends_is_not_asked_in_a_hot_loop(answer: list[Step]) -> None:
    it = case([page(at=7)], [answer])
    await run_for(60, it)
    assert 3 < len(it.server.watched) < 20


async def test_a_server_that_ends_each_watch_after_a_newer_bookmark_is_not_asked_in_a_hot_loop() -> None:
    it = case([page(at=7)], [[bookmark(8 + number)] for number in range(1000)])
    await run_for(60, it)
    assert 3 < len(it.server.watched) < 20


async def test_short_watches_with_events_are_resumed_at_once() -> None:
    it = case([page(at=7)], [[added("a", 8)], [added("b", 9)], [modified("a", 10)], QUIET_WATCH])
    await run_for(1, it)
    assert [request.resource_version for request in it.server.watched] == ["7", "8", "9", "10"]
    assert it.errors == []


async def test_retries_of_an_unreachable_server_back_off_to_half_a_minute() -> None:
    it = case([unavailable()], [])
    await run_for(3600, it)
    gaps = [later.at - earlier.at for earlier, later in pairwise(it.server.listed)]
    assert min(gaps) >= 0.2
    assert max(gaps) <= 30
    assert max(gaps) > 25
    assert gaps[0] <= 0.8
    assert gaps[1] <= 1.6
    assert not it.watcher.synced


async def test_the_backoff_resets_after_two_minutes_without_errors() -> None:
    burst: list[list[Step]] = [[unavailable()]] * 8
    it = case([page(at=7)], [*burst, [119.0, unavailable()], [121.0, unavailable()], QUIET_WATCH], seed=1)
    await run_for(1000, it)
    delays = [delay for _, delay in it.errors]
    assert delays[8] > 0.8, "119 s were not enough"
    assert delays[9] <= 0.8


async def test_two_watchers_do_not_retry_at_the_same_moment() -> None:
    one, two = case([unavailable()], [], seed=1), case([unavailable()], [], seed=2)
    async with running(one.watcher):
        await run_for(20, two)
    assert one.server.listed[1].at != two.server.listed[1].at


async def test_a_retry_after_is_honoured_on_top_of_the_jitter() -> None:
    it = case([TooManyRequests("slow down", status=429, retry_after=17.0), page(at=7)], [QUIET_WATCH])
    await run_for(60, it)
    assert 17.2 <= it.server.listed[1].at <= 17.8


async def test_a_retry_after_of_a_day_is_capped() -> None:
    it = case([Unavailable("maintenance", status=503, retry_after=86400.0), page(at=7)], [QUIET_WATCH])
    async with running(it.watcher):
        await asyncio.sleep(1)
        assert it.watcher.degraded == "Unavailable: maintenance", "five minutes are too long to say nothing"
        await asyncio.sleep(400)
    assert it.watcher.synced
    assert it.watcher.degraded is None


# Silence


async def test_ninety_seconds_without_data_after_a_bookmark_restart_the_watch() -> None:
    it = case([page(at=7)], [[60.0, bookmark(9), FOREVER], QUIET_WATCH])
    await run_for(200, it)
    assert [request.resource_version for request in it.server.watched] == ["7", "9"]
    assert 150.2 <= it.server.watched[1].at <= 150.8
    assert [str(error) for error, _ in it.errors] == ["the watch was silent for 90 s"]
    assert len(it.server.listed) == 1


async def test_events_keep_a_watch_alive() -> None:
    steps: list[Step] = [bookmark(8)]
    for version in range(9, 60):
        steps += [89.0, added("a", version)]
    it = case([page(at=7)], [steps])
    await run_for(89 * 50, it)
    assert len(it.server.watched) == 1


async def test_a_watch_without_bookmarks_is_dead_five_seconds_after_its_requested_end() -> None:
    it = case([page(at=7)], [QUIET_WATCH])
    await run_for(700, it)
    first, second = it.server.watched[:2]
    assert second.at - first.at == pytest.approx(first.timeout_seconds + 5, abs=0.8)
    assert second.resource_version == "7"


async def test_a_bookmark_on_one_stream_sets_no_limit_for_the_next() -> None:
    it = case([page(at=7)], [[bookmark(8), 10.0], QUIET_WATCH])
    await run_for(290, it)
    assert len(it.server.watched) == 2
    assert it.errors == []


# Degraded


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Forbidden("models is forbidden", status=403), "not allowed to list and watch, check the ClusterRole"),
        (NotServed("404 page not found", status=404), "not served by this cluster, is the CRD installed?"),
    ],
)
async def test_an_error_that_an_administrator_must_fix_is_retried_rarely_and_reported_at_once(
    error: KubeError, text: str
) -> None:
    it = case([error], [])
    async with running(it.watcher):
        await asyncio.sleep(1)
        assert it.watcher.degraded is not None
        assert it.watcher.degraded.startswith(text)
        assert error.message in it.watcher.degraded
        await asyncio.sleep(36_000)
    gaps = [later.at - earlier.at for earlier, later in pairwise(it.server.listed)]
    assert min(gaps) >= 30
    assert max(gaps) <= 300
    assert max(gaps) > 200


async def test_a_kind_whose_crd_appears_is_watched_from_then_on() -> None:
    it = case([NotFound("no such kind"), page(new("a", 1), at=7)], [QUIET_WATCH])
    async with running(it.watcher):
        await asyncio.sleep(61)
        assert it.watcher.synced
        assert it.watcher.degraded is None
    assert it.log.reported == ["replaced [a@1] at 7"]


async def test_a_watch_that_finds_the_collection_gone_lists_again() -> None:
    it = case([page(new("a", 1), at=7), page(at=9)], [[5.0, NotFound("no such kind")], QUIET_WATCH])
    await run_for(100, it)
    assert it.log.reported == ["replaced [a@1] at 7", "replaced [] at 9"]


async def test_only_a_lasting_failure_is_degraded_until_it_ends() -> None:
    it = case([unavailable(), unavailable(), unavailable(), page(at=7)], [QUIET_WATCH])
    observed: list[str | None] = []

    async def watch_failures() -> None:
        while len(observed) < 3:
            if len(it.errors) > len(observed):
                observed.append(it.watcher.degraded)
            await asyncio.sleep(0.05)

    async with running(it.watcher):
        await watch_failures()
        assert observed == [None, None, "Unavailable: cut"]
        await asyncio.sleep(30)
        assert it.watcher.degraded is None


async def test_a_degraded_watch_recovers_with_the_first_event() -> None:
    it = case([page(at=7)], [[Forbidden("no watch")], [60.0, bookmark(8), FOREVER]])
    async with running(it.watcher):
        await asyncio.sleep(1)
        assert it.watcher.degraded is not None
        await asyncio.sleep(121)
        assert it.watcher.degraded is None


# Inspection


async def test_the_last_contact_is_the_time_of_the_last_list_or_event() -> None:
    it = case([unavailable(), page(at=7)], [[10.0, bookmark(8), FOREVER]], seed=5)
    async with running(it.watcher):
        await asyncio.sleep(0.1)
        assert it.watcher.last_contact is None
        await asyncio.sleep(5)
        listed_at = it.server.listed[1].at
        assert it.watcher.last_contact == listed_at
        await asyncio.sleep(20)
        assert it.watcher.last_contact == pytest.approx(listed_at + 10)


async def test_repr_shows_the_watchers_state() -> None:
    it = case([Forbidden("no")], [])
    assert repr(it.watcher) == "<Watcher models listing, 0 failures>"
    await it.watcher.step()
    assert it.watcher.state is State.BACKING_OFF
    assert repr(it.watcher).startswith("<Watcher models backing off, 1 failures, degraded: not allowed")


async def test_each_step_is_one_list_one_watch_or_one_wait() -> None:
    it = case([page(at=7)], [[5.0, Gone("expired")]])
    states = []
    for _ in range(4):
        states.append(it.watcher.state)
        await it.watcher.step()
    assert states == [State.LISTING, State.WATCHING, State.BACKING_OFF, State.LISTING]


async def test_cancelling_closes_the_stream_whatever_it_is_doing() -> None:
    steps: list[Callable[[], list[Step]]] = [lambda: QUIET_WATCH, lambda: [bookmark(8), FOREVER], lambda: [100.0]]
    for step in steps:
        it = case([page(at=7)], [step()])
        await run_for(1, it)
        assert it.server.open == 0


TOO_LARGE = Gone("Too large resource version", status=504, reason="ResourceVersionTooLarge")


@pytest.mark.parametrize(
    "signs",
    [
        [[TOO_LARGE]],
        [[bookmark(50)]],
        [QUIET_WATCH, QUIET_WATCH],
    ],
    ids=["refused", "an older bookmark", "two silent watches"],
)
async def test_a_resource_version_that_went_back_lists_everything_again(signs: list[list[Step]]) -> None:
    """Servers differ in how they answer a watch at a version that a restored etcd does not know."""
    it = case([page(new("a", 90), at=100), page(new("a", 40), at=50)], [*signs, QUIET_WATCH])
    await run_for(2000.0, it)
    assert it.log.reported[:2] == ["replaced [a@90] at 100", "replaced [a@40] at 50 although older"]
    assert it.server.watched[-1].resource_version == "50"
    assert it.watcher.degraded is None


async def test_a_list_after_a_410_does_not_force_older_versions() -> None:
    gone = Gone("too old", status=410, reason="Expired")
    it = case([page(new("a", 90), at=100), page(new("a", 40), at=50)], [[gone], QUIET_WATCH])
    await run_for(60.0, it)
    assert it.log.reported[-1] == "replaced [a@40] at 50", "the store decides, and drops it"


async def test_a_proxys_404_does_not_delay_a_watch_for_minutes() -> None:
    missing = NotServed("404 page not found", status=404)
    it = case([page(at=5), page(new("a", 6), at=7)], [[missing], QUIET_WATCH])
    await run_for(30.0, it)
    assert it.log.reported[-1] == "replaced [a@6] at 7"
