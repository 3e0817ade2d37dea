"""Server-side apply, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.kubernetes_support import APPLY, FINALIZER, GROUP_VERSION, config_map, training_job

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Answer, Client

ROLE = {"f:roleARN": {}, "f:trainingJobName": {}}


async def apply(api: Client, body: Any, by: str = "one", *, path: str = "", **query: str) -> Answer:
    """Applied as the manager `by`."""
    where = path or f"{api.jobs}/one"
    return await api.ask("PATCH", where, body, content_type=APPLY, **({"fieldManager": by} if by else {}), **query)


def job(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return training_job(metadata=metadata, **spec)


def status(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP_VERSION, "kind": "TrainingJob", "metadata": {"name": "one"}, "status": fields}


def managed(answer: Answer) -> dict[tuple[str, str, str], Any]:
    """(manager, operation, subresource) -> its fields."""
    entries = answer.body["metadata"].get("managedFields", [])
    assert all(entry["fieldsType"] == "FieldsV1" and entry["time"].endswith("Z") for entry in entries)
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"] for entry in entries
    }


async def test_an_apply_creates_what_is_not_there_and_owns_what_it_says(api: Client) -> None:
    answer = await apply(
        api, job({"labels": {"team": "a"}, "finalizers": [FINALIZER]}, env={"a": "1"}, tags=[{"key": "k"}])
    )
    assert (answer.status, answer.body["metadata"]["generation"]) == (201, 1)
    assert answer.body["spec"]["managed"] is False, "a default, without an owner"
    assert managed(answer) == {
        ("one", "Apply", ""): {
            "f:metadata": {"f:finalizers": {f'v:"{FINALIZER}"': {}}, "f:labels": {"f:team": {}}},
            "f:spec": {"f:env": {"f:a": {}}, "f:tags": {}, **ROLE},
        }
    }


async def test_an_apply_of_the_same_writes_nothing(api: Client) -> None:
    first = await apply(api, job(env={"a": "1"}))
    again = await apply(api, job(env={"a": "1"}))
    assert (again.status, again.body) == (200, first.body)


async def test_two_managers_share_an_object_and_own_their_parts(api: Client) -> None:
    await apply(api, job({"labels": {"team": "a"}, "finalizers": ["a.io/x"]}, env={"a": "1"}))
    answer = await apply(api, job({"labels": {"tier": "b"}, "finalizers": ["b.io/y"]}, env={"b": "2"}), "two")
    assert answer.body["metadata"]["labels"] == {"team": "a", "tier": "b"}
    assert answer.body["metadata"]["finalizers"] == ["a.io/x", "b.io/y"]
    assert answer.body["spec"]["env"] == {"a": "1", "b": "2"}
    assert managed(answer)["two", "Apply", ""] == {
        "f:metadata": {"f:finalizers": {'v:"b.io/y"': {}}, "f:labels": {"f:tier": {}}},
        "f:spec": {"f:env": {"f:b": {}}, **ROLE},
    }


async def test_another_managers_field_is_a_conflict(api: Client) -> None:
    await apply(api, job(maxRuntimeInSeconds=5, mode="File"))
    answer = await apply(api, job(maxRuntimeInSeconds=6), "two")
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.maxRuntimeInSeconds'
    assert answer.causes == [(".spec.maxRuntimeInSeconds", "FieldManagerConflict")]
    both = await apply(api, job(maxRuntimeInSeconds=6, mode="Pipe"), "two")
    assert both.body["message"] == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.maxRuntimeInSeconds\n- .spec.mode'
    )
    assert (await api.get(f"{api.jobs}/one")).body["spec"]["maxRuntimeInSeconds"] == 5


async def test_the_same_value_does_not_conflict_and_is_owned_by_both(api: Client) -> None:
    await apply(api, job(maxRuntimeInSeconds=5))
    await apply(api, job(maxRuntimeInSeconds=5), "two")
    left = await apply(api, job())
    assert left.body["spec"]["maxRuntimeInSeconds"] == 5, "the other one still says so"
    gone = await apply(api, job(), "two")
    assert "maxRuntimeInSeconds" not in gone.body["spec"]


async def test_force_takes_the_field_over(api: Client) -> None:
    await apply(api, job(maxRuntimeInSeconds=5))
    taken = await apply(api, job(maxRuntimeInSeconds=6), "two", force="true")
    assert (taken.status, taken.body["spec"]["maxRuntimeInSeconds"]) == (200, 6)
    assert managed(taken)["one", "Apply", ""] == {"f:spec": ROLE}
    assert (await apply(api, job(maxRuntimeInSeconds=5))).status == 409


async def test_a_field_that_is_no_longer_applied_is_removed(api: Client) -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}, "finalizers": [FINALIZER]}
    await apply(api, job(metadata, env={"a": "1", "b": "2"}, tags=[{"key": "k"}], mode="File"))
    fewer = await apply(api, job(env={"b": "2"}))
    assert fewer.body["metadata"].keys() & metadata.keys() == set()
    assert fewer.body["spec"].keys() == {"env", "managed", "roleARN", "trainingJobName"}
    assert fewer.body["spec"]["env"] == {"b": "2"}
    assert "env" not in (await apply(api, job())).body["spec"], "an emptied map goes with its last entry"


async def test_other_writes_own_what_they_change(api: Client) -> None:
    await apply(api, job())
    patch = {"metadata": {"annotations": {"note": "x"}}, "spec": {"mode": "File", "maxRuntimeInSeconds": 7}}
    patched = await api.merge(f"{api.jobs}/one", patch, fieldManager="editor")
    assert managed(patched)["editor", "Update", ""] == {
        "f:metadata": {"f:annotations": {".": {}, "f:note": {}}},
        "f:spec": {"f:maxRuntimeInSeconds": {}, "f:mode": {}},
    }
    answer = await apply(api, job(mode="Pipe"))
    assert answer.body["message"].startswith(
        f'Apply failed with 1 conflict: conflict with "editor" using {GROUP_VERSION}: .spec.mode'
    )
    removed = await api.merge(f"{api.jobs}/one", {"spec": {"mode": None}}, fieldManager="another")
    assert managed(removed)["editor", "Update", ""]["f:spec"] == {"f:maxRuntimeInSeconds": {}}
    assert (await apply(api, job(mode="Pipe"))).status == 200


async def test_an_edit_takes_ownership_of_an_applied_field(api: Client) -> None:
    await apply(api, job(mode="File"))
    edited = await api.merge(f"{api.jobs}/one", {"spec": {"mode": "Pipe"}}, fieldManager="editor")
    assert managed(edited)["one", "Apply", ""] == {"f:spec": ROLE}
    assert (await apply(api, job(mode="File"))).status == 409


async def test_an_object_that_was_created_otherwise_has_conflicts_too(api: Client) -> None:
    await api.job(mode="File")
    assert (await apply(api, job(mode="File"))).status == 200
    answer = await apply(api, job(mode="Pipe"), "two")
    assert (answer.status, {field for field, _ in answer.causes}) == (409, {".spec.mode"})


async def test_the_status_is_applied_at_its_own_endpoint(api: Client) -> None:
    await apply(api, {**job(), **status(secondaryStatus="Ignored"), "metadata": {"name": "one"}})
    body = {**status(secondaryStatus="Training"), "spec": {"mode": "File"}}
    body["metadata"] = {"name": "one", "labels": {"a": "b"}}
    answer = await apply(api, body, "controller", path=f"{api.jobs}/one/status")
    assert answer.body["status"] == {"secondaryStatus": "Training"}
    assert "mode" not in answer.body["spec"]
    assert "labels" not in answer.body["metadata"]
    assert answer.body["metadata"]["generation"] == 1
    fields = managed(answer)
    assert fields["controller", "Apply", "status"] == {"f:status": {"f:secondaryStatus": {}}}
    assert fields["one", "Apply", ""] == {"f:spec": ROLE}
    again = await apply(api, job())
    assert again.body["status"] == {"secondaryStatus": "Training"}, "no main apply takes a status away"


async def test_a_patched_status_belongs_to_the_status_endpoint(api: Client) -> None:
    await apply(api, job())
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    patched = await api.merge(f"{api.jobs}/one/status", patch, fieldManager="controller")
    assert managed(patched)["controller", "Update", "status"] == {"f:status": {".": {}, "f:conditions": {}}}
    answer = await apply(api, status(conditions=[{"type": "Ready", "status": "False"}]), path=f"{api.jobs}/one/status")
    assert answer.body["message"] == (
        'Apply failed with 1 conflict: conflict with "controller" with subresource "status" using'
        f" {GROUP_VERSION}: .status.conditions"
    )


async def test_a_status_is_not_applied_to_nothing(api: Client) -> None:
    assert (await apply(api, status(secondaryStatus="x"), path=f"{api.jobs}/one/status")).status == 404


async def test_a_dry_run_of_an_apply_stores_nothing(api: Client) -> None:
    assert (await apply(api, job(), dryRun="All")).status == 201
    assert (await api.get(f"{api.jobs}/one")).status == 404
    await apply(api, job(mode="File"))
    tried = await apply(api, job(mode="Pipe"), dryRun="All")
    assert (tried.status, tried.body["spec"]["mode"]) == (200, "Pipe")
    assert (await api.get(f"{api.jobs}/one")).body["spec"]["mode"] == "File"


async def test_an_apply_may_be_yaml(api: Client) -> None:
    text = f"""
apiVersion: {GROUP_VERSION}
kind: TrainingJob
metadata: {{name: one}}
spec: {{trainingJobName: one, roleARN: r, when: 2026-11-24T09:51:22Z}}
"""
    answer = await apply(api, text.encode())
    assert (answer.status, answer.body["spec"]["when"]) == (201, "2026-11-24T09:51:22Z")
    assert (await apply(api, b"{x: [")).status == 400


async def test_an_apply_names_its_manager_and_only_an_apply_forces(api: Client) -> None:
    answer = await apply(api, job(), "")
    assert (answer.status, answer.causes) == (422, [("fieldManager", "FieldValueRequired")])
    await api.job()
    forced = await api.merge(f"{api.jobs}/one", {}, force="true")
    assert (forced.status, forced.causes) == (422, [("force", "FieldValueForbidden")])


@pytest.mark.parametrize("spec", [{"nope": 1}, {"tags": [{"key": "k", "nope": 1}]}, {"maxRuntimeInSeconds": "x"}])
async def test_an_apply_is_typed(api: Client, spec: dict[str, Any]) -> None:
    answer = await apply(api, job(**spec))
    assert answer.status == 500
    assert answer.body["message"].startswith("failed to create typed patch object (/one; ")


async def test_an_applied_object_is_validated(api: Client) -> None:
    answer = await apply(api, job(maxRuntimeInSeconds=0))
    assert (answer.status, answer.causes) == (422, [("spec.maxRuntimeInSeconds", "FieldValueInvalid")])


async def test_managed_fields_are_not_applied_and_a_stale_version_is_409(api: Client) -> None:
    await apply(api, job())
    answer = await apply(api, job({"managedFields": [{"manager": "x"}]}))
    assert (answer.status, answer.body["message"]) == (400, "metadata.managedFields must be nil")
    assert (await apply(api, job({"resourceVersion": "1"}))).status == 409
    assert (await apply(api, {"metadata": {"name": "one"}})).status == 400


async def test_built_in_types_are_applied_too(api: Client) -> None:
    path = f"{api.core}/configmaps/settings"
    first = await apply(api, config_map(a="1"), path=path)
    assert (first.status, managed(first)) == (201, {("one", "Apply", ""): {"f:data": {"f:a": {}}}})
    second = await apply(api, config_map(b="2"), "two", path=path)
    assert second.body["data"] == {"a": "1", "b": "2"}
    assert (await apply(api, config_map(a="3"), "two", path=path)).status == 409
