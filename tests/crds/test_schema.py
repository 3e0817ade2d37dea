from __future__ import annotations

import copy
from typing import Any

import pytest
from botocore.model import StringShape
from jsonschema import Draft202012Validator

from sagemaker_operator.crds.generate import manifests
from sagemaker_operator.crds.runtime import runtime_crds
from sagemaker_operator.crds.schema import checks, object_schema, spec_schema, status_schema
from sagemaker_operator.kinds.catalog import catalog, derive
from tests.crds.support import SAMPLE, nodes
from tests.kinds.facts import ACK_FIELDS, ACK_KINDS

TRAINING = derive("CreateTrainingJob")
TYPES = {
    "structure": {"type": "object"},
    "map": {"type": "object"},
    "list": {"type": "array"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int64"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "timestamp": {"type": "string", "format": "date-time"},
}
CHECKS = {"enum", "pattern", "x-kubernetes-validations"} | {
    f"{bound}{what}" for bound in ("min", "max") for what in ("Length", "Items", "Properties", "imum")
}


@pytest.mark.parametrize("name", ACK_KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_path_of_ack_is_there_with_the_same_type(name: str, part: str) -> None:
    kind = catalog()[name]
    schema = spec_schema(kind) if part == "spec" else status_schema(kind)
    found = {path: {key: node[key] for key in ("type", "format") if key in node} for path, node in nodes(schema)}
    for row in ACK_FIELDS["paths"][name][part]:
        path, _, type_ = row.partition(" ")
        # A map's value is written `{}` here and left out there.
        assert found[path] == TYPES[type_], path


@pytest.mark.parametrize("name", catalog())
def test_the_schema_is_structural_and_bounded(name: str) -> None:
    for path, node in nodes(object_schema(catalog()[name])):
        assert "type" in node, path
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        assert len(node.get("enum", ())) <= 20, path
        assert len(node.get("description", "")) <= 160, path
        assert "<" not in node.get("description", ""), path
        assert not (path.lower().endswith("instancetype") and "enum" in node), path


def _enumeration(name: str, count: int) -> StringShape:
    return StringShape(name, {"type": "string", "enum": [str(number) for number in range(count)]})


def test_short_sets_of_values_are_enums_but_instance_types_never() -> None:
    assert checks(_enumeration("CompressionType", 20)) == {"enum": [str(number) for number in range(20)]}
    assert checks(_enumeration("CompressionType", 21)) == {}
    assert checks(_enumeration("ReservedCapacityInstanceType", 2)) == {}


def test_every_field_of_spec_is_described() -> None:
    assert [path for path, node in nodes(spec_schema(TRAINING)) if _named(path) and "description" not in node] == []


def _named(path: str) -> bool:
    return bool(path) and not path.endswith(("]", "}"))


def test_relaxed_checks_what_ack_checks_and_no_more() -> None:
    relaxed = dict(nodes(object_schema(TRAINING, relaxed=True)))
    strict = dict(nodes(object_schema(TRAINING)))
    assert relaxed.keys() == strict.keys()
    assert {key for node in relaxed.values() for key in node} & CHECKS == set()
    assert {path for path, node in relaxed.items() if "required" in node and path.startswith("spec")} == {"spec"}
    assert {key for node in strict.values() for key in node} & CHECKS == CHECKS - {"minProperties"}


def test_status_accepts_unknown_values_and_members() -> None:
    for path, node in nodes(status_schema(TRAINING)):
        assert not node.keys() & CHECKS, path
        assert "required" not in node or path in ("ackResourceMetadata", "conditions[]")


def test_status_requires_account_and_region() -> None:
    schema = status_schema(TRAINING)
    assert schema["properties"]["ackResourceMetadata"]["required"] == ["ownerAccountID", "region"]
    assert schema["properties"]["conditions"]["items"]["required"] == ["status", "type"]


def test_the_idempotency_token_is_not_a_field() -> None:
    pipeline = derive("CreatePipeline")
    assert "clientRequestToken" not in spec_schema(pipeline)["properties"]
    assert "clientRequestToken" not in spec_schema(pipeline)["required"]


def valid(spec: dict[str, Any]) -> bool:
    return Draft202012Validator(spec_schema(TRAINING)).is_valid(spec)


def test_the_sample_is_valid() -> None:
    errors = [error.message for error in Draft202012Validator(spec_schema(TRAINING)).iter_errors(SAMPLE["spec"])]
    assert errors == []


def test_a_serverless_job_needs_neither_algorithm_nor_instances() -> None:
    spec = {name: SAMPLE["spec"][name] for name in ("trainingJobName", "roleARN", "outputDataConfig")}
    assert valid(spec)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainingJobName", "has.dots"),
        ("trainingJobName", "x" * 64),
        ("roleARN", "admin"),
        ("outputDataConfig", {}),
        ("algorithmSpecification.trainingInputMode", "Pipes"),
        ("resourceConfig.keepAlivePeriodInSeconds", 21601),
        ("resourceConfig.instanceCount", -1),
        ("resourceConfig.instanceCount", "1"),
        ("inputDataConfig", []),
        ("hyperParameters", {str(number): "" for number in range(101)}),
        ("hyperParameters.num_round", 100),
    ],
)
def test_what_sagemaker_would_refuse_is_refused(path: str, value: Any) -> None:
    spec = copy.deepcopy(SAMPLE["spec"])
    *parents, last = path.split(".")
    node = spec
    for name in parents:
        node = node[name]
    node[last] = value
    assert not valid(spec)


@pytest.mark.parametrize(
    "late",
    [
        {"enableNetworkIsolation": False, "enableManagedSpotTraining": False},
        {"outputDataConfig": {"s3OutputPath": "s3://bucket/out", "kmsKeyID": "", "compressionType": "GZIP"}},
        {"debugRuleConfigurations": [{"ruleConfigurationName": "r", "ruleEvaluatorImage": "i", "volumeSizeInGB": 0}]},
        {"resourceConfig": {"instanceType": "ml.next99.metal", "instanceCount": 1, "volumeSizeInGB": 1}},
    ],
)
def test_what_ack_wrote_into_specs_stays_valid(late: dict[str, Any]) -> None:
    assert valid(SAMPLE["spec"] | late)


def test_a_union_takes_exactly_one_member() -> None:
    profile = spec_schema(derive("CreateUserProfile"))
    efs = profile["properties"]["userSettings"]["properties"]["customFileSystemConfigs"]["items"]
    (rule,) = efs["x-kubernetes-validations"]
    assert rule["rule"].endswith(".exists_one(set, set)")
    assert all(f"has(self.{name})" in rule["rule"] for name in efs["properties"])


@pytest.mark.parametrize("name", [*manifests(), *runtime_crds()])
def test_no_crd_has_an_empty_map_of_properties(name: str) -> None:
    """The API server drops one, so that every `kubectl apply` finds a difference and says "configured"."""
    manifest = {**manifests(), **runtime_crds()}[name]
    for version in manifest["spec"]["versions"]:
        empty = [path for path, node in nodes(version["schema"]["openAPIV3Schema"]) if node.get("properties") == {}]
        assert empty == []


def test_a_pipeline_execution_that_ack_adopted_is_accepted() -> None:
    """ACK writes the ARN up to the pipeline's name, without the name (facts: ACK v1.9.1, observed)."""
    schema = spec_schema(catalog()["PipelineExecution"])
    stored = "arn:aws:sagemaker:us-west-2:123456789012:pipeline/"
    accepted = Draft202012Validator(schema["properties"]["pipelineName"])
    for name in (stored, f"{stored}churn", "churn"):
        assert accepted.is_valid(name), name
    for name in (stored.replace("pipeline/", "model/"), "churn_", ""):
        assert not accepted.is_valid(name), name
