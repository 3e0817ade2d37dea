"""List+watch of one collection: keeps a handler as up to date as the API server lets it."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sagemaker_operator.backoff import LONGEST_RETRY_AFTER, WATCH, Backoff
from sagemaker_operator.errors import Forbidden, Gone, KubeError, NotFound, NotServed, Unavailable
from sagemaker_operator.listwatch import EventType

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable

    from sagemaker_operator.listwatch import ListPage, WatchEvent
    from sagemaker_operator.objects import KubeObject

PAGE = 500
"""Objects per list page: kubectl's and client-go's value; a page of msgspec objects blocks the loop for 2 ms."""

WATCH_SECONDS = (300, 600)
"""A watch asks to be ended after a time drawn from this range, so that a thousand watches do not reconnect together."""

BOOKMARK_SILENCE = 90.0
"""Seconds. Bookmarks come about every 60 s; a server that has sent one and now sends nothing for 90 s is not there."""

END_GRACE = 5.0
"""Seconds beyond the requested end before a watch without bookmarks counts as dead."""

SHORT_WATCH = 1.0
"""A stream that ends sooner without news is a failure: a proxy that closes at once gets 1,000 requests a second."""

QUIET = 120.0
"""Seconds without a failure after which the backoff starts from its base again (client-go and kube-rs)."""

NOT_ALLOWED = Backoff(base=60.0, cap=300.0, floor=30.0)
"""For what an administrator must mend, a missing permission or CRD: 30 s to 5 min."""

LONG_WAIT = 60.0
"""Seconds of a Retry-After from which a watch counts as degraded at once: three of 300 s would be a silent quarter of an hour."""

DEGRADED_AFTER = 3
"""Failures in a row before a passing error counts as degraded: fewer are an API server being rolled."""

REWOUND = "ResourceVersionTooLarge"
"""The reason of a `Gone` after which a list may be older than what is cached, and is right."""

SILENCES = 2
"""Silent watches in a row after which the collection is listed: some servers keep a watch at a future version silent."""

_BREATH = 256
"""Events handled between two turns of the loop: 5 ms at 20 µs each, of a burst that needs no waiting to be read."""


class State(Enum):
    """What the next step does."""

    LISTING = "listing"
    WATCHING = "watching"
    BACKING_OFF = "backing off"


class ListCall(Protocol):
    """Reads one page; `limit` 0 means all objects in one. Raises KubeError; Gone if the continue token is too old."""

    async def __call__(self, *, continue_: str | None, limit: int) -> ListPage: ...


class WatchCall(Protocol):
    """Opens a watch with bookmarks. Raises KubeError while iterated, for HTTP and in-stream errors alike."""

    def __call__(self, *, resource_version: str, timeout_seconds: int) -> AsyncGenerator[WatchEvent, None]: ...


class WatchHandler(Protocol):
    """Where the news goes, in order, one call at a time. What it raises ends the watcher."""

    def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
        """The whole collection. What is absent has been deleted, perhaps unnoticed.

        `rewound`: the server has shown that it does not know versions as new as ours (its etcd was restored), so that
        this list is right although its version may be older than what the watch has brought.
        """

    def applied(self, obj: KubeObject) -> None:
        """An object was created or has changed."""

    def deleted(self, obj: KubeObject) -> None:
        """An object is gone; `obj` is its last state."""


class Watcher:
    """A state machine that lists once and then watches; `run` takes one `step` after the other.

    Only 410 Gone, versions that went back, and a collection that vanished make it list again. Every other end of a watch,
    good or bad, is resumed at the last version known, without a list. A KubeError never ends the watcher: its collection
    is `degraded`, no more.

    Versions go back when etcd is restored from a backup. A watch at a version from the future is then refused
    (ResourceVersionTooLarge) or stays silent, or its bookmarks name older versions. A lagging replica refuses in the same way, but
    the list that follows is a quorum read: it is older than what the watch brought only if etcd itself is.
    """

    def __init__(
        self,
        name: str,
        *,
        list_page: ListCall,
        watch: WatchCall,
        handler: WatchHandler,
        rng: random.Random,
        backoff: Backoff = WATCH,
        on_error: Callable[[KubeError, float], None] | None = None,
    ) -> None:
        """`name` is for people. `on_error` is told each failure and the seconds until the next attempt, for the log."""
        self.name = name
        self._list_page = list_page
        self._watch = watch
        self._handler = handler
        self._rng = rng
        self._backoff = backoff
        self._on_error = on_error
        self._state = State.LISTING
        self._then = State.LISTING
        """The state after BACKING_OFF."""
        self._delay = 0.0
        self._resource_version = ""
        self._failures = 0
        self._calm_since = float("-inf")
        """Loop time since which there was neither a failure nor a wait for one."""
        self._rewound = False
        """The server does not know versions as new as ours: the next list replaces everything."""
        self._silences = 0
        """Watches in a row that were silent until they were given up."""
        self._synced = False
        self._degraded: str | None = None
        self._last_contact: float | None = None
        self.lists = 0
        """Whole lists handed over, ..."""
        self.events = 0
        """changes that a watch told of, ..."""
        self.errors = 0
        """and failures of either, since the start."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def synced(self) -> bool:
        """The first list was handed over."""
        return self._synced

    @property
    def degraded(self) -> str | None:
        """Why the collection is not being followed, in a sentence; None while it is."""
        return self._degraded

    @property
    def last_contact(self) -> float | None:
        """Loop time of the last list or event that the API server gave; None before the first."""
        return self._last_contact

    def __repr__(self) -> str:
        at = f" at {self._resource_version}" if self._resource_version else ""
        why = f", degraded: {self._degraded}" if self._degraded else ""
        return f"<Watcher {self.name} {self._state.value}{at}, {self._failures} failures{why}>"

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        while True:
            await self.step()

    async def step(self) -> None:
        """One list, one watch from its opening to its end, or one wait."""
        state = self._state
        if state is State.BACKING_OFF:
            await asyncio.sleep(self._delay)
            self._calm_since = asyncio.get_running_loop().time()
            self._state = self._then
            return
        try:
            if state is State.LISTING:
                await self._list()
            else:
                await self._follow()
        except KubeError as error:
            self._fail(error)

    async def _list(self) -> None:
        objects: list[KubeObject] = []
        continue_: str | None = None
        limit = PAGE
        while True:
            try:
                page = await self._list_page(continue_=continue_, limit=limit)
            except Gone:
                if not continue_:
                    raise
                # The list took longer than etcd keeps history. The token that a 410 offers would mix two versions.
                objects, continue_, limit = [], None, 0
                continue
            objects += page.items
            continue_ = page.continue_
            if not continue_:
                break
        self._handler.replaced(objects, page.resource_version, rewound=self._rewound)
        self._rewound = False
        self.lists += 1
        self._resource_version = page.resource_version
        self._synced = True
        self._state = State.WATCHING
        self._heard()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        opened = loop.time()
        seconds = int(self._rng.uniform(*WATCH_SECONDS))
        silence = seconds + END_GRACE
        before = self._resource_version
        events = changes = 0
        try:
            async with (
                asyncio.timeout(silence) as dead,
                contextlib.aclosing(
                    self._watch(resource_version=self._resource_version, timeout_seconds=seconds)
                ) as stream,
            ):
                async for event in stream:
                    self._silences = 0
                    if event.type == EventType.BOOKMARK:
                        if _is_older(event.object.metadata.resource_version, self._resource_version):
                            raise Gone(
                                "the watch is at an older version than it began with, as after a restored etcd",
                                reason=REWOUND,
                            )
                        silence = BOOKMARK_SILENCE
                    else:
                        changes += 1
                        self._handle(event)
                    self._resource_version = event.object.metadata.resource_version or self._resource_version
                    self._heard()
                    dead.reschedule(loop.time() + silence)
                    events += 1
                    if events % _BREATH == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            self._silences += 1
            if self._silences >= SILENCES:
                self._silences = 0
                raise Gone(f"{SILENCES} watches in a row were silent", reason=REWOUND) from None
            raise Unavailable(f"the watch was silent for {silence:g} s") from None
        # Bookmarks alone are no news, nor are the same events again: a caching proxy replays its one answer for ever.
        news = changes and self._resource_version != before
        if not news and loop.time() - opened < SHORT_WATCH:
            raise Unavailable("the watch ended at once, without news")

    def _handle(self, event: WatchEvent) -> None:
        self.events += 1
        if event.type == EventType.DELETED:
            self._handler.deleted(event.object)
        else:
            self._handler.applied(event.object)

    def _heard(self) -> None:
        self._last_contact = asyncio.get_running_loop().time()
        self._degraded = None

    def _fail(self, error: KubeError) -> None:
        self.errors += 1
        if asyncio.get_running_loop().time() - self._calm_since >= QUIET:
            self._failures = 0
        # A proxy's 404 passes; a CRD that is not installed stays.
        missing = isinstance(error, NotServed) and (not self._synced or self._failures >= DEGRADED_AFTER)
        lasting = isinstance(error, Forbidden | NotFound) or missing
        delay = (NOT_ALLOWED if lasting else self._backoff).delay(self._failures, self._rng)
        if error.retry_after:
            # On top of the jitter: the watches of all kinds were sent away together and must not come back together.
            delay += min(error.retry_after, LONGEST_RETRY_AFTER)
        self._failures += 1
        if lasting or self._failures >= DEGRADED_AFTER or (error.retry_after or 0.0) >= LONG_WAIT:
            self._degraded = _explain(error)
        self._rewound = self._rewound or (isinstance(error, Gone) and error.reason == REWOUND)
        if isinstance(error, Gone | NotFound | NotServed):
            self._then = State.LISTING
        else:
            self._then = self._state
        self._delay = delay
        self._state = State.BACKING_OFF
        if self._on_error:
            self._on_error(error, delay)


def _is_older(version: str, than: str) -> bool:
    return version.isdigit() and than.isdigit() and int(version) < int(than)


def _explain(error: KubeError) -> str:
    if isinstance(error, Forbidden):
        return f"not allowed to list and watch, check the ClusterRole: {error.message}"
    if isinstance(error, NotFound | NotServed):
        return f"not served by this cluster, is the CRD installed? {error.message}"
    return f"{type(error).__name__}: {error.message}"
