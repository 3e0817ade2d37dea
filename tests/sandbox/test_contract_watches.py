"""Watches: order, replay, bookmarks, selectors, expiry, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.kubernetes_support import GROUP_VERSION, training_job

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


async def test_a_watch_sees_every_change_in_order(api: Client) -> None:
    async with api.watch(resourceVersion=await api.version()) as watch:
        await api.job()
        await api.merge(f"{api.jobs}/one", {"spec": {"mode": "File"}})
        await api.merge(f"{api.jobs}/one", {"spec": {"mode": "File"}})
        await api.ask("DELETE", f"{api.jobs}/one")
        assert await watch.take(3) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


async def test_a_watch_from_a_version_replays_what_came_after(api: Client) -> None:
    await api.job("before")
    since = await api.version()
    await api.job("after")
    await api.ask("DELETE", f"{api.jobs}/after")
    async with api.watch(resourceVersion=since) as watch:
        assert await watch.take(2) == [("ADDED", "after"), ("DELETED", "after")]


async def test_a_deleted_event_has_the_version_of_the_deletion(api: Client) -> None:
    job = await api.job()
    async with api.watch(resourceVersion=job["metadata"]["resourceVersion"]) as watch:
        await api.ask("DELETE", f"{api.jobs}/one")
        event = await watch.next()
    assert event is not None
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(job["metadata"]["resourceVersion"])


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_a_watch_without_a_version_begins_with_what_there_is(api: Client, query: dict[str, str]) -> None:
    await api.job("a")
    async with api.watch(**query) as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_marked_bookmark(api: Client) -> None:
    await api.job("a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(**query) as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark is not None
        assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "TrainingJob")
        metadata = bookmark["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]
    async with api.watch(resourceVersion=metadata["resourceVersion"]) as watch:
        assert await watch.take(1) == [("ADDED", "b")]


async def test_what_leaves_or_enters_a_selector_is_deleted_or_added(api: Client) -> None:
    since = await api.version()
    async with api.watch(resourceVersion=since, labelSelector="team=x") as watch:
        await api.job("other")
        await api.create(api.jobs, training_job("one", metadata={"labels": {"team": "x"}}))
        await api.merge(f"{api.jobs}/one", {"metadata": {"labels": {"team": "y"}}})
        await api.merge(f"{api.jobs}/one", {"metadata": {"labels": {"team": "x"}}})
        assert await watch.take(3) == [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "one")]


async def test_a_watch_can_follow_one_name(api: Client) -> None:
    since = await api.version()
    async with api.watch(resourceVersion=since, fieldSelector="metadata.name=b") as watch:
        await api.job("a")
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_watch_of_all_namespaces_sees_this_one(api: Client) -> None:
    since = await api.version()
    async with api.watch(f"/apis/{GROUP_VERSION}/trainingjobs", resourceVersion=since) as watch:
        await api.job("a")
        assert await watch.take(1) == [("ADDED", "a")]


async def test_a_watch_from_before_the_history_is_an_error_event(api: Client) -> None:
    async with api.watch(resourceVersion="1") as watch:
        event = await watch.next()
        assert watch.status == 200
        assert event is not None
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await watch.next() is None


async def test_a_watch_ends_after_timeout_seconds_with_a_bookmark_before(api: Client) -> None:
    await api.job("a")
    async with api.watch(timeoutSeconds="3", allowWatchBookmarks="true") as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark is not None
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["resourceVersion"].isdigit()
        assert await watch.next() is None
