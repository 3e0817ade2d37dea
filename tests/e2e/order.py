"""Whether the operator first receives the answer to its own write or the watch event of that write.

Over a network both happen. The in-memory transport alone delivers the event first; `late_watch` makes it arrive after the answer.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.transports import ForwardingStream, ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.kube.transport import StreamingResponse, Transport

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


class LateWatch(ForwardingTransport):
    """Each chunk of a watch arrives `LAG_SECONDS` late."""

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        async with super().open(request) as stream:
            yield _LateStream(stream)


class _LateStream(ForwardingStream):
    """Chunks keep their order and their distances."""

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
