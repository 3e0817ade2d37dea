"""The demo: starts sandbox and operator, applies objects, waits for their end, deletes them, and reports the calls."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from sagemaker_operator.cli.demofile import complaint, is_followed, resource_of
from sagemaker_operator.cli.run import operate
from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.conditions import READY, STALLED
from sagemaker_operator.errors import ConfigurationError, KubeError, NotFound
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.logs import configure
from sagemaker_operator.objects import ObjectKey
from sagemaker_operator.runtime.watcher import Watcher
from sagemaker_operator.sandbox.world import CREDENTIALS, REGION, World
from sagemaker_operator.settings import Cadence, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.kube.transport import Query, Response, StreamingResponse, Transport
    from sagemaker_operator.objects import KubeObject, Resource

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def load_manifests(filenames: Sequence[Path]) -> list[dict[str, Any]]:
    """The objects of these files, or of the built-in sample. Raises ConfigurationError for what the operator cannot run."""
    if not filenames:
        return _parse(_sample(), "the built-in sample")
    return [manifest for path in filenames for manifest in _parse(path.read_text(encoding="utf-8"), str(path))]


def _sample() -> str:
    packaged = resources.files("sagemaker_operator.sandbox") / "samples" / "trainingjob.yaml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # An editable install has no copy: read the repository's.
    return (Path(__file__).parents[2] / "manifests" / "samples" / "trainingjob.yaml").read_text(encoding="utf-8")


def _parse(text: str, source: str) -> list[dict[str, Any]]:
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else None
        if not isinstance(kind, str):
            raise ConfigurationError(f"{source} holds no Kubernetes object: there is no kind in it")
        if why := complaint(document, kind):
            raise ConfigurationError(f"{source}: {why}")
        metadata = document.get("metadata")
        if not (isinstance(metadata, dict) and metadata.get("name")):
            raise ConfigurationError(f"{source}: a {kind} without metadata.name")
    if not any(is_followed(document["kind"]) for document in documents):
        raise ConfigurationError(f"{source} holds no object" + (" that the operator reconciles" if documents else ""))
    return documents


class CountingTransport:
    """Counts the operator's writes per object, whichever server answers. An Event counts for the object it is about."""

    def __init__(self, inner: Transport, writes: Counter[tuple[str, str]]) -> None:
        self._inner = inner
        self._writes = writes

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
        if method in _WRITES:
            self._writes[_written(path, body)] += 1
        return await self._inner.request(method, path, query=query, headers=headers, body=body, timeout=timeout)

    def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        return self._inner.stream(path, query=query, headers=headers, timeout=timeout)


def _written(path: str, body: bytes | None) -> tuple[str, str]:
    """(namespace, name) of the object that a write is about."""
    parts = path.strip("/").split("/")
    namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
    if parts[-1] == "events" and body:
        return namespace, str((json.loads(body).get("regarding") or {}).get("name", ""))
    if "events" in parts:
        return namespace, parts[-1].rsplit(".", 1)[0]
    return namespace, parts[-2] if parts[-1] == "status" else parts[-1]


class Demo:
    """One run. After `run()`, `ok` says whether every object became ready."""

    def __init__(
        self, manifests: Sequence[dict[str, Any]], *, speed: float, apiserver: Path | None, format_: str, timeout: float
    ) -> None:
        self._manifests = manifests
        self._speed = speed
        self._apiserver = apiserver
        self._format = format_
        self._timeout = timeout
        self._applied: set[ObjectKey] = set()
        self._objects: dict[ObjectKey, KubeObject] = {}
        self._final: dict[ObjectKey, dict[str, Any]] = {}
        self._detected: dict[ObjectKey, float] = {}
        self._writes: Counter[tuple[str, str]] = Counter()
        self._changed = asyncio.Event()
        self.ok = False

    async def run(self) -> None:
        async with World(speed=self._speed, apiserver=self._apiserver) as world:
            # The JSON report has stdout for itself; people see the operator's own log lines, or a table.
            configure(
                level="warning" if self._format == "table" else "info",
                format_="json" if self._format == "json" else "text",
                clock=world.simulated_now,
                stream=sys.stdout if self._format == "text" else sys.stderr,
            )
            try:
                async with asyncio.timeout(self._timeout):
                    await self._show(world)
            except TimeoutError:
                click.echo(f"sagemaker-operator: the demo did not end within {self._timeout:g} s", err=True)
            self._report(world)

    async def _show(self, world: World) -> None:
        settings = Settings(
            aws_region=REGION,
            aws_endpoint_url=world.aws_url,
            aws_identity_endpoint_url=world.aws_url,
            allow_unsafe_aws_endpoint_urls=True,
            kubeconfig=str(world.kubeconfig),
            cadence=Cadence().scaled(self._speed),
            metrics_addr="0",
            healthz_addr="0",
        )
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            access = await load_config(kubeconfig=str(world.kubeconfig))
            kube = KubeClient(await stack.enter_async_context(HttpTransport(access)))
            operator = asyncio.create_task(
                operate(
                    settings,
                    credentials=CREDENTIALS,
                    through=lambda transport: CountingTransport(transport, self._writes),
                    stop=stop,
                    clock=world.simulated_now,
                )
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._drive(world, kube, stop))
                    group.create_task(_ended(operator))
            except BaseExceptionGroup as failures:
                raise _first(failures) from None
            finally:
                stop.set()
                await asyncio.gather(operator, return_exceptions=True)

    async def _drive(self, world: World, kube: KubeClient, stop: asyncio.Event) -> None:
        applied = [await self._apply(kube, manifest) for manifest in self._manifests]
        keys = [key for key in applied if is_followed(key.kind)]
        self._applied.update(keys)
        async with self._following(kube, {key.kind for key in keys}), self._display(world):
            await self._until(lambda: all(key in self._final for key in keys), world)
            self.ok = all(_condition(self._final[key], READY) == "True" for key in keys)
            for key in reversed(keys):
                await kube.delete(resource_of(key.kind), key.namespace, key.name)
            await self._until(lambda: not any(key in self._objects for key in keys), world)
        stop.set()

    async def _apply(self, kube: KubeClient, manifest: dict[str, Any]) -> ObjectKey:
        resource = resource_of(manifest["kind"])
        metadata = manifest["metadata"]
        namespace = metadata.setdefault("namespace", "default")
        try:
            # Strict, as kubectl apply: a field that is spelt wrongly must not vanish silently.
            await kube.create(resource, namespace, manifest, strict=True)
        except NotFound:
            raise ConfigurationError(f"the sandbox has only the namespace default, not {namespace}") from None
        except KubeError as error:
            raise ConfigurationError(error.message) from error
        return ObjectKey(resource.kind, namespace, metadata["name"])

    # --- following ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _following(self, kube: KubeClient, kinds: set[str]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._watch(kube, resource_of(name))) for name in kinds]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, kube: KubeClient, resource: Resource) -> None:
        async def list_page(*, continue_: str | None, limit: int) -> Any:
            return await kube.list_page(resource, limit=limit, continue_=continue_)

        def watch(*, resource_version: str, timeout_seconds: int) -> Any:
            return kube.watch(resource, resource_version=resource_version, timeout_seconds=timeout_seconds)

        await Watcher(resource.plural, list_page=list_page, watch=watch, handler=self, rng=random.Random()).run()

    def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
        for obj in objects:
            self.applied(obj)

    def applied(self, obj: KubeObject) -> None:
        if obj.key not in self._applied:
            return  # of the same kind, and not of these files: an AdoptedResource makes such objects
        self._objects[obj.key] = obj
        status = obj.decode_status()
        if obj.key not in self._final and _at_rest(status):
            self._final[obj.key] = status
        self._changed.set()

    def deleted(self, obj: KubeObject) -> None:
        self._objects.pop(obj.key, None)
        self._changed.set()

    async def _until(self, reached: Any, world: World) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()
            for key, status in self._final.items():
                ended = _ended_at(catalog().get(key.kind), status)
                if ended is not None:
                    self._detected.setdefault(key, max(0.0, world.simulated_now() - ended))

    # --- showing -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _display(self, world: World) -> AsyncIterator[None]:
        if self._format != "table":
            yield
            return
        from rich.live import Live

        with Live(self._table(world), refresh_per_second=4, transient=False) as live:

            async def refresh() -> None:
                while True:
                    live.update(self._table(world))
                    await asyncio.sleep(0.25)

            task = asyncio.create_task(refresh())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                live.update(self._table(world))

    def _table(self, world: World) -> Any:
        from rich.table import Table

        table = Table("OBJECT", "STATUS", "SECONDARY", "READY", "AWS CALLS", "WRITES")
        known = {key: obj.decode_status() for key, obj in self._objects.items()} | self._final
        for key, status in known.items():
            kind = catalog().get(key.kind)
            calls = self._calls(world, key)
            table.add_row(
                f"{key.kind.lower()}/{key.name}",
                str(_shown(kind, status, "status_member")),
                str(_shown(kind, status, "secondary_member")),
                _condition(status, READY),
                str(sum(calls.values())),
                str(self._writes[key.namespace, key.name]),
            )
        return table

    def _calls(self, world: World, key: ObjectKey) -> dict[str, int]:
        """The calls that name the resource, and every List of its kind: one sweep serves all, so this is an upper bound."""
        manifest = next(m for m in self._manifests if m["kind"] == key.kind and m["metadata"]["name"] == key.name)
        kind = catalog().get(key.kind)
        if kind is None:
            return {}
        field = next(member.field for member in kind.identifiers if member.api == kind.name_member)
        return world.calls(
            str((manifest.get("spec") or {}).get(field, "")), kind.listing.operation if kind.listing else None
        )

    def _report(self, world: World) -> None:
        rows = [
            {
                "kind": key.kind,
                "namespace": key.namespace,
                "name": key.name,
                "status": _shown(catalog().get(key.kind), status, "status_member"),
                "conditions": status.get("conditions", []),
                "awsCalls": self._calls(world, key),
                "kubernetesWrites": self._writes[key.namespace, key.name],
                "secondsToDetect": round(self._detected[key], 1) if key in self._detected else None,
            }
            for key, status in self._final.items()
        ]
        if self._format == "json":
            click.echo(json.dumps({"objects": rows, "ok": self.ok}))
            return
        for row in rows:
            calls = ", ".join(f"{count} {name}" for name, count in sorted(row["awsCalls"].items()))
            observed = (
                f", its end observed after {row['secondsToDetect']:g} s" if row["secondsToDetect"] is not None else ""
            )
            total, ended = sum(row["awsCalls"].values()), row["status"] or _readiness(row["conditions"])
            click.echo(
                f"\n{row['kind']} {row['name']}: {ended}{observed}. AWS calls: {total} ({calls}). "
                f"Kubernetes writes: {row['kubernetesWrites']}."
            )


async def _ended(operator: asyncio.Task[None]) -> None:
    """Raises the exception that ended the operator."""
    await asyncio.shield(operator)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _condition(status: Mapping[str, Any], type_: str) -> str:
    return next((str(c.get("status")) for c in status.get("conditions") or () if c.get("type") == type_), "")


def _readiness(conditions: Sequence[Mapping[str, Any]]) -> str:
    """For a kind without a status of its own."""
    return "Ready" if _condition({"conditions": conditions}, READY) == "True" else "not Ready"


def _at_rest(status: Mapping[str, Any]) -> bool:
    return _condition(status, READY) == "True" or _condition(status, STALLED) == "True"


def _shown(kind: Kind | None, status: Mapping[str, Any], which: str) -> Any:
    """The status field named by a member of `Kind`; `kind` None: an object of a feature, without a resource."""
    member = getattr(kind, which) if kind is not None else None
    if kind is None or member is None:
        return ""
    return next((status.get(m.field, "") for m in kind.status_members if m.api == member), "")


def _ended_at(kind: Kind | None, status: Mapping[str, Any]) -> float | None:
    ended = _shown(kind, status, "ended_member")
    return parse_rfc3339(ended) if ended else None
