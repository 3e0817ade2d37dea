"""CustomResourceDefinitions: validation, defaults, and the types that they define."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.kubernetes.cel import RuleError
from sagemaker_operator.sandbox.kubernetes.resources import ResourceType
from sagemaker_operator.sandbox.kubernetes.schema import Schema
from sagemaker_operator.sandbox.kubernetes.status import FieldError, invalid_value, required
from sagemaker_operator.sandbox.kubernetes.table import crd_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JsonObject = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a CRD until its last object is gone."""


def complete(crd: JsonObject, now: str) -> list[FieldError]:
    """Fills in the defaults and, the names being free, the conditions that make it Established. Returns the errors."""
    spec = crd.get("spec") or {}
    errors = list(_errors(crd["metadata"]["name"], spec))
    if errors:
        return errors
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    meta = crd["metadata"]
    if CLEANUP not in meta.get("finalizers", ()) and not meta.get("deletionTimestamp"):
        meta["finalizers"] = [*meta.get("finalizers", ()), CLEANUP]
    status = crd.setdefault("status", {})
    status["acceptedNames"] = dict(names)
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status["storedVersions"] = [*(name for name in status.get("storedVersions", ()) if name != storage), storage]
    if not status.get("conditions"):
        status["conditions"] = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ]
    return []


def _condition(type_: str, reason: str, message: str, now: str) -> JsonObject:
    return {"type": type_, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}


def _errors(name: str, spec: Mapping[str, Any]) -> Iterator[FieldError]:
    names = spec.get("names") or {}
    for field, value in (
        ("spec.group", spec.get("group")),
        ("spec.names.plural", names.get("plural")),
        ("spec.names.kind", names.get("kind")),
        ("spec.versions", spec.get("versions")),
    ):
        if not value:
            yield required(field)
            return
    if name != f"{names['plural']}.{spec['group']}":
        yield invalid_value("metadata.name", f'"{name}"', 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        supported = 'supported values: "Cluster", "Namespaced"'
        message = f'Unsupported value: "{spec.get("scope", "")}": {supported}'
        yield FieldError("spec.scope", "FieldValueNotSupported", message)
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        why = "must have exactly one version marked as storage version"
        yield FieldError("spec.versions", "FieldValueInvalid", f"Invalid value: {why}")
    for index, version in enumerate(spec["versions"]):
        where = f"spec.versions[{index}]"
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"{where}.schema.openAPIV3Schema", "schemas are required")
            continue
        try:
            Schema(version["schema"]["openAPIV3Schema"])
            crd_columns(version)
        except (RuleError, ValueError) as error:
            yield FieldError(f"{where}.schema.openAPIV3Schema", "FieldValueInvalid", f"Invalid value: {error}")


def types_of(crd: Mapping[str, Any]) -> list[ResourceType]:
    """The types that a completed CRD defines: one per served version, all of one collection."""
    spec = crd["spec"]
    names = spec["names"]
    return [
        ResourceType(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names["singular"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames", ())),
            categories=tuple(names.get("categories", ())),
            schema=Schema(version["schema"]["openAPIV3Schema"]),
            status_subresource="status" in version.get("subresources", {}),
            custom=True,
            counts_generations=True,
            columns=crd_columns(version),
        )
        for version in spec["versions"]
        if version.get("served")
    ]
