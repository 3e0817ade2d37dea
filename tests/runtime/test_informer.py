"""Which listeners are notified of which change."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.listwatch import EventType, ListPage, WatchEvent
from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.runtime.informer import Informer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.runtime.store import Change

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def job(version: int) -> KubeObject:
    meta = Meta(name="churn", namespace="default", uid="u", resource_version=str(version), generation=version)
    return KubeObject(kind="TrainingJob", metadata=meta)


class Scripted:
    """An empty collection, and a watch that delivers the events that the test adds."""

    name = "trainingjobs"

    def __init__(self) -> None:
        self.news: asyncio.Queue[WatchEvent] = asyncio.Queue()

    async def list_page(self, *_: Any, **__: Any) -> ListPage:
        return ListPage([], "0", None)

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
        while True:
            yield await self.news.get()

    async def read(self, namespace: str, name: str) -> KubeObject | None:
        return None


class Heard:
    """A running informer, and the versions that its two sorts of listeners receive, in order."""

    def __init__(self) -> None:
        self.source = Scripted()
        self.informer = Informer(self.source, namespaces=(), rng=random.Random(0), on_error=lambda error, delay: None)
        self.others: list[str] = []
        self.everything: list[str] = []
        self.informer.listen(self._into(self.others))
        self.informer.listen(self._into(self.everything), own_writes=True)

    @staticmethod
    def _into(heard: list[str]) -> Any:
        def listener(change: Change, listed: bool) -> None:
            heard.append(change.new.metadata.resource_version if change.new is not None else "gone")

        return listener

    async def watch_reports(self, obj: KubeObject) -> None:
        await self.source.news.put(WatchEvent(EventType.MODIFIED, obj))
        await asyncio.sleep(1)


@asynccontextmanager
async def running() -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(heard.informer.run())
    await heard.informer.synced.wait()
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_own_write_notifies_only_listeners_that_asked_for_own_writes() -> None:
    """The writer knows already: a reconcile after each of its own writes would never end."""
    async with running() as heard:
        await heard.watch_reports(job(1))
        heard.informer.apply_own_write(job(2))
        await heard.watch_reports(job(2))
        assert heard.others == ["1"], "nor does the watch's echo of it"
        assert heard.everything == ["1", "2"]
        await heard.watch_reports(job(3))
        assert heard.others == ["1", "3"]
        assert heard.everything == ["1", "2", "3"]


async def test_a_write_that_the_watch_reported_first_is_reported_once() -> None:
    async with running() as heard:
        await heard.watch_reports(job(2))
        heard.informer.apply_own_write(job(2))
        assert (heard.others, heard.everything) == (["2"], ["2"])
