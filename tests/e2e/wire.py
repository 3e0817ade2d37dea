"""Numbers every request of an operator, and injects one fault at a chosen number.

It sees requests to Kubernetes (without lease renewals, whose number depends on time alone) and calls to AWS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.sandbox.sagemaker.http import in_process_session
from tests.transports import ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from sagemaker_operator.kube.transport import Response, StreamingResponse, Transport
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

T = TypeVar("T")


class Mode(Enum):
    """What happens to the chosen call."""

    KILL_BEFORE = "the process dies before the call is sent"
    KILL_AFTER = "the process dies after the call took effect"
    FAIL_BEFORE = "the call is not sent"
    FAIL_AFTER = "the call takes effect and its reply is lost"
    HANG = "there is never an answer"
    LATE = "the call takes effect and its reply comes long after the caller gave up"
    CANCEL = "everything is cancelled after the call took effect, as when the lease was lost"
    TERM = "SIGTERM comes while the call is in flight"

    @property
    def ends(self) -> bool:
        """The process does not outlive it."""
        return self in (Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.CANCEL, Mode.TERM)


Script = Callable[[int, str], Mode | None]
"""Decides the fault of a call from its number and its name; None: no fault."""


def _once(at: int | str, mode: Mode) -> Script:
    struck = False

    def script(number: int, name: str) -> Mode | None:
        nonlocal struck
        if struck or at not in (number, name):
            return None
        struck = True
        return mode

    return script


class Wire:
    """Numbers calls from 1. With `at` 0 there is no fault, and `calls` lists the calls of the run.

    `at` may also name a call ("SageMaker.CreateModel"): the first of that name is the one. A `script` decides on each.
    """

    def __init__(
        self,
        at: int | str = 0,
        mode: Mode = Mode.FAIL_BEFORE,
        *,
        script: Script | None = None,
        calls: list[str] | None = None,
    ) -> None:
        """`calls` goes on where an earlier process ended."""
        self.calls: list[str] = [] if calls is None else calls
        self.struck = asyncio.Event()
        self.ended = asyncio.Event()
        """The process is to end here, as `ending` says."""
        self.ending: Mode | None = None
        self._script = script or _once(at, mode)
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
        mode = self._script(len(self.calls), name)
        if mode is None:
            return await call()
        if mode.ends:
            self.ending = mode
        if mode in (Mode.KILL_AFTER, Mode.FAIL_AFTER, Mode.LATE, Mode.CANCEL):
            await call()
        self.struck.set()
        match mode:
            case Mode.KILL_BEFORE | Mode.KILL_AFTER:
                self._dead = True
                self.ended.set()
            case Mode.FAIL_BEFORE:
                raise unsent()
            case Mode.FAIL_AFTER:
                raise unanswered()
            case Mode.CANCEL:
                self.ended.set()
            case Mode.TERM:
                self.ended.set()
                return await call()
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


class _Kubernetes(ForwardingTransport):
    def __init__(self, wire: Wire, inner: Transport) -> None:
        super().__init__(inner)
        self._wire = wire

    async def answer(self, request: Request) -> Response:
        call = partial(super().answer, request)
        if "/leases" in request.path and not self._wire.dead:
            return await call()
        name = f"{request.method} {request.path}"
        lost = Unavailable(f"{name}: cut")
        try:
            async with asyncio.timeout(request.timeout):
                return await self._wire.pass_on(name, call, unsent=lambda: lost, unanswered=lambda: lost)
        except TimeoutError:
            raise lost from None

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        if self._wire.dead:
            raise Unavailable("cut")
        async with super().open(request) as stream:
            yield stream
