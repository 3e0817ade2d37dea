"""Watches: replayed and live changes as JSON lines, bookmarks and the end; and simulated failures of watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.sandbox.kubernetes.storage import Change, ChangeType, CollectionId, Storage

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes.selectors import Matcher

JsonObject = dict[str, Any]
Render = Callable[[JsonObject], JsonObject]
"""A stored object -> its form for this watch's client (the object, or a Table of one row)."""

# A real server sends the last bookmark 2 s before it ends a watch, so that the next one starts from a fresh version.
_BOOKMARK_BEFORE_END = 2.0
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class Watch:
    """The answer to one watch request: a `StreamingResponse` of kube/transport.py, made by the emulator.

    Events wait here, unbounded, until somebody reads `chunks`. `end_at` is in `loop.time()`.
    """

    status = 200
    headers: Mapping[str, str] = {"Content-Type": "application/json"}

    def __init__(
        self,
        storage: Storage,
        collection: CollectionId,
        *,
        matches: Matcher,
        render: Render,
        bookmark: JsonObject | None,
        bookmark_seconds: float,
        end_at: float,
        closed: Callable[[Watch], None],
    ) -> None:
        self._storage = storage
        self._collection = collection
        self._matches = matches
        self._render = render
        self._bookmark = bookmark
        self._bookmark_seconds = bookmark_seconds
        self._end_at = end_at
        self._closed = closed
        self._lines: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._stalled = False
        self._cut = False
        self._over = False

    def start(self, changes: Iterable[Change], *, initial: Iterable[JsonObject] = (), announce: bool = False) -> None:
        """Sends `initial` as ADDED (and, with `announce`, the bookmark that ends it), then `changes`, then what comes."""
        for obj in initial:
            if self._matches(obj):
                self._event(ChangeType.ADDED, obj)
        if announce and self._bookmark is not None:
            self._lines.append(self._bookmark_line(INITIAL_EVENTS_END))
        for change in changes:
            self._on_change(change)
        self._storage.subscribe(self._collection, self._on_change)

    def fail(self, status: JsonObject) -> None:
        """Sends one ERROR event and ends."""
        self._lines.append(_line({"type": "ERROR", "object": status}))
        self._over = True

    def _on_change(self, change: Change) -> None:
        was = change.previous is not None and self._matches(change.previous)
        now = change.type is not ChangeType.DELETED and self._matches(change.object)
        if now:
            self._event(ChangeType.MODIFIED if was else ChangeType.ADDED, change.object)
        elif was and change.previous is not None:
            # The client knew the old state; its version is the write's, so that a resumed watch does not repeat it.
            meta = {**change.previous["metadata"], "resourceVersion": str(change.version)}
            self._event(ChangeType.DELETED, {**change.previous, "metadata": meta})

    def _event(self, type_: ChangeType, obj: JsonObject) -> None:
        self._lines.append(_line({"type": type_.value, "object": self._render(obj)}))
        self._wake.set()

    def _bookmark_line(self, annotations: Mapping[str, str] | None = None) -> bytes:
        meta: JsonObject = {"resourceVersion": str(self._storage.version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = dict(annotations)
        return _line({"type": "BOOKMARK", "object": {**(self._bookmark or {}), "metadata": meta}})

    async def chunks(self) -> AsyncIterator[bytes]:
        """The lines, several in a chunk if they pile up. Raises ConnectionResetError when the watch is cut."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        bookmark_at = self._next_bookmark(now)
        try:
            while True:
                if self._cut:
                    raise ConnectionResetError("the watch was cut")
                if self._lines and not self._stalled:
                    chunk = b"".join(self._lines)
                    self._lines.clear()
                    yield chunk
                    now = loop.time()
                    continue
                if self._over or (not self._stalled and now >= self._end_at):
                    return
                if not self._stalled and bookmark_at is not None and now >= bookmark_at:
                    self._lines.append(self._bookmark_line())
                    bookmark_at = self._next_bookmark(now)
                    continue
                self._wake.clear()
                due = None if self._stalled else min(self._end_at, bookmark_at or self._end_at)
                try:
                    async with asyncio.timeout_at(due):
                        await self._wake.wait()
                    now = loop.time()
                except TimeoutError:
                    # A loop rounds: its clock may be just before the time for which it called us, and in virtual
                    # time it would stay there for as long as we asked again.
                    now = max(due or 0.0, loop.time())
        finally:
            self.close()

    def _next_bookmark(self, now: float) -> float | None:
        if self._bookmark is None:
            return None
        due = min(now + self._bookmark_seconds, self._end_at - _BOOKMARK_BEFORE_END)
        return due if due > now else None

    async def read(self) -> bytes:
        """Everything until the watch ends."""
        return b"".join([chunk async for chunk in self.chunks()])

    def stall(self, stalled: bool) -> None:
        """While stalled the connection stays open and silent, past its own end: as with a dead peer."""
        self._stalled = stalled
        self._wake.set()

    def cut(self) -> None:
        """Breaks the connection; unread events are lost."""
        self._cut = True
        self._wake.set()

    def close(self) -> None:
        """Ends the watch regularly. Idempotent."""
        self._over = True
        self._stalled = False
        self._storage.unsubscribe(self._collection, self._on_change)
        self._closed(self)
        self._wake.set()

    def __repr__(self) -> str:
        flags = [name for name in ("stalled", "cut", "over") if getattr(self, f"_{name}")]
        return f"<Watch {'/'.join(self._collection)} {len(self._lines)} waiting {' '.join(flags) or 'open'}>"


def _line(event: JsonObject) -> bytes:
    return msgspec.json.encode(event) + b"\n"
