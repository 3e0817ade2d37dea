"""List and watch of one collection: calls a handler for every change.

Guarantees:
- The handler receives the whole collection (`replaced`) before any single change, and is called in order.
- The handler converges to the server's state: a watch that ends, with or without an error, is resumed at the last version
  received, and a list contains the whole collection, so that a missed deletion shows as an absent object.
- A KubeError never ends the watcher: the collection is `degraded` and is tried again with a backoff.
- It lists again only after 410 Gone, when versions went back, and when the collection vanished.

Assumptions:
- resourceVersions of one collection compare as integers (KEP-5504); otherwise a version that went back is not detected.
- A list without resourceVersion is a quorum read.

Caveats:
- A list may deliver a state again, and states between two lists may be missing; `Store` drops stale ones.
- Versions go back when etcd is restored from a backup. A watch at a version newer than the server's is then refused
  (ResourceVersionTooLarge), or stays silent, or its bookmarks have older versions. A lagging replica refuses in the same way,
  but the list that follows is a quorum read: it is older than what the watch delivered only if etcd itself is.
- An exception of the handler ends the watcher; `Informer` runs both in a guard.
"""

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
"""The timeout that a watch requests is random in this range, so that a thousand watches do not reconnect together."""

BOOKMARK_SILENCE = 90.0
"""Seconds. Bookmarks come about every 60 s; a server that has sent one and then nothing for 90 s is unreachable."""

END_GRACE = 5.0
"""Seconds beyond the requested end before a watch without bookmarks counts as dead."""

SHORT_WATCH = 1.0
"""A stream that ends sooner without a change is a failure: a proxy that closes at once would get 1,000 requests a second."""

QUIET = 120.0
"""Seconds without a failure after which the backoff starts from its base again (client-go and kube-rs)."""

NOT_ALLOWED = Backoff(base=60.0, cap=300.0, minimum=30.0)
"""For errors that an administrator must fix, a missing permission or CRD: 30 s to 5 min."""

LONG_WAIT = 60.0
"""Seconds of a Retry-After from which a watch counts as degraded at once: three of 300 s would be a silent quarter of an hour."""

DEGRADED_AFTER = 3
"""Failures in a row before a transient error counts as degraded: fewer are a rolling update of the API server."""

REWOUND = "ResourceVersionTooLarge"
"""The reason of a `Gone` after which a list replaces the cache even if it is older."""

SILENCES = 2
"""Silent watches in a row after which the collection is listed: some servers keep a watch at a future version silent."""

_EVENTS_PER_TURN = 256
"""Events of a burst handled between two turns of the loop: 5 ms at 20 µs each."""


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
    """Receives the changes, in order, one call at a time. An exception of it ends the watcher."""

    def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
        """The whole collection. An absent object has been deleted.

        `rewound`: the server does not know versions as new as the last one received (its etcd was restored), so this list
        is valid although its version may be older.
        """

    def applied(self, obj: KubeObject) -> None:
        """An object was created or has changed."""

    def deleted(self, obj: KubeObject) -> None:
        """An object is gone; `obj` is its last state."""


class Watcher:
    """A state machine that lists once and then watches; `run` takes one `step` after the other. See the module."""

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
        """`name`: for messages. `on_error` is called with each failure and the seconds until the next attempt."""
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
        """Loop time since which there was neither a failure nor a backoff."""
        self._rewound = False
        """The server does not know versions as new as ours: the next list replaces the cache."""
        self._silences = 0
        """Watches in a row that were silent until their timeout."""
        self._synced = False
        self._degraded: str | None = None
        self._last_contact: float | None = None
        self.lists = 0
        """Complete lists passed to the handler, since the start."""
        self.events = 0
        """Changes received from watches, since the start."""
        self.errors = 0
        """Failed lists and watches, since the start."""

    @property
    def state(self) -> State:
        return self._state

    @property
    def synced(self) -> bool:
        """The first list was passed to the handler."""
        return self._synced

    @property
    def degraded(self) -> str | None:
        """Why the collection is not up to date, in a sentence; None while it is."""
        return self._degraded

    @property
    def last_contact(self) -> float | None:
        """Loop time of the last list or event from the API server; None before the first."""
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
                # The list took longer than etcd keeps history. The 410's own token would mix two versions.
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
        self._record_contact()

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
                    self._record_contact()
                    dead.reschedule(loop.time() + silence)
                    events += 1
                    if events % _EVENTS_PER_TURN == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            self._silences += 1
            if self._silences >= SILENCES:
                self._silences = 0
                raise Gone(f"{SILENCES} watches in a row were silent", reason=REWOUND) from None
            raise Unavailable(f"the watch was silent for {silence:g} s") from None
        # Bookmarks alone are not a change, and neither are repeated events: a caching proxy replays one answer indefinitely.
        changed = changes and self._resource_version != before
        if not changed and loop.time() - opened < SHORT_WATCH:
            raise Unavailable("the watch ended at once, without a change")

    def _handle(self, event: WatchEvent) -> None:
        self.events += 1
        if event.type == EventType.DELETED:
            self._handler.deleted(event.object)
        else:
            self._handler.applied(event.object)

    def _record_contact(self) -> None:
        self._last_contact = asyncio.get_running_loop().time()
        self._degraded = None

    def _fail(self, error: KubeError) -> None:
        self.errors += 1
        if asyncio.get_running_loop().time() - self._calm_since >= QUIET:
            self._failures = 0
        # A proxy's 404 is transient; that of a missing CRD is not.
        missing = isinstance(error, NotServed) and (not self._synced or self._failures >= DEGRADED_AFTER)
        lasting = isinstance(error, Forbidden | NotFound) or missing
        delay = (NOT_ALLOWED if lasting else self._backoff).delay(self._failures, self._rng)
        if error.retry_after:
            # Added to the jitter: the watches of all kinds were refused together and must not return together.
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
