"""The operator's CRDs on the emulator and on a real API server: both accept them, and both enforce their rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.catalog import catalog
from tests.sandbox.kubernetes_support import CRDS
from tests.servers import ApiServer, server_or_skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.kubernetes_support import Client

# Not the group they are made for: on a server that outlives a test it belongs to the CRD of the contract tests.
GROUP = "generated.example.com"
SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "trainingjob.yaml"


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Of its own: 26 more kinds of the same names would be what kubectl finds first in the other tests."""
    yield from server_or_skip(tmp_path_factory.mktemp("generated"))


def moved(manifest: Any) -> Any:
    return json.loads(json.dumps(manifest).replace("sagemaker.services.k8s.aws", GROUP))


async def install(api: Client, kind: str) -> str:
    """Installs the CRD, and returns the path of its objects."""
    manifest = moved(crd_manifest(catalog()[kind]))
    answer = await api.create(CRDS, manifest, fieldValidation="Strict")
    assert answer.status in (201, 409), answer.body
    path = f"/apis/{GROUP}/v1alpha1/namespaces/{api.namespace}/{catalog()[kind].plural}"
    await api.served(path)
    return path


@pytest.mark.parametrize("kind", sorted(catalog()))
async def test_every_generated_crd_is_taken_and_served(api: Client, kind: str) -> None:
    path = await install(api, kind)
    assert (await api.get(path)).body["items"] == []
    bare = {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": {"name": "bare"}}
    assert (await api.create(path, bare)).status == 201


async def test_the_sample_is_taken_under_strict_validation(api: Client) -> None:
    path = await install(api, "TrainingJob")
    sample = moved(yaml.safe_load(SAMPLE.read_text(encoding="utf-8")))
    sample["metadata"].pop("namespace", None)
    answer = await api.create(path, sample, fieldValidation="Strict")
    assert answer.status == 201, answer.body
    name = answer.body["metadata"]["name"]
    # Until SageMaker has accepted the job every field can be edited; from then on, only those that an update can change.
    edit = {"spec": {"roleARN": "arn:aws:iam::111122223333:role/other"}}
    assert (await api.merge(f"{path}/{name}", edit)).status == 200
    arn = "arn:aws:sagemaker:us-west-2:111122223333:training-job/x"
    status = {"ackResourceMetadata": {"arn": arn, "ownerAccountID": "111122223333", "region": "us-west-2"}}
    answer = await api.merge(f"{path}/{name}/status", {"status": status})
    assert answer.status == 200, answer.body
    edit = {"spec": {"roleARN": "arn:aws:iam::111122223333:role/third"}}
    answer = await api.merge(f"{path}/{name}", edit)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert (await api.merge(f"{path}/{name}", {"metadata": {"labels": {"a": "b"}}})).status == 200
