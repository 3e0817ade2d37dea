"""The value of a reference: the object's current value, or the recorded one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sagemaker_operator.control.reconcile.facts import references_changed
from sagemaker_operator.control.spec.references import Resolution, resolve
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.objects import KubeObject, Meta, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KIND = catalog()["TransformJob"]
SPEC = {"transformJobName": "job", "modelRef": {"from": {"name": "churn"}}}
AT = "spec.modelRef=default/churn"


def model(
    name: str | None, *, synced: str = "True", deleting: bool = False
) -> Callable[[ObjectKey], KubeObject | None]:
    """How the Model `churn` is found; None: it does not exist."""

    def find(key: ObjectKey) -> KubeObject | None:
        if name is None or key.name != "churn":
            return None
        arn = f"arn:aws:sagemaker:us-west-2:123456789012:model/{name}"
        status = {
            "ackResourceMetadata": {"arn": arn},
            "conditions": [{"type": "ACK.ResourceSynced", "status": synced}],
        }
        return KubeObject(
            kind="Model",
            metadata=Meta(name="churn", namespace="default", deletion_timestamp="now" if deleting else None),
            spec=msgspec.Raw(json.dumps({"modelName": name}).encode()),
            status=msgspec.Raw(json.dumps(status).encode()),
        )

    return find


def resolved(
    find: Callable[[ObjectKey], KubeObject | None],
    recorded: Mapping[str, str],
    *,
    history: bool = False,
    cross_namespace: bool = True,
    spec: Mapping[str, Any] = SPEC,
) -> Resolution:
    obj = KubeObject(
        kind=KIND.name,
        metadata=Meta(name="job", namespace="default"),
        spec=msgspec.Raw(json.dumps(spec).encode()),
    )
    return resolve(KIND, obj, spec, find=find, recorded=recorded, cross_namespace=cross_namespace, history=history)


def test_a_reference_resolves_to_the_objects_value_and_records_it_by_path_and_name() -> None:
    found = resolved(model("v1"), {})
    assert found.spec == {"transformJobName": "job", "modelName": "v1"}
    assert found.values == {AT: "v1"}
    assert found.condition == ("True", "Resolved", "")


@pytest.mark.parametrize("find", [model(None), model("v2", synced="False"), model("v2", deleting=True)])
def test_the_recorded_value_is_used_while_the_object_has_none(find: Any) -> None:
    found = resolved(find, {AT: "v1"})
    assert found.spec["modelName"] == "v1"
    assert found.values == {AT: "v1"}
    assert found.waiting is None


@pytest.mark.parametrize("recorded", [{}, {"spec.modelRef=default/another": "v1"}, {"spec.modelRef=other/churn": "v1"}])
def test_the_value_recorded_of_another_object_is_not_used(recorded: Mapping[str, str]) -> None:
    found = resolved(model(None), recorded)
    assert "modelName" not in found.spec
    assert found.values == {}
    assert found.waiting == "spec.modelRef waits for Model churn, which does not exist yet."


def test_the_current_value_outranks_the_recorded_one_until_the_job_exists() -> None:
    assert resolved(model("v2"), {AT: "v1"}).spec["modelName"] == "v2"
    made = resolved(model("v2"), {AT: "v1"}, history=True)
    assert made.spec["modelName"] == "v1"
    assert not references_changed(made, {"resolvedReferences": {AT: "v1"}})


@pytest.mark.parametrize("find", [model(None), model("v2"), model("v2", synced="False")])
def test_a_job_without_a_recorded_value_is_not_compared_and_does_not_wait(find: Any) -> None:
    made = resolved(find, {}, history=True)
    assert "modelName" not in made.spec
    assert (made.problems, made.waiting, made.values) == ((), None, {})
    assert made.condition == ("True", "Resolved", "")


def test_an_existing_job_keeps_a_cross_namespace_reference_that_the_flag_now_forbids() -> None:
    spec = {**SPEC, "modelRef": {"from": {"name": "churn", "namespace": "other"}}}
    recorded = {"spec.modelRef=other/churn": "v1"}
    made = resolved(model(None), recorded, history=True, cross_namespace=False, spec=spec)
    assert made.problems == ()
    assert made.spec["modelName"] == "v1"
    assert resolved(model(None), recorded, cross_namespace=False, spec=spec).problems


def test_an_edited_reference_of_a_job_is_resolved_again() -> None:
    made = resolved(model("v2"), {"spec.modelRef=default/another": "v1"}, history=True)
    assert made.spec["modelName"] == "v2"


@pytest.mark.parametrize(
    ("stored", "changed"),
    [({}, True), ({AT: "v1"}, False), ({AT: "v0"}, True), ({AT: "v1", "spec.modelRef=default/old": "v0"}, True)],
)
def test_values_that_differ_from_the_recorded_ones_are_written(stored: Mapping[str, str], changed: bool) -> None:
    assert references_changed(resolved(model("v1"), {}), {"resolvedReferences": dict(stored)}) is changed
    assert not references_changed(resolved(model(None), {}), {"resolvedReferences": dict(stored)})
