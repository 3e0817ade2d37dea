"""Every kind's sample, what it needs before it can be applied, and what may be changed of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sagemaker_operator.control.adoption import adoption_keys
from sagemaker_operator.control.request import desired_input, identifiers
from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.harness import SAMPLES, Cloud

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.manager import Manager

KINDS = tuple(catalog())

# Nothing comes from outside, so two idle turns of the loop say as much as looptime's 42, and take less time.
VIRTUAL = [pytest.mark.asyncio, pytest.mark.looptime(end=500_000, noop_cycles=2)]
OTHER_ROLE = "arn:aws:iam::123456789012:role/sagemaker-other"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change that SageMaker can make."""

    spec: Mapping[str, Any]
    """Merge patch of the spec."""
    calls: tuple[str, ...]
    """The mutating calls that it takes, in order."""
    at: str
    """Path in the Describe output."""
    value: Any


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is particular about the life of a kind's sample."""

    needs: tuple[str, ...] = ()
    """Documents, as `<file>` or `<file>#<number>`, that must be settled before."""
    ends: str = ""
    """The status in which it comes to rest; empty: it has none."""
    status: tuple[str, ...] = ()
    """Fields of status that are there at rest, beside the status itself."""
    edit: Edit | None = None
    also: tuple[str, ...] = ()
    """Documents that the edit needs."""
    frozen: Mapping[str, Any] = field(default_factory=dict)
    """A change that SageMaker cannot make."""


_HOSTED = ("model", "endpointconfig")
_STUDIO = ("domain",)
_SHARED = tuple(f"chain-inferencecomponent#{number}" for number in range(3))

_JOB_DEFINITION = Story(frozen={"roleARN": OTHER_ROLE})

STORIES: Mapping[str, Story] = {
    "App": Story(
        needs=("domain", "userprofile"), ends="InService", frozen={"resourceSpec": {"instanceType": "ml.t3.medium"}}
    ),
    "DataQualityJobDefinition": _JOB_DEFINITION,
    "Domain": Story(
        ends="InService",
        status=("domainID", "url"),
        edit=Edit(
            spec={"defaultUserSettings": {"executionRole": OTHER_ROLE}},
            calls=("UpdateDomain",),
            at="DefaultUserSettings.ExecutionRole",
            value=OTHER_ROLE,
        ),
        frozen={"authMode": "SSO"},
    ),
    "Endpoint": Story(
        needs=_HOSTED,
        ends="InService",
        status=("creationTime", "lastModifiedTime", "productionVariants"),
        edit=Edit(
            spec={"endpointConfigName": "shared"},
            calls=("UpdateEndpoint",),
            at="EndpointConfigName",
            value="shared",
        ),
        also=("chain-inferencecomponent#1",),
    ),
    "EndpointConfig": Story(needs=("model",), frozen={"executionRoleARN": OTHER_ROLE}),
    "FeatureGroup": Story(
        ends="Created",
        edit=Edit(
            spec={
                "featureDefinitions": [
                    {"featureName": "customer_id", "featureType": "Integral"},
                    {"featureName": "updated_at", "featureType": "Fractional"},
                    {"featureName": "plan", "featureType": "String"},
                    {"featureName": "visits", "featureType": "Integral"},
                ]
            },
            calls=("UpdateFeatureGroup",),
            at="FeatureDefinitions.3.FeatureName",
            value="visits",
        ),
        frozen={"eventTimeFeatureName": "plan"},
    ),
    "HyperParameterTuningJob": Story(
        ends="Completed",
        status=("bestTrainingJob",),
        frozen={"hyperParameterTuningJobConfig": {"resourceLimits": {"maxParallelTrainingJobs": 2}}},
    ),
    "InferenceComponent": Story(
        needs=_SHARED,
        ends="InService",
        status=("creationTime", "lastModifiedTime", "endpointName", "variantName"),
        edit=Edit(
            spec={"runtimeConfig": {"copyCount": 2}},
            calls=("UpdateInferenceComponent",),
            at="RuntimeConfig.DesiredCopyCount",
            value=2,
        ),
        frozen={"variantName": "Other"},
    ),
    "LabelingJob": Story(
        ends="Completed", status=("labelCounters", "jobReferenceCode"), frozen={"labelAttributeName": "beast"}
    ),
    "Model": Story(frozen={"primaryContainer": {"environment": {"SAGEMAKER_PROGRAM": "other.py"}}}),
    "ModelBiasJobDefinition": _JOB_DEFINITION,
    "ModelExplainabilityJobDefinition": _JOB_DEFINITION,
    "ModelPackage": Story(
        needs=("modelpackagegroup",),
        ends="Completed",
        status=("creationTime", "modelPackageStatusDetails"),
        edit=Edit(
            spec={"modelApprovalStatus": "Approved", "approvalDescription": "Better than the last one"},
            calls=("UpdateModelPackage",),
            at="ApprovalDescription",
            value="Better than the last one",
        ),
        frozen={"modelPackageDescription": "Another text"},
    ),
    "ModelPackageGroup": Story(ends="Completed", frozen={"modelPackageGroupDescription": "Another text"}),
    "ModelQualityJobDefinition": _JOB_DEFINITION,
    "MonitoringSchedule": Story(
        needs=("dataqualityjobdefinition",),
        ends="Scheduled",
        status=("creationTime", "lastModifiedTime"),
        edit=Edit(
            spec={"monitoringScheduleConfig": {"scheduleConfig": {"scheduleExpression": "cron(0 0 ? * * *)"}}},
            calls=("UpdateMonitoringSchedule",),
            at="MonitoringScheduleConfig.ScheduleConfig.ScheduleExpression",
            value="cron(0 0 ? * * *)",
        ),
    ),
    "NotebookInstance": Story(
        ends="InService",
        status=("url",),
        edit=Edit(
            spec={"volumeSizeInGB": 20},
            calls=("StopNotebookInstance", "UpdateNotebookInstance", "StartNotebookInstance"),
            at="VolumeSizeInGB",
            value=20,
        ),
        frozen={"directInternetAccess": "Disabled"},
    ),
    "NotebookInstanceLifecycleConfig": Story(
        status=("creationTime", "lastModifiedTime"),
        edit=Edit(
            spec={"onStart": [{"content": "IyEvYmluL2Jhc2gKZWNobyBoaQo="}]},
            calls=("UpdateNotebookInstanceLifecycleConfig",),
            at="OnStart.0.Content",
            value="IyEvYmluL2Jhc2gKZWNobyBoaQo=",
        ),
    ),
    "Pipeline": Story(
        ends="Active",
        status=("creationTime", "lastModifiedTime"),
        edit=Edit(
            spec={"pipelineDisplayName": "churn-renamed"},
            calls=("UpdatePipeline",),
            at="PipelineDisplayName",
            value="churn-renamed",
        ),
    ),
    "PipelineExecution": Story(
        needs=("pipeline",),
        ends="Succeeded",
        status=("creationTime", "lastModifiedTime"),
        edit=Edit(
            spec={"pipelineExecutionDisplayName": "nightly-renamed"},
            calls=("UpdatePipelineExecution",),
            at="PipelineExecutionDisplayName",
            value="nightly-renamed",
        ),
    ),
    "ProcessingJob": Story(ends="Completed", frozen={"environment": {"LOG_LEVEL": "debug"}}),
    "Project": Story(
        ends="CreateCompleted",
        status=("creationTime", "projectID"),
        edit=Edit(
            spec={"projectDescription": "Who leaves, and why"},
            calls=("UpdateProject",),
            at="ProjectDescription",
            value="Who leaves, and why",
        ),
    ),
    "Space": Story(
        needs=_STUDIO,
        ends="InService",
        status=("url",),
        edit=Edit(
            spec={"spaceDisplayName": "Churn analysis, renamed"},
            calls=("UpdateSpace",),
            at="SpaceDisplayName",
            value="Churn analysis, renamed",
        ),
    ),
    "TrainingJob": Story(
        ends="Completed", status=("modelArtifacts", "secondaryStatus"), frozen={"hyperParameters": {"max_depth": "6"}}
    ),
    "TransformJob": Story(needs=("model",), ends="Completed", frozen={"maxPayloadInMB": 7}),
    "UserProfile": Story(
        needs=_STUDIO,
        ends="InService",
        edit=Edit(
            spec={"userSettings": {"executionRole": OTHER_ROLE}},
            calls=("UpdateUserProfile",),
            at="UserSettings.ExecutionRole",
            value=OTHER_ROLE,
        ),
    ),
}


@cache
def _documents(file: str) -> tuple[str, ...]:
    """As text, so that every caller parses an object of its own."""
    return tuple((SAMPLES / f"{file}.yaml").read_text().split("\n---\n"))


def document(reference: str) -> dict[str, Any]:
    """`model` or `chain-endpoint#1`."""
    file, _, number = reference.partition("#")
    manifest: dict[str, Any] = yaml.safe_load(_documents(file)[int(number or 0)])
    manifest["metadata"].setdefault("namespace", "default")
    if manifest["spec"].pop("domainRef", None):
        # As users of ACK have it, which knows no reference to a domain; test_samples has the references.
        manifest["spec"]["domainID"] = "d-example12345"
    return manifest


NAMELESS = ("Domain", "ModelPackage", "PipelineExecution")
"""Kinds whose samples have nothing in spec that the resource could be found by: AWS makes the identifier."""


class Stage:
    """One object of a kind in a world of its own, what it needs, and its counterpart in SageMaker."""

    def __init__(self, kind: str, *, relaxed: bool = False) -> None:
        self.kind = catalog()[kind]
        self.story = STORIES[kind]
        cast = {document(reference)["kind"] for reference in (*self.story.needs, *self.story.also)}
        self.cloud = Cloud(relaxed=relaxed, kinds={kind, *cast})
        self.manifest = self.manifest_of(kind)
        self.name: str = self.manifest["metadata"]["name"]

    @staticmethod
    def manifest_of(kind: str) -> dict[str, Any]:
        return document(kind.lower())

    async def prepare(self) -> None:
        """Apply what it needs, and wait until that is ready."""
        await self.supply(self.story.needs)

    async def supply(self, references: tuple[str, ...]) -> None:
        for reference in references:
            manifest = document(reference)
            await self.place(manifest)
            await self.cloud.apply(manifest)
            await self.settled(manifest)
        await self.place(self.manifest)

    async def place(self, manifest: dict[str, Any]) -> None:
        """AWS makes a domain's identifier, so a manifest can only name it once the domain is there."""
        if "domainID" in manifest["spec"]:
            page = await self.cloud.user.list_page(catalog()["Domain"].resource)
            if page.items:
                manifest["spec"]["domainID"] = page.items[0].decode_status()["domainID"]

    async def apply(self) -> None:
        await self.cloud.apply(self.manifest)

    async def get(self) -> dict[str, Any]:
        return await self.cloud.get(self.name, kind=self.kind.name)

    async def status(self) -> dict[str, Any]:
        return await self.cloud.status(self.name, kind=self.kind.name)

    async def conditions(self) -> dict[str, dict[str, Any]]:
        return await self.cloud.conditions(self.name, kind=self.kind.name)

    async def condition(self, type_: str) -> dict[str, Any]:
        """Waits until a condition is True; the condition."""

        async def there() -> Any:
            found = (await self.conditions()).get(type_)
            return found if found is not None and found["status"] == "True" else None

        return dict(await self.cloud.until(there))

    async def edit(self, spec: Mapping[str, Any]) -> None:
        await self.cloud.patch(self.name, {"spec": dict(spec)}, kind=self.kind.name)

    async def settled(self, manifest: Mapping[str, Any] | None = None, *, seconds: float = 1800.0) -> None:
        """Waits until it is Ready, and what was observed is what the spec says now."""
        manifest = manifest or self.manifest
        kind, name = manifest["kind"], manifest["metadata"]["name"]

        async def ready() -> bool:
            stored = await self.cloud.get(name, kind=kind)
            status = stored.get("status", {})
            conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
            seen = status.get("observedGeneration") == stored["metadata"]["generation"]
            return seen and conditions.get("Ready") == "True"

        try:
            await self.cloud.until(ready, seconds=seconds, step=5.0)
        except AssertionError:
            status = await self.cloud.status(name, kind=kind)
            raise AssertionError(f"{kind} {name} is not ready: {status}, {self.mutating()[-20:]}") from None

    async def idle(self, manager: Manager) -> None:
        """Waits until nobody works on it, and nothing of it is followed."""
        queue = manager.controllers[self.kind.name].queue
        await self.cloud.until(lambda: not queue.unfinished() and not len(manager.poller), step=5.0)

    async def delete(self) -> None:
        await self.cloud.user.delete(self.kind.resource, "default", self.name)
        await self.cloud.until_gone(self.name, kind=self.kind.name, step=5.0)

    async def describe(self) -> dict[str, Any]:
        """SageMaker's own word on it; has no ARN if there is none."""
        stored = await self.get()
        arn = stored.get("status", {}).get("ackResourceMetadata", {}).get("arn")
        return await self.ask_about(stored["spec"], arn)

    async def ask_about(self, spec: Mapping[str, Any], arn: str | None) -> dict[str, Any]:
        return await self.cloud.ask(self.kind.describe, **identifiers(self.kind, spec, arn))

    def create_input(self) -> dict[str, Any]:
        """What a user of SageMaker's API would send for the same thing."""
        request = desired_input(self.kind, self.manifest["spec"])
        return request | ({self.kind.token_member: "0" * 36} if self.kind.token_member else {})

    def mutating(self) -> list[str]:
        """Operations that were asked to change something, in order."""
        return [call.operation for call in self.cloud.sagemaker.calls.mutating()]

    def creates(self) -> int:
        """Creates of this kind that took effect."""
        return sum(1 for call in self.cloud.sagemaker.calls.of(self.kind.create) if call.applied)

    def writes(self) -> list[str]:
        """What the operator wrote to this very object."""
        verbs = {"create", "update", "patch", "delete"}
        return [
            f"{r.verb} {r.subresource or r.plural}"
            for r in self.cloud.kubernetes.requests
            if r.user_agent == "sagemaker-operator"
            and r.verb in verbs
            and (r.plural, r.name) == (self.kind.plural, self.name)
        ]


def adoptable(kind: Kind, spec: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """`spec.aws` of an AdoptedResource, as a user of ACK would write it."""
    required, optional = adoption_keys(kind)
    if required == ("arn",):
        return {"arn": arn}
    if kind.id_in_arn:
        return {"nameOrID": arn.rpartition("/")[2]}
    own = next(key for key in required if key not in ("domainID", "appType"))
    more = {key: spec[key] for key in (*required, *optional) if key != own and key in spec}
    return {"nameOrID": spec[own]} | ({"additionalKeys": more} if more else {})


def at(data: Any, path: str) -> Any:
    """The value at a dotted path, with numbers for the elements of a list; None if there is none."""
    for name in path.split("."):
        if isinstance(data, list):
            data = data[int(name)] if int(name) < len(data) else None
        elif isinstance(data, dict):
            data = data.get(name)
        else:
            return None
    return data
