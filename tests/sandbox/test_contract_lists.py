"""Lists: order, selectors, pages, options, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.kubernetes_support import GROUP_VERSION, names, training_job

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


async def test_a_list_is_sorted_and_has_a_version(api: Client) -> None:
    for name in ("b", "a"):
        await api.job(name)
    answer = (await api.get(api.jobs)).body
    assert (answer["kind"], answer["apiVersion"]) == ("TrainingJobList", GROUP_VERSION)
    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "b"]
    assert answer["items"][0]["kind"] == "TrainingJob"
    assert answer["metadata"]["resourceVersion"].isdigit()


async def test_all_namespaces_can_be_listed(api: Client) -> None:
    await api.job()
    items = (await api.get(f"/apis/{GROUP_VERSION}/trainingjobs")).body["items"]
    assert (api.namespace, "one") in {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("team=x", ["a"]),
        ("team==x", ["a"]),
        ("team!=x", ["b", "c"]),
        ("team in (x,y)", ["a", "b"]),
        ("team notin (x)", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team,tier=1", ["b"]),
        ("tier>0", ["b"]),
        ("tier<1", []),
    ],
)
async def test_label_selectors_select(api: Client, selector: str, expected: list[str]) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y", "tier": "1"}), ("c", {})):
        await api.create(api.jobs, training_job(name, metadata={"labels": labels}))
    assert await names(api, labelSelector=selector) == expected


async def test_field_selectors_select_by_name_and_namespace_only(api: Client) -> None:
    for name in ("a", "b"):
        await api.job(name)
    assert await names(api, fieldSelector="metadata.name=a") == ["a"]
    assert await names(api, fieldSelector="metadata.name!=a") == ["b"]
    path = f"/apis/{GROUP_VERSION}/trainingjobs"
    assert await names(api, path, fieldSelector=f"metadata.namespace={api.namespace}") == ["a", "b"]
    assert (await api.get(api.jobs, fieldSelector="spec.x=1")).status == 400


@pytest.mark.parametrize("query", [{"labelSelector": "a b c"}, {"limit": "x"}, {"resourceVersion": "x"}])
async def test_a_bad_query_is_400(api: Client, query: dict[str, str]) -> None:
    assert (await api.get(api.jobs, **query)).status == 400


async def test_pages_are_of_one_moment(api: Client) -> None:
    for name in "abc":
        await api.job(name)
    first = (await api.get(api.jobs, limit="2")).body
    await api.job("d")
    await api.ask("DELETE", f"{api.jobs}/c")
    second = (await api.get(api.jobs, limit="2", **{"continue": first["metadata"]["continue"]})).body
    assert first["metadata"]["remainingItemCount"] == 1
    found = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert found == ["a", "b", "c"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def test_a_list_from_the_cache_has_no_pages(api: Client) -> None:
    for name in "abc":
        await api.job(name)
    # A server whose cache of a new collection is not filled yet reads from etcd, in pages. A watch waits for the cache.
    async with api.watch(resourceVersion="0") as watch:
        await watch.take(3)
    assert await names(api, resourceVersion="0", limit="2") == ["a", "b", "c"]


async def test_a_bad_continue_token_is_400(api: Client) -> None:
    assert (await api.get(api.jobs, **{"continue": "xx"})).status == 400


async def test_a_version_from_the_future_is_504_with_a_cause(api: Client) -> None:
    answer = await api.get(api.jobs, resourceVersion="99999999999", timeoutSeconds="1")
    assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Nope", "resourceVersion": "1"},
        {"watch": "true", "sendInitialEvents": "true"},
        {"watch": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "1"},
    ],
)
async def test_options_that_contradict_each_other_are_422(api: Client, query: dict[str, str]) -> None:
    assert (await api.get(api.jobs, **query)).status == 422


async def test_an_unsupported_option_value_is_422(api: Client) -> None:
    for query in ({"dryRun": "foo"}, {"fieldValidation": "foo"}):
        answer = await api.create(api.jobs, training_job(), **query)
        assert (answer.status, answer.causes) == (422, [(next(iter(query)), "FieldValueNotSupported")])
