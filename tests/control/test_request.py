"""Requests built from specs, and errors in a spec."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sagemaker_operator.aws.translate import SpecError
from sagemaker_operator.control.spec.create_input import (
    create_request,
    identifiers,
    spec_problems,
    unclear_identity,
    with_spec_paths,
)
from sagemaker_operator.kinds.catalog import catalog, derive
from sagemaker_operator.objects import KubeObject, Meta
from tests.e2e.harness import sample

KIND = catalog()["TrainingJob"]
ARN = "arn:aws:sagemaker:us-west-2:123456789012:training-job/"


def obj(**labels: str) -> KubeObject:
    return KubeObject(kind="TrainingJob", metadata=Meta(name="n", namespace="ml", uid="u-1", labels=labels))


def tags(templates: tuple[str, ...], *, own: list[dict[str, str]], **labels: str) -> dict[str, str]:
    request = create_request(KIND, obj(**labels), sample(tags=own)["spec"], tag_templates=templates)
    return {tag["Key"]: tag["Value"] for tag in request["Tags"]}


def test_the_request_has_api_names_and_keeps_map_keys() -> None:
    spec = sample()["spec"]
    request = create_request(KIND, obj(), spec, tag_templates=())
    assert request["RoleArn"] == spec["roleARN"]
    assert request["HyperParameters"] == spec["hyperParameters"]
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].startswith("s3://")


def test_default_tags_expand_and_never_override_the_users() -> None:
    templates = ("services.k8s.aws/namespace=%K8S_NAMESPACE%", "team=%K8S_RESOURCE_KIND%", "by=%MANAGED_BY%")
    found = tags(templates, own=[{"key": "team", "value": "mine"}])
    assert found == {"team": "mine", "services.k8s.aws/namespace": "ml", "services.k8s.aws/uid": "u-1"}


def test_a_tag_that_expands_to_nothing_is_left_out() -> None:
    label = {"app.kubernetes.io/managed-by": "helm"}
    assert tags(("by=%MANAGED_BY%",), own=[], **label)["by"] == "helm"
    assert "by" not in tags(("by=%MANAGED_BY%",), own=[])


def test_too_many_tags_are_reported_without_a_call() -> None:
    own = [{"key": f"k{number}", "value": "v"} for number in range(49)]
    assert len(tags((), own=own)) == 50
    with pytest.raises(SpecError, match=r"spec.tags can have 48 tags here: SageMaker allows 50"):
        tags(("services.k8s.aws/namespace=%K8S_NAMESPACE%",), own=own)


def test_user_tags_cannot_override_the_uid_tag() -> None:
    assert tags((), own=[{"key": "services.k8s.aws/uid", "value": "forged"}])["services.k8s.aws/uid"] == "u-1"


@pytest.mark.parametrize(
    ("name", "arn", "expected"),
    [
        ("xgb", None, "xgb"),
        ("xgb", ARN + "xgb", "xgb"),
        # AWS lower-cases names in ARNs; the spec's spelling is the one that Describe knows.
        ("XgB", ARN + "xgb", "XgB"),
        # A name edited later never retargets a call.
        ("other", ARN + "xgb", "xgb"),
    ],
)
def test_the_recorded_arn_outranks_an_edited_name(name: str, arn: str | None, expected: str) -> None:
    assert identifiers(KIND, {"trainingJobName": name}, arn) == {"TrainingJobName": expected}


APP = "arn:aws:sagemaker:us-west-2:123456789012:app/d-1/alice/jupyterserver/default"
AN_APP = {"domainID": "d-1", "userProfileName": "Alice", "appType": "JupyterServer", "appName": "default"}
ASKED = {"DomainId": "d-1", "UserProfileName": "Alice", "AppType": "JupyterServer", "AppName": "default"}
RECORDED = ASKED | {"UserProfileName": "alice"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, ASKED),
        ({"domainID": "d-2"}, ASKED),
        ({"domainID": None}, ASKED),
        ({"appType": "KernelGateway"}, ASKED),
        ({"appType": None}, ASKED),
        ({"appName": "other"}, ASKED),
        ({"userProfileName": "bob"}, RECORDED),
        ({"userProfileName": None}, RECORDED),
        ({"spaceName": "bobs"}, ASKED),
        ({"domainID": "d-2", "appType": "KernelGateway", "appName": "other"}, ASKED),
    ],
)
def test_an_edit_never_retargets_a_resource_with_a_composite_name(
    edit: dict[str, Any], expected: dict[str, Any]
) -> None:
    spec = {name: value for name, value in (AN_APP | edit).items() if value is not None}
    assert identifiers(derive("CreateApp"), spec, APP) == expected


def test_the_spec_distinguishes_a_space_from_a_user_of_the_same_name() -> None:
    spec = AN_APP | {"userProfileName": None, "spaceName": "alice"}
    asked = identifiers(derive("CreateApp"), spec, APP)
    assert (asked.get("SpaceName"), asked.get("UserProfileName")) == ("alice", None)


@pytest.mark.parametrize(
    ("edit", "unclear"),
    [
        ({}, False),
        ({"appType": "KernelGateway", "domainID": "d-2"}, False),
        ({"userProfileName": "bob"}, True),
        ({"userProfileName": None}, True),
        ({"userProfileName": None, "spaceName": "bobs"}, True),
    ],
)
def test_the_owner_of_an_app_can_become_ambiguous(edit: dict[str, Any], unclear: bool) -> None:
    text = unclear_identity(derive("CreateApp"), AN_APP | edit, APP)
    assert (text is not None) == unclear
    assert not unclear or (text or "").startswith("spec.userProfileName or spec.spaceName identifies the resource")


@pytest.mark.parametrize("arn", [None, "arn:aws:sagemaker:us-west-2:123456789012:app/of/another/form"])
def test_without_a_known_arn_the_spec_says_which(arn: str | None) -> None:
    assert identifiers(derive("CreateApp"), AN_APP, arn)["DomainId"] == "d-1"


def test_an_identifier_that_only_the_arn_knows() -> None:
    kind = derive("StartPipelineExecution")
    assert identifiers(kind, {}, "arn:x") == {"PipelineExecutionArn": "arn:x"}


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"roleARN": None}, "spec.roleARN: required"),
    ({"roleARN": "role"}, "spec.roleARN: must match"),
    ({"outputDataConfig": {}}, "spec.outputDataConfig.s3OutputPath: required"),
    (
        {"stoppingCondition": {"maxRuntimeInSeconds": 0}},
        "spec.stoppingCondition.maxRuntimeInSeconds: must be at least 1",
    ),
    ({"hyperParameters": {"a": 1}}, "spec.hyperParameters.a: must be string, not integer"),
    ({"trainingJobName": "x" * 64}, "spec.trainingJobName: must be at most 63 characters"),
    (
        {"algorithmSpecification": {"trainingInputMode": "File", "trainingImage": "i", "algorithmName": "a"}},
        "exactly one of spec.algorithmSpecification.algorithmName",
    ),
    ({"inputDataConfig": [{"channelName": "c"}]}, "spec.inputDataConfig[0].dataSource: required"),
]


@pytest.mark.parametrize(("change", "problem"), PROBLEMS, ids=[text for _, text in PROBLEMS])
def test_a_wrong_spec_is_reported_by_field(change: dict[str, Any], problem: str) -> None:
    found = spec_problems(KIND, sample(**change)["spec"])
    assert any(text.startswith(problem) or problem in text for text in found), found


def test_the_sample_has_no_problem() -> None:
    assert spec_problems(KIND, sample()["spec"]) == ()


def test_an_unknown_enum_value_is_passed_to_sagemaker() -> None:
    """A CRD that checks no more than ACK's let it through, and ACK passes it on."""
    algorithm = {"trainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1", "trainingInputMode": "Teleport"}
    assert spec_problems(KIND, sample(algorithmSpecification=algorithm)["spec"]) == ()


def test_a_value_is_never_quoted() -> None:
    found = spec_problems(KIND, sample(hyperParameters={"password": "s3cr3t" * 1000}, roleARN="s3cr3t")["spec"])
    assert found
    assert "s3cr3t" not in "".join(found)


def test_many_problems_stay_readable() -> None:
    channels = [{"channelName": 1} for _ in range(20)]
    found = spec_problems(KIND, sample(inputDataConfig=channels)["spec"])
    assert len(found) == 6
    assert found[-1].endswith("more")


def test_aws_reports_name_the_field_as_the_user_wrote_it() -> None:
    text = "1 validation error detected: Value at 'inputDataConfig.1.member.channelName' failed to satisfy constraint"
    assert "'spec.inputDataConfig[0].channelName'" in with_spec_paths(KIND, text)


def test_an_object_is_read_without_its_managed_fields() -> None:
    raw = msgspec.json.encode({"metadata": {"name": "n", "managedFields": [{"a": 1}]}, "spec": {"a": 1}})
    assert msgspec.json.decode(raw, type=KubeObject).decode_spec() == {"a": 1}


def test_each_missing_field_is_named_once() -> None:
    problems = spec_problems(KIND, {"trainingJobName": "n"})
    assert set(problems) == {"spec.outputDataConfig: required", "spec.roleARN: required"}
    assert len(problems) == 2
