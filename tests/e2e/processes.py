"""Real processes for the tests that need them: the command as a user runs it, and kubectl beside it.

Nothing here sleeps for a fixed time: a test waits for a line, an exit or a state, and gives up after `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""Seconds for anything to happen. Thirty times what it takes on an idle machine: a hang, not a measure."""
_POLL_SECONDS = 0.05


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(home: Path, **extra: str) -> dict[str, str]:
    """What a process of these tests sees: nothing of the machine's own AWS or Kubernetes configuration."""
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    # Asking a metadata service that is not there takes seconds, and one that is there would answer for the machine.
    return own | {"AWS_EC2_METADATA_DISABLED": "true"} | extra


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(reached: Callable[[], Awaitable[bool]], what: str) -> None:
    """Polls until `reached` returns True."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await reached():  # noqa: ASYNC110  it happens in another process
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE:g} s in vain: {what}") from None


async def get(url: str) -> tuple[int, str]:
    """Status and text of the answer; (0, "") while no server listens."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(PATIENCE)) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""


async def run(*command: str, env: Mapping[str, str], stdin: str = "") -> Result:
    """Runs a command to its end. `sagemaker-operator` stands for this checkout's."""
    async with _spawned(command, env, stdin=asyncio.subprocess.PIPE) as process, asyncio.timeout(PATIENCE):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


class Process:
    """A command that goes on; `out` and `err` grow as it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Condition()
        self.out: list[str] = []
        self.err: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._open = 2
        self._readers = [
            asyncio.create_task(self._read(stream, lines))
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
        ]

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        while line := await stream.readline():
            async with self._news:
                lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._open -= 1
            self._news.notify_all()

    async def line(self, matches: Callable[[str], bool], what: str) -> str:
        """The first line of stdout, of all so far and to come, that `matches`."""

        def found() -> str | None:
            return next((line for line in self.out if matches(line)), None)

        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: found() is not None or not self._open)
        except TimeoutError:
            raise AssertionError(f"no {what} in {PATIENCE:g} s: {self.out} {self.err}") from None
        line = found()
        assert line is not None, f"it ended without {what}: {self.out} {self.err}"
        return line

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, negative for a signal. All output is in `out` and `err` then."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._readers)
            return await self._process.wait()


@asynccontextmanager
async def started(*command: str, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """A running command, killed at the end of the block if it has not ended by then."""
    async with _spawned(command, env, stdin=asyncio.subprocess.DEVNULL) as process:
        running = Process(process)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await running.ended()


@asynccontextmanager
async def _spawned(
    command: tuple[str, ...], env: Mapping[str, str], *, stdin: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    program, *arguments = command
    argv = [sys.executable, "-m", "sagemaker_operator"] if program == "sagemaker-operator" else [program]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, *arguments, stdin=stdin, stdout=pipe, stderr=pipe, env=dict(env), limit=2**20
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def sandbox(home: Path, *options: str) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    """A sandbox process and the environment that its export lines make, for the operator, kubectl and SDKs."""
    async with started("sagemaker-operator", "sandbox", *options, env=environment(home)) as process:
        await process.line(lambda line: line.startswith("#"), "its instructions")
        exports = [line.removeprefix("export ") for line in process.out if line.startswith("export ")]
        variables = dict(word.split("=", 1) for line in exports for word in shlex.split(line))
        yield process, environment(home, **variables)
