"""The real kubectl shows what happened: `describe` lists the events in order, and `wait` returns when it should."""

from __future__ import annotations

import random
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.crds.generate import manifests
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind
from sagemaker_operator.sandbox.sagemaker.http import serve as serve_sagemaker
from tests.e2e.harness import sample
from tests.e2e.live import User, operating, settings, simulator, user_of
from tests.e2e.processes import until
from tests.sandbox.test_kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.kubectl,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH"),
]

CAST = ("trainingjobs", "models", "endpointconfigs", "endpoints", "fieldexports")


class WriterServices:
    """kubectl, a cluster, a SageMaker, and an operator between them."""

    def __init__(self, kubectl: Kubectl, kubeconfig: Path, user: User) -> None:
        self.kubectl = kubectl
        self.kubeconfig = kubeconfig
        self.user = user
        self.sagemaker = simulator()

    async def apply(self, manifest: dict[str, Any]) -> None:
        manifest["metadata"].pop("namespace", None)
        await self.kubectl("apply", "-f", "-", stdin=manifest)

    async def reported(self, kind: str, name: str, *texts: str) -> str:
        """`kubectl describe`, once its events have all these texts."""
        described = ""

        async def reached() -> bool:
            nonlocal described
            described = await self.kubectl("describe", f"{kind}.sagemaker.services.k8s.aws", name)
            return all(text in described.partition("Events:")[2] for text in texts)

        await until(reached, f"{texts} in the events of {name}")
        return described

    async def wait(self, kind: str, name: str, what: str) -> None:
        await self.kubectl("wait", f"--for={what}", f"{kind}.sagemaker.services.k8s.aws/{name}", "--timeout=40s")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[WriterServices]:
    """On the emulator: the test API server keeps its two kinds of events apart, and `describe` reads only the older one."""
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    for crd in manifests().values():
        if crd["spec"]["names"]["plural"] in CAST:
            emulator.install(crd)
    kubeconfig = tmp_path / "kubeconfig"
    async with serve(emulator) as serving:
        serving.write_kubeconfig(kubeconfig)
        async with running(kubeconfig, "default", tmp_path) as ready:
            yield ready


@asynccontextmanager
async def running(kubeconfig: Path, namespace: str, home: Path) -> AsyncIterator[WriterServices]:
    async with user_of(kubeconfig, namespace) as user:
        desk = WriterServices(Kubectl(kubeconfig, namespace, home), kubeconfig, user)
        async with serve_sagemaker(desk.sagemaker) as server:
            config = settings(
                kubeconfig=str(kubeconfig),
                watch_namespaces=(namespace,),
                leader_election_namespace=namespace,
                reconcile_resources=("TrainingJob", "Model", "EndpointConfig", "Endpoint"),
                aws_endpoint_url=server.url,
                aws_identity_endpoint_url=server.url,
                allow_unsafe_aws_endpoint_urls=True,
            )
            async with operating(config, clock=desk.sagemaker.now):
                yield desk


async def test_a_job_that_fails(desk: WriterServices) -> None:
    await desk.apply(sample(tags=[{"key": "sandbox/outcome", "value": "Failed"}]))
    name = sample()["metadata"]["name"]
    await desk.wait("trainingjob", name, "condition=Failed")
    await desk.wait("trainingjob", name, "condition=Ready=false")
    story = await desk.reported("trainingjob", name, "SageMaker accepted training-job", "Training ", "failed after")
    assert "Warning  Failed" in story
    assert "AlgorithmError" in story.partition("Events:")[2]


async def test_a_job_that_completes(desk: WriterServices) -> None:
    await desk.apply(sample(tags=[{"key": "sandbox/seconds", "value": "200"}]))
    name = sample()["metadata"]["name"]
    await desk.wait("trainingjob", name, "condition=Complete")
    await desk.wait("trainingjob", name, "condition=Ready")
    await desk.wait("trainingjob", name, "jsonpath={.status.trainingJobStatus}=Completed")
    story = await desk.reported("trainingjob", name, "completed after 3m", "Downloading ")
    assert "Warning" not in story.partition("Events:")[2]


async def test_a_job_that_waits_for_a_quota(desk: WriterServices) -> None:
    desk.sagemaker.faults.add(Fault(operation="CreateTrainingJob", kind=FaultKind.QUOTA, times=None))
    await desk.apply(sample())
    name = sample()["metadata"]["name"]
    await desk.wait("trainingjob", name, "condition=ACK.Recoverable")
    story = await desk.reported("trainingjob", name, "Warning  QuotaExceeded", "ResourceLimitExceeded")
    assert "It is tried again every 1 to 15 minutes" in story.partition("Events:")[2]


async def test_an_endpoint_that_is_updated_and_deleted(desk: WriterServices) -> None:
    await desk.apply(sample("model"))
    config, other = sample("endpointconfig"), sample("endpointconfig")
    other["metadata"]["name"] = other["spec"]["endpointConfigName"] = "second"
    await desk.apply(config)
    await desk.apply(other)
    await desk.apply(sample("endpoint"))
    name = sample("endpoint")["metadata"]["name"]
    await desk.wait("endpoint", name, "condition=Ready")
    change = '{"spec": {"endpointConfigName": "second"}}'
    await desk.kubectl("patch", f"endpoint.sagemaker.services.k8s.aws/{name}", "--type=merge", "-p", change)
    await desk.reported("endpoint", name, "SageMaker accepted endpoint", "is InService", "Updated endpoint")
    await desk.wait("endpoint", name, "jsonpath={.status.observedGeneration}=2")
    await desk.wait("endpoint", name, "condition=Ready")
    await desk.kubectl("delete", f"endpoint.sagemaker.services.k8s.aws/{name}", "--timeout=40s")
    await desk.user.until_events(name, "Deleting")


async def test_a_field_of_a_job_in_a_config_map(desk: WriterServices) -> None:
    await desk.kubectl("create", "configmap", "settings", "--from-literal=mine=kept")
    await desk.apply(sample(tags=[{"key": "sandbox/seconds", "value": "200"}]))
    source = {"group": "sagemaker.services.k8s.aws", "kind": "TrainingJob", "name": sample()["metadata"]["name"]}
    export = {
        "apiVersion": "services.k8s.aws/v1alpha1",
        "kind": "FieldExport",
        "metadata": {"name": "artifacts"},
        "spec": {
            "from": {"path": ".status.secondaryStatusTransitions | last | .status", "resource": source},
            "to": {"kind": "configmap", "name": "settings", "key": "last"},
        },
    }
    await desk.apply(export)
    await desk.kubectl("wait", "--for=condition=Ready", "fieldexport/artifacts", "--timeout=40s")
    read = ("get", "configmap", "settings", "-o", "jsonpath={.data}")
    assert await desk.kubectl(*read) == '{"last":"Completed","mine":"kept"}'
    await desk.kubectl("delete", "fieldexport/artifacts", "--timeout=40s")
    assert await desk.kubectl(*read) == '{"mine":"kept"}'
