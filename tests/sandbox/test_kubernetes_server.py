"""The emulator's HTTP server: how connections end."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.sandbox.kubernetes import EmulatorServer, InMemoryTransport, KubernetesEmulator, Request, serve
from tests.servers import ApiServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WATCH = "/api/v1/namespaces?watch=true&fieldSelector=metadata.name=default"


@pytest.fixture
def emulator() -> KubernetesEmulator:
    return KubernetesEmulator(clock=wall_clock, rng=random.Random(0))


@pytest.fixture
async def server(emulator: KubernetesEmulator) -> AsyncIterator[EmulatorServer]:
    async with serve(emulator) as server:
        yield server


async def test_a_client_that_leaves_ends_its_watch(emulator: KubernetesEmulator, server: EmulatorServer) -> None:
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        async with session.get(server.url + WATCH) as answer:
            assert json.loads(await answer.content.readline())["type"] == "ADDED"
            assert "1 watches" in repr(emulator)
            answer.close()
        while "1 watches" in repr(emulator):  # noqa: ASYNC110 the server learns of it from the kernel
            await asyncio.sleep(0.001)


async def test_a_cut_watch_breaks_off(emulator: KubernetesEmulator, server: EmulatorServer) -> None:
    async with aiohttp.ClientSession() as session, session.get(server.url + WATCH) as answer:
        await answer.content.readline()
        emulator.cut_watches()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_a_broken_connection_has_no_answer(emulator: KubernetesEmulator, server: EmulatorServer) -> None:
    async def reset(_: Request) -> None:
        raise ConnectionResetError

    emulator.intercept = reset
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{server.url}/api/v1/namespaces", json={})


async def test_the_end_of_a_server_ends_its_watches_and_no_others(emulator: KubernetesEmulator) -> None:
    query = [("watch", "true"), ("resourceVersion", "0")]
    async with (
        InMemoryTransport(emulator).stream("/api/v1/namespaces", query=query, timeout=5) as other,
        aiohttp.ClientSession() as session,
    ):
        async with serve(emulator) as server:
            answer = await session.get(server.url + WATCH)
            await answer.content.readline()
            assert "2 watches" in repr(emulator)
        assert "1 watches" in repr(emulator)
        answer.close()
        async with asyncio.timeout(5):
            assert b"ADDED" in await anext(aiter(other.chunks()))


async def test_the_kubeconfig_leads_to_the_server(server: EmulatorServer, tmp_path: Path) -> None:
    server.write_kubeconfig(tmp_path / "kubeconfig")
    assert ApiServer.from_kubeconfig(tmp_path / "kubeconfig").url == server.url
