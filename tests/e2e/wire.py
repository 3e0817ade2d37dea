"""Everything an operator sends, numbered in order, and one fault at a chosen number.

Both ports of the operator pass here: requests to Kubernetes (lease renewals aside: they are a clock's work, and their
number depends on nothing but time) and calls to AWS.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.sandbox.sagemaker.http import in_process_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sagemaker_operator.kube.transport import Query, Response, StreamingResponse, Transport
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

T = TypeVar("T")


class Mode(Enum):
    """What happens to the chosen call."""

    KILL_BEFORE = "the process dies before the call is sent"
    KILL_AFTER = "the process dies after the call took effect"
    FAIL_BEFORE = "the call is not sent"
    FAIL_AFTER = "the call takes effect and its reply is lost"
    HANG = "there is never an answer"


class Wire:
    """Numbers calls from 1. With `at` 0 nothing goes wrong, and `calls` tells what there was to break.

    `at` may also name a call ("SageMaker.CreateModel"): the first of that name is the one.
    """

    def __init__(self, at: int | str = 0, mode: Mode = Mode.FAIL_BEFORE) -> None:
        self.calls: list[str] = []
        self.struck = asyncio.Event()
        self._at = at
        self._mode = mode
        self._dead = False

    def transport(self, inner: Transport) -> Transport:
        return _Kubernetes(self, inner)

    def session(self, simulator: SageMakerSimulator) -> type:
        wire = self

        class Session(in_process_session(simulator)):  # type: ignore[misc]
            async def send(self, request: Any) -> Any:
                operation = request.headers.get("X-Amz-Target", "STS")
                name = operation.decode() if isinstance(operation, bytes) else str(operation)
                return await wire.pass_on(
                    name,
                    lambda: super(Session, self).send(request),
                    unsent=lambda: EndpointConnectionError(endpoint_url=request.url),
                    unanswered=lambda: ConnectionClosedError(endpoint_url=request.url),
                )

        return Session

    async def pass_on(
        self,
        name: str,
        call: Callable[[], Awaitable[T]],
        *,
        unsent: Callable[[], Exception],
        unanswered: Callable[[], Exception],
    ) -> T:
        if self._dead:
            raise unsent()
        self.calls.append(name)
        if self._at not in (len(self.calls), name) or self.struck.is_set():
            return await call()
        match self._mode:
            case Mode.KILL_BEFORE:
                return await self._die()
            case Mode.KILL_AFTER:
                await call()
                return await self._die()
            case Mode.FAIL_BEFORE:
                self.struck.set()
                raise unsent()
            case Mode.FAIL_AFTER:
                await call()
                self.struck.set()
                raise unanswered()
            case Mode.HANG:
                self.struck.set()
                return await self._silence()
        raise AssertionError(self._mode)

    async def _die(self) -> Any:
        self._dead = True
        self.struck.set()
        return await self._silence()

    @staticmethod
    async def _silence() -> Any:
        await asyncio.Event().wait()

    def kill(self) -> None:
        """Now: not one more call gets out."""
        self._dead = True
        self.struck.set()

    @property
    def dead(self) -> bool:
        return self._dead


class _Kubernetes:
    def __init__(self, wire: Wire, inner: Transport) -> None:
        self._wire = wire
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
        async def call() -> Response:
            return await self._inner.request(method, path, query=query, headers=headers, body=body, timeout=timeout)

        if "/leases" in path and not self._wire.dead:
            return await call()
        lost = Unavailable(f"{method} {path}: cut")
        try:
            async with asyncio.timeout(timeout):
                return await self._wire.pass_on(f"{method} {path}", call, unsent=lambda: lost, unanswered=lambda: lost)
        except TimeoutError:
            raise lost from None

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AsyncIterator[StreamingResponse]:
        if self._wire.dead:
            raise Unavailable("cut")
        async with self._inner.stream(path, query=query, headers=headers, timeout=timeout) as stream:
            yield stream
