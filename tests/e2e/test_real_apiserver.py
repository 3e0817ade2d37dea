"""The whole operator over HTTP on a real API server, and on the emulator: both must give the same result."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import json_merge_patch
import pytest

from sagemaker_operator.annotations import ADOPTED, ADOPTION_FIELDS, ADOPTION_POLICY
from sagemaker_operator.clock import wall_clock
from sagemaker_operator.control.spec.create_input import desired_input
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.errors import Invalid
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from sagemaker_operator.sandbox.sagemaker.http import serve as serve_sagemaker
from tests.crds.support import client_of
from tests.e2e.harness import sample
from tests.e2e.live import JOB, User, operating, settings, simulator, user_of
from tests.e2e.processes import until
from tests.servers import ApiServer, server_or_skip
from tests.transports import ForwardingTransport, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sagemaker_operator.kube.transport import Response
    from sagemaker_operator.sandbox.sagemaker.simulator import SageMakerSimulator

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    yield from server_or_skip(tmp_path_factory.mktemp("apiserver"))


@pytest.fixture(params=["emulator", pytest.param("real", marks=pytest.mark.real_apiserver)])
async def user(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[User, Path]]:
    """A user with a namespace of their own on a server that has our CRD, and the kubeconfig of that server."""
    if request.param == "real":
        server: ApiServer = request.getfixturevalue("real_server")
        async with client_of(server) as client:
            namespace = f"operator-{uuid4().hex[:8]}"
            made = await client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            assert made.status == 201, made.body
            await client.install(crd_manifest(catalog()["TrainingJob"]), JOB.path(namespace))
            async with user_of(server.kubeconfig, namespace) as somebody:
                yield somebody, server.kubeconfig
            # The server may be one that was there before and stays.
            await client.ask("DELETE", f"/api/v1/namespaces/{namespace}")
        return
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    emulator.install(crd_manifest(catalog()["TrainingJob"]))
    kubeconfig = tmp_path / "kubeconfig"
    async with serve(emulator) as serving:
        serving.write_kubeconfig(kubeconfig)
        async with user_of(kubeconfig) as somebody:
            yield somebody, kubeconfig


@pytest.fixture
async def sagemaker() -> AsyncIterator[tuple[SageMakerSimulator, dict[str, Any]]]:
    """A simulator, and the settings that lead to it."""
    simulated = simulator()
    async with serve_sagemaker(simulated) as server:
        yield (
            simulated,
            {
                "aws_endpoint_url": server.url,
                "aws_identity_endpoint_url": server.url,
                "allow_unsafe_aws_endpoint_urls": True,
            },
        )


class StatusRecorder(ForwardingTransport):
    """Keeps what the operator's status patches add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, Any] = {}

    async def answer(self, request: Request) -> Response:
        answer = await super().answer(request)
        if request.method == "PATCH" and request.path.endswith("/status") and answer.status == 200:
            self.status = json_merge_patch.merge(self.status, json.loads(request.body or b"{}")["status"])
        return answer


async def test_a_job_runs_to_completed_and_no_field_of_its_status_is_pruned(
    user: tuple[User, Path], sagemaker: tuple[SageMakerSimulator, dict[str, Any]]
) -> None:
    (somebody, kubeconfig), (simulated, aws) = user, sagemaker
    manifest, recorder = sample(tags=[{"key": "sandbox/seconds", "value": "200"}]), StatusRecorder()
    name = manifest["metadata"]["name"]
    async with operating(config(kubeconfig, somebody, aws), clock=simulated.now, through=recorder.through):
        await somebody.create(manifest)
        await somebody.until_ready(name)
        await somebody.until_events(name, "Created", "Completed")
        stored = await somebody.get(name)
        await somebody.client.delete(JOB, somebody.namespace, name)
        await somebody.until_gone(name)
    assert stored["status"] == recorder.status, "what was written is what is stored"
    status = stored["status"]
    assert status["trainingJobStatus"] == "Completed"
    assert status["ackResourceMetadata"].keys() == {"arn", "ownerAccountID", "partition", "region"}
    assert status["modelArtifacts"]["s3ModelArtifacts"].endswith("model.tar.gz")
    assert [step["status"] for step in status["secondaryStatusTransitions"]] == [
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert {condition["type"]: condition["status"] for condition in status["conditions"]} == {
        "Ready": "True",
        "ACK.ResourceSynced": "True",
        "Complete": "True",
    }
    assert all(condition["observedGeneration"] == 1 for condition in status["conditions"])
    assert stored["spec"] == manifest["spec"]
    assert stored["metadata"]["finalizers"] == ["finalizers.sagemaker.services.k8s.aws/TrainingJob"]
    assert simulated.calls.operations["CreateTrainingJob"] == 1


async def test_a_job_is_adopted_with_the_spec_that_sagemaker_has(
    user: tuple[User, Path], sagemaker: tuple[SageMakerSimulator, dict[str, Any]]
) -> None:
    (somebody, kubeconfig), (simulated, aws) = user, sagemaker
    manifest = sample()
    name, job = manifest["metadata"]["name"], manifest["spec"]["trainingJobName"]
    credential = "AWS4-HMAC-SHA256 Credential=AKIA123456789012/20260101/us-west-2/sagemaker/aws4_request"
    headers = {"X-Amz-Target": "SageMaker.CreateTrainingJob", "Authorization": credential}
    request = desired_input(catalog()["TrainingJob"], manifest["spec"])
    made = await simulated.handle("POST", "/", headers, json.dumps(request).encode())
    manifest["spec"]["hyperParameters"] = {"max_depth": "99"}
    manifest["metadata"]["annotations"] = {
        ADOPTION_POLICY: "adopt",
        ADOPTION_FIELDS: json.dumps({"trainingJobName": job}),
    }
    async with operating(config(kubeconfig, somebody, aws), clock=simulated.now):
        await somebody.create(manifest)
        await somebody.until_ready(name)
    stored = await somebody.get(name)
    assert stored["metadata"]["annotations"][ADOPTED] == "true"
    assert stored["spec"]["hyperParameters"] == request["HyperParameters"]
    assert stored["status"]["ackResourceMetadata"]["arn"] == json.loads(made.body)["TrainingJobArn"]
    assert simulated.calls.operations["CreateTrainingJob"] == 1


async def test_edits_are_judged_and_a_running_job_is_stopped_before_its_object_goes(
    user: tuple[User, Path], sagemaker: tuple[SageMakerSimulator, dict[str, Any]]
) -> None:
    (somebody, kubeconfig), (simulated, aws) = user, sagemaker
    manifest = sample(tags=[{"key": "sandbox/seconds", "value": "3500"}])
    name = manifest["metadata"]["name"]
    async with operating(config(kubeconfig, somebody, aws), clock=simulated.now):
        await somebody.create(manifest)
        await somebody.until_status(name, "InProgress")
        with pytest.raises(Invalid) as refused:
            await edit(somebody, name, roleARN="arn:aws:iam::123456789012:role/another")
        assert refused.value.message.endswith(
            "SageMaker cannot change spec.roleARN of an existing TrainingJob; delete it and create another"
        )
        await edit(somebody, name, tags=[*manifest["spec"]["tags"], {"key": "team", "value": "other"}])

        async def observed() -> bool:
            conditions = (await somebody.status(name))["conditions"]
            return all(condition["observedGeneration"] == 2 for condition in conditions)

        await until(observed, "conditions of the edit")
        types = {condition["type"] for condition in (await somebody.status(name))["conditions"]}
        assert "ACK.Terminal" not in types, "tags may change, as with ACK"
        await somebody.client.delete(JOB, somebody.namespace, name)
        await somebody.until_gone(name)
    operations = simulated.calls.operations
    assert (operations["CreateTrainingJob"], operations["StopTrainingJob"]) == (1, 1)
    assert operations["UpdateTrainingJob"] == 0


async def test_an_invalid_spec_is_refused_with_its_fields_before_the_operator_sees_it(user: tuple[User, Path]) -> None:
    somebody, _ = user
    manifest = sample(roleARN=None)
    manifest["spec"]["resourceConfig"]["volumeSizeInGB"] = -1
    with pytest.raises(Invalid) as refused:
        await somebody.create(manifest)
    assert "spec.roleARN" in refused.value.message
    assert "spec.resourceConfig.volumeSizeInGB" in refused.value.message


async def edit(somebody: User, name: str, **spec: Any) -> None:
    await somebody.client.merge_patch(JOB, somebody.namespace, name, {"spec": spec})


def config(kubeconfig: Path, somebody: User, aws: dict[str, Any]) -> Any:
    mine = somebody.namespace
    return settings(kubeconfig=str(kubeconfig), watch_namespaces=(mine,), leader_election_namespace=mine, **aws)
