from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop
from aiohttp import web

from sagemaker_operator.errors import ConfigurationError, Unavailable
from sagemaker_operator.kube.access import ClusterAccess
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.kube.tls import TlsContext

from .scripted import Handler, ScriptedServer, answer, drop, hang, serve, status_body, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path


@contextlib.asynccontextmanager
async def transport_to(*handlers: Handler, **options: Any) -> AsyncIterator[tuple[HttpTransport, ScriptedServer]]:
    async with (
        serve(*handlers) as server,
        HttpTransport(ClusterAccess(server=server.url), **options) as transport,
    ):
        yield transport, server


class Rotating(ClusterAccess):
    """Credentials that change on each refresh, as often as there are tokens."""

    def __init__(self, server: str, *tokens: str) -> None:
        super().__init__(server=server)
        self.tokens = list(tokens)

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    async def refresh(self) -> None:
        if len(self.tokens) == 1:
            raise ConfigurationError("no more tokens")
        self.tokens.pop(0)


async def only_new(request: web.Request) -> web.StreamResponse:
    """401 for all but the token `new`."""
    if request.headers.get("Authorization") == "Bearer new":
        return await answer({"ok": True})(request)
    return await answer(status_body(401, "Unauthorized"), 401)(request)


async def test_a_401_refreshes_the_credentials_and_asks_once_more() -> None:
    async with serve(only_new) as server, HttpTransport(Rotating(server.url, "old", "new")) as transport:
        assert (await transport.request("POST", "/x", body=b"{}", timeout=5)).status == 200
        assert server.bodies == [b"{}", b"{}"]
        async with transport.stream("/x", timeout=5) as stream:
            assert stream.status == 200
        assert len(server.requests) == 3


async def test_a_second_401_is_the_answer() -> None:
    async with serve(only_new) as server, HttpTransport(Rotating(server.url, "old", "older")) as transport:
        assert (await transport.request("GET", "/x", timeout=5)).status == 401
        assert len(server.requests) == 2


async def test_credentials_that_cannot_be_refreshed_are_an_unavailable_with_the_reason() -> None:
    async with serve(only_new) as server, HttpTransport(Rotating(server.url, "old")) as transport:
        with pytest.raises(Unavailable, match="no more tokens"):
            await transport.request("GET", "/x", timeout=5)


@pytest.mark.parametrize("method", ["PATCH", "PUT", "GET"])
async def test_an_idempotent_request_survives_a_connection_that_the_server_closed(method: str) -> None:
    async with transport_to(answer({"n": 1}), drop, answer({"n": 2})) as (transport, server):
        await transport.request("GET", "/x", timeout=5)
        body = b"{}" if method != "GET" else None
        got = await transport.request(method, "/x", body=body, timeout=5)
        assert json.loads(got.body) == {"n": 2}
        assert [request.method for request in server.requests] == ["GET", method, method]


async def test_a_patch_is_sent_twice_at_most() -> None:
    async with transport_to(drop) as (transport, server):
        with pytest.raises(Unavailable):
            await transport.request("PATCH", "/x", body=b"{}", timeout=5)
        assert len(server.requests) == 2


async def test_a_post_is_never_sent_twice() -> None:
    async with transport_to(answer({}), drop, answer({})) as (transport, server):
        await transport.request("GET", "/x", timeout=5)
        with pytest.raises(Unavailable):
            await transport.request("POST", "/x", body=b"{}", timeout=5)
        assert len(server.requests) == 2


async def test_a_server_without_an_answer_times_out() -> None:
    async with transport_to(hang) as (transport, _):
        with pytest.raises(Unavailable, match=r"GET /x: .* gave no answer in 0\.05 s"):
            await transport.request("GET", "/x", timeout=0.05)
        with pytest.raises(Unavailable, match="no answer"):
            async with transport.stream("/x", timeout=0.05):
                pass


async def test_a_body_that_never_ends_times_out_too() -> None:
    async with transport_to(streaming(b"{", then="stall")) as (transport, _):
        with pytest.raises(Unavailable, match="no answer"):
            await transport.request("GET", "/x", timeout=0.05)
        # The headers must have come by then, on a busy machine too.
        async with transport.stream("/x", timeout=2) as stream:
            with pytest.raises(Unavailable, match="no answer"):
                await stream.read()


async def test_the_timeout_of_a_stream_is_for_its_headers_only() -> None:
    gate = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await gate.wait()
        await response.write(b"late")
        return response

    async with transport_to(slow) as (transport, _), transport.stream("/x", timeout=2) as stream:
        asyncio.get_running_loop().call_later(2.1, gate.set)
        assert [chunk async for chunk in stream.chunks()] == [b"late"]


async def test_a_cut_answer_is_unavailable() -> None:
    async with transport_to(streaming(b'{"kind":', then="cut")) as (transport, _):
        with pytest.raises(Unavailable, match="cut"):
            await transport.request("GET", "/x", timeout=5)
        async with transport.stream("/x", timeout=5) as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b'{"kind":'
            with pytest.raises(Unavailable, match="cut"):
                await anext(chunks)


async def test_a_refused_connection_says_so(unused_tcp_port: int) -> None:
    async with HttpTransport(ClusterAccess(server=f"http://127.0.0.1:{unused_tcp_port}")) as transport:
        with pytest.raises(Unavailable, match=r"cannot connect to http://127\.0\.0\.1"):
            await transport.request("PATCH", "/x", timeout=5)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with transport_to(answer({})) as (transport, _):
        assert (await transport.request("GET", "/x", timeout=5)).status == 200


async def test_a_configured_proxy_is_used() -> None:
    async with serve(answer({"from": "proxy"})) as proxy:
        access = ClusterAccess(server="http://api.invalid", proxy=proxy.url)
        async with HttpTransport(access) as transport:
            assert json.loads((await transport.request("GET", "/x", timeout=5)).body) == {"from": "proxy"}
        async with HttpTransport(ClusterAccess(server="http://api.invalid"), proxy=proxy.url) as transport:
            assert (await transport.request("GET", "/x", timeout=5)).status == 200
        assert [request.headers["Host"] for request in proxy.requests] == ["api.invalid"] * 2


async def test_redirects_are_answers() -> None:
    async with transport_to(answer(b"", 302, Location="/elsewhere")) as (transport, server):
        assert (await transport.request("GET", "/x", timeout=5)).status == 302
        assert len(server.requests) == 1


async def test_watches_do_not_use_request_slots() -> None:
    async def both(request: web.Request) -> web.StreamResponse:
        return await (streaming(b"{}\n", then="stall") if request.path == "/watch" else answer({}))(request)

    async with (
        transport_to(both, max_requests=1) as (transport, _),
        transport.stream("/watch", timeout=5),
        transport.stream("/watch", timeout=5),
    ):
        assert (await transport.request("GET", "/x", timeout=5)).status == 200


async def test_requests_beyond_the_limit_wait_for_a_slot() -> None:
    running, most = 0, 0

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return await answer({})(request)

    async with transport_to(count, max_requests=3) as (transport, _):
        await asyncio.gather(*(transport.request("GET", "/x", timeout=5) for _ in range(20)))
    assert most == 3


async def test_an_error_body_is_read_up_to_64_kib() -> None:
    async with transport_to(answer(b"x" * 200_000, 500)) as (transport, _), transport.stream("/x", timeout=5) as stream:
        assert len(await stream.read()) == 65536


async def test_a_cancelled_request_frees_its_slot() -> None:
    arrived = asyncio.Event()

    async def stuck(request: web.Request) -> web.StreamResponse:
        arrived.set()
        return await hang(request)

    async with transport_to(stuck, answer({}), max_requests=1) as (transport, _):
        first = asyncio.create_task(transport.request("GET", "/x", timeout=60))
        await arrived.wait()
        first.cancel()
        await asyncio.wait([first])
        assert (await transport.request("GET", "/x", timeout=5)).status == 200


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
async def test_closing_leaves_no_connection_however_its_request_ended(
    run: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path
) -> None:
    """A closed watch sends a TLS close, and a server that answers late keeps the connection open; so does a cancelled request."""
    ca = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = TlsContext(ca_file=str(tmp_path / "ca.pem"))

    async def leave(url: str, turns: int) -> None:
        async with HttpTransport(ClusterAccess(server=url, tls=trusting)) as transport:

            async def watch() -> None:
                async with transport.stream("/x", timeout=5) as stream:
                    async for _ in stream.chunks():
                        return

            async def left_early() -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    await watch()

            early = [asyncio.create_task(left_early()) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in early:
                task.cancel()
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(watch())

    gc.collect()
    with warnings.catch_warnings(record=True) as observed:
        warnings.simplefilter("always")
        async with serve(streaming(b"{}\n", then="stall"), ssl_context=tls) as server:
            for turns in range(0, 60, 6):
                await asyncio.to_thread(run, leave(server.url, turns))
            gc.collect()
    assert [str(warning.message) for warning in observed if warning.category is ResourceWarning] == []
