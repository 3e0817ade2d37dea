"""The effects of a schema: defaults, pruning, validation, rules, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.kubernetes_support import GROUP_VERSION, training_job

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


async def test_defaults_are_filled_in(api: Client) -> None:
    assert (await api.job())["spec"]["managed"] is False


async def test_unknown_fields_are_pruned_with_a_warning(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(nope=1, tags=[{"key": "k", "nope": 2}], free={"kept": 1}))
    assert answer.status == 201
    assert answer.body["spec"]["tags"] == [{"key": "k"}]
    assert "nope" not in answer.body["spec"]
    assert answer.body["spec"]["free"] == {"kept": 1}
    warnings = ", ".join(answer.headers.getall("Warning"))
    assert r"unknown field \"spec.nope\"" in warnings
    assert r"unknown field \"spec.tags[0].nope\"" in warnings


async def test_strict_validation_refuses_unknown_and_duplicate_fields(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(nope=1, tags=[{"key": "k", "nope": 2}]), fieldValidation="Strict")
    assert answer.status == 400
    assert answer.body["message"].endswith(
        'strict decoding error: unknown field "spec.nope", unknown field "spec.tags[0].nope"'
    )
    twice = b'{"apiVersion":"%s","kind":"TrainingJob","metadata":{"name":"x"},"spec":{"roleARN":"a","roleARN":"b"}}'
    answer = await api.create(api.jobs, twice % GROUP_VERSION.encode(), fieldValidation="Strict")
    assert answer.status == 400
    assert answer.body["message"].endswith('strict decoding error: duplicate field "spec.roleARN"')


async def test_ignored_validation_prunes_in_silence(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(nope=1), fieldValidation="Ignore")
    assert (answer.status, "Warning" in answer.headers) == (201, False)


async def test_nulls_vanish_where_none_may_be(api: Client) -> None:
    spec = (await api.job(mode=None, env={"a": None, "b": "x"}, tags=[{"key": "k", "value": None}], free={"a": None}))[
        "spec"
    ]
    assert "mode" not in spec
    assert (spec["env"], spec["tags"], spec["free"]) == ({"b": "x"}, [{"key": "k"}], {"a": None})


async def test_a_whole_float_is_an_integer(api: Client) -> None:
    assert (await api.job(maxRuntimeInSeconds=10.0))["spec"]["maxRuntimeInSeconds"] == 10


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        (
            {"tags": "x"},
            "spec.tags",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.tags in body must be of type array: "string"',
        ),
        (
            {"maxRuntimeInSeconds": "x"},
            "spec.maxRuntimeInSeconds",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.maxRuntimeInSeconds in body must be of type integer: "string"',
        ),
        (
            {"managed": "yes"},
            "spec.managed",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.managed in body must be of type boolean: "string"',
        ),
        (
            {"env": {"a": 1}},
            "spec.env.a",
            "FieldValueTypeInvalid",
            'Invalid value: "integer": spec.env.a in body must be of type string: "integer"',
        ),
        (
            {"tags": [None]},
            "spec.tags[0]",
            "FieldValueTypeInvalid",
            'Invalid value: "null": spec.tags[0] in body must be of type object: "null"',
        ),
        (
            {"when": "nope"},
            "spec.when",
            "FieldValueTypeInvalid",
            'Invalid value: "nope": spec.when in body must be of type date-time: "nope"',
        ),
        (
            {"maxRuntimeInSeconds": 0},
            "spec.maxRuntimeInSeconds",
            "FieldValueInvalid",
            "Invalid value: 0: spec.maxRuntimeInSeconds in body should be greater than or equal to 1",
        ),
        (
            {"maxRuntimeInSeconds": 101},
            "spec.maxRuntimeInSeconds",
            "FieldValueInvalid",
            "Invalid value: 101: spec.maxRuntimeInSeconds in body should be less than or equal to 100",
        ),
        (
            {"mode": "Foo"},
            "spec.mode",
            "FieldValueNotSupported",
            'Unsupported value: "Foo": supported values: "File", "Pipe"',
        ),
        ({"roleARN": None}, "spec.roleARN", "FieldValueRequired", "Required value"),
        ({"tags": [{"value": "v"}]}, "spec.tags[0].key", "FieldValueRequired", "Required value"),
        (
            {"trainingJobName": ""},
            "spec.trainingJobName",
            "FieldValueInvalid",
            'Invalid value: "": spec.trainingJobName in body should be at least 1 chars long',
        ),
        (
            {"trainingJobName": "a" * 64},
            "spec.trainingJobName",
            "FieldValueTooLong",
            "Too long: may not be more than 63 bytes",
        ),
        (
            {"trainingJobName": "a_b"},
            "spec.trainingJobName",
            "FieldValueInvalid",
            ("Invalid value: \"a_b\": spec.trainingJobName in body should match '^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$'"),
        ),
        ({"tags": [{"key": "k"}] * 3}, "spec.tags", "FieldValueTooMany", "Too many: 3: must have at most 2 items"),
        (
            {"env": dict.fromkeys("abcd", "x")},
            "spec.env",
            "FieldValueTooMany",
            "Too many: 4: must have at most 3 items",
        ),
    ],
)
async def test_a_spec_that_violates_the_schema_is_422_with_the_servers_message(
    api: Client, spec: dict[str, Any], field: str, reason: str, message: str
) -> None:
    body = training_job()
    body["spec"].update(spec)
    answer = await api.create(api.jobs, body)
    assert answer.status == 422
    assert {"field": field, "reason": reason, "message": message} in answer.body["details"]["causes"]
    # Rules are checked although a value is out of bounds, but not on a value of the wrong shape.
    assert ("<nil>" in {cause[0] for cause in answer.causes}) is (reason != "FieldValueInvalid")


async def test_every_error_is_a_cause(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(maxRuntimeInSeconds=0, mode="Foo", tags=[{}]))
    assert set(answer.causes[:-1]) == {
        ("spec.maxRuntimeInSeconds", "FieldValueInvalid"),
        ("spec.mode", "FieldValueNotSupported"),
        ("spec.tags[0].key", "FieldValueRequired"),
    }
    # The last says that the CEL rules were not run.
    assert answer.causes[-1] == ("<nil>", "FieldValueInvalid")


async def test_a_rule_between_fields_is_checked(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(a="1", b="2"))
    assert (answer.status, answer.causes) == (422, [("spec.a", "FieldValueInvalid")])
    assert answer.body["message"].endswith("spec.a: Invalid value: only one of a, b: one")


async def test_a_transition_rule_keeps_a_field_as_it_was(api: Client) -> None:
    await api.job()
    answer = await api.merge(f"{api.jobs}/one", {"spec": {"trainingJobName": "two"}})
    assert answer.status == 422
    assert sorted(answer.causes) == [("spec", "FieldValueInvalid"), ("spec.trainingJobName", "FieldValueInvalid")]
    assert 'spec.trainingJobName: Invalid value: "two": Value is immutable' in answer.body["message"]
    assert (await api.merge(f"{api.jobs}/one", {"spec": {"maxRuntimeInSeconds": 5}})).status == 200


async def test_metadata_of_the_wrong_type_is_400(api: Client) -> None:
    for metadata in ({"labels": {"a": 1}}, {"labels": "x"}, {"finalizers": "x"}, {"annotations": {"a": True}}):
        answer = await api.create(api.jobs, training_job(metadata=metadata))
        assert (answer.status, "cannot unmarshal" in answer.body["message"]) == (400, True)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"finalizers": ["a b/c"]}, "metadata.finalizers"),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}, "metadata.ownerReferences.uid"),
    ],
)
async def test_bad_metadata_is_422(api: Client, metadata: dict[str, Any], field: str) -> None:
    answer = await api.create(api.jobs, training_job(metadata=metadata))
    assert (answer.status, {cause[0] for cause in answer.causes}) == (422, {field})


async def test_a_finalizer_without_a_domain_is_warned_of(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(metadata={"finalizers": ["orphan-me"]}))
    assert answer.status == 201
    assert "prefer a domain-qualified finalizer name" in answer.headers["Warning"]
