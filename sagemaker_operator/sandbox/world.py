"""Both simulators on loopback for any client: a kubeconfig and an AWS endpoint."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.crds.generate import manifests, resource_of
from sagemaker_operator.errors import ConfigurationError, Conflict, KubeError, NotFound
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.objects import Resource
from sagemaker_operator.sandbox.kubernetes.emulator import KubernetesEmulator
from sagemaker_operator.sandbox.kubernetes.server import serve as serve_kubernetes
from sagemaker_operator.sandbox.sagemaker.faults import RateLimit
from sagemaker_operator.sandbox.sagemaker.http import serve as serve_sagemaker
from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


REGION = "us-west-2"
CREDENTIALS = ("sandbox", "sandbox")

_START_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


class World:
    """An async context manager: while it is entered, both servers are up on loopback.

    With `apiserver` a real Kubernetes API server takes the emulator's place: a kubeconfig, or a program that is run as
    `PROGRAM DIR` and writes DIR/kubeconfig. Our CRDs are installed there.
    """

    def __init__(self, *, speed: float, apiserver: Path | None = None, directory: Path | None = None) -> None:
        self._apiserver = apiserver
        self._directory = directory
        self._stack = AsyncExitStack()
        self._simulator = SageMakerSimulator(clock=wall_clock, rng=random.Random(), speed=speed)
        self.kubeconfig = Path()
        self.aws_url = ""

    def limit(self, *, quotas: Mapping[str, int], rates: Mapping[str, float]) -> None:
        """`quotas`: instances at once by type; `rates`: requests per second by operation or verb, two seconds' worth at once."""
        for instance_type, instances in quotas.items():
            self._simulator.quotas.set(instance_type, instances)
        for operation, per_second in rates.items():
            self._simulator.limits.set(operation, RateLimit(per_second, max(1.0, 2 * per_second)))

    async def __aenter__(self) -> Self:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="sagemaker-sandbox-"))
            self._stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self.aws_url = (await self._stack.enter_async_context(serve_sagemaker(self._simulator))).url
            self.kubeconfig = await self._kubernetes(self._directory)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _kubernetes(self, directory: Path) -> Path:
        kubeconfig = directory / "kubeconfig"
        if self._apiserver is None:
            emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random())
            for manifest in manifests().values():
                emulator.install(manifest)
            server = await self._stack.enter_async_context(serve_kubernetes(emulator))
            server.write_kubeconfig(kubeconfig)
            return kubeconfig
        if os.access(self._apiserver, os.X_OK):
            await self._start(self._apiserver, directory, kubeconfig)
            return kubeconfig
        try:
            await _install(self._apiserver)
        except KubeError as error:
            raise ConfigurationError(f"cannot install the CRDs with {self._apiserver}: {error.message}") from error
        return self._apiserver

    async def _start(self, program: Path, directory: Path, kubeconfig: Path) -> None:
        log = self._stack.enter_context((directory / "apiserver.log").open("wb"))
        process = await asyncio.create_subprocess_exec(program, directory, stdout=log, stderr=log)
        self._stack.push_async_callback(_end, process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _tried(_install(kubeconfig)):
                    if process.returncode is not None:
                        raise ConfigurationError(f"{program} ended with code {process.returncode}; see {log.name}")
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise ConfigurationError(f"{program} was not ready within {_START_SECONDS:g} s; see {log.name}") from None

    def exports(self) -> list[str]:
        """Shell lines after which kubectl, any AWS SDK and `sagemaker-operator run` use this sandbox."""
        access, secret = CREDENTIALS
        return [
            f"export KUBECONFIG={self.kubeconfig}",
            f"export AWS_ENDPOINT_URL={self.aws_url} SAGEMAKER_OPERATOR_ALLOW_UNSAFE_AWS_ENDPOINT_URLS=true",
            f"export AWS_REGION={REGION} AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}",
        ]

    def simulated_now(self) -> float:
        """SageMaker's clock, seconds since the epoch."""
        return self._simulator.now()

    def calls(self, name: str, listing: str | None) -> dict[str, int]:
        """Calls by operation that were about this resource, and all calls of its List operation."""
        log = self._simulator.calls
        about = {operation: count for (operation, about), count in log.names.items() if about == name}
        if listing is not None and log.operations[listing]:
            about[listing] = log.operations[listing]
        return about


async def _tried(attempt: Awaitable[None]) -> bool:
    """False while the server is still starting."""
    try:
        await attempt
    except (KubeError, ConfigurationError):
        return False
    return True


_CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)


async def _install(kubeconfig: Path) -> None:
    """Creates or updates our CRDs. Raises KubeError if the server is not available (yet)."""
    access = await load_config(kubeconfig=str(kubeconfig))
    async with HttpTransport(access) as transport:
        client = KubeClient(transport)
        for manifest in manifests().values():
            try:
                await client.create(_CRDS, None, manifest)
            except Conflict:
                await client.merge_patch(_CRDS, None, manifest["metadata"]["name"], manifest)
            # Until the server serves the new kind, its list is a 404.
            while not await _served(client, resource_of(manifest)):  # noqa: ASYNC110  the server offers nothing to wait on
                await asyncio.sleep(_PAUSE_SECONDS)


async def _served(client: KubeClient, resource: Resource) -> bool:
    try:
        await client.list_page(resource, limit=1)
    except NotFound:
        return False
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
