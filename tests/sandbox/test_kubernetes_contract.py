"""What a Kubernetes API server does, asked of the emulator and of a real one: the same questions, the same answers."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.sandbox.kubernetes_support import (
    CRD,
    CRDS,
    GROUP_VERSION,
    JSON_PATCH,
    STRATEGIC,
    Client,
    training_job,
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
FINALIZER = "finalizers.sagemaker.services.k8s.aws/TrainingJob"


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# Create and get


async def test_a_created_object_has_what_the_server_sets(api: Client) -> None:
    created = await api.job(maxRuntimeInSeconds=10)
    metadata = created["metadata"]
    assert metadata["namespace"] == api.namespace
    assert metadata["generation"] == 1
    assert len(metadata["uid"]) == 36
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert (created["apiVersion"], created["kind"]) == (GROUP_VERSION, "TrainingJob")
    got = (await api.get(f"{api.jobs}/one")).body
    assert (got["spec"], got["metadata"]["uid"]) == (created["spec"], metadata["uid"])


async def test_what_only_the_server_sets_is_not_taken_from_a_create(api: Client) -> None:
    body = training_job(metadata={"uid": "mine", "generation": 7, "deletionTimestamp": "2020-01-01T00:00:00Z"})
    created = (await api.create(api.jobs, body)).body["metadata"]
    assert created["uid"] != "mine"
    assert created["generation"] == 1
    assert "deletionTimestamp" not in created


async def test_a_create_with_a_resource_version_is_refused(api: Client) -> None:
    assert (await api.create(api.jobs, training_job(metadata={"resourceVersion": "5"}))).status == 500


async def test_a_second_create_of_a_name_is_409_already_exists(api: Client) -> None:
    await api.job()
    answer = await api.create(api.jobs, training_job())
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
    assert answer.body["details"] == {"name": "one", "group": "sagemaker.services.k8s.aws", "kind": "trainingjobs"}
    assert answer.body["message"] == 'trainingjobs.sagemaker.services.k8s.aws "one" already exists'


async def test_a_missing_object_is_404_with_a_status(api: Client) -> None:
    answer = await api.get(f"{api.jobs}/nope")
    assert (answer.status, answer.body["kind"], answer.body["reason"]) == (404, "Status", "NotFound")
    assert answer.body["message"] == 'trainingjobs.sagemaker.services.k8s.aws "nope" not found'


async def test_an_unknown_resource_is_404_without_a_status(api: Client) -> None:
    assert (await api.get(api.jobs.replace("trainingjobs", "nopes"))).status == 404


async def test_generate_name_makes_a_name_from_the_prefix(api: Client) -> None:
    body = {**training_job(), "metadata": {"generateName": "job-"}}
    names = {(await api.create(api.jobs, body)).body["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_a_create_in_a_missing_namespace_is_404(api: Client) -> None:
    answer = await api.create(api.jobs.replace(api.namespace, "nowhere"), training_job())
    assert (answer.status, answer.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_an_object_of_another_namespace_is_400(api: Client) -> None:
    assert (await api.create(api.jobs, training_job(metadata={"namespace": "other"}))).status == 400


@pytest.mark.parametrize("name", ["Bad_Name", "-x", "a" * 254])
async def test_an_invalid_name_is_422(api: Client, name: str) -> None:
    answer = await api.create(api.jobs, training_job(name, trainingJobName="x"))
    assert (answer.status, answer.causes) == (422, [("metadata.name", "FieldValueInvalid")])


async def test_a_dry_run_answers_and_stores_nothing(api: Client) -> None:
    answer = await api.create(api.jobs, training_job(), dryRun="All")
    assert (answer.status, answer.body["spec"]["managed"]) == (201, False)
    assert (await api.get(f"{api.jobs}/one")).status == 404


async def test_a_body_that_is_no_json_is_400(api: Client) -> None:
    assert (await api.create(api.jobs, b"{nope")).status == 400


async def test_a_wrong_kind_or_version_is_refused(api: Client) -> None:
    assert (await api.create(api.jobs, {**training_job(), "apiVersion": "v1"})).status == 400
    assert (await api.create(api.jobs, {**training_job(), "kind": "Model"})).status == 422
    assert (await api.create(api.jobs, {"metadata": {"name": "x"}})).status == 400


# The schema


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
async def test_a_spec_against_the_schema_is_422_in_the_servers_words(
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


# Update


async def test_a_replace_bumps_the_generation_and_an_unchanged_one_does_not(api: Client) -> None:
    job = await api.job()
    job["spec"]["maxRuntimeInSeconds"] = 7
    changed = (await api.ask("PUT", f"{api.jobs}/one", job)).body
    assert changed["metadata"]["generation"] == 2
    assert changed["metadata"]["resourceVersion"] != job["metadata"]["resourceVersion"]
    again = (await api.ask("PUT", f"{api.jobs}/one", changed)).body
    assert again["metadata"]["generation"] == 2
    assert again["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_a_stale_resource_version_is_409_conflict(api: Client) -> None:
    job = await api.job()
    await api.merge(f"{api.jobs}/one", {"spec": {"maxRuntimeInSeconds": 7}})
    stale = {**job, "spec": {**job["spec"], "mode": "File"}}
    answer = await api.ask("PUT", f"{api.jobs}/one", stale)
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["message"].startswith(
        'Operation cannot be fulfilled on trainingjobs.sagemaker.services.k8s.aws "one": the object has been modified'
    )


async def test_a_custom_resource_is_not_replaced_without_a_resource_version(api: Client) -> None:
    await api.job()
    answer = await api.ask("PUT", f"{api.jobs}/one", training_job())
    assert (answer.status, answer.causes) == (422, [("metadata.resourceVersion", "FieldValueInvalid")])


async def test_a_replace_must_name_the_object_of_its_url(api: Client) -> None:
    job = await api.job()
    other = {**job, "metadata": {**job["metadata"], "name": "two"}}
    assert (await api.ask("PUT", f"{api.jobs}/one", other)).status == 400
    assert (await api.ask("PUT", f"{api.jobs}/nope", training_job("nope"))).status == 404


async def test_another_uid_is_409(api: Client) -> None:
    job = await api.job()
    other = {**job, "metadata": {**job["metadata"], "uid": "another"}}
    assert (await api.ask("PUT", f"{api.jobs}/one", other)).status == 409


async def test_the_main_endpoint_ignores_status(api: Client) -> None:
    created = await api.create(api.jobs, {**training_job(), "status": {"trainingJobStatus": "Completed"}})
    assert "status" not in created.body
    patched = await api.merge(f"{api.jobs}/one", {"status": {"trainingJobStatus": "Completed"}})
    assert (patched.status, "status" in patched.body) == (200, False)
    assert patched.body["metadata"]["resourceVersion"] == created.body["metadata"]["resourceVersion"]


async def test_the_status_endpoint_ignores_everything_else(api: Client) -> None:
    job = await api.job()
    patch = {
        "metadata": {"labels": {"a": "b"}, "finalizers": [FINALIZER]},
        "spec": {"maxRuntimeInSeconds": 3},
        "status": {"trainingJobStatus": "InProgress", "nope": 1},
    }
    after = (await api.merge(f"{api.jobs}/one/status", patch)).body
    assert after["status"] == {"trainingJobStatus": "InProgress"}
    assert after["spec"] == job["spec"]
    assert after["metadata"]["generation"] == 1
    assert after["metadata"].keys() & {"labels", "finalizers"} == set()
    assert after["metadata"]["resourceVersion"] != job["metadata"]["resourceVersion"]


async def test_a_status_is_validated_too(api: Client) -> None:
    await api.job()
    answer = await api.merge(f"{api.jobs}/one/status", {"status": {"conditions": [{"type": "Ready"}]}})
    assert (answer.status, answer.causes[0]) == (422, ("status.conditions[0].status", "FieldValueRequired"))


async def test_a_replaced_status_obeys_the_optimistic_lock(api: Client) -> None:
    job = await api.job()
    first = await api.ask("PUT", f"{api.jobs}/one/status", {**job, "status": {"secondaryStatus": "Starting"}})
    assert (first.status, first.body["status"]) == (200, {"secondaryStatus": "Starting"})
    second = await api.ask("PUT", f"{api.jobs}/one/status", {**job, "status": {"secondaryStatus": "Training"}})
    assert second.status == 409


# Patch


async def test_a_merge_patch_of_the_same_values_writes_nothing(api: Client) -> None:
    job = await api.job(maxRuntimeInSeconds=5)
    same = (await api.merge(f"{api.jobs}/one", {"spec": {"maxRuntimeInSeconds": 5}, "metadata": {"labels": None}})).body
    assert same["metadata"]["resourceVersion"] == job["metadata"]["resourceVersion"]


async def test_a_metadata_patch_keeps_the_generation(api: Client) -> None:
    await api.job()
    patch = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}, "finalizers": [FINALIZER]}}
    metadata = (await api.merge(f"{api.jobs}/one", patch)).body["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"team": "a"}, {"note": "b"})
    assert (metadata["finalizers"], metadata["generation"]) == ([FINALIZER], 1)


async def test_a_null_in_a_merge_patch_removes_the_field(api: Client) -> None:
    await api.job(maxRuntimeInSeconds=5)
    after = (await api.merge(f"{api.jobs}/one", {"spec": {"maxRuntimeInSeconds": None}})).body
    assert "maxRuntimeInSeconds" not in after["spec"]


async def test_a_merge_patch_with_a_stale_version_is_409(api: Client) -> None:
    job = await api.job()
    await api.merge(f"{api.jobs}/one", {"spec": {"maxRuntimeInSeconds": 7}})
    patch = {"metadata": {"resourceVersion": job["metadata"]["resourceVersion"]}, "spec": {"mode": "File"}}
    assert (await api.merge(f"{api.jobs}/one", patch)).status == 409


async def test_a_json_patch_edits_and_tests(api: Client) -> None:
    await api.job(maxRuntimeInSeconds=5)
    patch = [
        {"op": "test", "path": "/spec/maxRuntimeInSeconds", "value": 5},
        {"op": "replace", "path": "/spec/maxRuntimeInSeconds", "value": 6},
        {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]},
    ]
    answer = await api.ask("PATCH", f"{api.jobs}/one", patch, content_type=JSON_PATCH)
    assert (answer.status, answer.body["spec"]["maxRuntimeInSeconds"]) == (200, 6)
    assert answer.body["metadata"]["finalizers"] == [FINALIZER]
    failed = await api.ask("PATCH", f"{api.jobs}/one", patch, content_type=JSON_PATCH)
    assert (failed.status, failed.body["reason"]) == (422, "Invalid")


async def test_a_json_patch_of_a_missing_path_is_422(api: Client) -> None:
    await api.job()
    patch = [{"op": "remove", "path": "/spec/nope"}]
    assert (await api.ask("PATCH", f"{api.jobs}/one", patch, content_type=JSON_PATCH)).status == 422


@pytest.mark.parametrize("content_type", [STRATEGIC, "text/plain"])
async def test_a_custom_resource_takes_no_other_patch(api: Client, content_type: str) -> None:
    await api.job()
    answer = await api.ask("PATCH", f"{api.jobs}/one", {}, content_type=content_type)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


async def test_a_patch_that_is_no_json_is_400(api: Client) -> None:
    await api.job()
    assert (await api.merge(f"{api.jobs}/one", b"{x")).status == 400


async def test_a_strict_patch_refuses_unknown_fields(api: Client) -> None:
    await api.job()
    answer = await api.merge(f"{api.jobs}/one", {"spec": {"nope": 1}}, fieldValidation="Strict")
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"].endswith('strict decoding error: unknown field "spec.nope"')


async def test_a_patch_of_a_missing_object_is_404(api: Client) -> None:
    assert (await api.merge(f"{api.jobs}/nope", {})).status == 404


async def test_a_strategic_merge_adds_to_the_finalizers_of_a_built_in_type(api: Client) -> None:
    await api.create(f"{api.core}/configmaps", config_map())
    path = f"{api.core}/configmaps/settings"
    for finalizer in ("a.io/x", "b.io/y"):
        answer = await api.ask("PATCH", path, {"metadata": {"finalizers": [finalizer]}}, content_type=STRATEGIC)
    assert answer.body["metadata"]["finalizers"] == ["b.io/y", "a.io/x"]


# Delete


async def test_a_delete_without_finalizers_is_at_once(api: Client) -> None:
    job = await api.job()
    answer = await api.ask("DELETE", f"{api.jobs}/one")
    assert (answer.status, answer.body["kind"], answer.body["status"]) == (200, "Status", "Success")
    assert answer.body["details"]["uid"] == job["metadata"]["uid"]
    assert (await api.get(f"{api.jobs}/one")).status == 404
    assert (await api.ask("DELETE", f"{api.jobs}/one")).status == 404


async def test_finalizers_hold_a_deleted_object(api: Client) -> None:
    await api.create(api.jobs, training_job(metadata={"finalizers": [FINALIZER]}))
    first = (await api.ask("DELETE", f"{api.jobs}/one")).body["metadata"]
    assert first["deletionTimestamp"].endswith("Z")
    assert (first["deletionGracePeriodSeconds"], first["generation"]) == (0, 2)
    again = (await api.ask("DELETE", f"{api.jobs}/one")).body["metadata"]
    assert again["resourceVersion"] == first["resourceVersion"]
    last = await api.merge(f"{api.jobs}/one", {"metadata": {"finalizers": None}})
    assert last.status == 200
    assert (await api.get(f"{api.jobs}/one")).status == 404


async def test_a_deleting_object_gets_no_new_finalizer_and_does_not_come_back(api: Client) -> None:
    await api.create(api.jobs, training_job(metadata={"finalizers": [FINALIZER]}))
    await api.ask("DELETE", f"{api.jobs}/one")
    answer = await api.merge(f"{api.jobs}/one", {"metadata": {"finalizers": [FINALIZER, "a.io/b"]}})
    assert (answer.status, set(answer.causes)) == (
        422,
        {("metadata.finalizers", "FieldValueForbidden")},
    )
    back = await api.merge(f"{api.jobs}/one", {"metadata": {"deletionTimestamp": None}})
    assert back.body["metadata"]["deletionTimestamp"]
    status = await api.merge(f"{api.jobs}/one/status", {"metadata": {"finalizers": None}})
    assert status.body["metadata"]["finalizers"] == [FINALIZER]


async def test_a_deleting_object_can_still_be_edited(api: Client) -> None:
    await api.create(api.jobs, training_job(metadata={"finalizers": [FINALIZER]}))
    await api.ask("DELETE", f"{api.jobs}/one")
    assert (await api.merge(f"{api.jobs}/one", {"spec": {"mode": "File"}})).body["metadata"]["generation"] == 3


@pytest.mark.parametrize("preconditions", [{"uid": "another"}, {"resourceVersion": "1"}])
async def test_a_delete_of_something_else_is_409(api: Client, preconditions: dict[str, str]) -> None:
    await api.job()
    answer = await api.ask("DELETE", f"{api.jobs}/one", {"preconditions": preconditions})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert (await api.get(f"{api.jobs}/one")).status == 200


async def test_a_dry_run_deletes_nothing(api: Client) -> None:
    await api.job()
    assert (await api.ask("DELETE", f"{api.jobs}/one", dryRun="All")).status == 200
    assert (await api.get(f"{api.jobs}/one")).status == 200


async def test_a_collection_is_deleted_as_far_as_the_selector_goes(api: Client) -> None:
    for name, team in (("a", "x"), ("b", "y")):
        await api.create(api.jobs, training_job(name, metadata={"labels": {"team": team}}))
    answer = await api.ask("DELETE", api.jobs, labelSelector="team=x")
    assert answer.status == 200
    assert [item["metadata"]["name"] for item in (await api.get(api.jobs)).body["items"]] == ["b"]


async def test_the_default_namespace_cannot_be_deleted(api: Client) -> None:
    assert (await api.ask("DELETE", "/api/v1/namespaces/default")).status == 403


# List


async def names(api: Client, path: str = "", **query: str) -> list[str]:
    answer = await api.get(path or api.jobs, **query)
    assert answer.status == 200, answer.body
    return [item["metadata"]["name"] for item in answer.body["items"]]


async def test_a_list_is_sorted_and_bears_a_version(api: Client) -> None:
    for name in ("b", "a"):
        await api.job(name)
    answer = (await api.get(api.jobs)).body
    assert (answer["kind"], answer["apiVersion"]) == ("TrainingJobList", GROUP_VERSION)
    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "b"]
    assert answer["items"][0]["kind"] == "TrainingJob"
    assert answer["metadata"]["resourceVersion"].isdigit()


async def test_all_namespaces_can_be_listed(api: Client) -> None:
    await api.job()
    items = (await api.get(f"/apis/{GROUP_VERSION}/trainingjobs")).body["items"]
    assert (api.namespace, "one") in {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("team=x", ["a"]),
        ("team==x", ["a"]),
        ("team!=x", ["b", "c"]),
        ("team in (x,y)", ["a", "b"]),
        ("team notin (x)", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team,tier=1", ["b"]),
        ("tier>0", ["b"]),
        ("tier<1", []),
    ],
)
async def test_label_selectors_select(api: Client, selector: str, expected: list[str]) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y", "tier": "1"}), ("c", {})):
        await api.create(api.jobs, training_job(name, metadata={"labels": labels}))
    assert await names(api, labelSelector=selector) == expected


async def test_field_selectors_select_by_name_and_namespace_only(api: Client) -> None:
    for name in ("a", "b"):
        await api.job(name)
    assert await names(api, fieldSelector="metadata.name=a") == ["a"]
    assert await names(api, fieldSelector="metadata.name!=a") == ["b"]
    path = f"/apis/{GROUP_VERSION}/trainingjobs"
    assert await names(api, path, fieldSelector=f"metadata.namespace={api.namespace}") == ["a", "b"]
    assert (await api.get(api.jobs, fieldSelector="spec.x=1")).status == 400


@pytest.mark.parametrize("query", [{"labelSelector": "a b c"}, {"limit": "x"}, {"resourceVersion": "x"}])
async def test_a_bad_query_is_400(api: Client, query: dict[str, str]) -> None:
    assert (await api.get(api.jobs, **query)).status == 400


async def test_pages_are_of_one_moment(api: Client) -> None:
    for name in "abc":
        await api.job(name)
    first = (await api.get(api.jobs, limit="2")).body
    await api.job("d")
    await api.ask("DELETE", f"{api.jobs}/c")
    second = (await api.get(api.jobs, limit="2", **{"continue": first["metadata"]["continue"]})).body
    assert first["metadata"]["remainingItemCount"] == 1
    found = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert found == ["a", "b", "c"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not second["metadata"].get("continue")


async def test_a_list_from_the_cache_has_no_pages(api: Client) -> None:
    for name in "abc":
        await api.job(name)
    # A server whose cache of a new collection is not filled yet reads from etcd, in pages. A watch waits for the cache.
    async with api.watch(resourceVersion="0") as watch:
        await watch.take(3)
    assert await names(api, resourceVersion="0", limit="2") == ["a", "b", "c"]


async def test_a_bad_continue_token_is_400(api: Client) -> None:
    assert (await api.get(api.jobs, **{"continue": "xx"})).status == 400


async def test_a_version_from_the_future_is_504_with_a_cause(api: Client) -> None:
    answer = await api.get(api.jobs, resourceVersion="99999999999", timeoutSeconds="1")
    assert (answer.status, answer.headers["Retry-After"]) == (504, "1")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Nope", "resourceVersion": "1"},
        {"watch": "true", "sendInitialEvents": "true"},
        {"watch": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "1"},
    ],
)
async def test_options_that_contradict_each_other_are_422(api: Client, query: dict[str, str]) -> None:
    assert (await api.get(api.jobs, **query)).status == 422


async def test_an_unsupported_option_value_is_422(api: Client) -> None:
    for query in ({"dryRun": "foo"}, {"fieldValidation": "foo"}):
        answer = await api.create(api.jobs, training_job(), **query)
        assert (answer.status, answer.causes) == (422, [(next(iter(query)), "FieldValueNotSupported")])


# Watch


async def test_a_watch_sees_every_change_in_order(api: Client) -> None:
    async with api.watch(resourceVersion=await api.version()) as watch:
        await api.job()
        await api.merge(f"{api.jobs}/one", {"spec": {"mode": "File"}})
        await api.merge(f"{api.jobs}/one", {"spec": {"mode": "File"}})
        await api.ask("DELETE", f"{api.jobs}/one")
        assert await watch.take(3) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


async def test_a_watch_from_a_version_replays_what_came_after(api: Client) -> None:
    await api.job("before")
    since = await api.version()
    await api.job("after")
    await api.ask("DELETE", f"{api.jobs}/after")
    async with api.watch(resourceVersion=since) as watch:
        assert await watch.take(2) == [("ADDED", "after"), ("DELETED", "after")]


async def test_a_deleted_event_bears_the_version_of_the_deletion(api: Client) -> None:
    job = await api.job()
    async with api.watch(resourceVersion=job["metadata"]["resourceVersion"]) as watch:
        await api.ask("DELETE", f"{api.jobs}/one")
        event = await watch.next()
    assert event is not None
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(job["metadata"]["resourceVersion"])


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_a_watch_without_a_version_begins_with_what_there_is(api: Client, query: dict[str, str]) -> None:
    await api.job("a")
    async with api.watch(**query) as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_marked_bookmark(api: Client) -> None:
    await api.job("a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(**query) as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark is not None
        assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "TrainingJob")
        metadata = bookmark["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]
    async with api.watch(resourceVersion=metadata["resourceVersion"]) as watch:
        assert await watch.take(1) == [("ADDED", "b")]


async def test_what_leaves_or_enters_a_selector_is_deleted_or_added(api: Client) -> None:
    since = await api.version()
    async with api.watch(resourceVersion=since, labelSelector="team=x") as watch:
        await api.job("other")
        await api.create(api.jobs, training_job("one", metadata={"labels": {"team": "x"}}))
        await api.merge(f"{api.jobs}/one", {"metadata": {"labels": {"team": "y"}}})
        await api.merge(f"{api.jobs}/one", {"metadata": {"labels": {"team": "x"}}})
        assert await watch.take(3) == [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "one")]


async def test_a_watch_can_follow_one_name(api: Client) -> None:
    since = await api.version()
    async with api.watch(resourceVersion=since, fieldSelector="metadata.name=b") as watch:
        await api.job("a")
        await api.job("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_watch_of_all_namespaces_sees_this_one(api: Client) -> None:
    since = await api.version()
    async with api.watch(f"/apis/{GROUP_VERSION}/trainingjobs", resourceVersion=since) as watch:
        await api.job("a")
        assert await watch.take(1) == [("ADDED", "a")]


async def test_a_watch_from_before_the_history_is_an_error_event(api: Client) -> None:
    async with api.watch(resourceVersion="1") as watch:
        event = await watch.next()
        assert watch.status == 200
        assert event is not None
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await watch.next() is None


async def test_a_watch_ends_after_timeout_seconds_with_a_bookmark_before(api: Client) -> None:
    await api.job("a")
    async with api.watch(timeoutSeconds="3", allowWatchBookmarks="true") as watch:
        assert await watch.take(1) == [("ADDED", "a")]
        bookmark = await watch.next()
        assert bookmark is not None
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["resourceVersion"].isdigit()
        assert await watch.next() is None


# Tables and discovery


async def test_a_table_has_the_printer_columns(api: Client) -> None:
    await api.job("a")
    conditions = [{"type": "Other", "status": "False"}, {"type": "ACK.ResourceSynced", "status": "True"}]
    status = {"trainingJobStatus": "InProgress", "conditions": conditions}
    await api.merge(f"{api.jobs}/a/status", {"status": status})
    await api.job("b")
    table = (await api.ask("GET", api.jobs, accept=TABLE)).body
    assert table["kind"] == "Table"
    columns = [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("STATUS", "string", 0),
        ("SECONDARY", "string", 1),
        ("SYNCED", "string", 0),
        ("AGE", "date", 0),
    ]
    assert [row["cells"][:4] for row in table["rows"]] == [
        ["a", "InProgress", None, "True"],
        ["b", None, None, None],
    ]
    assert all(row["cells"][4].endswith("s") for row in table["rows"])
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["rows"][0]["object"]["metadata"]["name"] == "a"


async def test_a_table_can_be_had_of_one_object_and_of_a_watch(api: Client) -> None:
    await api.job("a")
    one = (await api.ask("GET", f"{api.jobs}/a", accept=TABLE)).body
    assert [row["cells"][0] for row in one["rows"]] == ["a"]


async def test_nothing_but_json_is_406(api: Client) -> None:
    answer = await api.ask("GET", api.jobs, accept="text/html")
    assert answer.status == 406


async def test_both_discoveries_name_the_custom_resource(api: Client) -> None:
    groups = (await api.get("/apis")).body["groups"]
    assert GROUP_VERSION in {group["preferredVersion"]["groupVersion"] for group in groups}
    resources = (await api.get(f"/apis/{GROUP_VERSION}")).body["resources"]
    assert [resource["name"] for resource in resources] == ["trainingjobs", "trainingjobs/status"]
    assert (resources[0]["shortNames"], resources[0]["categories"]) == (["tj"], ["aws", "sagemaker"])
    aggregated = (await api.ask("GET", "/apis", accept=AGGREGATED)).body
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    group = next(item for item in aggregated["items"] if item["metadata"]["name"] == GROUP_VERSION.split("/")[0])
    resource = group["versions"][0]["resources"][0]
    assert (resource["resource"], resource["scope"]) == ("trainingjobs", "Namespaced")
    assert resource["subresources"][0]["subresource"] == "status"
    core = (await api.ask("GET", "/api", accept=AGGREGATED)).body["items"][0]["versions"][0]["resources"]
    assert {"configmaps", "secrets", "namespaces", "events"} <= {entry["resource"] for entry in core}


async def test_openapi_v3_says_that_the_server_validates_fields(api: Client) -> None:
    index = (await api.get("/openapi/v3")).body["paths"]
    url = index[f"apis/{GROUP_VERSION}"]["serverRelativeURL"]
    path, _, query = url.partition("?hash=")
    document = (await api.get(path, hash=query)).body
    item = document["paths"][f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/trainingjobs/{{name}}"]
    assert "fieldValidation" in {parameter["name"] for parameter in item["patch"]["parameters"]}
    kind = {"group": "sagemaker.services.k8s.aws", "version": "v1alpha1", "kind": "TrainingJob"}
    assert item["patch"]["x-kubernetes-group-version-kind"] == kind
    schema = next(
        schema
        for schema in document["components"]["schemas"].values()
        if kind in schema.get("x-kubernetes-group-version-kind", ())
    )
    assert schema["properties"]["spec"]["properties"]["roleARN"]["description"] == "Role."


async def test_health_and_version_answer(api: Client) -> None:
    assert [(await api.get(f"/{path}")).status for path in ("healthz", "livez", "readyz")] == [200, 200, 200]
    assert (await api.get("/version")).body["major"] == "1"


# Custom resource definitions


async def test_a_definition_is_completed_and_established(api: Client) -> None:
    crd = (await api.get(f"{CRDS}/{CRD['metadata']['name']}")).body
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert crd["spec"]["conversion"] == {"strategy": "None"}
    assert crd["status"]["storedVersions"] == ["v1alpha1"]
    assert crd["status"]["acceptedNames"]["listKind"] == "TrainingJobList"


async def test_a_definition_must_be_named_after_its_resource(api: Client) -> None:
    answer = await api.create(CRDS, {**CRD, "metadata": {"name": "other.sagemaker.services.k8s.aws"}})
    assert (answer.status, answer.causes[0]) == (422, ("metadata.name", "FieldValueInvalid"))


# Built-in types


async def test_config_maps_are_stored_and_replaced_without_a_version(api: Client) -> None:
    path = f"{api.core}/configmaps"
    assert (await api.create(path, config_map(a="b"))).body["data"] == {"a": "b"}
    assert (await api.ask("PUT", f"{path}/settings", config_map(a="c"))).body["data"] == {"a": "c"}
    assert (await api.create(path, {**config_map("x"), "data": {"a": 1}})).status == 400
    answer = await api.create(path, {**config_map("x"), "nope": 1}, fieldValidation="Strict")
    assert (answer.status, 'unknown field "nope"' in answer.body["message"]) == (400, True)


async def test_items_of_a_built_in_list_do_not_repeat_their_kind(api: Client) -> None:
    await api.create(f"{api.core}/configmaps", config_map(a="b"))
    answer = (await api.get(f"{api.core}/configmaps", labelSelector="!nope")).body
    assert answer["kind"] == "ConfigMapList"
    assert "kind" not in answer["items"][0]


async def test_the_string_data_of_a_secret_is_encoded(api: Client) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    created = (await api.create(f"{api.core}/secrets", secret)).body
    assert created["data"] == {"a": base64.b64encode(b"b").decode()}
    assert "stringData" not in created
    bad = {**secret, "metadata": {"name": "t"}, "stringData": {}, "data": {"a": "???"}}
    assert (await api.create(f"{api.core}/secrets", bad)).status == 400


def lease(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec}


async def test_a_lease_is_taken_by_whoever_writes_first(api: Client) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    free = (await api.create(path, lease(leaseDurationSeconds=15))).body
    mine = {**free, "spec": {"holderIdentity": "me", "renewTime": "2026-11-24T09:51:22.000000Z"}}
    theirs = {**free, "spec": {"holderIdentity": "they", "renewTime": "2026-11-24T09:51:22.000001Z"}}
    assert (await api.ask("PUT", f"{path}/l", mine)).body["spec"]["holderIdentity"] == "me"
    assert (await api.ask("PUT", f"{path}/l", theirs)).status == 409


@pytest.mark.parametrize("time", ["2026-11-24T09:51:22Z", "2026-11-24T09:51:22.1Z"])
async def test_a_micro_time_without_six_digits_is_400(api: Client, time: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    answer = await api.create(path, lease(renewTime=time))
    assert (answer.status, "parsing time" in answer.body["message"]) == (400, True)


async def test_events_of_both_groups_are_taken(api: Client) -> None:
    regarding = {"apiVersion": GROUP_VERSION, "kind": "TrainingJob", "namespace": api.namespace, "name": "one"}
    new = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "new"},
        "eventTime": "2026-11-24T09:51:22.000000Z",
        "reportingController": "sagemaker-operator",
        "reportingInstance": "pod-1",
        "action": "Create",
        "reason": "Created",
        "type": "Normal",
        "note": "TrainingJob one created",
        "regarding": regarding,
    }
    created = await api.create(f"/apis/events.k8s.io/v1/namespaces/{api.namespace}/events", new)
    assert (created.status, created.body["regarding"]["name"]) == (201, "one")
    patch = {"series": {"count": 2, "lastObservedTime": "2026-11-24T09:52:22.000000Z"}}
    patched = await api.merge(f"/apis/events.k8s.io/v1/namespaces/{api.namespace}/events/new", patch)
    assert (patched.status, patched.body["series"]["count"]) == (200, 2)
    old = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "old"},
        "involvedObject": regarding,
        "reason": "Created",
        "message": "text",
        "type": "Normal",
        "firstTimestamp": "2026-11-24T09:51:22Z",
        "lastTimestamp": "2026-11-24T09:51:22Z",
        "count": 1,
    }
    assert (await api.create(f"{api.core}/events", old)).status == 201
    found = await api.get(f"{api.core}/events", fieldSelector="involvedObject.name=one,involvedObject.kind=TrainingJob")
    assert "old" in {item["metadata"]["name"] for item in found.body["items"]}
