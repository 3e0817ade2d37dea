"""Which comes first to the operator: the answer to its own write, or the watch event of that write.

Over a network both happen. The in-memory transport alone delivers the event first; `late_watch` makes it arrive after the answer.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sagemaker_operator.kube.transport import Query, Response, StreamingResponse, Transport

VARIABLE = "SAGEMAKER_OPERATOR_TEST_ORDER"

LAG_SECONDS = 0.05
"""Virtual. A reconcile in memory takes none: all of its writes are answered before the first event arrives."""


class Order(StrEnum):
    EVENT_FIRST = "event-first"
    ANSWER_FIRST = "answer-first"


def default_order() -> Order:
    """What `pytest --order` or the environment variable says."""
    return Order(os.environ.get(VARIABLE, Order.EVENT_FIRST))


def ordered(transport: Transport, order: Order) -> Transport:
    return LateWatch(transport) if order is Order.ANSWER_FIRST else transport


class LateWatch:
    """Implements `Transport` over another one: each chunk of a watch arrives `LAG_SECONDS` late."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        timeout: float,
    ) -> Response:
        return await self._inner.request(method, path, query=query, headers=headers, body=body, timeout=timeout)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AsyncIterator[StreamingResponse]:
        async with self._inner.stream(path, query=query, headers=headers, timeout=timeout) as stream:
            yield _LateStream(stream)


class _LateStream:
    """Implements `StreamingResponse`. Chunks keep their order and their distances."""

    def __init__(self, inner: StreamingResponse) -> None:
        self._inner = inner

    @property
    def status(self) -> int:
        return self._inner.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._inner.headers

    async def read(self) -> bytes:
        return await self._inner.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()

        async def receive() -> None:
            try:
                async for chunk in self._inner.chunks():
                    arrived.put_nowait((loop.time() + LAG_SECONDS, chunk))
            finally:
                arrived.put_nowait((loop.time() + LAG_SECONDS, None))

        receiving = asyncio.create_task(receive(), name="late watch")
        try:
            while True:
                due, chunk = await arrived.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if chunk is None:
                    await receiving  # raises what ended the stream
                    return
                yield chunk
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
