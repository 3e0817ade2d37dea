from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    NotServed,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import ClusterAccess
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.listwatch import EventType, WatchEvent
from sagemaker_operator.objects import Resource

from .scripted import Handler, ScriptedServer, answer, serve, status_body, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JOBS = Resource("sagemaker.services.k8s.aws", "v1alpha1", "trainingjobs", "TrainingJob")


def job(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml", "resourceVersion": str(version), "uid": f"u-{name}"}
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": {"a": name}, **more}


def line(type_: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": body}).encode() + b"\n"


@asynccontextmanager
async def client_of(*handlers: Handler) -> AsyncIterator[tuple[KubeClient, ScriptedServer]]:
    async with serve(*handlers) as server, HttpTransport(ClusterAccess(server=server.url)) as transport:
        yield KubeClient(transport), server


async def watch_all(client: KubeClient) -> list[WatchEvent]:
    async with aclosing(client.watch(JOBS, resource_version="1", timeout_seconds=300)) as events:
        return [event async for event in events]


async def test_a_page_is_decoded_and_its_items_have_kind_and_version() -> None:
    item = job("a", 5)
    del item["apiVersion"], item["kind"]
    page = {"kind": "TrainingJobList", "metadata": {"resourceVersion": "9", "continue": "tok+/="}, "items": [item]}
    async with client_of(answer(page)) as (client, server):
        got = await client.list_page(JOBS, namespace="ml", continue_="tok+/=", label_selector="team in (a,b)")
        assert (got.resource_version, got.continue_) == ("9", "tok+/=")
        assert got.items[0].key == ("TrainingJob", "ml", "a")
        assert got.items[0].api_version == "sagemaker.services.k8s.aws/v1alpha1"
        assert got.items[0].decode_spec() == {"a": "a"}
        request = server.requests[0]
        assert request.path == "/apis/sagemaker.services.k8s.aws/v1alpha1/namespaces/ml/trainingjobs"
        assert dict(request.query) == {"limit": "500", "continue": "tok+/=", "labelSelector": "team in (a,b)"}
        assert request.headers["User-Agent"].startswith("sagemaker-operator/")


async def test_the_last_page_has_no_token_and_an_unlimited_list_no_limit() -> None:
    page = {"kind": "TrainingJobList", "metadata": {"resourceVersion": "9", "continue": ""}, "items": None}
    async with client_of(answer(page)) as (client, server):
        got = await client.list_page(JOBS, limit=0)
        assert got == ([], "9", None)
        assert dict(server.requests[0].query) == {}


async def test_a_watch_yields_events_and_reads_bookmarks_with_a_null_timestamp() -> None:
    bookmark = {"kind": "TrainingJob", "metadata": {"resourceVersion": "12", "creationTimestamp": None}}
    events = [line("ADDED", job("a", 10)), line("DELETED", job("a", 11)), line("BOOKMARK", bookmark)]
    async with client_of(streaming(*events)) as (client, server):
        got = await watch_all(client)
        assert [event.type for event in got] == [EventType.ADDED, EventType.DELETED, EventType.BOOKMARK]
        assert [event.object.version for event in got] == [10, 11, 12]
        assert dict(server.requests[0].query) == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "1",
            "timeoutSeconds": "300",
        }


async def test_a_watch_is_independent_of_chunk_boundaries_and_drops_a_partial_line() -> None:
    data = b"".join(line("MODIFIED", job(f"é{n}", n)) for n in range(5)) + line("MODIFIED", job("half", 9))[:-7]
    for seed in range(5):
        rng = random.Random(seed)
        cuts = sorted(rng.sample(range(1, len(data)), 20))
        chunks = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        async with client_of(streaming(*chunks)) as (client, _):
            assert [event.object.metadata.name for event in await watch_all(client)] == [f"é{n}" for n in range(5)]


async def test_a_cut_stream_yields_what_came_and_is_unavailable() -> None:
    async with client_of(streaming(line("ADDED", job("a", 10)), then="cut")) as (client, _):
        events = client.watch(JOBS, resource_version="1", timeout_seconds=300)
        assert (await anext(events)).object.version == 10
        with pytest.raises(Unavailable, match="cut"):
            await anext(events)


async def test_a_line_of_more_than_8_mib_ends_the_watch() -> None:
    async with client_of(streaming(*[b"x" * 2**20] * 9)) as (client, _):
        with pytest.raises(Unavailable, match="8 MiB"):
            await watch_all(client)


@pytest.mark.parametrize(
    ("object_", "expected", "status"),
    [
        (status_body(410, "Expired", "too old resource version: 1 (5)"), Gone, 410),
        (status_body(0, "Gone"), Gone, 500),
        (status_body(429, "TooManyRequests", retryAfterSeconds=3), TooManyRequests, 429),
        (status_body(403, "Forbidden"), Forbidden, 403),
        (status_body(500, "InternalError"), Unavailable, 500),
        ({"message": "no status at all"}, Unavailable, 500),
        ([], Unavailable, 500),
    ],
)
async def test_an_error_in_the_stream_is_raised_by_its_meaning(
    object_: dict[str, Any], expected: type[KubeError], status: int
) -> None:
    async with client_of(streaming(line("ADDED", job("a", 2)), line("ERROR", object_))) as (client, _):
        with pytest.raises(KubeError) as caught:
            await watch_all(client)
        assert type(caught.value) is expected
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answer(status_body(410, "Expired"), 410), Gone),
        (answer(status_body(403, "Forbidden"), 403), Forbidden),
        (answer(b"404 page not found", 404), NotServed),
        (answer(status_body(404, "NotFound"), 404), NotFound),
        (answer(b"<html><h1>Bad gateway</h1></html>", 502), Unavailable),
        (answer(b"<html>please log in</html>"), Unavailable),
        (answer(b'{"type":"EXPLODED","object":{}}\n'), Unavailable),
        (answer(b'{"type":"ADDED","object":{"spec":{}}}\n'), Unavailable),
    ],
)
async def test_a_watch_checks_the_answer_before_its_lines(handler: Handler, expected: type[KubeError]) -> None:
    async with client_of(handler) as (client, server):
        with pytest.raises(expected) as caught:
            await watch_all(client)
        assert "html" not in str(caught.value)
        assert len(server.requests) == 1


async def test_exiting_a_watch_closes_its_connection() -> None:
    left = asyncio.Event()
    async with client_of(streaming(line("ADDED", job("a", 10)), then="stall", left=left)) as (client, _):
        async with aclosing(client.watch(JOBS, resource_version="1", timeout_seconds=300)) as events:
            assert (await anext(events)).object.version == 10
        await left.wait()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", KubeError),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (410, "Expired", Gone),
        (415, "UnsupportedMediaType", KubeError),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
    ],
)
async def test_each_status_has_its_error(code: int, reason: str, expected: type[KubeError]) -> None:
    async with client_of(answer(status_body(code, reason, "why\n it\x1b[31m failed", name="a"), code)) as (client, _):
        with pytest.raises(KubeError) as caught:
            await client.get(JOBS, "ml", "a")
        assert type(caught.value) is expected
        assert (caught.value.status, caught.value.reason) == (code, reason)
        assert str(caught.value).endswith("why it [31m failed")


async def test_a_version_from_the_future_means_list_again() -> None:
    body = status_body(504, "Timeout", "Too large", causes=[{"reason": "ResourceVersionTooLarge"}])
    async with client_of(answer(body, 504)) as (client, _):
        with pytest.raises(Gone) as caught:
            await client.list_page(JOBS)
        assert caught.value.reason == "ResourceVersionTooLarge"


async def test_an_error_names_the_field_and_never_quotes_the_value() -> None:
    message = 'TrainingJob "a" is invalid: spec.environment: Invalid value: "string": hunter2: must be object'
    body = status_body(422, "Invalid", message, causes=[{"reason": "FieldValueInvalid", "field": "spec.environment"}])
    async with client_of(answer(body, 422)) as (client, _):
        with pytest.raises(Invalid) as caught:
            await client.merge_patch(JOBS, "ml", "a", {"spec": {"environment": "hunter2"}})
        assert str(caught.value).endswith(': TrainingJob "a" is invalid: spec.environment (FieldValueInvalid)')


async def test_a_long_message_is_cut_to_256_characters() -> None:
    async with client_of(answer(status_body(403, "Forbidden", "x" * 5000), 403)) as (client, _):
        with pytest.raises(Forbidden) as caught:
            await client.get(JOBS, "ml", "a")
        assert str(caught.value).count("x") == 255


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"[]", b'{"metadata":', b"null", b'"text"'])
async def test_an_answer_that_is_not_kubernetes_json_is_unavailable(body: bytes) -> None:
    async with client_of(answer(body)) as (client, _):
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.get(JOBS, "ml", "a")
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.list_page(JOBS)
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.get_json("/version")
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.merge_patch(JOBS, "ml", "a", {})


async def test_writes_go_to_their_paths_with_their_content_types() -> None:
    async with client_of(answer(job("a", 3))) as (client, server):
        assert (await client.merge_patch(JOBS, "ml", "a", {"status": {}}, subresource="status")).version == 3
        assert (await client.create(JOBS, "ml", {"metadata": {}}))["kind"] == "TrainingJob"
        assert (await client.replace(JOBS, "ml", "a", {"metadata": {}}))["kind"] == "TrainingJob"
        await client.delete(JOBS, "ml", "a")
        root = "/apis/sagemaker.services.k8s.aws/v1alpha1/namespaces/ml/trainingjobs"
        assert [(request.method, request.path, request.content_type) for request in server.requests[:-1]] == [
            ("PATCH", f"{root}/a/status", "application/merge-patch+json"),
            ("POST", root, "application/json"),
            ("PUT", f"{root}/a", "application/json"),
        ]
        assert (server.requests[-1].method, server.requests[-1].path) == ("DELETE", f"{root}/a")
        assert json.loads(server.bodies[0]) == {"status": {}}


async def test_a_name_cannot_leave_its_path() -> None:
    name = "a?watch=1#é %2F"
    async with client_of(answer(job(name, 3))) as (client, server):
        await client.get(JOBS, "ml", name)
        assert server.requests[0].path.endswith("/trainingjobs/a?watch=1#é %2F")
        assert server.requests[0].query_string == ""


async def test_a_write_honours_retry_after_and_is_sent_again() -> None:
    busy = answer(status_body(429, "TooManyRequests"), 429, Retry_After="0")
    async with client_of(busy, answer(status_body(503, "x"), 503, Retry_After="0"), answer(job("a", 3))) as (
        client,
        server,
    ):
        assert (await client.merge_patch(JOBS, "ml", "a", {})).version == 3
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "headers", "requests"),
    [
        (429, {"Retry_After": "0"}, 3),
        (429, {"Retry_After": "6"}, 1),
        (429, {}, 1),
        (503, {}, 1),
        (500, {"Retry_After": "0"}, 3),
        (409, {"Retry_After": "0"}, 1),
        (429, {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
    ],
)
async def test_a_write_is_repeated_twice_at_most_and_only_when_asked(
    status: int, headers: dict[str, str], requests: int
) -> None:
    async with client_of(answer(status_body(status, "x"), status, **headers)) as (client, server):
        with pytest.raises(KubeError) as caught:
            await client.create(JOBS, "ml", {})
        assert len(server.requests) == requests
        wait = headers.get("Retry_After", "")
        assert caught.value.retry_after == (float(wait) if wait.isdigit() else None)


async def test_a_read_is_left_to_its_caller_to_repeat() -> None:
    async with client_of(answer(status_body(429, "x", retryAfterSeconds=2), 429)) as (client, server):
        with pytest.raises(TooManyRequests) as caught:
            await client.list_page(JOBS)
        assert caught.value.retry_after == 2
        assert len(server.requests) == 1


async def test_the_observer_sees_every_request_and_its_outcome() -> None:
    observed: list[tuple[str, str, str, int]] = []

    def observe(method: str, plural: str, subresource: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        observed.append((method, plural, subresource, status))

    async with serve(answer(job("a", 3)), answer(b"", 404), streaming(line("ADDED", job("a", 2)))) as server:
        async with HttpTransport(ClusterAccess(server=server.url)) as transport:
            client = KubeClient(transport, observer=observe)
            await client.merge_patch(JOBS, "ml", "a", {}, subresource="status")
            with pytest.raises(NotServed):
                await client.get_json("/nowhere")
            await watch_all(client)
        with pytest.raises(Unavailable, match="closed"):
            await client.get(JOBS, "ml", "a")
        with pytest.raises(Unavailable, match="closed"):
            await watch_all(client)
    assert observed == [
        ("PATCH", "trainingjobs", "status", 200),
        ("GET", "", "", 404),
        ("WATCH", "trainingjobs", "", 200),
        ("GET", "trainingjobs", "", 0),
        ("WATCH", "trainingjobs", "", 0),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"404 page not found\n",
        b"<html><h1>Not Found</h1></html>",
        b"{}",
        status_body(404, "NotFound", "the server could not find the requested resource"),
        status_body(404, "NotFound", 'namespaces "ml" not found', name="ml"),
    ],
)
async def test_a_404_that_does_not_name_the_object_is_not_absence(body: Any) -> None:
    async with client_of(answer(body, 404)) as (client, _):
        for request in (
            client.get(JOBS, "ml", "a"),
            client.merge_patch(JOBS, "ml", "a", {"status": {}}, subresource="status"),
            client.delete(JOBS, "ml", "a"),
        ):
            with pytest.raises(NotServed):
                await request


async def test_a_404_that_names_the_object_is_absence() -> None:
    async with client_of(answer(status_body(404, "NotFound", name="a"), 404)) as (client, _):
        with pytest.raises(NotFound):
            await client.merge_patch(JOBS, "ml", "a", {"status": {}}, subresource="status")


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Status", "metadata": {}, "status": "Success"},
        {"metadata": {"resourceVersion": "9"}},
        {"kind": "TrainingJobList", "metadata": {}, "items": []},
    ],
)
async def test_an_answer_that_is_not_a_list_is_not_an_empty_list(body: Any) -> None:
    """An empty list deletes everything that is cached."""
    async with client_of(answer(body)) as (client, _):
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.list_page(JOBS)


@pytest.mark.parametrize("body", [{}, {"kind": "Status", "metadata": {}}, job("b", 3)])
async def test_an_answer_about_another_object_is_refused(body: Any) -> None:
    async with client_of(answer(body)) as (client, _):
        with pytest.raises(Unavailable, match="not the Kubernetes JSON"):
            await client.merge_patch(JOBS, "ml", "a", {})
