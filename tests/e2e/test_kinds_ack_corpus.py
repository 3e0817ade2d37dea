"""Objects in the state that ACK's controller leaves are taken over without a mutating call or a change of their spec.

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
from sagemaker_operator.control.spec.create_input import desired_input, identifiers
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import StatusClass
from tests.e2e.harness import killed, operator
from tests.e2e.kinds import VIRTUAL, Stage, document
from tests.e2e.wire import Mode, Wire
from tests.kinds.facts import ACK_KINDS

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


@pytest.mark.parametrize("kind", ACK_KINDS)
async def test_an_ack_object_is_taken_over_without_calls_or_writes(kind: str) -> None:
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


@pytest.mark.parametrize("kind", ACK_KINDS)
async def test_an_ack_object_is_deleted_as_ack_would(kind: str) -> None:
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


@pytest.mark.parametrize("kind", ["Endpoint", "Model", "TrainingJob"])
@pytest.mark.parametrize("dies_at", [0, 1, 2, 3, 4])
async def test_an_existing_resource_that_ack_recorded_is_never_treated_as_owned(kind: str, dies_at: int) -> None:
    """ACK writes its ARN into the object's status, beside `Resource already exists`, and no finalizer."""
    ack = Ack(kind)
    await ack.make()
    stage, cloud = ack.stage, ack.cloud
    spec, arn = stage.manifest["spec"], (await stage.status())["ackResourceMetadata"]["arn"]
    terminal = {"type": "ACK.Terminal", "status": "True", "message": "Resource already exists"}
    await cloud.patch(stage.name, {"metadata": {"finalizers": None}}, kind=kind)
    await cloud.patch(stage.name, {"status": {"conditions": [terminal]}}, kind=kind, subresource="status")
    name = stage.kind.identifiers[0].field
    await stage.edit({name: f"{spec[name]}-two"})
    if dies_at:
        await killed(cloud, Wire(at=dies_at, mode=Mode.KILL_AFTER))
    async with operator(cloud):
        await stage.settled()
        status = await stage.status()
        assert status["ackResourceMetadata"]["arn"] == f"{arn}-two"
        await stage.delete()
    applied = [call for call in cloud.sagemaker.calls.mutating() if call.applied]
    assert {call.name for call in applied} == {f"{spec[name]}-two"}
    assert [call.operation for call in applied].count(stage.kind.create) == 1
    assert stage.kind.arn_member in await stage.ask_about(spec, arn)


@pytest.mark.parametrize("kind", ["App", "Project"])
async def test_the_resource_is_created_when_the_existing_one_that_ack_found_is_gone(kind: str) -> None:
    """Also where SageMaker goes on describing what is gone."""
    ack = Ack(kind)
    await ack.make()
    stage, cloud = ack.stage, ack.cloud
    spec, arn = stage.manifest["spec"], (await stage.status())["ackResourceMetadata"]["arn"]
    await cloud.patch(stage.name, {"metadata": {"finalizers": None}}, kind=kind)
    await cloud.ask(stage.kind.delete or "", **identifiers(stage.kind, spec, arn))
    await cloud.pass_time(3600)
    cloud.forget()
    async with operator(cloud):
        await stage.settled()
        assert stage.mutating() == [stage.kind.create]


@pytest.mark.parametrize("kind", ACK_KINDS)
async def test_the_corpus_has_no_annotation_of_this_operator(kind: str) -> None:
    text = (CORPUS / f"{kind.lower()}.yaml").read_text()
    assert "observedGeneration" not in text
    assert UID_TAG not in text
