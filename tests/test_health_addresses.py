"""Where the probes and metrics listen: in an IPv6 cluster the kubelet uses the pod's IPv6 address, and there is no other."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import aiohttp
import pytest
import uvloop

from sagemaker_operator import health
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import Settings, split_address


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")


async def answered(address: tuple[str, int], *hosts: str) -> list[int]:
    app = health.probes_app(live=lambda: None, ready=lambda: None)
    async with health.serve(app, address, "--healthz-addr") as port, aiohttp.ClientSession() as session:
        statuses = []
        for host in hosts:
            async with session.get(f"http://{host}:{port}/healthz") as response:
                statuses.append(response.status)
        return statuses


def any_port(address: str) -> tuple[str, int]:
    """As `address`, on a port that is free."""
    found = split_address("--healthz-addr", address)
    assert found is not None
    return found[0], 0


@needs_ipv6
@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("address", [Settings(aws_region="us-west-2").healthz_addr, ":8081", "[::]:8081"])
def test_by_default_both_families_are_served(address: str, loop: Any) -> None:
    assert loop(answered(any_port(address), "127.0.0.1", "[::1]")) == [200, 200]


@needs_ipv6
async def test_an_ipv6_address_in_brackets_is_served() -> None:
    assert await answered(any_port("[::1]:8081"), "[::1]") == [200]


async def test_without_ipv6_in_the_kernel_ipv4_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def no_ipv6(address: Any, *, family: int = socket.AF_INET, **more: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create(address, family=family, **more)

    monkeypatch.setattr(socket, "create_server", no_ipv6)
    assert await answered(("", 0), "127.0.0.1") == [200]


@pytest.mark.parametrize("host", ["", "127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_a_taken_port_is_named_with_its_flag(host: str) -> None:
    async with health.serve(health.probes_app(live=lambda: None, ready=lambda: None), (host, 0), "--a") as port:
        assert port is not None
        shown = f"[{host}]" if ":" in host else host
        with pytest.raises(ConfigurationError) as caught:
            await answered((host, port))
        assert str(caught.value) == f"--healthz-addr: cannot listen on {shown}:{port}: Address already in use"
