from __future__ import annotations

import asyncio
import os
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.e2e.order import VARIABLE, Order

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--order", choices=list(Order), help="which comes first: the answer to a write, or its watch event"
    )


def pytest_configure(config: pytest.Config) -> None:
    # The environment, so that xdist's workers and the operators that tests start have it too.
    if order := config.getoption("--order"):
        os.environ[VARIABLE] = order


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true nothing is skipped: a test that lacks a tool or a server fails, and says which."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} would be skipped, and CI=true: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def no_stray_event_loop() -> None:
    """looptime asks for the current loop before every test, and up to Python 3.13 asking makes one that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def moto_url() -> Iterator[str]:
    """moto's server, empty: its state belongs to the process, and an earlier test may have left some."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
