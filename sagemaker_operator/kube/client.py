"""The Kubernetes API as methods (list, watch, get, write). Decodes answers and maps errors to types."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sagemaker_operator.errors import KubeError, TooManyRequests, Unavailable
from sagemaker_operator.kube.refusals import Refusals
from sagemaker_operator.kube.status import error_of_answer, error_of_event
from sagemaker_operator.listwatch import EventType, ListPage, WatchEvent
from sagemaker_operator.objects import KubeObject, Meta, decode_object, detach

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from sagemaker_operator.kube.transport import Query, StreamingResponse, Transport
    from sagemaker_operator.objects import Resource

# The API server gives up on a write after 34 s (its own default for webhooks and etcd), but answers in 10 ms when well.
_CALL_SECONDS = 15.0
# A page of 500 objects of 1 MB from a busy server.
_LIST_SECONDS = 60.0
# The headers of a watch come before its first event, once the server's watch cache is ready.
_WATCH_START_SECONDS = 30.0
# etcd refuses objects above 1.5 MiB; a line longer than this is not an event and would only fill the memory.
_LINE_LIMIT = 8 * 1024 * 1024
# Priority and fairness asks for 1 s; for more than 5 s the caller should not wait but retry later.
_RETRY_AFTER_LIMIT = 5.0
_RETRIES = 2


class Observer(Protocol):
    """Called after every request. `method` is the HTTP method, or WATCH; `status` 0 means no answer."""

    def __call__(self, method: str, plural: str, subresource: str, status: int, seconds: float) -> None: ...


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMeta
    kind: str = ""
    items: list[KubeObject] | None = None


class _RawList(msgspec.Struct):
    metadata: _ListMeta
    kind: str = ""
    items: list[msgspec.Raw] | None = None


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    """A type of its own: servers up to 1.33 send `creationTimestamp: null` in it, which no other object has."""

    metadata: _ListMeta


_list_decoder = msgspec.json.Decoder(_List)
_raw_list_decoder = msgspec.json.Decoder(_RawList)
_line_decoder = msgspec.json.Decoder(_Line)
_bookmark_decoder = msgspec.json.Decoder(_Bookmark)
_dict_decoder = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()

_MERGE_PATCH = "application/merge-patch+json"


class KubeClient:
    """Every method raises a `KubeError`: its class is the cause, its text names the request.

    An answer that is not Kubernetes JSON (an empty body, a proxy's HTML) is Unavailable, whatever its status.
    """

    def __init__(self, transport: Transport, *, observer: Observer | None = None) -> None:
        self._transport = transport
        self._observer = observer
        self.refusals = Refusals(_now)
        """Writes that RBAC currently denies."""

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        limit: int = 500,
        continue_: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> ListPage:
        """One page; `limit` 0 asks for everything at once. Raises Gone if `continue_` is too old."""
        path = resource.path(namespace)
        body = await self._request(
            "GET",
            path,
            resource,
            query=_query(
                limit=str(limit) if limit else None,
                **{"continue": continue_},
                labelSelector=label_selector,
                fieldSelector=field_selector,
            ),
            timeout=_LIST_SECONDS,
        )
        try:
            page = _page(body)
        except msgspec.DecodeError as error:
            raise _unexpected_answer(f"GET {path}") from error
        if not page.kind.endswith("List") or not page.metadata.resource_version:
            # A Status or an object of a proxy would read as an empty list, which deletes everything that is cached.
            raise _unexpected_answer(f"GET {path}")
        # Items of a list have no apiVersion and kind.
        version, kind = resource.api_version, resource.kind
        items = [
            msgspec.structs.replace(detach(item), api_version=item.api_version or version, kind=item.kind or kind)
            for item in page.items or ()
        ]
        return ListPage(items, page.metadata.resource_version, page.metadata.continue_ or None)

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        resource_version: str,
        timeout_seconds: int,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, until the server ends the stream. Close the generator to end it earlier.

        Raises Gone (list again) whether it comes as an HTTP status or in the stream, and Unavailable if it is cut.
        """
        path = resource.path(namespace)
        what = f"WATCH {path}"
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(timeout_seconds),
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        async with self._stream(resource, path, query) as stream:
            if stream.status != 200:
                raise error_of_answer(what, stream.status, stream.headers, await stream.read())
            lines = LineSplitter(what)
            async for chunk in stream.chunks():
                for line in lines.feed(chunk):
                    yield _event(what, line)
            lines.end()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> KubeObject:
        """One object. Raises NotFound."""
        path = resource.path(namespace, name)
        return _object(f"GET {path}", await self._request("GET", path, resource, name=name), name)

    async def get_json(self, path: str) -> dict[str, Any]:
        """Any path that answers a JSON object, all of it as a dict."""
        return _dict(f"GET {path}", await self._request("GET", path))

    async def create(
        self, resource: Resource, namespace: str | None, body: Mapping[str, Any], *, strict: bool = False
    ) -> dict[str, Any]:
        """The object as stored. Raises Conflict if the name is taken.

        With `strict` an unknown field is a KubeError (400) that names it; otherwise the server drops it.
        """
        path = resource.path(namespace)
        query = _query(fieldValidation="Strict" if strict else None)
        return _dict(f"POST {path}", await self._write("POST", path, resource, body, query=query))

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """PUT: the object as stored. Raises Conflict if `body` has an old resourceVersion."""
        path = resource.path(namespace, name)
        return _dict(f"PUT {path}", await self._write("PUT", path, resource, body, name=name))

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> KubeObject:
        """RFC 7386: the object as patched. With a resourceVersion in `patch`, raises Conflict if it is old."""
        path = resource.path(namespace, name, subresource)
        answer = await self._write("PATCH", path, resource, patch, _MERGE_PATCH, subresource, name=name)
        return _object(f"PATCH {path}", answer, name)

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Asks for the deletion; finalizers decide when the object is gone. Raises NotFound."""
        await self._write("DELETE", resource.path(namespace, name), resource, None, name=name)

    async def _write(
        self,
        method: str,
        path: str,
        resource: Resource,
        body: Mapping[str, Any] | None,
        content_type: str = "application/json",
        subresource: str | None = None,
        query: Query = (),
        name: str | None = None,
    ) -> bytes:
        """A write is sent again only after an answer with Retry-After: the server has not executed it."""
        send = partial(
            self._request,
            method,
            path,
            resource,
            query=query,
            body=None if body is None else _encoder.encode(body),
            content_type=content_type,
            subresource=subresource,
            name=name,
        )
        try:
            answer = await self._send_again(send)
        except KubeError as error:
            self.refusals.note(method, resource, _namespace_of(path), subresource or "", error)
            raise
        self.refusals.note(method, resource, _namespace_of(path), subresource or "", None)
        return answer

    @staticmethod
    async def _send_again(send: Callable[[], Awaitable[bytes]]) -> bytes:
        for _ in range(_RETRIES):
            try:
                return await send()
            except (TooManyRequests, Unavailable) as error:
                if error.retry_after is None or error.retry_after > _RETRY_AFTER_LIMIT:
                    raise
                await asyncio.sleep(error.retry_after)
        return await send()

    async def _request(
        self,
        method: str,
        path: str,
        resource: Resource | None = None,
        *,
        query: Query = (),
        body: bytes | None = None,
        content_type: str | None = None,
        subresource: str | None = None,
        timeout: float = _CALL_SECONDS,
        name: str | None = None,
    ) -> bytes:
        """`name`: the object, for a request about a single one."""
        headers = {"Content-Type": content_type} if body is not None and content_type else {}
        started = _now()
        status = 0
        try:
            answer = await self._transport.request(
                method, path, query=query, headers=headers, body=body, timeout=timeout
            )
            status = answer.status
        finally:
            self._observe(method, resource, subresource, status, started)
        if 200 <= answer.status < 300:
            return answer.body
        raise error_of_answer(f"{method} {path}", answer.status, answer.headers, answer.body, name=name)

    @contextlib.asynccontextmanager
    async def _stream(self, resource: Resource, path: str, query: Query) -> AsyncIterator[StreamingResponse]:
        started = _now()
        status = 0
        async with contextlib.AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(
                    self._transport.stream(path, query=query, timeout=_WATCH_START_SECONDS)
                )
                status = stream.status
            finally:
                self._observe("WATCH", resource, None, status, started)
            yield stream

    def _observe(
        self, method: str, resource: Resource | None, subresource: str | None, status: int, started: float
    ) -> None:
        if self._observer is not None:
            plural = resource.plural if resource is not None else ""
            self._observer(method, plural, subresource or "", status, _now() - started)

    def __repr__(self) -> str:
        return f"<KubeClient over {self._transport!r}>"


class LineSplitter:
    """Splits a stream of chunks into lines. Text after the last newline is dropped: it is an incomplete event."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without blank ones. Raises Unavailable beyond 8 MiB without a newline."""
        first, *others = chunk.split(b"\n")
        self._size += len(first)
        if self._size > _LINE_LIMIT:
            raise Unavailable(f"{self._what}: a line of more than {_LINE_LIMIT // 2**20} MiB is not a watch event")
        self._parts.append(first)
        if not others:
            return []
        # Joined once per line: adding to one bytes object would copy a large event once per chunk.
        lines = [b"".join(self._parts), *others[:-1]]
        self._parts = [others[-1]]
        self._size = len(others[-1])
        return [line for line in lines if line.strip()]

    def end(self) -> None:
        """The stream has ended. Raises Unavailable if the rest is not the start of an event: a log-in page has no newline."""
        rest = b"".join(self._parts).strip()
        if rest and not rest.startswith(b"{"):
            raise _unexpected_answer(self._what)


def _namespace_of(path: str) -> str:
    return path.partition("/namespaces/")[2].partition("/")[0]


def _page(body: bytes) -> _List:
    try:
        return _list_decoder.decode(body)
    except msgspec.ValidationError:
        # Twice as slow, and only needed when an item is invalid.
        page = _raw_list_decoder.decode(body)
        return _List(page.metadata, page.kind, [decode_object(item) for item in page.items or ()])


def _event(what: str, line: bytes) -> WatchEvent:
    try:
        decoded = _line_decoder.decode(line)
        if decoded.type == "ERROR":
            raise error_of_event(what, decoded.object)
        type_ = EventType(decoded.type)
        if type_ is EventType.BOOKMARK:
            version = _bookmark_decoder.decode(decoded.object).metadata.resource_version
            return WatchEvent(type_, KubeObject(metadata=Meta(resource_version=version)))
        return WatchEvent(type_, decode_object(decoded.object))
    except ValueError as error:  # msgspec.DecodeError is one, and so is an unknown event type
        raise _unexpected_answer(what) from error


def _object(what: str, body: bytes, name: str) -> KubeObject:
    try:
        obj = decode_object(body)
    except msgspec.DecodeError as error:
        raise _unexpected_answer(what) from error
    if obj.metadata.name != name:
        raise _unexpected_answer(what)
    return obj


def _dict(what: str, body: bytes) -> dict[str, Any]:
    try:
        return _dict_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _unexpected_answer(what) from error


def _unexpected_answer(what: str) -> KubeError:
    return Unavailable(f"{what}: the answer is not the Kubernetes JSON that was asked for")


def _query(**parameters: str | None) -> Query:
    return [(name, value) for name, value in parameters.items() if value]


def _now() -> float:
    return asyncio.get_running_loop().time()
