"""Credential plug-ins of kubeconfigs (`exec`), run as client-go runs them.

Guarantees:
- A plug-in ends within its time limit, together with its child processes, however much it writes.
- No error quotes an argument, an environment variable or output of a plug-in, apart from the start of its stderr, from which
  those values are removed.

Source: client-go's plugin/pkg/client/auth/exec.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.kubeconfig import EXEC_VERSIONS, explain, load_yaml, plain, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kube.kubeconfig import Exec

# A token is a few kB, a chain of certificates some tens.
_OUTPUT_LIMIT = 1024 * 1024
_CLOSE_SECONDS = 1.0
_STDERR_KEPT = 4096
_STDERR_SHOWN = 200
# Shorter values are not secrets (part of a region, `get`); removing them would make the text unreadable.
_SECRET_LENGTH = 6


class PluginCredentials(msgspec.Struct, frozen=True):
    """The output of a plug-in: a token, a client certificate, or both."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: float | None = None
    """Seconds since the epoch."""

    def __repr__(self) -> str:
        return "<PluginCredentials>"


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


async def run_plugin(plugin: Exec, cluster: Mapping[str, Any] | None, *, limit: float) -> PluginCredentials:
    """Runs the plug-in; `cluster` is passed to it with provideClusterInfo. Raises ConfigurationError within `limit` s."""
    name = f"the credential plug-in {plugin.command!r}"
    if plugin.api_version not in EXEC_VERSIONS:
        raise ConfigurationError(f"{name}: its apiVersion is not supported: write {' or '.join(EXEC_VERSIONS)}")
    interactive = _interactive(plugin, name)
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    given = {variable.name: variable.value for variable in plugin.env if variable is not None}
    args = [arg or "" for arg in plugin.args]
    try:
        async with asyncio.timeout(limit):
            code, output, stderr = await _run(
                [_executable(plugin, name), *args],
                env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)},
                interactive=interactive,
            )
    except TimeoutError:
        raise ConfigurationError(f"{name} gave no answer in {limit:g} s") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name} cannot be run: {reason_of(error)}") from None
    if code != 0:
        shown = _without(stderr, [*given.values(), *args])
        raise ConfigurationError(f"{name} failed with exit code {code}{': ' if shown else ''}{shown}")
    if len(output) > _OUTPUT_LIMIT:
        raise ConfigurationError(f"{name} wrote more than {_OUTPUT_LIMIT} bytes")
    try:
        return _parse(output, plugin.api_version)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _interactive(plugin: Exec, name: str) -> bool:
    terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise ConfigurationError(f"{name} needs a terminal (interactiveMode: Always), and there is none")
    return terminal and plugin.interactive_mode != "Never"


def _executable(plugin: Exec, name: str) -> str:
    """The file to run. It is found here because uvloop's error for a missing file does not name it."""
    command = plugin.command
    found = shutil.which(command)
    if found is not None:
        return found
    if os.sep in command and os.path.exists(command):
        raise ConfigurationError(f"{name} is not executable")
    hint = _one_line(plugin.install_hint)
    raise ConfigurationError(f"{name} is not installed: {hint or 'install it or put it on PATH'}")


async def _run(command: list[str], *, env: Mapping[str, str], interactive: bool) -> tuple[int, bytes, bytes]:
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            env=dict(env),
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A session of its own can be killed as a whole; an interactive plug-in needs the terminal's session.
            start_new_session=not interactive,
        )
    )
    try:
        # Shielded: asyncio kills the leader alone when its start is cancelled, and the child processes would run on.
        process = await asyncio.shield(starting)
        output, stderr = await asyncio.gather(
            _read(process.stdout, _OUTPUT_LIMIT + 1), _read(process.stderr, _STDERR_KEPT)
        )
        return await process.wait(), output, stderr
    except BaseException:
        await _kill(await starting, whole_session=not interactive)
        raise


async def _kill(process: asyncio.subprocess.Process, *, whole_session: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if whole_session:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()
    with contextlib.suppress(TimeoutError):
        # Read to the end so that the pipes' transports close; a process that escaped the kill may keep them open.
        async with asyncio.timeout(_CLOSE_SECONDS):
            await asyncio.gather(_read(process.stdout, 0), _read(process.stderr, 0))


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Reads the whole stream and keeps its first `limit` bytes: a pipe that is not read blocks its writer."""
    kept = bytearray()
    if stream is None:
        return b""
    while part := await stream.read(65536):
        kept += part[: limit - len(kept)]
    return bytes(kept)


def _parse(output: bytes, version: str) -> PluginCredentials:
    """Raises ValueError with a text that quotes nothing."""
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        try:
            value = load_yaml(output)
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            raise ValueError("its output is neither JSON nor YAML") from None
    try:
        answer = msgspec.convert(plain(value), _ExecCredential)
    except msgspec.ValidationError as error:
        path, text = explain(error)
        raise ValueError(f"its output is not an ExecCredential: {path or 'content'}: {text}") from None
    except (ValueError, TypeError, RecursionError):
        raise ValueError("its output is not an ExecCredential") from None
    if answer.kind != "ExecCredential":
        raise ValueError("its output is not an ExecCredential: kind: expected ExecCredential")
    if answer.api_version != version:
        raise ValueError(f"its output has another apiVersion than the kubeconfig: expected {version}")
    status = answer.status
    if status is None:
        raise ValueError("its output has no status")
    if not status.token and not status.client_certificate_data and not status.client_key_data:
        raise ValueError("its output has neither a token nor a client certificate")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise ValueError("its output has a client certificate or a key, and not both")
    return PluginCredentials(
        token=status.token,
        certificate=status.client_certificate_data.encode(errors="replace"),
        key=status.client_key_data.encode(errors="replace"),
        expires=_expiry(status.expiration_timestamp),
    )


def _expiry(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise ValueError("its output has an expirationTimestamp that is not RFC 3339") from None


def _without(stderr: bytes, secrets: list[str]) -> str:
    text = stderr.decode(errors="replace")
    for secret in sorted({secret for secret in secrets if len(secret) >= _SECRET_LENGTH}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_STDERR_SHOWN]
