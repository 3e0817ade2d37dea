"""Objects as ACK's controller leaves them are taken over in silence: no mutating call, and not a character of their spec.

Each fixture is one object as ACK stores it (late-initialised fields in the spec, its finalizer, annotations, conditions
and status); the resource is in SageMaker with ACK's tags, without ours.
"""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator.annotations import UID_TAG
from sagemaker_operator.control.request import desired_input
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from tests.e2e.harness import operator
from tests.e2e.kinds import KINDS, VIRTUAL, Stage, document

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = VIRTUAL

CORPUS = Path(__file__).parent / "fixtures" / "ack"
ACK_TAGS = [
    {"Key": "services.k8s.aws/controller-version", "Value": "sagemaker-v1.9.1"},
    {"Key": "services.k8s.aws/namespace", "Value": "default"},
]


class Ack:
    """What ACK has made before we come."""

    def __init__(self, kind: str) -> None:
        self.stage = Stage(kind, relaxed=True)
        self.cloud = self.stage.cloud
        self.domain = ""

    async def make(self) -> None:
        """The resource with all that it needs, and the object that stands for it."""
        for reference in self.stage.story.needs:
            await self._create(document(reference))
        arn = await self._create(self.stage.manifest)
        text = (CORPUS / f"{self.stage.kind.name.lower()}.yaml").read_text()
        manifest = yaml.safe_load(Template(text).substitute(ARN=arn, DOMAIN_ID=self.domain))
        status = manifest.pop("status")
        self.stage.manifest = manifest
        await self.stage.apply()
        await self.cloud.patch(self.stage.name, {"status": status}, kind=self.stage.kind.name, subresource="status")
        assert (await self.stage.get())["spec"] == manifest["spec"], "the CRD knows every field"
        self.cloud.forget()

    async def _create(self, manifest: Mapping[str, Any]) -> str:
        kind = catalog()[manifest["kind"]]
        spec = dict(manifest["spec"])
        if "domainID" in spec:
            spec["domainID"] = self.domain
        request = desired_input(kind, spec)
        if kind.tags_on_create:
            request["Tags"] = [*request.get("Tags", ()), *ACK_TAGS]
        if kind.token_member is not None:
            request[kind.token_member] = "6f1c4a52-9a3e-4d57-8f51-0f4a1d2c3b4e"
        answer = await self.cloud.ask(kind.create, **request)
        assert "__type" not in answer, answer
        # Long enough for every job, and for hourly schedules half-way between two executions.
        self.cloud.sagemaker.advance(5400)
        arn = str(answer[kind.arn_member])
        if kind.name == "Domain":
            self.domain = arn.rpartition("/")[2]
        return arn


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_of_acks_is_taken_over_in_silence(kind: str) -> None:
    ack = Ack(kind)
    await ack.make()
    stage, cloud = ack.stage, ack.cloud
    before = await stage.get()
    async with operator(cloud, resync_seconds=60.0):
        await stage.settled()
        await cloud.pass_time(600)
        after = await stage.get()
        assert stage.mutating() == []
        assert after["spec"] == before["spec"]
        assert after["metadata"]["finalizers"] == before["metadata"]["finalizers"]
        assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
        assert after["status"]["ackResourceMetadata"]["arn"] == before["status"]["ackResourceMetadata"]["arn"]
        assert set(stage.writes()) <= {"patch status"}
        assert len(stage.writes()) <= 2


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_of_acks_is_deleted_as_ack_would(kind: str) -> None:
    ack = Ack(kind)
    await ack.make()
    stage, cloud = ack.stage, ack.cloud
    stored = await stage.get()
    async with operator(cloud):
        await stage.settled()
        await stage.delete()
    after = await stage.ask_about(stored["spec"], stored["status"]["ackResourceMetadata"]["arn"])
    if stage.kind.stop_on_delete:
        assert stage.mutating() == []
        assert after[stage.kind.status_member or ""] == stage.story.ends
    else:
        assert stage.mutating()[-1] == stage.kind.delete
        gone = stage.kind.classify(after.get(stage.kind.status_member or "")) is StatusClass.GONE
        assert gone or stage.kind.arn_member not in after


@pytest.mark.parametrize("kind", KINDS)
async def test_the_corpus_bears_no_mark_of_ours(kind: str) -> None:
    text = (CORPUS / f"{kind.lower()}.yaml").read_text()
    assert "observedGeneration" not in text
    assert UID_TAG not in text
