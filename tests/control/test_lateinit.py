"""Late initialisation is a pure function of the empty fields of spec and of the Describe output."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sagemaker_operator.conditions import LATE_INITIALIZED
from sagemaker_operator.control.observation import Observation
from sagemaker_operator.control.plan.actions import Facts, Fill, Finish, Mutation, Update
from sagemaker_operator.control.plan.next_action import next_action
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.control.spec.late_init import LateInit, late_init, late_init_conditions
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import Verdict
from sagemaker_operator.kinds.late_init import LATE_INIT
from sagemaker_operator.kinds.model import input_members, members, output_members

KINDS = catalog()

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], LateInit]] = {
    "a default": ("Model", {}, {"EnableNetworkIsolation": False}, LateInit({"enableNetworkIsolation": False})),
    "what the user set is the user's": (
        "Model",
        {"enableNetworkIsolation": True},
        {"EnableNetworkIsolation": False},
        LateInit(),
    ),
    "false is a value": ("Model", {"enableNetworkIsolation": False}, {"EnableNetworkIsolation": True}, LateInit()),
    "null is none": (
        "Model",
        {"enableNetworkIsolation": None},
        {"EnableNetworkIsolation": False},
        LateInit({"enableNetworkIsolation": False}),
    ),
    "not returned": ("Model", {}, {"ModelName": "m"}, LateInit({}, ("spec.enableNetworkIsolation",))),
    "not described yet": ("Model", {}, {}, LateInit({}, ("spec.enableNetworkIsolation",))),
    "nested, under the CRD's names": (
        "LabelingJob",
        {"outputConfig": {"s3OutputPath": "s3://b/o"}},
        {"OutputConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": ""}},
        LateInit({"outputConfig": {"kmsKeyID": ""}}),
    ),
    "a structure that the user left out stays out": (
        "LabelingJob",
        {},
        {"OutputConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": "key"}},
        LateInit(),
    ),
    "a whole structure": (
        "UserProfile",
        {"userSettings": {}},
        {"UserSettings": {"SpaceStorageSettings": {"DefaultEbsStorageSettings": {"DefaultEbsVolumeSizeInGb": 5}}}},
        LateInit(
            {"userSettings": {"spaceStorageSettings": {"defaultEBSStorageSettings": {"defaultEBSVolumeSizeInGb": 5}}}}
        ),
    ),
    "optional, not described yet": ("App", {}, {}, LateInit({}, ("spec.resourceSpec",))),
    "optional, and SageMaker has none": ("App", {}, {"AppName": "a"}, LateInit()),
    "empty is none": (
        "HyperParameterTuningJob",
        {"trainingJobDefinition": {"algorithmSpecification": {}}},
        {
            "TrainingJobDefinition": {
                "AlgorithmSpecification": {"MetricDefinitions": []},
                "EnableNetworkIsolation": True,
            }
        },
        LateInit(
            {"trainingJobDefinition": {"enableNetworkIsolation": True}},
            (
                "spec.trainingJobDefinition.enableInterContainerTrafficEncryption",
                "spec.trainingJobDefinition.enableManagedSpotTraining",
            ),
        ),
    ),
    "a kind without": ("Endpoint", {}, {"EndpointName": "e"}, LateInit()),
}


@pytest.mark.parametrize("case", CASES)
def test_which_fields_are_filled(case: str) -> None:
    kind, spec, observed, wanted = CASES[case]
    assert late_init(KINDS[kind], spec, observed) == wanted


@pytest.mark.parametrize(
    ("late", "reported"),
    [
        (None, None),
        (LateInit(), ("True", "Late initialization successful", "Late initialization successful")),
        (
            LateInit({}, ("spec.a", "spec.b")),
            (
                "False",
                "Delayed Late Initialization",
                "Late initialization did not complete: SageMaker has not reported spec.a, spec.b",
            ),
        ),
        (
            LateInit({"a": 1}, refused="spec is immutable"),
            ("False", "Delayed Late Initialization", "Late initialization did not complete: spec is immutable"),
        ),
    ],
)
def test_the_condition_names_missing_defaults(late: LateInit | None, reported: tuple[str, str, str] | None) -> None:
    assert late_init_conditions(late) == ({} if reported is None else {LATE_INITIALIZED: reported})


@pytest.mark.parametrize(("kind", "path"), [(kind, late.path) for kind, fields in LATE_INIT.items() for late in fields])
def test_every_field_is_one_that_create_takes_and_describe_returns(kind: str, path: str) -> None:
    top, *rest = path.split(".")
    for found in (input_members(KINDS[kind].create), output_members(KINDS[kind].describe)):
        shape = found[top]
        for member in rest:
            shape = members(shape)[member]


MODEL = KINDS["Model"]
ARN = "arn:aws:sagemaker:us-west-2:123456789012:model/m"
OBSERVED = Observation({"ModelName": "m", "ModelArn": ARN, "EnableNetworkIsolation": False})
WANTED = LateInit({"enableNetworkIsolation": False})
described = Facts(kind=MODEL, managed=True, arn=ARN, observed=OBSERVED, late=WANTED)


def test_the_plan_fills_what_describe_returned() -> None:
    assert next_action(described) == Fill()


@pytest.mark.parametrize(
    "facts",
    [
        replace(described, late=None),
        replace(described, late=LateInit()),
        replace(described, late=replace(WANTED, refused="no")),
        replace(described, deleting=True),
        replace(described, adoption=replace(described.adoption, read_only=True)),
        replace(described, observed=replace(OBSERVED, complete=False)),
        replace(described, unresolved="spec.modelRef waits"),
        replace(described, verdict=Verdict(reject="no")),
        replace(described, verdict=Verdict(wait="later")),
        replace(described, mutation=Mutation.UPDATED),
        replace(
            described, error=AwsError("no", category=ErrorCategory.TRANSIENT, operation="DescribeModel", code="Code")
        ),
    ],
)
def test_the_plan_fills_nothing_else(facts: Facts) -> None:
    assert next_action(facts) != Fill()


def test_an_update_comes_before_the_defaults() -> None:
    verdict = Verdict(request={"ModelName": "m"})
    assert next_action(replace(described, verdict=verdict)) == Update(verdict)


def test_the_first_status_announces_the_defaults() -> None:
    """The CRD's rule of what cannot change lets them through while it does."""
    created = Facts(
        kind=MODEL,
        managed=True,
        mutation=Mutation.CREATED,
        arn=ARN,
        create_confirmed=False,
        late=late_init(MODEL, {}, {}),
    )
    step = next_action(created)
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.requeue == Requeue.POLL
    assert step.findings.also[LATE_INITIALIZED][0] == "False"
