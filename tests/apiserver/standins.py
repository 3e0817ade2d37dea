"""Stand-ins for envtest's etcd and kube-apiserver, so that the code that starts those can be tested without them.

Each is started with the real one's flags and writes down which. The API server is the emulator behind TLS, for bearers of a
token of its token file, and only once it has reached its etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import random
import signal
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trustme

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from tests.e2e.processes import ROOT
from tests.e2e.test_in_cluster import terminated

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes import Request


def install(directory: Path) -> None:
    """Writes the two programs into `directory`."""
    for name, function in (("etcd", "etcd"), ("kube-apiserver", "apiserver")):
        program = directory / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.apiserver import standins\nstandins.main(standins.{function})\n",
            encoding="utf-8",
        )
        program.chmod(0o755)


def flags_of(directory: Path, name: str) -> dict[str, str]:
    """What a program in `directory` was started with."""
    reported: dict[str, str] = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
    return reported


def main(program: object) -> None:
    flags = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[1:])
    own = Path(sys.argv[0])
    own.with_name(f"{own.name}.json").write_text(json.dumps(flags), encoding="utf-8")
    assert callable(program)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_terminated(program(flags)))


async def _until_terminated(running: object) -> None:
    task = asyncio.ensure_future(running)  # type: ignore[call-overload]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


async def etcd(flags: dict[str, str]) -> None:
    address = urlsplit(flags["listen-client-urls"])
    async with await asyncio.start_server(lambda _, writer: writer.close(), address.hostname, address.port) as server:
        await server.serve_forever()


async def apiserver(flags: dict[str, str]) -> None:
    behind = urlsplit(flags["etcd-servers"])
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(behind.hostname, behind.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
    tokens = _tokens_of_masters(Path(flags["token-auth-file"]))
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))

    async def authenticate(request: Request) -> Response | None:
        known = request.headers.get("authorization", "").removeprefix("Bearer ") in tokens
        return None if known else Response(401, {"Content-Type": "application/json"}, b"{}")

    emulator.intercept = authenticate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    port = int(flags["secure-port"])
    async with serve(emulator) as plain, terminated(plain.url.rpartition(":")[2], context, on=port):
        await asyncio.Event().wait()


def _tokens_of_masters(file: Path) -> set[str]:
    rows = csv.reader(file.read_text(encoding="utf-8").splitlines())
    return {row[0] for row in rows if "system:masters" in row[3].split(",")}
