"""Specs of any shape are read without an exception, and errors name the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_operator.conditions import Findings, Progress, compute
from sagemaker_operator.control.features import adopted_resource as ar
from sagemaker_operator.control.features import field_export as fe
from sagemaker_operator.control.observation import recall
from sagemaker_operator.control.placement.roles import selector_of
from sagemaker_operator.control.spec.create_input import identifiers
from sagemaker_operator.control.spec.references import Dependants, targets
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kube.client import _page
from sagemaker_operator.objects import KubeObject, decode_object
from sagemaker_operator.runtime.store import Change
from sagemaker_operator.scrape import state_of

NAMES = [
    *("from", "to", "resource", "group", "kind", "name", "namespace", "path", "key", "aws", "kubernetes", "metadata"),
    *("nameOrID", "arn", "additionalKeys", "labels", "annotations", "ownerReferences", "type", "status", "reason"),
    *("conditions", "ackResourceMetadata", "observedGeneration", "exported", "digest", "message", "trainingJobStatus"),
    *("trainingJobName", "modelRef", "primaryContainer", "productionVariants", "namespaceSelector", "tags"),
]
WORDS = ["TrainingJob", "Model", "configmap", "True", "ACK.Adopted", "sagemaker.services.k8s.aws", "../../x", "", "x"]
LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
ANY = settings(derandomize=True, max_examples=150, deadline=None, database=None)


def stored(spec: Any, status: Any, kind: str = "TrainingJob") -> KubeObject:
    metadata = {"name": "a", "namespace": "ml", "uid": "u", "resourceVersion": "5"}
    body = {"apiVersion": "x/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}
    return decode_object(msgspec.json.encode(body))


@ANY
@given(SHAPES, SHAPES)
def test_field_exports(spec: Any, status: Any) -> None:
    export = fe.export_of(stored(spec, status))
    assert (export.target is not None) or export.problem
    if export.problem:
        assert export.problem.startswith("spec")
    written = fe.written_of(stored(spec, status).decode_status())
    fe.refusal(export, ("TrainingJob",), cross_namespace=True)
    fe.targets_to_clean(export, written, deleting=True, others=[])
    fe.advisory(export)


@ANY
@given(SHAPES, SHAPES)
def test_adopted_resources(spec: Any, status: Any) -> None:
    obj = stored(spec, status)
    request = ar.request_of(obj)
    refused = ar.refusal(request, catalog(), cross_namespace=False)
    if refused is None:
        kind = catalog()[request.target.kind]
        ar.manifest(request, kind)
        ar.verdict(request, kind, obj)
    ar.is_adopted(obj)


@ANY
@given(SHAPES, SHAPES, st.sampled_from(sorted(catalog())))
def test_objects_of_our_kinds(spec: Any, status: Any, name: str) -> None:
    kind, obj = catalog()[name], stored(spec, status, name)
    dependants = Dependants(lambda key: None)
    dependants.changed(Change(None, obj), True)
    dependants.changed(Change(obj, None), False)
    targets(kind, obj)
    fe.is_synced(obj)
    fe.document_of(obj)
    state_of(obj)
    recalled = recall(kind, obj.decode_status())
    if recalled is not None:
        dict(recalled.data)
    for arn in (None, "arn:aws:sagemaker:us-west-2:123456789012:training-job/x"):
        assert all(isinstance(value, str | int) for value in identifiers(kind, obj.decode_spec(), arn).values())
    findings = Findings(Progress.SETTLED, "ok")
    compute(obj.decode_status().get("conditions") or (), findings, generation=1, now="2026-01-01T00:00:00Z")


@ANY
@given(SHAPES, SHAPES)
def test_selectors(spec: Any, status: Any) -> None:
    selector_of(stored(spec, status))


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ({"kind": "pod", "name": "x"}, "spec.to.kind: must be configmap or secret"),
        ({"kind": "configmap"}, "spec.to.name: required"),
        ({"kind": "configmap", "name": 5}, "spec.to.name: must be a string, not a number"),
        (["x"], "spec.to: must be an object, not a list"),
        # A name is part of a URL: these would lead to another object, in another namespace.
        ({"kind": "configmap", "name": "../../other/configmaps/x"}, "spec.to.name: is not the name of an object"),
        ({"kind": "configmap", "name": "..", "namespace": "x"}, "spec.to.name: is not the name of an object"),
        ({"kind": "configmap", "name": "x", "namespace": "../x"}, "spec.to.namespace: is not the name of a namespace"),
    ],
)
def test_an_invalid_target_is_named_and_never_written(to: Any, problem: str) -> None:
    where = {"group": "sagemaker.services.k8s.aws", "kind": "TrainingJob", "name": "a"}
    export = fe.export_of(stored({"from": {"path": ".status", "resource": where}, "to": to}, {}))
    assert export.target is None
    refused = fe.refusal(export, ("TrainingJob",), cross_namespace=True)
    assert refused is not None
    assert str(refused.terminal).startswith(problem)


def test_a_forged_record_is_ignored() -> None:
    target = {"kind": "configmap", "namespace": "ml", "name": "x", "key": "k", "digest": "d"}
    assert fe.written_of({"exported": target}) is not None
    for change in ({"kind": "pod"}, {"name": "../secrets/x"}, {"namespace": "../x"}, {"digest": 5}):
        assert fe.written_of({"exported": target | change}) is None


def test_metadata_of_other_types_costs_only_that_member() -> None:
    sound = {"metadata": {"name": "b", "finalizers": ["f"]}}
    odd = {"metadata": {"name": "a", "finalizers": None, "labels": {"x": 1}, "generation": 3}, "spec": {"a": 1}}
    body = {"metadata": {"resourceVersion": "9"}, "items": [odd, sound]}
    page = _page(msgspec.json.encode(body))
    first, second = page.items or ()
    assert (first.metadata.name, first.metadata.finalizers, first.metadata.generation) == ("a", (), 3)
    assert first.decode_spec() == {"a": 1}
    assert second.metadata.finalizers == ("f",)
    assert decode_object(msgspec.json.encode(odd)).metadata.name == "a"
