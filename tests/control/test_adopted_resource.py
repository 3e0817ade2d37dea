"""AdoptedResource, the pure part: which resource and object a request names, and its errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sagemaker_operator.annotations import (
    ADOPTED,
    ADOPTED_RESOURCE,
    ADOPTION_FIELDS,
    ADOPTION_POLICY,
    READ_ONLY,
    REGION,
)
from sagemaker_operator.control.features import adopted_resource as ar
from sagemaker_operator.control.spec.adoption import adoption_keys, requested_adoption
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.objects import KubeObject, decode_object
from sagemaker_operator.settings import FeatureGates

GROUP = "sagemaker.services.k8s.aws"
ARN = "arn:aws:sagemaker:us-west-2:123456789012:model-package/churn/1"


def request(kind: str = "Model", aws: Any = None, *, group: str = GROUP, **metadata: Any) -> ar.Request:
    spec = {
        "aws": {"nameOrID": "churn"} if aws is None else aws,
        "kubernetes": {"group": group, "kind": kind, "metadata": metadata},
    }
    body = {"kind": "AdoptedResource", "metadata": {"name": "take-churn", "namespace": "team"}, "spec": spec}
    return ar.request_of(decode_object(msgspec.json.encode(body)))


def target(conditions: dict[str, tuple[str, str]] | None = None, **metadata: Any) -> KubeObject:
    reported = [
        {"type": type_, "status": status, "message": text} for type_, (status, text) in (conditions or {}).items()
    ]
    meta = {"name": "churn", "namespace": "team", "annotations": {}} | metadata
    return decode_object(msgspec.json.encode({"kind": "Model", "metadata": meta, "status": {"conditions": reported}}))


@pytest.mark.parametrize(
    ("kind", "aws", "fields"),
    [
        ("Model", {"nameOrID": "churn"}, {"modelName": "churn"}),
        ("Endpoint", {"nameOrID": "churn", "arn": "ignored, as in ACK"}, {"endpointName": "churn"}),
        ("DataQualityJobDefinition", {"nameOrID": "drift"}, {"jobDefinitionName": "drift"}),
        ("Domain", {"nameOrID": "d-abc"}, {"domainID": "d-abc"}),
        ("ModelPackage", {"arn": ARN}, {"arn": ARN}),
        ("ModelPackage", {"nameOrID": ARN}, {"arn": ARN}),
        (
            "UserProfile",
            {"nameOrID": "ada", "additionalKeys": {"domainID": "d-abc"}},
            {"domainID": "d-abc", "userProfileName": "ada"},
        ),
        (
            "Space",
            {"nameOrID": "lab", "additionalKeys": {"domainID": "d-abc"}},
            {"domainID": "d-abc", "spaceName": "lab"},
        ),
        (
            "App",
            {"nameOrID": "default", "additionalKeys": {"domainID": "d", "appType": "JupyterLab", "spaceName": "lab"}},
            {"domainID": "d", "appType": "JupyterLab", "spaceName": "lab", "appName": "default"},
        ),
        ("Model", {"additionalKeys": {"modelName": "churn"}}, {"modelName": "churn"}),
    ],
)
def test_the_names_of_the_resource(kind: str, aws: dict[str, Any], fields: dict[str, str]) -> None:
    assert ar.adoption_fields(catalog()[kind], aws) == fields


@pytest.mark.parametrize("kind", catalog())
def test_annotations_written_to_the_object_are_those_that_adoption_reads(kind: str) -> None:
    required, _ = adoption_keys(catalog()[kind])
    by_arn = required == ("arn",)
    aws = {"nameOrID": ARN} if by_arn else {"additionalKeys": dict.fromkeys(required, "x")}
    made = ar.manifest(request(kind, aws), catalog()[kind])
    understood = requested_adoption(catalog()[kind], made["metadata"]["annotations"], {}, FeatureGates())
    assert understood.problem is None
    assert understood.policy == "adopt"
    assert understood.named
    assert "spec" not in made


@pytest.mark.parametrize(
    ("kind", "aws", "text"),
    [
        ("Model", {}, "spec.aws.nameOrID: required: the modelName of the Model"),
        ("Model", {"nameOrID": ""}, "spec.aws.nameOrID: required"),
        ("Model", {"arn": ARN}, "spec.aws.nameOrID: required"),
        ("Model", {"nameOrID": ARN}, "spec.aws.nameOrID: must be the modelName of the Model, not its ARN"),
        ("Model", {"nameOrID": "x", "additionalKeys": {"domainID": "d"}}, "Model has no domainID; its keys are"),
        ("UserProfile", {"nameOrID": "ada"}, "spec.aws.additionalKeys.domainID: required"),
        ("ModelPackage", {}, "spec.aws.arn: required: ModelPackage is identified by its ARN"),
        ("ModelPackage", {"nameOrID": "churn"}, "spec.aws.nameOrID: must be the ARN of the ModelPackage"),
        ("ModelPackage", {"arn": "arn:aws:s3:::bucket"}, "spec.aws.arn: must be the ARN of the ModelPackage"),
        ("ModelPackage", {"arn": ARN.replace(":", "/")}, "spec.aws.arn: must be the ARN of the ModelPackage"),
        ("Models", {"nameOrID": "x"}, "spec.kubernetes.kind: sagemaker.services.k8s.aws has no kind 'Models'; did you mean Model?"),
    ],
)  # fmt: skip
def test_errors_that_need_an_edit(kind: str, aws: dict[str, Any], text: str) -> None:
    findings = ar.refusal(request(kind, aws), catalog(), cross_namespace=True)
    assert findings is not None
    assert text in (findings.terminal or "")
    assert findings.also["ACK.Adopted"] == ("False", "InvalidSpec", findings.terminal)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cross_namespace": False}, "CrossNamespace"),
        ({"cross_namespace": True, "watched": ("team",)}, "NotWatched"),
        ({"cross_namespace": True, "adoption": False}, "AdoptionDisabled"),
        ({"cross_namespace": True, "watched": ("team", "other")}, None),
    ],
)
def test_a_request_that_a_flag_forbids_is_reported(options: dict[str, Any], reason: str | None) -> None:
    findings = ar.refusal(request(namespace="other"), catalog(), **options)
    assert (findings and findings.reason) == reason


def test_other_controllers_kinds_are_ignored_and_a_missing_spec_is_reported() -> None:
    assert not request(group="s3.services.k8s.aws", kind="Bucket").ours
    body = {"kind": "AdoptedResource", "metadata": {"name": "x", "namespace": "team"}}
    found = ar.request_of(decode_object(msgspec.json.encode(body)))
    assert (found.ours, found.problem) == (True, "spec.kubernetes.group: required")


def test_the_objects_metadata() -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}
    forged = {ADOPTION_POLICY: "adopt-or-create", ADOPTED: "true", ADOPTED_RESOURCE: "x/y", "note": "kept"}
    asked_for = request(labels={"a": "b"}, annotations=forged, ownerReferences=[owner], generateName="unused-")
    assert ar.manifest(asked_for, catalog()["Model"]) == {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Model",
        "metadata": {
            "name": "take-churn",
            "namespace": "team",
            "labels": {"a": "b"},
            "ownerReferences": [owner],
            "annotations": {
                "note": "kept",
                ADOPTION_POLICY: "adopt",
                ADOPTION_FIELDS: '{"modelName":"churn"}',
                ADOPTED_RESOURCE: "team/take-churn",
            },
        },
    }
    named = ar.manifest(request(name="churn", namespace="other"), catalog()["Model"])["metadata"]
    assert (named["name"], named["namespace"]) == ("churn", "other")


def test_the_region_of_the_adopted_resource_goes_to_the_object_unless_it_has_its_own() -> None:
    body: dict[str, Any] = {
        "kind": "AdoptedResource",
        "metadata": {"name": "churn", "namespace": "team", "annotations": {REGION: "eu-west-1"}},
        "spec": {"aws": {"nameOrID": "churn"}, "kubernetes": {"group": GROUP, "kind": "Model", "metadata": {}}},
    }
    for own, expected in (({}, "eu-west-1"), ({REGION: "us-east-1"}, "us-east-1")):
        body["spec"]["kubernetes"]["metadata"] = {"annotations": own}
        made = ar.manifest(ar.request_of(decode_object(msgspec.json.encode(body))), catalog()["Model"])
        assert made["metadata"]["annotations"][REGION] == expected


MADE = {
    ADOPTION_POLICY: "adopt",
    ADOPTION_FIELDS: json.dumps({"modelName": "churn"}),
    ADOPTED_RESOURCE: "team/take-churn",
}


@pytest.mark.parametrize(
    ("found", "status", "reason", "text"),
    [
        (target(annotations=MADE), "Unknown", "Pending", "has not adopted the resource yet"),
        (target({"ACK.Adopted": ("True", "")}, annotations=MADE), "True", "Adopted", "Model team/churn has adopted"),
        (target({"ACK.Recoverable": ("True", "no such")}, annotations=MADE), "False", "NotAdopted", "churn: no such"),
        (target({"ACK.Terminal": ("True", "bad")}, annotations=MADE), "False", "NotAdopted", "churn: bad"),
        (target(annotations=MADE, deletionTimestamp="2026-01-01T00:00:00Z"), "False", "BeingDeleted", "created again"),
        (target(), "False", "AlreadyExists", "Choose another name"),
        (target({"ACK.Adopted": ("True", "")}), "False", "AlreadyExists", "Choose another name"),
        (target(annotations=MADE | {READ_ONLY: "true"}), "Unknown", "Pending", "not adopted"),
        (
            target({"ACK.ResourceSynced": ("True", "")}, annotations=MADE | {READ_ONLY: "true"}),
            "True",
            "Adopted",
            "has adopted",
        ),
    ],
)
def test_conditions_from_the_objects_state(found: KubeObject, status: str, reason: str, text: str) -> None:
    findings = ar.verdict(request(), catalog()["Model"], found)
    reported = findings.also["ACK.Adopted"]
    assert reported[:2] == (status, reason)
    assert text in reported[2]


def test_an_edit_updates_only_an_object_created_for_this_and_without_a_resource() -> None:
    kind, edited = catalog()["Model"], request(aws={"nameOrID": "other"})
    assert ar.changed_annotations(request(), kind, target(annotations=MADE)) is None
    changed = ar.changed_annotations(edited, kind, target(annotations=MADE))
    assert changed is not None
    assert json.loads(changed[ADOPTION_FIELDS]) == {"modelName": "other"}
    for other in (
        target(annotations=MADE | {ADOPTED_RESOURCE: "team/another"}),
        target({"ACK.Adopted": ("True", "")}, annotations=MADE),
        target(annotations=MADE, deletionTimestamp="2026-01-01T00:00:00Z"),
        target(),
    ):
        assert ar.changed_annotations(edited, kind, other) is None
