"""The three kinds of patch that are not apply, against the emulator and a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.kubernetes_support import FINALIZER, JSON_PATCH, STRATEGIC, config_map

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


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


async def test_a_patch_that_is_not_json_is_400(api: Client) -> None:
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
