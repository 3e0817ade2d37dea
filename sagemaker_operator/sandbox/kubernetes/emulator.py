"""The Kubernetes API, in process: one `handle` that the HTTP server and the in-memory transport share.

It behaves as a Kubernetes API server with the namespace and CRD controllers beside it does, for everything that
kubectl and an operator use; tests/sandbox/test_contract_*.py hold it to that by asking a real one the same
questions. Left out: RBAC, admission webhooks, garbage collection by owner references.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from sagemaker_operator.kube.transport import Response
from sagemaker_operator.sandbox.kubernetes import discovery, openapi, protobuf, status
from sagemaker_operator.sandbox.kubernetes.builtins import BUILTINS
from sagemaker_operator.sandbox.kubernetes.decoding import STRICT
from sagemaker_operator.sandbox.kubernetes.options import WriteOptions, write_options
from sagemaker_operator.sandbox.kubernetes.patches import APPLY_PATCH
from sagemaker_operator.sandbox.kubernetes.reads import Reader, is_true
from sagemaker_operator.sandbox.kubernetes.resources import Catalog, ResourceType
from sagemaker_operator.sandbox.kubernetes.routing import READS, Request, target_of, verb_of
from sagemaker_operator.sandbox.kubernetes.storage import CollectionId, Storage, copy_of
from sagemaker_operator.sandbox.kubernetes.table import table
from sagemaker_operator.sandbox.kubernetes.writes import Outcome, Writer, key_of

if TYPE_CHECKING:
    import random

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.objects import Resource
    from sagemaker_operator.sandbox.kubernetes.watch import Watch

__all__ = ["Intercept", "KubernetesEmulator", "Request", "RequestRecord", "WrittenObject"]

JsonObject = dict[str, Any]
Intercept = Callable[[Request], Awaitable[Response | None]]
"""Called with each request before it is served; its return value, unless None, is the answer. It may sleep, or raise
ConnectionResetError for a connection that breaks without an answer."""

_JSON: Final = "application/json"
_HEALTH: Final = frozenset({"healthz", "livez", "readyz"})
# 10,000 records are 3 MB; a scenario has some hundreds of requests.
_LOG_SIZE: Final = 10_000


class RequestRecord(NamedTuple):
    """One answered request. `at` is in `loop.time()`; `status` is 0 if the connection broke instead.

    `name` is also that of a list or watch of one object by its name, as authorization sees it.
    """

    verb: str
    group: str
    plural: str
    subresource: str
    namespace: str | None
    name: str
    user_agent: str
    status: int
    at: float


class WrittenObject(NamedTuple):
    """What a write was about."""

    group: str
    plural: str
    namespace: str | None
    name: str


class KubernetesEmulator:
    """One cluster's API. Deterministic for a given `clock` and `rng`.

    `bookmark_seconds` is the interval of watch bookmarks; `history` is how many changes of each collection a watch can
    go back.
    """

    def __init__(
        self, *, clock: Clock, rng: random.Random, bookmark_seconds: float = 60.0, history: int = 1000
    ) -> None:
        self._clock = clock
        self._storage = Storage(history=history)
        self._catalog = Catalog(BUILTINS)
        self._writer = Writer(self._storage, self._catalog, clock=clock, rng=rng, on_gone=self._end_watches)
        self._reader = Reader(self._storage, rng=rng, bookmark_seconds=bookmark_seconds)
        self._openapi = openapi.OpenApi(self._catalog)
        self._watches: dict[Watch, CollectionId] = {}
        self.intercept: Intercept | None = None
        self.requests: deque[RequestRecord] = deque(maxlen=_LOG_SIZE)
        """The latest requests, oldest first; a watch is recorded when it starts."""
        self.writes: Counter[tuple[str, WrittenObject]] = Counter()
        """(user agent, object) -> accepted writes, those without effect included, dry runs not."""
        for name in ("default", "kube-system"):
            self.install({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def handle(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response | Watch:
        """Answers one request. Raises only what `intercept` raises."""
        target = target_of(path)
        parameters = dict(query)
        verb = verb_of(method, target, watching=is_true(parameters.get("watch"))) if target else method.lower()
        request = Request(
            method=method,
            path=path,
            verb=verb or method.lower(),
            **(target._asdict() if target else {}),
            query=parameters,
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body,
        )
        answered = 0
        try:
            scripted = await self.intercept(request) if self.intercept else None
            answer = scripted if scripted is not None else self._answer(request, known=verb is not None)
            answered = answer.status
        finally:
            self._record(request, answered)
        return answer

    def _answer(self, request: Request, *, known: bool) -> Response | Watch:
        try:
            if not request.plural:
                return self._discover(request)
            type_ = self._catalog.find(request.group, request.version, request.plural)
            if type_ is None or request.subresource not in ("", *(("status",) if type_.status_subresource else ())):
                return _plain(HTTPStatus.NOT_FOUND, "404 page not found\n")
            if not known or request.verb not in type_.verbs:
                raise status.not_allowed()
            if request.verb in READS:
                return self._read(type_, request)
            return self._write(type_, request)
        except status.ApiError as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
            return _json(error.status(), code=error.code, headers=headers)

    def _read(self, type_: ResourceType, request: Request) -> Response | Watch:
        as_table = _wants_table(request)
        if request.verb == "get":
            obj = self._writer.existing(type_, (request.namespace or "", request.name))
            if as_table:
                meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                return _json(self._table(type_, [obj], meta, request))
            return _json(type_.present(obj))
        if request.verb == "watch":
            first = True

            def render(obj: JsonObject) -> JsonObject:
                nonlocal first
                if not as_table:
                    return type_.present(obj)
                header, first = first, False
                meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                return self._table(type_, [obj], meta, request, header=header)

            watch = self._reader.watch(
                type_, request.namespace, request.query, render=render, closed=self._forget_watch
            )
            self._watches[watch] = type_.collection
            return watch
        page = self._reader.page(type_, request.namespace, request.query)
        if as_table:
            return _json(self._table(type_, page.objects, page.meta, request))
        return _json(_list(type_, page.objects, page.meta))

    def _table(
        self,
        type_: ResourceType,
        objects: list[JsonObject],
        meta: JsonObject,
        request: Request,
        *,
        header: bool = True,
    ) -> JsonObject:
        include = request.query.get("includeObject", "Metadata")
        return table(type_, objects, now=self._clock(), meta=meta, include=include, header=header)

    def _write(self, type_: ResourceType, request: Request) -> Response:
        options = write_options(request)
        body = _json_body(request)
        subresource = request.subresource or None
        if type_.namespaced and request.namespace is None and request.verb != "deletecollection":
            raise status.not_allowed()
        if request.verb == "deletecollection":
            return self._delete_collection(type_, request, options)
        key = (request.namespace or "", request.name)
        match request.verb:
            case "create":
                outcome = self._writer.create(type_, key[0], body, options)
            case "update":
                outcome = self._writer.update(type_, key, body, options, subresource)
            case "patch":
                media = request.headers.get("content-type", "")
                if media.startswith(APPLY_PATCH):
                    return _outcome(type_, self._writer.apply(type_, key, request.body, options, subresource))
                outcome = self._writer.patch(type_, key, media, body, options, subresource)
            case _:
                outcome = self._writer.delete(type_, key, _preconditions(body), dry_run=options.dry_run)
        return _outcome(type_, outcome)

    def _delete_collection(self, type_: ResourceType, request: Request, options: WriteOptions) -> Response:
        page = self._reader.page(type_, request.namespace, request.query)
        for obj in page.objects:
            self._writer.delete(type_, key_of(obj), {}, dry_run=options.dry_run)
        return _json(_list(type_, page.objects, page.meta))

    def _discover(self, request: Request) -> Response:
        aggregated = "as=APIGroupDiscoveryList" in request.headers.get("accept", "")
        found: JsonObject | bytes | None
        match request.path.strip("/").split("/"):
            case ["version"]:
                found = discovery.VERSION
            case [name, *_] if name in _HEALTH:
                return _plain(HTTPStatus.OK, "ok")
            case ["api" | "apis" as root] if aggregated:
                content = discovery.aggregated(self._catalog, core=root == "api")
                return _json(content, headers={"Content-Type": discovery.AGGREGATED})
            case ["api"]:
                found = discovery.api_versions()
            case ["apis"]:
                found = discovery.api_groups(self._catalog)
            case ["api", version]:
                found = discovery.api_resources(self._catalog, "", version)
            case ["apis", group]:
                found = discovery.api_group(self._catalog, group)
            case ["apis", group, version]:
                found = discovery.api_resources(self._catalog, group, version)
            case ["openapi", "v2"]:
                if "protobuf" in request.headers.get("accept", ""):
                    return Response(200, {"Content-Type": openapi.V2_PROTOBUF}, openapi.V2_PROTOBUF_EMPTY)
                found = openapi.V2_EMPTY
            case ["openapi", "v3"]:
                found = self._openapi.index()
            case ["openapi", "v3", *rest]:
                found = self._openapi.document("/".join(rest))
            case _:
                found = None
        if found is None:
            return _plain(HTTPStatus.NOT_FOUND, "404 page not found\n")
        return Response(200, {"Content-Type": _JSON}, found) if isinstance(found, bytes) else _json(found)

    def _record(self, request: Request, code: int) -> None:
        now = asyncio.get_running_loop().time()
        self.requests.append(
            RequestRecord(
                verb=request.verb,
                group=request.group,
                plural=request.plural,
                subresource=request.subresource,
                namespace=request.namespace,
                name=request.name or _selected_name(request),
                user_agent=request.user_agent,
                status=code,
                at=now,
            )
        )
        if request.plural and request.verb not in READS and 200 <= code < 300 and "dryRun" not in request.query:
            written = WrittenObject(request.group, request.plural, request.namespace, request.name)
            self.writes[request.user_agent, written] += 1

    # For tests and the demo: no HTTP, no log.

    def install(self, manifest: Mapping[str, Any]) -> JsonObject:
        """Creates the object, or replaces the one of that name, status included; returns it as stored.

        Raises ApiError if a server would refuse it.
        """
        type_ = self._catalog.by_kind(manifest["apiVersion"], manifest["kind"])
        if type_ is None:
            raise status.bad_request(f"no type {manifest['apiVersion']} {manifest['kind']}: is its CRD installed?")
        obj = copy_of({**manifest})
        if type_.namespaced:
            obj["metadata"].setdefault("namespace", "default")
        key = key_of(obj)
        options = WriteOptions(validation=STRICT)
        stored = self._storage.get(type_.collection, key)
        if stored is None:
            self._writer.create(type_, key[0], msgspec.json.encode(obj), options)
        else:
            obj["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            self._writer.update(type_, key, msgspec.json.encode(obj), options)
        if type_.status_subresource and "status" in manifest:
            stored = self._writer.existing(type_, key)
            obj["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            self._writer.update(type_, key, msgspec.json.encode(obj), options, "status")
        return copy_of(type_.present(self._writer.existing(type_, key)))

    def get(self, resource: Resource, *, namespace: str = "", name: str) -> JsonObject | None:
        """A copy of the object, or None."""
        type_ = self._type(resource)
        obj = self._storage.get(type_.collection, (namespace, name))
        return None if obj is None else copy_of(type_.present(obj))

    def list(self, resource: Resource, *, namespace: str | None = None) -> list[JsonObject]:
        """Copies of the objects, sorted by namespace and name."""
        type_ = self._type(resource)
        return [copy_of(type_.present(obj)) for obj in self._storage.list(type_.collection, namespace)]

    def _type(self, resource: Resource) -> ResourceType:
        type_ = self._catalog.find(resource.group, resource.version, resource.plural)
        if type_ is None:
            raise status.bad_request(f"no type {resource.api_version} {resource.plural}: is its CRD installed?")
        return type_

    # Faults.

    def expire_history(self) -> None:
        """Compaction: a watch from before now is answered with 410, and so is the next page of a list."""
        self._storage.forget()

    def cut_watches(self) -> None:
        """Cuts every open watch, as when a load balancer restarts."""
        for watch in list(self._watches):
            watch.cut()

    def stall_watches(self, stalled: bool) -> None:
        """True: every watch open now stays open and silent; watches opened later work. False: all continue."""
        for watch in list(self._watches):
            watch.stall(stalled)

    def _forget_watch(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def _end_watches(self, collection: CollectionId) -> None:
        for watch in [watch for watch, watched in self._watches.items() if watched == collection]:
            watch.close()

    def __repr__(self) -> str:
        return f"<KubernetesEmulator {self._storage!r} {len(self._watches)} watches>"


def _json(content: JsonObject, *, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(code, {"Content-Type": _JSON, **(headers or {})}, msgspec.json.encode(content) + b"\n")


def _plain(code: int, text: str) -> Response:
    return Response(code, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())


def _outcome(type_: ResourceType, outcome: Outcome) -> Response:
    shown = outcome.object if outcome.object.get("kind") == "Status" else type_.present(outcome.object)
    # One header with several values is what a mapping can carry, and what RFC 9111 allows.
    quoted = [warning.replace("\\", "\\\\").replace('"', '\\"') for warning in outcome.warnings]
    headers = {"Warning": ", ".join(f'299 - "{text}"' for text in quoted)} if quoted else {}
    return _json(shown, code=outcome.code, headers=headers)


def _list(type_: ResourceType, objects: list[JsonObject], meta: JsonObject) -> JsonObject:
    items = [type_.present(obj) for obj in objects]
    if not type_.custom:
        # Typed lists name their kind once; clients that expect it in each item break on a real server, too.
        items = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in items]
    return {"kind": type_.list_kind, "apiVersion": type_.api_version, "metadata": meta, "items": items}


def _wants_table(request: Request) -> bool:
    """Raises ApiError 406 if the client accepts no JSON at all."""
    offered = request.headers.get("accept", "") or "*/*"
    for choice in offered.split(","):
        media, *parameters = [part.strip() for part in choice.split(";")]
        if media in (_JSON, "application/*", "*/*"):
            if "as=Table" in parameters and "v=v1" in parameters:
                return True
            if not any(parameter.startswith("as=") for parameter in parameters):
                return False
    message = f"only the following media types are accepted: {_JSON}"
    raise status.ApiError(HTTPStatus.NOT_ACCEPTABLE, "NotAcceptable", message)


def _json_body(request: Request) -> bytes | None:
    if not request.body or request.headers.get("content-type", "").partition(";")[0] != protobuf.MEDIA_TYPE:
        return request.body
    try:
        return msgspec.json.encode(protobuf.decode(request.body))
    except ValueError as error:
        raise status.unsupported_media(str(error)) from None


def _preconditions(body: bytes | None) -> Mapping[str, str]:
    try:
        options = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError as error:
        raise status.bad_request(f"error decoding DeleteOptions: {error}") from None
    return (options.get("preconditions") if isinstance(options, dict) else None) or {}


def _selected_name(request: Request) -> str:
    field, _, name = request.query.get("fieldSelector", "").partition("=")
    return name if field == "metadata.name" else ""
