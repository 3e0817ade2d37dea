"""A list whose pages take longer than etcd keeps history, against the emulator and a real server."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.errors import Gone
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from tests.sandbox.kubernetes_support import Client, client_of
from tests.servers import ApiServer, server_or_skip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

_JOBS = catalog()["TrainingJob"].resource
_SECONDS = 60.0


@pytest.fixture(scope="module")
def forgetful_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Compacted every second up to where it was a second before; a cluster does so every five minutes."""
    yield from server_or_skip(tmp_path_factory.mktemp("forgetful"), compaction="1s")


@pytest.fixture(params=["emulator", pytest.param("real", marks=pytest.mark.real_apiserver)])
async def forgetful(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Client, Callable[[], None]]]:
    """A client, and what makes its server forget (a real one does so by itself)."""
    if request.param == "real":
        async with client_of(request.getfixturevalue("forgetful_server")) as client:
            yield client, lambda: None
        return
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    async with serve(emulator) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with client_of(ApiServer.from_kubeconfig(tmp_path / "kubeconfig")) as client:
            yield client, emulator.expire_history


@asynccontextmanager
async def operators_client(server: ApiServer) -> AsyncIterator[KubeClient]:
    async with HttpTransport(await load_config(kubeconfig=str(server.kubeconfig))) as transport:
        yield KubeClient(transport)


async def test_an_expired_page_is_410_and_offers_a_way_on(forgetful: tuple[Client, Callable[[], None]]) -> None:
    api, forget = forgetful
    for name in "abc":
        await api.job(name)
    first = (await api.get(api.jobs, limit="2")).body
    token = first["metadata"]["continue"]
    async with asyncio.timeout(_SECONDS):
        for number in range(10_000):
            forget()
            # History is compacted only if there is some.
            await api.merge(f"{api.jobs}/c", {"metadata": {"labels": {"number": str(number)}}})
            answer = await api.get(api.jobs, limit="2", **{"continue": token})
            if answer.status != 200:
                break
            await asyncio.sleep(0.1)
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    async with operators_client(api.server) as kube:
        with pytest.raises(Gone):
            await kube.list_page(_JOBS, namespace=api.namespace, limit=2, continue_=token)
        # What the watcher does then: all of it, in one page of one moment.
        whole = await kube.list_page(_JOBS, namespace=api.namespace)
        assert ([obj.metadata.name for obj in whole.items], whole.continue_) == (["a", "b", "c"], None)
    await api.job("d")
    rest = (await api.get(api.jobs, **{"continue": answer.body["metadata"]["continue"]})).body
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d"], "of another moment than the first page"
