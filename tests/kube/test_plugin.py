"""Credential plug-ins as processes: missing, hanging, verbose, failing, and what is never quoted of them."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.kubeconfig import EnvVar, Exec
from sagemaker_operator.kube.plugin import PluginCredentials, run_plugin
from tests.e2e.processes import until

if TYPE_CHECKING:
    from pathlib import Path

V1 = "client.authentication.k8s.io/v1"
TOKEN = f'{{"apiVersion": "{V1}", "kind": "ExecCredential", "status": {{"token": "t"}}}}'

LOOPS = pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def script(directory: Path, text: str, **more: Any) -> Exec:
    path = directory / "plug-in"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Exec(**{"command": str(path), "api_version": V1, "interactive_mode": "Never", **more})


def outcome(loop: Any, plugin: Exec, limit: float = 30) -> PluginCredentials | str:
    async def run() -> PluginCredentials | str:
        try:
            return await run_plugin(plugin, None, limit=limit)
        except ConfigurationError as error:
            return str(error)

    found: PluginCredentials | str = loop(run())
    return found


@LOOPS
def test_a_missing_plug_in_shows_its_install_hint(loop: Any) -> None:
    plugin = Exec(command="no-such", api_version=V1, install_hint="\x1b[31mGet it:\n  brew install it\n")
    message = outcome(loop, plugin)
    assert message == "the credential plug-in 'no-such' is not installed: [31mGet it: brew install it"
    plugin = Exec(command="/no/such", api_version=V1)
    assert outcome(loop, plugin) == "the credential plug-in '/no/such' is not installed: install it or put it on PATH"


@LOOPS
def test_much_on_stderr_and_stdout_at_once_does_not_block(loop: Any, tmp_path: Path) -> None:
    noise = "head -c 700000 /dev/zero | tr '\\0' x"
    assert outcome(loop, script(tmp_path, f"{noise} >&2; echo '{TOKEN}'")) == PluginCredentials(token="t")
    message = outcome(loop, script(tmp_path, f"{noise} >&2; {noise}; exit 3"))
    assert isinstance(message, str)
    assert "failed with exit code 3: xxx" in message
    assert len(message) < 1000
    assert "wrote more than" in str(outcome(loop, script(tmp_path, f"{noise}; {noise}")))


@LOOPS
@pytest.mark.parametrize("starting", [False, True], ids=["running", "starting"])
def test_a_plug_in_that_hangs_is_ended_with_its_child_processes(
    loop: Any, starting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "pids"
    plugin = script(tmp_path, f"sleep 1000 & echo $$ $! > {started}.tmp; mv {started}.tmp {started}; wait")
    create = asyncio.create_subprocess_exec

    async def written() -> bool:
        return started.exists()

    async def slowly(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        """Returns a little after the plug-in runs, as on a busy machine: the cancellation comes first."""
        process = await create(*args, **kwargs)
        await until(written, "the plug-in to start")
        await asyncio.sleep(0.05)
        return process

    if starting:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)

    async def run() -> None:
        running = asyncio.create_task(run_plugin(plugin, None, limit=30))
        await until(written, "the plug-in to start")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    loop(run())

    async def all_ended() -> bool:
        return all(ended(int(pid)) for pid in started.read_text().split())

    loop(until(all_ended, "its child processes to end"))
    monkeypatch.undo()
    assert outcome(loop, plugin, limit=0.5) == f"the credential plug-in {plugin.command!r} gave no answer in 0.5 s"


def ended(pid: int) -> bool:
    """A killed orphan may be a zombie of a container's first process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


@LOOPS
def test_no_argument_variable_or_output_is_quoted(loop: Any, tmp_path: Path) -> None:
    secrets = {
        "args": ["--password=planted-one"],
        "env": [EnvVar(name="PASSWORD", value="planted-two"), EnvVar(name="SHORT", value="us")],
    }
    echo = 'echo "$1 $PASSWORD $SHORT us-west" >&2; exit 1'
    message = str(outcome(loop, script(tmp_path, echo, **secrets)))
    assert message.endswith("failed with exit code 1: *** *** us us-west")
    for output in ("planted: [", "planted", "[planted]", '{"status": {"token": {"planted": 1}}}', '{"planted": 1}'):
        message = str(outcome(loop, script(tmp_path, f"cat <<'X'\n{output}\nX")))
        assert "its output" in message
        assert "planted" not in message.replace(str(tmp_path), "")
    kept = outcome(loop, script(tmp_path, f"echo '{TOKEN}'"))
    assert repr(kept) == "<PluginCredentials>"


@LOOPS
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/no/such/interpreter\n", "cannot be run: No such file"),
        # uvloop starts it as execvp does, which runs a file without an executable format in the shell.
        ("\x7fELF", "(cannot be run: Exec format error|failed with exit code 127: .*not found)"),
    ],
)
def test_a_plug_in_that_cannot_be_started_says_why(loop: Any, text: str, says: str, tmp_path: Path) -> None:
    plugin = script(tmp_path, "")
    (tmp_path / "plug-in").write_text(text)
    assert re.search(says, str(outcome(loop, plugin)))


def test_an_existing_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    plugin = script(tmp_path, "")
    os.chmod(plugin.command, 0o600)
    assert outcome(asyncio.run, plugin) == f"the credential plug-in {plugin.command!r} is not executable"
