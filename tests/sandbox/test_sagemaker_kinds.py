"""All 26 kinds through one table: created, ready, listed, tagged, updated and deleted, at exact virtual times."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore import xform_name

from sagemaker_operator.control.spec.diff import differences
from sagemaker_operator.kinds.catalog import derive
from sagemaker_operator.kinds.descriptor import Kind, StatusClass
from sagemaker_operator.kinds.model import input_members, operation
from sagemaker_operator.sandbox.sagemaker.behaviour import DELETE_FAILURE
from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, JOB_SECONDS, READY_SECONDS
from tests.sandbox.sagemaker_inputs import CASES
from tests.sandbox.sagemaker_support import EPOCH, client_of, make_simulator, refusal, tagged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOBS = {name for name in CASES if name.endswith("Job")} | {"PipelineExecution"}
KEPT = {"LabelingJob", "PipelineExecution", "TransformJob"}
"""SageMaker has no delete for them."""
AT_ONCE = {
    *("Model", "EndpointConfig", "NotebookInstanceLifecycleConfig", "DataQualityJobDefinition"),
    *("ModelBiasJobDefinition", "ModelExplainabilityJobDefinition", "ModelQualityJobDefinition"),
}
"""They have no status."""
REMEMBERED = {"App": "Deleted", "Project": "DeleteCompleted"}


def kind_of(name: str) -> Kind:
    return derive("StartPipelineExecution" if name == "PipelineExecution" else f"Create{name}")


ALL = {name: kind_of(name) for name in CASES}


class Account:
    """One account with a simulator of all kinds, used by kind and case."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.domain = ""
        self.arns: dict[str, str] = {}

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self.client, xform_name(operation))(**given)
        return answer

    def given(self, name: str, **changes: Any) -> dict[str, Any]:
        found = CASES[name].create | changes
        return {key: self.domain if value == "$DomainId" else value for key, value in found.items()}

    async def create(self, name: str, **changes: Any) -> None:
        kind = ALL[name]
        answer = await self.call(kind.create, **self.given(name, **changes))
        self.arns[name] = answer[kind.arn_member]
        self.domain = answer.get("DomainId", self.domain)

    async def prepare(self, name: str) -> None:
        for need in CASES[name].needs:
            await self.create(need)
            await asyncio.sleep(READY_SECONDS)

    def key(self, name: str, operation_name: str) -> dict[str, Any]:
        """The members that name the resource in an operation's input."""
        known = self.given(name) | {"DomainId": self.domain}
        found = {}
        for member in input_members(operation_name):
            if member in ("ModelPackageArn", "PipelineExecutionArn") or (name, member) == (
                "ModelPackage",
                "ModelPackageName",
            ):
                found[member] = self.arns[name]
            elif member in known and (member in {one.api for one in ALL[name].identifiers}):
                found[member] = known[member]
        return found

    async def describe(self, name: str) -> dict[str, Any]:
        return await self.call(ALL[name].describe, **self.key(name, ALL[name].describe))

    async def status(self, name: str) -> str | None:
        member = ALL[name].status_member
        return None if member is None else (await self.describe(name))[member]

    async def delete(self, name: str) -> None:
        kind = ALL[name]
        assert kind.delete is not None
        await self.call(kind.delete, **self.key(name, kind.delete))


def seconds_to_ready(name: str) -> float:
    if name in AT_ONCE or name == "Pipeline":
        return 0.0
    return JOB_SECONDS if name in JOBS else READY_SECONDS


@asynccontextmanager
async def fresh_account() -> AsyncIterator[Account]:
    async with client_of(make_simulator(kinds=ALL)) as client:
        yield Account(client)


@pytest.mark.parametrize("name", CASES)
async def test_it_is_ready_at_its_time_and_never_before(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        kind, total = ALL[name], seconds_to_ready(name)
        if total:
            await asyncio.sleep(total - 1)
            assert kind.classify(await account.status(name)) is StatusClass.IN_PROGRESS
            await asyncio.sleep(2)
        ready = kind.classify(await account.status(name))
    assert ready is (StatusClass.SUCCEEDED if name in JOBS else StatusClass.STEADY)


@pytest.mark.parametrize("name", CASES)
async def test_describe_has_the_arn_the_times_and_nothing_that_differs_from_the_input(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        await asyncio.sleep(seconds_to_ready(name) + 1)
        found = await account.describe(name)
    kind = ALL[name]
    assert found[kind.arn_member] == account.arns[name]
    assert found["CreationTime"].timestamp() >= EPOCH
    outputs = set(found) - {"ResponseMetadata"}
    shape = operation(kind.describe).output_shape
    assert set(shape.required_members) <= outputs <= set(shape.members)
    elsewhere = {
        "InferenceComponent": {"Specification.Container.Image", "RuntimeConfig.CopyCount"},
        "NotebookInstance": {"SecurityGroupIds", "LifecycleConfigName"},
        "HyperParameterTuningJob": {"TrainingJobDefinition.AlgorithmSpecification.MetricDefinitions"},
        "ModelPackage": {"ClientToken"},
        "Pipeline": {"ClientRequestToken"},
        "PipelineExecution": {"ClientRequestToken", "PipelineName"},
    }
    assert set(differences(account.given(name), found)) == elsewhere.get(name, set())


@pytest.mark.parametrize("name", CASES)
async def test_its_list_summary_has_the_members_of_the_model(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        await asyncio.sleep(seconds_to_ready(name) + 1)
        listing = ALL[name].listing
        assert listing is not None
        needed = {member: account.given(name)[member] for member in listing.required}
        group = {"ModelPackageGroupName": "group"} if name == "ModelPackage" else {}
        page = await account.call(listing.operation, **needed, **group)
        [summary] = page[listing.result]
        described = await account.describe(name)
    entry = operation(listing.operation).output_shape.members[listing.result].member
    assert set(entry.required_members) <= set(summary)
    assert {member: described[member] for member in listing.observed if member in described}.items() <= summary.items()
    status = ALL[name].status_member
    if listing.has_status and status:
        assert summary[status] == described[status]


@pytest.mark.parametrize("name", [name for name in CASES if name not in {*AT_ONCE, "Pipeline", "PipelineExecution"}])
async def test_it_fails_if_its_tags_say_so(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        owner = "ModelPackageGroup" if name == "ModelPackage" else name
        if owner != name:
            await account.client.add_tags(ResourceArn=account.arns[owner], Tags=tagged(outcome="Failed", seconds="50"))
            await account.create(name)
        else:
            await account.create(name, Tags=tagged(outcome="Failed", seconds="50"))
        await asyncio.sleep(51)
        found = await account.describe(name)
    kind = ALL[name]
    assert kind.classify(found[kind.status_member or ""]) is StatusClass.FAILED
    if kind.failure_member:
        assert found[kind.failure_member]


@pytest.mark.parametrize("name", ["Domain", "FeatureGroup", "ModelPackageGroup", "Project", "Space", "UserProfile"])
async def test_its_first_deletion_fails_if_its_tags_say_so(name: str) -> None:
    kind = ALL[name]
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name, Tags=[{"Key": "sandbox/delete-outcome", "Value": "Failed"}])
        await asyncio.sleep(seconds_to_ready(name) + 1)
        await account.delete(name)
        assert kind.classify(await account.status(name)) is StatusClass.DELETING
        await asyncio.sleep(CHANGE_SECONDS + 1)
        found = await account.describe(name)
        assert kind.classify(found[kind.status_member or ""]) is StatusClass.DELETE_FAILED
        assert found.get("FailureReason", "") == (DELETE_FAILURE if kind.failure_member else "")
        await account.delete(name)
        assert kind.classify(await account.status(name)) is StatusClass.DELETING


@pytest.mark.parametrize("name", [name for name in CASES if name not in {"ModelPackage", "PipelineExecution"}])
async def test_tags_are_kept_for_every_kind(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name, Tags=[{"Key": "team", "Value": "a"}])
        tags = (await account.client.list_tags(ResourceArn=account.arns[name]))["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}]


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in {"ModelPackage", "PipelineExecution", "Domain"}]
)
async def test_a_name_is_taken_once(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        again = {"ClientRequestToken": "u" * 36} if name == "Pipeline" else {}
        code, message = await refusal(account.create(name, **again))
    declared = {shape.name for shape in operation(ALL[name].create).error_shapes}
    assert code in {"ResourceInUse", "ConflictException"} & declared or code == "ValidationException"
    assert "exist" in message


def at(described: dict[str, Any], path: str) -> Any:
    value: Any = described
    for member in path.split("."):
        value = (value or {}).get(member)
    return value


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.update])
async def test_an_update_takes_its_time_and_shows_in_the_end(name: str) -> None:
    kind, case = ALL[name], CASES[name]
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        await asyncio.sleep(seconds_to_ready(name) + 1)
        if name == "NotebookInstance":
            await account.client.stop_notebook_instance(NotebookInstanceName="notebook")
            await asyncio.sleep(CHANGE_SECONDS + 1)
        assert kind.update is not None
        await account.call(kind.update, **{**account.key(name, kind.update), **case.update})
        changed = (await account.describe(name)).get("LastModifiedTime")
        during = await account.status(name)
        await asyncio.sleep(CHANGE_SECONDS - 1)
        assert await account.status(name) == during
        await asyncio.sleep(2)
        found = await account.describe(name)
    transient = {"Updating", "UpdateInProgress"} & set(kind.classes) or {"Pending"} & set(kind.classes)
    if transient and name != "ModelPackage":
        assert during in transient
    assert changed is None or changed.timestamp() > EPOCH
    assert kind.classify(found.get(kind.status_member or "")) in {
        *(StatusClass.STEADY, StatusClass.SUCCEEDED),
        StatusClass.STOPPED if name == "NotebookInstance" else StatusClass.STEADY,
    }
    assert {path: at(found, path) for path in case.shows} == case.shows


@pytest.mark.parametrize("name", [name for name in CASES if name not in KEPT])
async def test_a_deleted_resource_is_gone_after_half_a_minute_and_its_name_free(name: str) -> None:
    kind = ALL[name]
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        await asyncio.sleep(seconds_to_ready(name) + 1)
        if name == "NotebookInstance":
            await account.client.stop_notebook_instance(NotebookInstanceName="notebook")
            await asyncio.sleep(CHANGE_SECONDS + 1)
        await account.delete(name)
        if StatusClass.DELETING in kind.classes.values():
            assert kind.classify(await account.status(name)) is StatusClass.DELETING
            await account.delete(name)
            await asyncio.sleep(CHANGE_SECONDS + 1)
        if name in REMEMBERED:
            assert await account.status(name) == REMEMBERED[name]
            assert (await refusal(account.delete(name)))[0] in kind.not_found.codes
        else:
            code, message = await refusal(account.describe(name))
            assert code in kind.not_found.codes
            assert kind.not_found.pattern is None or kind.not_found.pattern.search(message)
        await account.create(name)


@pytest.mark.parametrize("name", sorted(JOBS))
async def test_a_job_can_be_stopped_while_it_runs_and_not_after(name: str) -> None:
    async with fresh_account() as account:
        await account.prepare(name)
        await account.create(name)
        await asyncio.sleep(100)
        stop = f"Stop{name}"
        token = {"ClientRequestToken": "s" * 36} if name == "PipelineExecution" else {}
        await account.call(stop, **account.key(name, stop), **token)
        assert await account.status(name) == "Stopping"
        await asyncio.sleep(CHANGE_SECONDS + 1)
        assert await account.status(name) == "Stopped"
        code, message = await refusal(account.call(stop, **account.key(name, stop), **token))
    assert code in {"ValidationException", "ConflictException"}
    assert message.endswith("is in status Stopped.")


DEPENDENCIES = [
    ("EndpointConfig", {}, "Could not find model"),
    ("Endpoint", {}, "Could not find endpoint configuration"),
    ("InferenceComponent", {}, "Could not find endpoint"),
    ("TransformJob", {}, "Could not find model"),
    ("UserProfile", {"DomainId": "d-0"}, "Could not find domain"),
    ("Space", {"DomainId": "d-0"}, "Could not find domain"),
    ("App", {"DomainId": "d-0"}, "Could not find domain"),
    ("PipelineExecution", {}, "does not exist"),
    ("ModelPackage", {}, "does not exist."),
    ("MonitoringSchedule", {}, "Could not find"),
    ("NotebookInstance", {}, "Unable to describe Notebook Instance Lifecycle Config"),
]


@pytest.mark.parametrize(("name", "changes", "text"), DEPENDENCIES)
async def test_what_a_create_names_must_exist(name: str, changes: dict[str, Any], text: str) -> None:
    async with fresh_account() as account:
        _, message = await refusal(account.create(name, **changes))
        assert text in message
        await account.prepare(name)
        await account.create(name)
