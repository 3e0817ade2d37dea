"""The operator as a pod: service account files, the cluster's CA, and a token that is replaced while a job runs."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sagemaker_operator.aws.calls import Aws
from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.errors import Unauthorized, Unavailable
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.http import HttpTransport
from sagemaker_operator.kube.layout import LEASE_NAME
from sagemaker_operator.kube.lease import LEASES
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.manager import Manager
from sagemaker_operator.metrics import Metrics
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from sagemaker_operator.sandbox.sagemaker.http import in_process_session
from tests.e2e.harness import sample
from tests.e2e.live import CREDENTIALS, JOB, SPEED, settings, simulator
from tests.e2e.processes import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sagemaker_operator.kube.config import ClusterAccess
    from sagemaker_operator.sandbox.kubernetes import Request
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

pytestmark = pytest.mark.asyncio

NAMESPACE = "operators"


class ServiceAccount:
    """The projected volume, written as the kubelet does: a new directory, and a link that is swapped."""

    def __init__(self, directory: Path, ca: trustme.CA) -> None:
        self.directory = directory
        self._ca = ca
        self._version = 0
        directory.mkdir()
        for name in ("token", "ca.crt", "namespace"):
            (directory / name).symlink_to(f"..data/{name}")

    def write(self, token: str) -> None:
        self._version += 1
        data = self.directory / f"..version-{self._version}"
        data.mkdir()
        (data / "token").write_text(token)
        (data / "namespace").write_text(NAMESPACE)
        self._ca.cert_pem.write_to_path(data / "ca.crt")
        link = self.directory / "..data_tmp"
        link.symlink_to(data.name)
        link.replace(self.directory / "..data")


class Cluster:
    """The emulator behind TLS, for bearers of a good token."""

    def __init__(self, token: str) -> None:
        self.good = {token}
        self.last_token = ""
        """The last token that was good."""
        self.refused = 0
        self.port = 0
        self.kubernetes = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
        self.kubernetes.install(crd_manifest(catalog()["TrainingJob"]))
        self.kubernetes.install({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.kubernetes.intercept = self._authenticate

    async def _authenticate(self, request: Request) -> Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and token in self.good:
            self.last_token = token
            return None
        self.refused += 1
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401}
        return Response(401, {"Content-Type": "application/json"}, json.dumps(status).encode())

    @asynccontextmanager
    async def serving(self, ca: trustme.CA) -> AsyncIterator[None]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        async with serve(self.kubernetes) as plain, terminated(plain.url.rpartition(":")[2], context) as self.port:
            yield

    async def until_status(self, name: str, status: str) -> None:
        async def reached() -> bool:
            job = self.kubernetes.get(JOB, namespace="default", name=name)
            return job is not None and job.get("status", {}).get("trainingJobStatus") == status

        await until(reached, f"{name} {status}")


@asynccontextmanager
async def terminated(port: str, context: ssl.SSLContext, *, on: int = 0) -> AsyncIterator[int]:
    """TLS in front of a plain port, as a load balancer has it; yields the encrypted one (`on`, 0 for a free one)."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(port))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, inner_writer))
                group.create_task(pump(inner_reader, writer))
        except* ConnectionError:
            pass
        finally:
            inner_writer.close()
            writer.close()
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", on, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # Their clients have gone, and so will they.
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*connections)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def access(cluster: Cluster, account: ServiceAccount, home: Path) -> ClusterAccess:
    """What `load_config` finds in a pod: no kubeconfig, two variables, a directory."""
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    return await load_config(environ=environ, service_account=account.directory, home=home)


@asynccontextmanager
async def pod(found: ClusterAccess, simulated: SageMakerSimulator) -> AsyncIterator[Manager]:
    """The operator as `operate` puts it together, on this access."""
    rng = random.Random(5)
    config = settings()
    async with AsyncExitStack() as stack:
        kube = KubeClient(await stack.enter_async_context(HttpTransport(found)))
        sessions = Sessions(clock=wall_clock, credentials=CREDENTIALS, http_session_cls=in_process_session(simulated))
        await stack.enter_async_context(sessions)
        manager = Manager(
            config,
            kinds={"TrainingJob": catalog()["TrainingJob"]},
            kube=kube,
            sessions=sessions,
            aws=Aws(sessions, Limiter(rng=rng), rng=rng, fence=lambda budget: manager.elector.fenced(budget)),
            metrics=Metrics(),
            identity="pod-1",
            default_namespace=found.namespace,
            clock=simulated.now,
            rng=rng,
        )
        running = asyncio.create_task(manager.run())
        try:
            yield manager
        finally:
            manager.stop()
            await running


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


async def test_a_job_completes_though_its_token_is_replaced_meanwhile(tmp_path: Path, ca: trustme.CA) -> None:
    cluster, simulated = Cluster("first"), simulator()
    account = ServiceAccount(tmp_path / "serviceaccount", ca)
    account.write("first")
    async with cluster.serving(ca):
        found = await access(cluster, account, tmp_path)
        assert found.namespace == NAMESPACE
        async with pod(found, simulated) as manager:
            cluster.kubernetes.install(job("first"))
            await cluster.until_status("first", "InProgress")
            lease = cluster.kubernetes.get(LEASES, namespace=NAMESPACE, name=LEASE_NAME)
            assert lease is not None
            assert lease["spec"]["holderIdentity"] == "pod-1"
            assert cluster.refused == 0

            # The old token expires before the kubelet has written the new one: requests fail, and the operator keeps retrying.
            cluster.good = {"second"}
            cluster.kubernetes.cut_watches()

            async def refused() -> bool:
                return cluster.refused >= 4

            await until(refused, "refused requests")
            assert manager.live() is None
            account.write("second")
            await cluster.until_status("first", "Completed")
            refusals = cluster.refused

            # The next one comes in time, as the kubelet sees to it: not one request is refused.
            cluster.good = {"second", "third"}
            account.write("third")
            cluster.kubernetes.cut_watches()
            cluster.kubernetes.install(job("second"))
            await cluster.until_status("second", "Completed")
            assert (cluster.refused, cluster.last_token) == (refusals, "third")
    assert simulated.calls.operations["CreateTrainingJob"] == 2


def job(name: str) -> dict[str, Any]:
    """Two seconds long."""
    manifest = sample(trainingJobName=name, tags=[{"key": "sandbox/seconds", "value": f"{2 * SPEED:.0f}"}])
    manifest["metadata"]["name"] = name
    return manifest


async def test_a_server_with_another_ca_gets_no_token(tmp_path: Path, ca: trustme.CA) -> None:
    cluster = Cluster("first")
    account = ServiceAccount(tmp_path / "serviceaccount", trustme.CA())
    account.write("first")
    async with cluster.serving(ca), HttpTransport(await access(cluster, account, tmp_path)) as transport:
        with pytest.raises(Unavailable, match=r"the certificate of https://127\.0\.0\.1:"):
            await KubeClient(transport).list_page(JOB)
    assert len(cluster.kubernetes.requests) == 0


async def test_a_token_of_another_cluster_is_not_reported_as_a_missing_permission(
    tmp_path: Path, ca: trustme.CA
) -> None:
    cluster = Cluster("first")
    account = ServiceAccount(tmp_path / "serviceaccount", ca)
    account.write("of another cluster")
    async with cluster.serving(ca), HttpTransport(await access(cluster, account, tmp_path)) as transport:
        with pytest.raises(Unauthorized):
            await KubeClient(transport).list_page(JOB)
