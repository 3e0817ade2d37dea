"""Fixtures that install the CRDs on the emulator and on a real API server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from tests.crds.support import Client, client_of
from tests.servers import ApiServer, server_or_skip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    yield from server_or_skip(tmp_path_factory.mktemp("apiserver"))


@pytest.fixture
async def real_api(real_server: ApiServer) -> AsyncIterator[Client]:
    async with client_of(real_server) as client:
        yield client


@pytest.fixture(params=["emulator", pytest.param("real", marks=pytest.mark.real_apiserver)])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of the emulator, and then of a real API server."""
    if request.param == "real":
        async with client_of(request.getfixturevalue("real_server")) as client:
            yield client
        return
    async with serve(KubernetesEmulator(clock=wall_clock, rng=random.Random(0))) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with client_of(ApiServer.from_kubeconfig(tmp_path / "kubeconfig")) as client:
            yield client
