"""The emulator behind the operator's own `Transport`, without a socket: whole-operator tests in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube.transport import Query, Response
from sagemaker_operator.sandbox.kubernetes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sagemaker_operator.sandbox.kubernetes.emulator import KubernetesEmulator


class InMemoryTransport:
    """Implements `kube.transport.Transport`. `user_agent` identifies this client in the emulator's log."""

    def __init__(self, emulator: KubernetesEmulator, *, user_agent: str = "sagemaker-operator") -> None:
        self._emulator = emulator
        self._user_agent = user_agent

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
        """See `Transport.request`. Raises Unavailable after `timeout` seconds, or if `intercept` breaks the connection."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._ask(method, path, query, headers, body)
                if isinstance(answer, Response):
                    return answer
                try:
                    return Response(answer.status, answer.headers, await answer.read())
                finally:
                    answer.close()
        except TimeoutError:
            raise Unavailable(f"{method} {path}: no answer within {timeout:g} s") from None
        except ConnectionResetError as error:
            raise Unavailable(f"{method} {path}: {error or 'connection reset'}") from None

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AsyncIterator[_Stream]:
        """See `Transport.stream`. `timeout` (seconds) covers the time to the answer's first byte."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._ask("GET", path, query, headers, None)
        except TimeoutError:
            raise Unavailable(f"GET {path}: no answer within {timeout:g} s") from None
        except ConnectionResetError as error:
            raise Unavailable(f"GET {path}: {error or 'connection reset'}") from None
        try:
            yield _Stream(answer)
        finally:
            if isinstance(answer, Watch):
                answer.close()

    async def _ask(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes | None
    ) -> Response | Watch:
        # A socket would let other tasks run before and after the server has done its work: so do we, or tests would
        # never see two of them interleave.
        await asyncio.sleep(0)
        answer = await self._emulator.handle(method, path, query, {"User-Agent": self._user_agent, **headers}, body)
        await asyncio.sleep(0)
        return answer

    def __repr__(self) -> str:
        return f"<InMemoryTransport {self._user_agent!r} to {self._emulator!r}>"


class _Stream:
    """A `StreamingResponse` for a watch or for a complete answer."""

    def __init__(self, answer: Response | Watch) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._answer, Response):
            yield self._answer.body
            return
        try:
            async for chunk in self._answer.chunks():
                yield chunk
        except ConnectionResetError as error:
            raise Unavailable(str(error)) from None

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])
