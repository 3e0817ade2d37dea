"""The interface of all access to an API server: one request, one answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class StreamingResponse(Protocol):
    """An HTTP answer whose body is read as it arrives: a watch."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Body bytes as they arrive, split anywhere. Ends when the server ends it; raises Unavailable if it is cut."""
        ...

    async def read(self) -> bytes:
        """The whole body of an answer that is not a stream (an error status), at most 64 KiB."""
        ...


class Transport(Protocol):
    """Raises `Unavailable` when there is no HTTP answer in time, and no other error."""

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
        """One request with a body that ends. `timeout` is in seconds and covers all of it."""
        ...

    def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        """A GET whose body is read as it comes. `timeout` covers connecting and the response headers only."""
        ...
