"""Creating, replacing and deleting objects, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.kubernetes_support import FINALIZER, GROUP_VERSION, training_job

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


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


async def test_a_body_that_is_not_json_is_400(api: Client) -> None:
    assert (await api.create(api.jobs, b"{nope")).status == 400


async def test_a_wrong_kind_or_version_is_refused(api: Client) -> None:
    assert (await api.create(api.jobs, {**training_job(), "apiVersion": "v1"})).status == 400
    assert (await api.create(api.jobs, {**training_job(), "kind": "Model"})).status == 422
    assert (await api.create(api.jobs, {"metadata": {"name": "x"}})).status == 400


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
