from __future__ import annotations

import asyncio
import os
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.order import VARIABLE, Order

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--order", choices=list(Order), help="which comes first: the answer to a write, or its watch event"
    )


SLOW_FOLDERS = ("apiserver", "bench", "e2e", "faults")
"""Measured: 966 of the suite's 1,071 CPU seconds."""

SLOW_MARKS = ("real_apiserver", "kubectl", "moto")
"""These start a third-party server or program."""

QUICK_FILES = ("test_deployment.py", "test_own_writes.py", "test_order.py")
"""Files of the slow folders that are fast: the manifests that users apply, and a few lifecycles of the whole operator."""


def in_slow_folder(path: Path) -> bool:
    return path.relative_to(Path(__file__).parent).parts[0] in SLOW_FOLDERS and path.name not in QUICK_FILES


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "not slow"` selects nothing from these files, so they are not imported, which every process of xdist would do."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return True if in_slow_folder(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if in_slow_folder(item.path) or any(item.get_closest_marker(mark) for mark in SLOW_MARKS):
            item.add_marker("slow")


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
    """looptime asks for the current loop before every test, and up to Python 3.13 that creates one that is never closed."""
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
