"""SIGTERM ends the process with exit code 0 at any time after its start; real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import environment, run, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio

# Runs the program, and sends it the signal in the moment in which it begins to import NAME.
PROGRAM = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
sys.argv = ["sagemaker-operator", "run", "--aws-region", "us-west-2", "--kubeconfig", "/nowhere"]
runpy.run_module("sagemaker_operator", run_name="__main__")
"""


@pytest.mark.parametrize("name", ["sagemaker_operator.cli", "sagemaker_operator.manager", "uvloop"])
async def test_sigterm_while_the_program_is_being_imported(tmp_path: Path, name: str) -> None:
    result = await run(sys.executable, "-c", PROGRAM.format(name=name), env=environment(tmp_path))
    assert (result.code, result.out, result.err) == (0, "", "")


async def test_sigterm_while_the_api_server_does_not_answer(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {
        "current-context": "c",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config), encoding="utf-8")
    command = ("sagemaker-operator", "run", "--kubeconfig", str(tmp_path / "config"), "--aws-region", "us-west-2")
    try:
        async with started(*command, env=environment(tmp_path)) as process:
            async with asyncio.timeout(30):
                await asked.wait()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0, process.err
    finally:
        server.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
async def test_a_start_error_is_reported_though_standard_output_cannot_be_written(tmp_path: Path, stdout: str) -> None:
    """The program reports why it cannot start, and not that it could not write a line."""
    program = f"exec {sys.executable} -m sagemaker_operator run --aws-region us-west-2 --kubeconfig /nowhere {stdout}"
    result = await run("sh", "-c", program, env=environment(tmp_path))
    assert result.code == 1
    assert result.err.startswith("sagemaker-operator: ")
    assert "Traceback" not in result.err
    assert "Exception ignored" not in result.err
