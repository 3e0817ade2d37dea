"""Spec to request and answer to status, over the shapes of the real service model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_operator.aws.translate import FieldTypeError, UnknownField, to_api, to_field
from sagemaker_operator.kinds.model import members, operation

if TYPE_CHECKING:
    from botocore.model import Shape


def request(name: str) -> Shape:
    shape = operation(name).input_shape
    assert shape is not None
    return shape


def answer(name: str) -> Shape:
    shape = operation(name).output_shape
    assert shape is not None
    return shape


TRAINING = request("CreateTrainingJob")

SPEC = {
    "trainingJobName": "mnist",
    "roleARN": "arn:aws:iam::1:role/r",
    "hyperParameters": {"roleARN": "kept", "MaxDepth": "5"},
    "algorithmSpecification": {
        "trainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/x:1",
        "trainingInputMode": "File",
        "metricDefinitions": [{"name": "loss", "regex": "loss=(.*)"}],
    },
    "outputDataConfig": {"s3OutputPath": "s3://b/o", "kmsKeyID": "k"},
    "inputDataConfig": [
        {
            "channelName": "train",
            "dataSource": {"s3DataSource": {"s3DataType": "S3Prefix", "s3URI": "s3://b/i"}},
        }
    ],
    "resourceConfig": {"instanceCount": 1, "instanceType": "ml.m5.large", "volumeSizeInGB": 10.0},
    "stoppingCondition": {"maxRuntimeInSeconds": 60},
    "enableNetworkIsolation": False,
    "vpcConfig": None,
    "tags": [{"key": "roleARN", "value": "v"}],
}


def test_a_spec_becomes_the_request_that_botocore_accepts() -> None:
    translated = to_api(TRAINING, SPEC)
    assert translated["RoleArn"] == "arn:aws:iam::1:role/r"
    assert translated["HyperParameters"] == {"roleARN": "kept", "MaxDepth": "5"}
    assert translated["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/i"
    assert translated["OutputDataConfig"] == {"S3OutputPath": "s3://b/o", "KmsKeyId": "k"}
    assert translated["ResourceConfig"]["VolumeSizeInGB"] == 10
    assert isinstance(translated["ResourceConfig"]["VolumeSizeInGB"], int)
    assert translated["EnableNetworkIsolation"] is False
    assert "VpcConfig" not in translated
    assert translated["Tags"] == [{"Key": "roleARN", "Value": "v"}]
    assert not ParamValidator().validate(translated, TRAINING).has_errors()


def test_an_empty_enum_value_is_omitted_and_an_empty_text_is_sent() -> None:
    """As ACK sends it: Go's SDK leaves the first out, and late initialisation writes the second into specs."""
    spec = {"outputDataConfig": {"s3OutputPath": "s3://b/o", "compressionType": "", "kmsKeyID": ""}}
    assert to_api(TRAINING, spec) == {"OutputDataConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": ""}}


@pytest.mark.parametrize(
    ("spec", "path", "suggestion"),
    [
        ({"roleArn": "r"}, "spec.roleArn", "roleARN"),
        ({"RoleArn": "r"}, "spec.RoleArn", "roleARN"),
        ({"resourceConfig": {"instanceTyp": "x"}}, "spec.resourceConfig.instanceTyp", "instanceType"),
        ({"inputDataConfig": [{}, {"chanelName": "x"}]}, "spec.inputDataConfig[1].chanelName", "channelName"),
        ({"zzz": 1}, "spec.zzz", None),
    ],
)
def test_an_unknown_field_is_named_where_the_user_wrote_it(
    spec: dict[str, Any], path: str, suggestion: str | None
) -> None:
    with pytest.raises(UnknownField) as unknown:
        to_api(TRAINING, spec)
    assert (unknown.value.path, unknown.value.suggestion) == (path, suggestion)
    assert str(unknown.value).startswith(f"{path} is not a known field")


def test_the_keyword_that_acks_names_avoid_is_suggested() -> None:
    with pytest.raises(UnknownField, match="did you mean type_"):
        to_api(request("CreateInferenceExperiment"), {"type": "ShadowMode"})


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"trainingJobName": 1}, "spec.trainingJobName must be a string, not a number"),
        ({"trainingJobName": True}, "spec.trainingJobName must be a string, not a boolean"),
        ({"resourceConfig": "s3cret"}, "spec.resourceConfig must be an object, not a string"),
        ({"resourceConfig": ["s3cret"]}, "spec.resourceConfig must be an object, not a list"),
        (
            {"resourceConfig": {"instanceCount": "s3cret"}},
            "spec.resourceConfig.instanceCount must be an integer, not a",
        ),
        (
            {"resourceConfig": {"instanceCount": True}},
            "spec.resourceConfig.instanceCount must be an integer, not a bool",
        ),
        ({"resourceConfig": {"instanceCount": 1.5}}, "spec.resourceConfig.instanceCount must be an integer, not a num"),
        ({"inputDataConfig": {"s3cret": 1}}, "spec.inputDataConfig must be a list, not an object"),
        ({"inputDataConfig": [None]}, r"spec.inputDataConfig\[0\] must be an object, not null"),
        ({"environment": {"TOKEN": 53}}, "spec.environment.TOKEN must be a string, not a number"),
        ({"environment": "s3cret"}, "spec.environment must be an object, not a string"),
        ({"enableNetworkIsolation": "s3cret"}, "spec.enableNetworkIsolation must be a boolean, not a string"),
    ],
)
def test_a_wrong_type_is_named_without_the_value(spec: dict[str, Any], text: str) -> None:
    with pytest.raises(FieldTypeError, match=text) as wrong:
        to_api(TRAINING, spec)
    assert "s3cret" not in str(wrong.value)
    assert "53" not in str(wrong.value)


def test_times_become_seconds_that_botocore_accepts() -> None:
    shape = request("CreateInferenceExperiment")
    schedule = to_api(shape, {"schedule": {"startTime": "2026-01-02T03:04:05Z"}})
    assert schedule == {"Schedule": {"StartTime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()}}
    assert not ParamValidator().validate(schedule["Schedule"], members(shape)["Schedule"]).has_errors()


@pytest.mark.parametrize("text", ["tomorrow", "2026-01-02", "2026-01-02T03:04:05"])
def test_an_invalid_time_is_named_without_the_value(text: str) -> None:
    with pytest.raises(FieldTypeError, match=r"spec.schedule.startTime must be an RFC 3339 time, not another string$"):
        to_api(request("CreateInferenceExperiment"), {"schedule": {"startTime": text}})


def test_an_answer_becomes_status_fields() -> None:
    shape = answer("DescribeTrainingJob")
    moment = 1700000000.75
    assert to_field(
        shape,
        {
            "TrainingJobArn": "arn",
            "CreationTime": moment,
            "TrainingEndTime": datetime.fromtimestamp(moment, UTC),
            "FailureReason": None,
            "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 1700000000, "New": 1}],
            "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.25}],
            "HyperParameters": {"RoleArn": "kept"},
            "BillableTimeInSeconds": 0,
            "SomethingFromTheFuture": {"a": 1},
        },
    ) == {
        "trainingJobARN": "arn",
        "creationTime": "2023-11-14T22:13:20Z",
        "trainingEndTime": "2023-11-14T22:13:20Z",
        "secondaryStatusTransitions": [{"status": "Starting", "startTime": "2023-11-14T22:13:20Z"}],
        "finalMetricDataList": [{"metricName": "loss", "value": 0.25}],
        "hyperParameters": {"RoleArn": "kept"},
        "billableTimeInSeconds": 0,
    }


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """API values of a shape, as botocore's parser would return them."""
    match shape.type_name:
        case "structure":
            known = members(shape)
            if depth > 3:
                return st.just({})
            return st.fixed_dictionaries(
                {},
                optional={name: st.deferred(lambda s=target: values(s, depth + 1)) for name, target in known.items()},
            )
        case "list":
            return st.lists(values(shape.member, depth + 1), max_size=2)
        case "map":
            return st.dictionaries(st.text(max_size=5), values(shape.value, depth + 1), max_size=2)
        case "integer" | "long":
            return st.integers(-(2**31), 2**31)
        case "float" | "double":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return st.integers(0, 4_000_000_000).map(float)
        case _:
            # No answer has an empty value of an enum, and a spec's means that it is not set.
            return st.text(min_size=1 if getattr(shape, "enum", ()) else 0, max_size=8)


@settings(max_examples=60, deadline=None)
@given(value=values(TRAINING))
def test_a_training_job_request_survives_a_round_trip(value: dict[str, Any]) -> None:
    assert to_api(TRAINING, to_field(TRAINING, value)) == value


@settings(max_examples=60, deadline=None)
@given(value=values(answer("DescribeTrainingJob")))
def test_a_training_job_answer_survives_a_round_trip(value: dict[str, Any]) -> None:
    shape = answer("DescribeTrainingJob")
    assert to_api(shape, to_field(shape, value)) == value


@settings(max_examples=100, deadline=None)
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["resourceConfig", "roleARN", "environment", "tags", "x"]), inner, max_size=3
            )
        ),
    )
)
def test_any_json_is_translated_or_refused_with_a_path(junk: Any) -> None:
    problem: UnknownField | FieldTypeError | None = None
    try:
        to_api(TRAINING, junk)
    except (UnknownField, FieldTypeError) as refused:
        problem = refused
    assert problem is None or problem.path.startswith("spec")
