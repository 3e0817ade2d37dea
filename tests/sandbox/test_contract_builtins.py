"""The built-in types (config maps, secrets, leases, events), against the emulator and a real server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.kubernetes_support import GROUP_VERSION, config_map

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_support import Client


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


async def test_a_lease_belongs_to_the_first_writer(api: Client) -> None:
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
