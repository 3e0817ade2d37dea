"""A Kubernetes API behind a bad network or a lagging replica: watches that lose, repeat and delay events; old lists.

Everything here may happen with a healthy API server, and ends: after `until` (loop time) there is no fault.
An event is only lost together with the connection's history (410 Gone), because that is the only way in which one is.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from sagemaker_operator.errors import Unavailable
from tests.transports import ForwardingStream, ForwardingTransport, Request, WholeStream

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from sagemaker_operator.kube.transport import Query, Response, StreamingResponse, Transport


class Stale(StrEnum):
    DROPPED = "dropped"
    """Events are lost, and half a minute later the watch is answered with 410."""
    DUPLICATED = "duplicated"
    """Every event comes twice, and older ones come again after newer ones."""
    DELAYED = "delayed"
    """Up to 20 s late."""
    REORDERED = "reordered"
    """A watch is cut after some events, and the next one begins in the past."""
    OLD_LIST = "old-list"
    """Lists are asked for again and again, and some are answered from the past."""
    NO_BOOKMARKS = "no-bookmarks"
    GONE_STORM = "gone-storm"
    """Watch after watch is answered with 410, in the stream or as a status."""
    HALF_LINE = "half-line"
    """The connection breaks within an event."""
    STALLED = "stalled"
    """The connection stays open and says nothing more."""


_GONE = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "code": 410,
    "message": "too old",
}
_GONE_LINE = json.dumps({"type": "ERROR", "object": _GONE}).encode() + b"\n"
_STORM = 5
_LOST_SECONDS = 30.0


class StaleTransport(ForwardingTransport):
    def __init__(self, inner: Transport, mode: Stale, *, rng: random.Random, until: float) -> None:
        super().__init__(inner)
        self._mode = mode
        self._rng = rng
        self._until = until
        self._lists: dict[str, list[Response]] = {}
        self._storms: dict[str, int] = {}

    def _active(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    async def answer(self, request: Request) -> Response:
        answer = await super().answer(request)
        if self._mode is not Stale.OLD_LIST or request.method != "GET" or b'"items"' not in answer.body:
            return answer
        kept = self._lists.setdefault(request.path, [])
        kept.append(answer)
        return self._rng.choice(kept) if self._active() else answer

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        if self._active():
            request = request.with_query(self._asked(request.query))
            if self._mode is Stale.GONE_STORM and self._storms.setdefault(request.path, 0) < _STORM:
                self._storms[request.path] += 1
                # Old servers answer with a status, new ones with an ERROR event.
                in_stream = self._rng.random() < 0.5
                yield WholeStream(200, _GONE_LINE) if in_stream else WholeStream(410, json.dumps(_GONE).encode())
                return
        async with super().open(request) as stream:
            yield _StaleStream(stream, self) if self._active() and stream.status == 200 else stream

    def _asked(self, query: Query) -> Query:
        if self._mode is not Stale.REORDERED:
            return query
        back = self._rng.randrange(12)
        return [
            (name, str(max(1, int(value) - back)) if name == "resourceVersion" and value.isdigit() else value)
            for name, value in query
        ]

    async def lines(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        rng, mode = self._rng, self._mode
        loop = asyncio.get_running_loop()
        lost_at = loop.time() + rng.uniform(20.0, 60.0) if mode is Stale.OLD_LIST else None
        before = b""
        following = asyncio.ensure_future(anext(source, None))
        try:
            while True:
                wait = None if lost_at is None else max(0.0, lost_at - loop.time())
                done, _ = await asyncio.wait({following}, timeout=wait)
                if not done:
                    yield _GONE_LINE
                    return
                line = following.result()
                if line is None:
                    return
                following = asyncio.ensure_future(anext(source, None))
                bookmark = line.startswith(b'{"type":"BOOKMARK"')
                if not self._active():
                    yield line
                    continue
                match mode:
                    case Stale.DROPPED if not bookmark and rng.random() < 0.5:
                        lost_at = lost_at or loop.time() + _LOST_SECONDS
                        continue
                    case Stale.DROPPED if lost_at is not None and bookmark:
                        # A version after the lost event would make the loss permanent.
                        continue
                    case Stale.DUPLICATED if not bookmark:
                        yield line + line
                        if before:
                            yield before + line
                        before = line
                        continue
                    case Stale.DELAYED:
                        await asyncio.sleep(rng.uniform(0.0, 20.0))
                    case Stale.NO_BOOKMARKS if bookmark:
                        continue
                    case Stale.HALF_LINE if rng.random() < 0.5:
                        yield line[: rng.randrange(1, len(line) - 1)]
                        if rng.random() < 0.5:
                            raise Unavailable("cut within a line")
                        return
                    case Stale.REORDERED if rng.random() < 0.3:
                        raise Unavailable("cut")
                    case Stale.STALLED if rng.random() < 0.3:
                        await asyncio.Event().wait()
                yield line
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


class _StaleStream(ForwardingStream):
    def __init__(self, inner: StreamingResponse, transport: StaleTransport) -> None:
        super().__init__(inner)
        self._transport = transport

    async def _lines(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner.chunks():
            for line in chunk.splitlines(keepends=True):
                yield line

    def chunks(self) -> AsyncIterator[bytes]:
        return self._transport.lines(self._lines())
