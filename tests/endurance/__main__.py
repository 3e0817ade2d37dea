"""python -m tests.endurance --minutes 60 --objects 500

Runs `sagemaker-operator run` as a process against a real API server (tests/servers.py finds it) with objects of all
kinds, while a proxy answers nonsense in turns and the API server is restarted twice. Passes if every object ends in its
right state with one create, the process never ended, and its memory is flat. Prints a summary as JSON; exit code 1 says
that something failed.

One process, without leader election: a leader that cannot renew its lease for 20 s ends, as it should, and memory is
that of one process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.control.features.field_export import FIELD_EXPORTS
from sagemaker_operator.crds.generate import manifests, resource_of
from sagemaker_operator.errors import KubeError, NotFound
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.objects import Resource
from sagemaker_operator.sandbox.sagemaker.http import serve as serve_sagemaker
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator
from tests.e2e.processes import environment, free_port, get
from tests.endurance.company import Copy, Key
from tests.endurance.plan import FLAT_MB, LAST, RESTARTS, growth, windows
from tests.endurance.proxy import Proxy, proxying
from tests.servers import ApiServer, is_written, program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SPEED = 20.0
"""A ten-minute job takes half a minute; the operator polls at its real intervals."""
_CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_READ_SECONDS = 5.0
_SETTLE_SECONDS = 900.0
_RETRY_SECONDS = 2.0


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


class ApiServerProcess:
    """A program that serves as `PROGRAM DIR`; started again it has its data."""

    def __init__(self, directory: Path) -> None:
        found = program()
        if found is None:
            raise SystemExit("no API server: see CONTRIBUTING.md, Servers for tests")
        self._command = [str(found), str(directory / "apiserver")]
        self._kubeconfig = directory / "apiserver" / "kubeconfig"
        self._log = directory / "apiserver.log"
        self._process: asyncio.subprocess.Process | None = None
        self.client: KubeClient | None = None
        self._stack = AsyncExitStack()

    async def start(self) -> ApiServer:
        self._kubeconfig.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, start_new_session=True
            )
        async with asyncio.timeout(60):
            while not is_written(self._kubeconfig):  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.1)
            server = ApiServer.from_kubeconfig(self._kubeconfig)
            access = await load_config(kubeconfig=str(self._kubeconfig))
            self.client = KubeClient(await self._stack.enter_async_context(HttpTransport(access)))
            while not await self._serves():  # noqa: ASYNC110  another process starts
                await asyncio.sleep(0.2)
        return server

    async def _serves(self) -> bool:
        assert self.client is not None
        with contextlib.suppress(KubeError):
            await self.client.list_page(_NAMESPACES, limit=1)
            return True
        return False

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            await self._process.wait()
        await self._stack.aclose()
        self._stack = AsyncExitStack()


class Endurance:
    """One run."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.seconds = options.minutes * 60.0
        self.directory = directory
        self.simulator = SageMakerSimulator(clock=wall_clock, rng=random.Random(5), speed=SPEED)
        self.server = ApiServerProcess(directory)
        self.copies = [Copy(number) for number in range(max(1, round(options.objects / len(Copy(0)))))]
        self.state: dict[Key, dict[str, Any]] = {}
        self.applied: Counter[str] = Counter()
        """Objects by kind, those that were applied a second time included."""
        self.gone: set[Key] = set()
        self.rss: list[tuple[float, float]] = []
        self.problems: list[str] = []
        self.begun = time.monotonic()

    def _at(self) -> float:
        return time.monotonic() - self.begun

    async def run(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(proxying())
            stack.push_async_callback(self.server.stop)
            proxy.server = await self.server.start()
            await self._install()
            sagemaker = await stack.enter_async_context(serve_sagemaker(self.simulator))
            operator, health = await self._operator(stack, proxy, sagemaker.url)
            self.begun = time.monotonic()
            tasks = [
                asyncio.create_task(self._read()),
                asyncio.create_task(self._sample(operator.pid)),
                asyncio.create_task(self._troubles(proxy)),
                asyncio.create_task(self._restarts(proxy)),
            ]
            lifecycles = [asyncio.create_task(self._live(copy)) for copy in self.copies]
            _say(f"{len(self.copies)} copies of {len(self.copies[0])} objects, {self.seconds:.0f} s")
            await self._wait(operator, lifecycles)
            for task in (*tasks, *lifecycles):
                task.cancel()
            for result in await asyncio.gather(*tasks, *lifecycles, return_exceptions=True):
                if isinstance(result, Exception):
                    self.problems.append(f"the run itself: {type(result).__name__}: {result}")
            ready = await get(f"http://127.0.0.1:{health}/readyz")
            code = operator.returncode
            if code is not None:
                self.problems.append(f"the operator ended with {code}")
            if ready[0] != 200:
                self.problems.append(f"not ready at the end: {ready}")
            await self._judge()
            return self._summary(proxy)

    async def _wait(self, operator: asyncio.subprocess.Process, lifecycles: list[asyncio.Task[None]]) -> None:
        """Until the time is over and everything is settled, or the operator has ended."""
        end = asyncio.create_task(operator.wait())
        done = asyncio.gather(*lifecycles)
        reported = 0.0
        while not end.done():
            await asyncio.sleep(1.0)
            if self._at() - reported > 60:
                reported = self._at()
                unsettled = len(self._unsettled())
                _say(
                    f"{reported:5.0f} s: {sum(self.applied.values())} applied, {unsettled} not settled, {self.rss[-1:]}"
                )
            over = self._at() - self.seconds
            if (over > 0 and done.done() and not self._unsettled()) or over > _SETTLE_SECONDS:
                break
        end.cancel()
        if not done.done():
            self.problems.append("some copies did not come to their end")

    async def _install(self) -> None:
        assert self.server.client is not None
        for manifest in manifests().values():
            if manifest["spec"]["names"]["kind"] == "FieldExport":
                # ACK's accepts an object without spec, and so does one that was installed before.
                schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                schema["required"] = [name for name in schema.get("required", ()) if name != "spec"]
                if not schema["required"]:
                    del schema["required"]
            await self.server.client.create(_CRDS, None, manifest)
        for manifest in manifests().values():
            await self._again(lambda m=manifest: self.server.client.list_page(resource_of(m), limit=1))  # type: ignore[misc, union-attr]
        for copy in self.copies:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": copy.namespace}}
            await self.server.client.create(_NAMESPACES, None, body)
        export = {"apiVersion": FIELD_EXPORTS.api_version, "kind": "FieldExport", "metadata": {"name": "empty"}}
        await self.server.client.create(FIELD_EXPORTS, "copy-0", export)

    async def _operator(self, stack: AsyncExitStack, proxy: Proxy, aws: str) -> tuple[asyncio.subprocess.Process, int]:
        kubeconfig = self.directory / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "proxy", "cluster": {"server": proxy.url}}],
                    "users": [{"name": "operator", "user": {"token": "unused"}}],
                    "contexts": [{"name": "run", "context": {"cluster": "proxy", "user": "operator"}}],
                    "current-context": "run",
                }
            )
        )
        health = free_port()
        env = environment(
            self.directory,
            KUBECONFIG=str(kubeconfig),
            AWS_ENDPOINT_URL=aws,
            AWS_REGION="us-west-2",
            AWS_ACCESS_KEY_ID="sandbox",
            AWS_SECRET_ACCESS_KEY="sandbox",
            SAGEMAKER_OPERATOR_ALLOW_UNSAFE_AWS_ENDPOINT_URLS="true",
        )
        flags = [
            "--healthz-addr",
            f"127.0.0.1:{health}",
            "--metrics-addr",
            "0",
            "--enable-leader-election=false",
        ]
        log = stack.enter_context((self.directory / "operator.log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sagemaker_operator", "run", *flags, env=env, stdout=log, stderr=log
        )

        async def end() -> None:
            if process.returncode is None:
                process.terminate()
                code = await process.wait()
                if code:
                    _say(f"the operator ended with {code} after SIGTERM")

        stack.push_async_callback(end)
        return process, health

    # --- what happens ------------------------------------------------------------------------------------------------

    async def _troubles(self, proxy: Proxy) -> None:
        for window in windows(self.seconds):
            await asyncio.sleep(max(0.0, window.begin - self._at()))
            proxy.trouble = window.trouble
            _say(f"the proxy answers: {window.trouble}")
            await asyncio.sleep(max(0.0, window.end - self._at()))
            proxy.trouble = None

    async def _restarts(self, proxy: Proxy) -> None:
        for share in RESTARTS:
            await asyncio.sleep(max(0.0, share * self.seconds - self._at()))
            _say("the API server is restarted")
            await self.server.stop()
            proxy.server = await self.server.start()

    async def _sample(self, pid: int) -> None:
        while True:
            self.rss.append((self._at(), _rss_mb(pid)))
            await asyncio.sleep(10.0)

    async def _read(self) -> None:
        """Keeps `state`: one list of each kind every few seconds, past the proxy."""
        while True:
            for kind in catalog().values():
                with contextlib.suppress(KubeError, AttributeError):
                    page = await self.server.client.get_json(kind.resource.path())  # type: ignore[union-attr]
                    found = {(kind.name, i["metadata"]["namespace"], i["metadata"]["name"]): i for i in page["items"]}
                    self.state = {key: obj for key, obj in self.state.items() if key[0] != kind.name} | found
            await asyncio.sleep(_READ_SECONDS)

    async def _again(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """As kubectl's user would: tries until the server answers."""
        while True:
            try:
                return await act()
            except (KubeError, AttributeError):
                await asyncio.sleep(_RETRY_SECONDS)

    async def _apply(self, copy: Copy, reference: str) -> None:
        manifest = copy.manifests[reference]
        resource = catalog()[manifest["kind"]].resource

        async def create() -> None:
            try:
                await self.server.client.create(resource, copy.namespace, manifest)  # type: ignore[union-attr]
            except KubeError as error:
                if error.reason != "AlreadyExists":
                    raise

        await self._again(create)
        self.applied[manifest["kind"]] += 1

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():  # noqa: ASYNC110  it happens in another process
            await asyncio.sleep(1.0)

    async def _live(self, copy: Copy) -> None:
        """Half of the copies are applied at once, the others one after the other while things go wrong."""
        late = max(0, copy.number - len(self.copies) // 2) / max(1, len(self.copies) - len(self.copies) // 2)
        await asyncio.sleep(late * LAST * self.seconds)
        done = {reference: asyncio.Event() for reference in copy.needs}

        async def turn(reference: str) -> None:
            for other in copy.needs[reference]:
                await done[other].wait()
            spec = copy.manifests[reference]["spec"]
            if "domainID" in spec:
                await done["domain"].wait()
                spec["domainID"] = self.state[copy.key("domain")]["status"]["domainID"]
            await self._apply(copy, reference)
            await self._until(lambda: self._settled(copy, reference))
            done[reference].set()

        await asyncio.gather(*(turn(reference) for reference in copy.needs))
        for reference, patch in copy.edits():
            kind, namespace, name = copy.key(reference)
            resource = catalog()[kind].resource
            await self._again(
                lambda r=resource, n=name, s=namespace, p=patch: self.server.client.merge_patch(
                    r, s, n, {"spec": dict(p)}
                )  # type: ignore[misc, union-attr]
            )
        await asyncio.sleep(2 * _READ_SECONDS)
        await self._until(lambda: all(self._settled(copy, reference) for reference in copy.needs))
        await self._deleted_and_made_again(copy, "coderepository")
        self.gone.add(copy.key("transformjob"))
        await self._delete(copy, "transformjob")

    async def _delete(self, copy: Copy, reference: str) -> None:
        kind, namespace, name = copy.key(reference)

        async def delete() -> None:
            with contextlib.suppress(NotFound):
                await self.server.client.delete(catalog()[kind].resource, namespace, name)  # type: ignore[union-attr]

        await self._again(delete)
        await asyncio.sleep(2 * _READ_SECONDS)
        await self._until(lambda: copy.key(reference) not in self.state)

    async def _deleted_and_made_again(self, copy: Copy, reference: str) -> None:
        await self._delete(copy, reference)
        await self._apply(copy, reference)
        await asyncio.sleep(2 * _READ_SECONDS)
        await self._until(lambda: self._settled(copy, reference))

    # --- what is right -----------------------------------------------------------------------------------------------

    def _settled(self, copy: Copy, reference: str) -> bool:
        stored = self.state.get(copy.key(reference))
        if stored is None:
            return False
        status = stored.get("status", {})
        conditions = {found["type"]: found["status"] for found in status.get("conditions", ())}
        current = status.get("observedGeneration") == stored["metadata"]["generation"]
        return current and conditions.get(copy.ends(reference)) == "True"

    def _unsettled(self) -> list[Key]:
        keys = [(copy, reference) for copy in self.copies for reference in copy.needs]
        return [
            copy.key(reference)
            for copy, reference in keys
            if copy.key(reference) not in self.gone and not self._settled(copy, reference)
        ]

    async def _judge(self) -> None:
        for key in self._unsettled():
            conditions = self.state.get(key, {}).get("status", {}).get("conditions")
            self.problems.append(f"not settled: {key}: {conditions}")
        self.problems += [f"not gone: {key}" for key in self.gone if key in self.state]
        made = self.simulator.made
        for kind, count in self.applied.items():
            if made[kind] != count:
                self.problems.append(f"{count} objects of {kind}, {made[kind]} created in SageMaker")
        log = (self.directory / "operator.log").read_text(errors="replace")
        for word in ("Internal error", "Traceback"):
            if word in log:
                lines = [line for line in log.splitlines() if word in line]
                self.problems.append(f"{len(lines)} log lines with {word!r}: {lines[0][:300]}")
        if growth(self.rss) > FLAT_MB:
            self.problems.append(f"memory grew by {growth(self.rss):.1f} MB over the second half")

    def _summary(self, proxy: Proxy) -> dict[str, Any]:
        rss = [value for _, value in self.rss] or [0.0]
        return {
            "passed": not self.problems,
            "problems": self.problems,
            "seconds": round(self._at()),
            "objects": sum(self.applied.values()),
            "created": sum(self.simulator.made.values()),
            "kinds": len(self.applied),
            "awsCalls": sum(self.simulator.calls.operations.values()),
            "answeredByTheProxy": dict(proxy.answered),
            "apiServerRestarts": len(RESTARTS),
            "rssMB": {"first": round(rss[0]), "middle": round(rss[len(rss) // 2]), "last": round(rss[-1])},
            "growthOverSecondHalfMB": round(growth(self.rss), 1),
        }


async def _main(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="endurance-") as directory:
        kept = options.keep or Path(directory)
        kept.mkdir(parents=True, exist_ok=True)
        summary = await Endurance(options, kept).run()
    print(json.dumps(summary, indent=2))  # noqa: T201
    return 0 if summary["passed"] else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="a folder for the logs; none: they are removed at the end")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
