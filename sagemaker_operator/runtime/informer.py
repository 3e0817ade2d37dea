"""A collection in memory: its store, the watchers that fill it, and the listeners that are called for each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sagemaker_operator.guard import Guard
from sagemaker_operator.runtime.store import Change, Store
from sagemaker_operator.runtime.watcher import Watcher

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Collection, Iterable

    from sagemaker_operator.errors import KubeError
    from sagemaker_operator.listwatch import ListPage, WatchEvent
    from sagemaker_operator.objects import KubeObject

Listener = Callable[[Change, bool], None]
"""(change, True if it is from a list rather than the watch). Must be quick; the informer's guard catches what it raises."""


class Source(Protocol):
    """The API calls that read a collection. `namespace` None: all namespaces."""

    @property
    def name(self) -> str:
        """For messages: "trainingjobs"."""

    async def list_page(self, namespace: str | None, *, continue_: str | None, limit: int) -> ListPage: ...

    async def read(self, namespace: str, name: str) -> KubeObject | None: ...

    def watch(
        self, namespace: str | None, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]: ...


class Informer:
    """One watcher per watched namespace (or one for all) and a common store. `run()` runs until cancelled."""

    def __init__(
        self,
        source: Source,
        *,
        namespaces: Collection[str] = (),
        rng: random.Random,
        on_error: Callable[[KubeError, float], None] | None = None,
        guard: Guard | None = None,
        part: str = "",
    ) -> None:
        """`namespaces` empty: all. `on_error` is called with each failure and the seconds until the next attempt.

        `part` (default: the source's name) is the label under which the guard counts exceptions of listeners.
        """
        self.name = source.name
        self._guard = guard or Guard(rng=rng)
        self._part = part or source.name
        self._source = source
        self.store = Store(namespaces)
        self._listeners: list[Listener] = []
        self._own_write_listeners: list[Listener] = []
        self.watchers = tuple(
            Watcher(
                f"{source.name} in {namespace or 'all namespaces'}",
                list_page=partial(source.list_page, namespace),
                watch=partial(source.watch, namespace),
                handler=_Scope(self, namespace),
                rng=rng,
                on_error=on_error,
            )
            for namespace in namespaces or (None,)
        )

    def __repr__(self) -> str:
        return f"<Informer {self.name} {self.store!r}>"

    def listen(self, listener: Listener, *, own_writes: bool = False) -> None:
        """Call `listener` for every change from now on, in order; with `own_writes` also for the operator's own writes.

        A controller must not be woken by its own writes; a listener to objects of another controller must be.
        """
        (self._own_write_listeners if own_writes else self._listeners).append(listener)

    async def read(self, namespace: str, name: str) -> KubeObject | None:
        """An object read from the API server, not from the store. Raises KubeError."""
        return await self._source.read(namespace, name)

    def apply_own_write(self, obj: KubeObject) -> None:
        """Store the answer to our own write; the watch's echo of it is then not a change."""
        change = self.store.apply_own_write(obj)
        if change is not None:
            self._notify(self._own_write_listeners, change, False)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for watcher in self.watchers:
                name = f"watch {watcher.name}"
                group.create_task(self._guard.keep(self._part, name, watcher.run), name=name)

    @property
    def synced(self) -> asyncio.Event:
        """Set once everything watched was listed."""
        return self.store.synced

    @property
    def degraded(self) -> str | None:
        """Why the collection is not up to date, or None."""
        return next((watcher.degraded for watcher in self.watchers if watcher.degraded), None)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return (*self._listeners, *self._own_write_listeners)

    def changed(self, change: Change, listed: bool) -> None:
        """Call every listener for a change that a watcher received."""
        self._notify(self.listeners, change, listed)

    def _notify(self, listeners: Iterable[Listener], change: Change, listed: bool) -> None:
        """The only place that calls listeners: an exception of one affects neither the others nor the watch."""
        for listener in listeners:
            self._guard.call(self._part, listener, change, listed, about=change.new or change.old)

    def store_change(self, update: Callable[[], Change | None], about: KubeObject) -> None:
        """Update the store with one object of a watch, and call the listeners if it changed."""

        def store() -> None:
            change = update()
            if change is not None:
                self.changed(change, False)

        self._guard.call(self._part, store, about=about)


class _Scope:
    """Handles the changes of one watched namespace (None: of all)."""

    def __init__(self, informer: Informer, namespace: str | None) -> None:
        self._informer = informer
        self._store = informer.store
        self._namespace = namespace

    def replaced(self, objects: list[KubeObject], resource_version: str, *, rewound: bool) -> None:
        changes = self._store.replace(objects, resource_version, namespace=self._namespace, rewound=rewound)
        for change in changes:
            self._informer.changed(change, True)

    def applied(self, obj: KubeObject) -> None:
        self._informer.store_change(lambda: self._store.apply(obj), obj)

    def deleted(self, obj: KubeObject) -> None:
        def delete() -> Change | None:
            gone = self._store.delete(obj)
            return None if gone is None else Change(gone, None)

        self._informer.store_change(delete, obj)
