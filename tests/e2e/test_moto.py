"""The whole operator against moto instead of the simulator, with moto's not-found texts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.sandbox.kubernetes import KubernetesEmulator, serve
from tests.e2e.harness import sample
from tests.e2e.live import JOB, REGION, User, operating, settings, user_of
from tests.sandbox.sagemaker_support import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.moto, pytest.mark.asyncio]

FINALIZER = "finalizers.sagemaker.services.k8s.aws/TrainingJob"


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[tuple[User, Path]]:
    emulator = KubernetesEmulator(clock=wall_clock, rng=random.Random(0))
    emulator.install(crd_manifest(catalog()["TrainingJob"]))
    async with serve(emulator) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with user_of(tmp_path / "kubeconfig") as somebody:
            yield somebody, tmp_path / "kubeconfig"


def config(kubeconfig: Path, url: str) -> Any:
    return settings(
        kubeconfig=str(kubeconfig),
        aws_endpoint_url=url,
        aws_identity_endpoint_url=url,
        allow_unsafe_aws_endpoint_urls=True,
    )


async def test_a_job_is_created_once_completes_and_its_finalizer_is_removed(
    user: tuple[User, Path], moto_url: str
) -> None:
    somebody, kubeconfig = user
    manifest = sample(trainingJobName="moto-job")
    name = manifest["metadata"]["name"]
    async with client_of(None, url=moto_url) as sagemaker:
        async with operating(config(kubeconfig, moto_url), clock=wall_clock):
            await somebody.create(manifest)
            # moto's jobs are Completed from birth.
            await somebody.until_ready(name)
            stored = await somebody.get(name)
            assert stored["status"]["trainingJobStatus"] == "Completed"
            assert stored["metadata"]["finalizers"] == [FINALIZER]
            described = await sagemaker.describe_training_job(TrainingJobName="moto-job")
            assert stored["status"]["ackResourceMetadata"]["arn"] == described["TrainingJobArn"]
            assert described["TrainingJobArn"].startswith(f"arn:aws:sagemaker:{REGION}:")
            await somebody.client.delete(JOB, "default", name)
            await somebody.until_gone(name)
        jobs = (await sagemaker.list_training_jobs())["TrainingJobSummaries"]
        assert [job["TrainingJobName"] for job in jobs] == ["moto-job"], "the record stays"
        again = await sagemaker.describe_training_job(TrainingJobName="moto-job")
        assert again["LastModifiedTime"] == described["LastModifiedTime"]
        tags = {
            tag["Key"]: tag["Value"] for tag in (await sagemaker.list_tags(ResourceArn=again["TrainingJobArn"]))["Tags"]
        }
        assert tags["team"] == "growth"
        assert tags["services.k8s.aws/uid"] == stored["metadata"]["uid"]


async def test_an_interrupted_create_is_searched_for_and_made(user: tuple[User, Path], moto_url: str) -> None:
    """A finalizer and no ARN: the operator asks first, and must read moto's own way of saying that there is nothing."""
    somebody, kubeconfig = user
    manifest = sample(trainingJobName="cut-off")
    manifest["metadata"]["finalizers"] = [FINALIZER]
    name = manifest["metadata"]["name"]
    async with client_of(None, url=moto_url) as sagemaker:
        with pytest.raises(sagemaker.exceptions.ClientError, match="Could not find training job"):
            await sagemaker.describe_training_job(TrainingJobName="cut-off")
        await somebody.create(manifest)
        async with operating(config(kubeconfig, moto_url), clock=wall_clock):
            await somebody.until_ready(name)
        assert len((await sagemaker.list_training_jobs())["TrainingJobSummaries"]) == 1
