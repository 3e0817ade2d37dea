from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_stray_event_loop() -> None:
    """looptime asks for the current loop before every test, and up to Python 3.13 asking makes one that nobody closes."""
    asyncio.set_event_loop(None)
