"""The behaviour of the CRDs on a real API server, and on the emulator, which must agree with it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sagemaker_operator.crds.generate import crd_manifest
from sagemaker_operator.kinds.catalog import derive
from tests.crds.support import JOBS, SAMPLE, Client, until

TRAINING = derive("CreateTrainingJob")
ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/xgboost-churn"
ACCEPTED = {"ackResourceMetadata": {"arn": ARN, "ownerAccountID": "123456789012", "region": "us-east-1"}}
ELSEWHERE = "elsewhere.example.com"
TERMINAL = {"conditions": [{"type": "ACK.Terminal", "status": "True"}]}


async def stored(api: Client, name: str, **changes: Any) -> str:
    """The path of a new object made from the sample."""
    await api.install(crd_manifest(TRAINING), JOBS)
    await api.ask("DELETE", f"{JOBS}/{name}")
    job = copy.deepcopy(SAMPLE) | {"metadata": {"name": name}}
    job["spec"] |= changes
    created = await api.ask("POST", JOBS, job)
    assert created.status == 201, created.body
    return f"{JOBS}/{name}"


async def accepted(api: Client, name: str) -> str:
    path = await stored(api, name)
    answer = await api.merge(f"{path}/status", {"status": ACCEPTED})
    assert answer.status == 200, answer.body
    return path


async def test_nothing_of_the_sample_is_pruned(api: Client) -> None:
    path = await stored(api, "whole")
    assert (await api.ask("GET", path)).body["spec"] == SAMPLE["spec"]


async def test_a_spec_that_sagemaker_has_not_accepted_can_be_edited(api: Client) -> None:
    path = await stored(api, "refused")
    await api.merge(
        f"{path}/status", {"status": TERMINAL | {"ackResourceMetadata": {"ownerAccountID": "1", "region": "r"}}}
    )
    assert (await api.merge(path, {"spec": {"hyperParameters": {"eta": "0.3"}}})).status == 200


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hyperParameters": {"eta": "0.3"}}, ["spec.hyperParameters"]),
        ({"hyperParameters": None}, ["spec.hyperParameters"]),
        ({"enableNetworkIsolation": True}, ["spec.enableNetworkIsolation"]),
        (
            {"trainingJobName": "other", "roleARN": "arn:aws:iam::123456789012:role/other"},
            ["spec.roleARN", "spec.trainingJobName"],
        ),
        ({"resourceConfig": {"instanceType": "ml.m5.24xlarge"}}, ["spec.resourceConfig.instanceType"]),
        ({"resourceConfig": {"volumeKMSKeyID": "other"}}, ["spec.resourceConfig.volumeKMSKeyID"]),
    ],
    ids=["changed", "removed", "added", "two", "inside", "added inside"],
)
async def test_what_no_update_can_change_is_refused_by_name(
    api: Client, change: dict[str, Any], named: list[str]
) -> None:
    path = await accepted(api, "frozen")
    answer = await api.merge(path, {"spec": change})
    assert answer.status == 422
    ((field, message),) = answer.causes
    assert field == "spec"
    assert f"SageMaker cannot change {' '.join(named)} of an existing TrainingJob" in message


@pytest.mark.parametrize(
    "change",
    [
        {"resourceConfig": {"keepAlivePeriodInSeconds": 60}},
        {"profilerConfig": {"s3OutputPath": "s3://example-bucket/profile"}},
        {"remoteDebugConfig": {"enableRemoteDebug": True}},
        {"tags": [{"key": "team", "value": "retention"}]},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_an_update_can_change_is_accepted(api: Client, change: dict[str, Any]) -> None:
    path = await accepted(api, "updatable")
    answer = await api.merge(path, {"spec": change})
    assert answer.status == 200, answer.body


async def test_a_field_that_waits_for_sagemakers_default_may_be_filled(api: Client) -> None:
    path = await accepted(api, "filled")
    for reported, answer in (("False", 200), ("True", 422)):
        condition = {"type": "ACK.LateInitialized", "status": reported}
        assert (await api.merge(f"{path}/status", {"status": {"conditions": [condition]}})).status == 200
        change = {"spec": {"outputDataConfig": {"compressionType": "GZIP" if reported == "False" else "NONE"}}}
        assert (await api.merge(path, change)).status == answer


async def test_metadata_and_status_of_an_accepted_object_can_be_changed(api: Client) -> None:
    path = await accepted(api, "written")
    finalizers = {"finalizers": [TRAINING.finalizer], "annotations": {"a": "b"}}
    assert (await api.merge(path, {"metadata": finalizers})).status == 200
    assert (await api.merge(f"{path}/status", {"status": {"trainingJobStatus": "Levitating"}})).status == 200
    assert (await api.merge(path, {"metadata": {"finalizers": None}})).status == 200


async def test_an_edit_that_ack_stored_can_be_taken_back(api: Client) -> None:
    path = await accepted(api, "edited")
    await api.merge(f"{path}/status", {"status": TERMINAL})
    assert (await api.merge(path, {"spec": {"hyperParameters": {"eta": "0.3"}}})).status == 200


async def test_a_read_only_object_that_differs_can_be_made_to_agree(api: Client) -> None:
    path = await accepted(api, "observed")
    for reason, answer in (("CreatedForAnotherObject", 422), ("Differs", 200)):
        reported = {"conditions": [{"type": "ACK.Advisory", "status": "True", "reason": reason}]}
        await api.merge(f"{path}/status", {"status": reported})
        assert (await api.merge(path, {"spec": {"hyperParameters": {"eta": "0.3"}}})).status == answer


async def test_algorithm_and_image_exclude_each_other(api: Client) -> None:
    path = await stored(api, "image")
    answer = await api.merge(path, {"spec": {"algorithmSpecification": {"algorithmName": "mine"}}})
    assert answer.status == 422
    ((field, message),) = answer.causes
    assert field == "spec.algorithmSpecification"
    assert "exactly one of algorithmName, trainingImage must be set" in message


async def test_all_invalid_fields_are_reported_at_once(api: Client) -> None:
    path = await stored(api, "mistaken")
    bad = {
        "trainingJobName": "has.dots",
        "resourceConfig": {"instanceCount": -1},
        "inputDataConfig": [{"channelName": "a b"}],
    }
    answer = await api.merge(path, {"spec": bad})
    assert answer.status == 422
    assert {
        *("spec.trainingJobName", "spec.resourceConfig.instanceCount"),
        *("spec.inputDataConfig[0].channelName", "spec.inputDataConfig[0].dataSource"),
    } <= {field for field, _ in answer.causes}


async def test_an_object_without_a_spec_is_accepted_as_adoption_needs_it(api: Client) -> None:
    await stored(api, "other")
    await api.ask("DELETE", f"{JOBS}/adopted")
    bare = {key: SAMPLE[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "adopted"}}
    assert (await api.ask("POST", JOBS, bare)).status == 201
    # Adoption fills the spec in, and only then the status.
    assert (await api.merge(f"{JOBS}/adopted", {"spec": SAMPLE["spec"]})).status == 200
    assert (await api.merge(f"{JOBS}/adopted/status", {"status": ACCEPTED})).status == 200


async def test_kinds_without_a_status_in_sagemaker_print_ready_and_its_reason(api: Client) -> None:
    models = JOBS.replace("trainingjobs", "models")
    await api.install(crd_manifest(derive("CreateModel")), models)
    await api.ask("DELETE", f"{models}/shown")
    model = {"apiVersion": SAMPLE["apiVersion"], "kind": "Model", "metadata": {"name": "shown"}}
    assert (await api.ask("POST", models, model)).status == 201
    reported = [{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "False", "message": "No such role"}]
    assert (await api.merge(f"{models}/shown/status", {"status": {"conditions": reported}})).status == 200
    table = (await api.ask("GET", f"{models}/shown", Accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    assert [(column["name"], column["priority"]) for column in table["columnDefinitions"]] == [
        *(("Name", 0), ("READY", 0), ("MESSAGE", 1), ("AGE", 0))
    ]
    ((name, ready, message, _),) = [row["cells"] for row in table["rows"]]
    assert (name, ready, message) == ("shown", "False", "No such role")


def elsewhere(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same CRD in a group of its own, so that changing its schema disturbs no other test."""
    moved = copy.deepcopy(manifest)
    moved["spec"]["group"] = ELSEWHERE
    moved["metadata"] = {"name": f"trainingjobs.{ELSEWHERE}"}
    return moved


async def test_an_object_that_was_stored_under_a_looser_schema_can_still_be_finalized(api: Client) -> None:
    jobs = JOBS.replace("sagemaker.services.k8s.aws", ELSEWHERE)
    await api.install(elsewhere(crd_manifest(TRAINING, relaxed=True)), jobs)
    old = copy.deepcopy(SAMPLE) | {"metadata": {"name": "old", "finalizers": [TRAINING.finalizer]}}
    old["apiVersion"] = f"{ELSEWHERE}/v1alpha1"
    old["spec"] |= {"trainingJobName": "has.dots", "outputDataConfig": {}, "algorithmSpecification": {}}
    assert (await api.ask("POST", jobs, old)).status == 201
    await api.replace(elsewhere(crd_manifest(TRAINING)))
    again = old | {"metadata": {"name": "again"}}
    await until(lambda: api.ask("POST", f"{jobs}?dryRun=All", again), 422)
    assert (await api.merge(f"{jobs}/old/status", {"status": {"trainingJobStatus": "Failed"}})).status == 200
    assert (await api.merge(f"{jobs}/old", {"metadata": {"finalizers": None}})).status == 200
