"""The built-in types that an operator uses: small schemas, defaults and printer columns."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final

from sagemaker_operator.sandbox.kubernetes.events import CORE_EVENT, EVENTS_EVENT
from sagemaker_operator.sandbox.kubernetes.resources import ResourceType, TableColumn
from sagemaker_operator.sandbox.kubernetes.schema import Schema
from sagemaker_operator.sandbox.kubernetes.status import FieldError, bad_request, invalid_value
from sagemaker_operator.sandbox.kubernetes.table import NAME, age

if TYPE_CHECKING:
    from collections.abc import Mapping

JsonObject = dict[str, Any]

_STRING: Final = {"type": "string"}
_BOOLEAN: Final = {"type": "boolean"}
_INTEGER: Final = {"type": "integer", "format": "int32"}
_STRING_MAP: Final = {"type": "object", "additionalProperties": _STRING}
_ANYTHING: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_MICRO_TIME: Final = {"type": "string", "format": "micro-time", "nullable": True}
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def _schema(description: str, **properties: Any) -> Schema:
    return Schema({"type": "object", "description": description, "properties": properties})


def _list_of(**properties: Any) -> JsonObject:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def _admit_namespace(obj: JsonObject, _: Mapping[str, Any] | None) -> list[FieldError]:
    meta = obj["metadata"]
    meta["labels"] = {**meta.get("labels", {}), "kubernetes.io/metadata.name": meta["name"]}
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj.setdefault("status", {"phase": "Active"})
    return []


def _admit_config_map(obj: JsonObject, _: Mapping[str, Any] | None) -> list[FieldError]:
    return _key_errors(obj)


def _admit_secret(obj: JsonObject, old: Mapping[str, Any] | None) -> list[FieldError]:
    for value in obj.get("data", {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            message = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data'
            raise bad_request(message) from None
    plain = {key: base64.b64encode(value.encode()).decode() for key, value in obj.pop("stringData", {}).items()}
    if plain:
        obj["data"] = {**obj.get("data", {}), **plain}
    obj.setdefault("type", "Opaque")
    errors = _key_errors(obj)
    if old is not None and old["type"] != obj["type"]:
        errors.append(invalid_value("type", f'"{obj["type"]}"', "field is immutable"))
    return errors


def _key_errors(obj: Mapping[str, Any]) -> list[FieldError]:
    why = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    return [
        invalid_value(f"data[{key}]", f'"{key}"', why)
        for key in obj.get("data", {})
        if not _CONFIG_KEY.fullmatch(key) or len(key) > 253
    ]


def _admit_lease(obj: JsonObject, _: Mapping[str, Any] | None) -> list[FieldError]:
    spec, errors = obj.get("spec", {}), []
    if spec.get("leaseDurationSeconds", 1) <= 0:
        errors.append(
            invalid_value("spec.leaseDurationSeconds", str(spec["leaseDurationSeconds"]), "must be greater than 0")
        )
    if spec.get("leaseTransitions", 0) < 0:
        why = "must be greater than or equal to 0"
        errors.append(invalid_value("spec.leaseTransitions", str(spec["leaseTransitions"]), why))
    return errors


def _admit_access_review(obj: JsonObject, _: Mapping[str, Any] | None) -> list[FieldError]:
    obj["status"] = {"allowed": True}
    return []


def _age(obj: Mapping[str, Any], now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


_AGE: Final = TableColumn("Age", _age)
_DATA: Final = TableColumn("Data", lambda obj, _: len(obj.get("data", {})), type="string")

NAMESPACE: Final = ResourceType(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    schema=_schema("Namespace provides a scope for names.", spec=_ANYTHING, status=_ANYTHING),
    status_subresource=True,
    columns=(NAME, TableColumn("Status", lambda obj, _: obj["status"]["phase"]), _AGE),
    selectable={"status.phase": "status.phase"},
    admit=_admit_namespace,
)

CUSTOM_RESOURCE_DEFINITION: Final = ResourceType(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    schema=_schema(
        "CustomResourceDefinition represents a resource that should be exposed on the API server.",
        spec=_ANYTHING,
        status=_ANYTHING,
    ),
    status_subresource=True,
    counts_generations=True,
    columns=(
        NAME,
        TableColumn("Created At", lambda obj, _: obj["metadata"]["creationTimestamp"], type="date"),
    ),
)

BUILTINS: Final = (
    NAMESPACE,
    ResourceType(
        group="",
        version="v1",
        kind="ConfigMap",
        plural="configmaps",
        singular="configmap",
        short_names=("cm",),
        schema=_schema(
            "ConfigMap holds configuration data for pods to consume.",
            data={**_STRING_MAP, "description": "Data contains the configuration data."},
            binaryData=_STRING_MAP,
            immutable=_BOOLEAN,
        ),
        columns=(NAME, _DATA, _AGE),
        admit=_admit_config_map,
    ),
    ResourceType(
        group="",
        version="v1",
        kind="Secret",
        plural="secrets",
        singular="secret",
        schema=_schema(
            "Secret holds secret data of a certain type.",
            data={**_STRING_MAP, "description": "Data contains the secret data, base64 encoded."},
            stringData={**_STRING_MAP, "description": "Write-only, not encoded."},
            type=_STRING,
            immutable=_BOOLEAN,
        ),
        columns=(NAME, TableColumn("Type", lambda obj, _: obj["type"]), _DATA, _AGE),
        selectable={"type": "type"},
        admit=_admit_secret,
    ),
    ResourceType(
        group="",
        version="v1",
        kind="ServiceAccount",
        plural="serviceaccounts",
        singular="serviceaccount",
        short_names=("sa",),
        schema=_schema(
            "ServiceAccount binds together a name and a principal.",
            secrets=_list_of(name=_STRING, kind=_STRING, namespace=_STRING),
            imagePullSecrets=_list_of(name=_STRING),
            automountServiceAccountToken=_BOOLEAN,
        ),
        columns=(NAME, TableColumn("Secrets", lambda obj, _: len(obj.get("secrets", ())), type="integer"), _AGE),
    ),
    CORE_EVENT,
    EVENTS_EVENT,
    ResourceType(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        singular="lease",
        schema=_schema(
            "Lease defines a lease concept.",
            spec={
                "type": "object",
                "properties": {
                    "holderIdentity": _STRING,
                    "leaseDurationSeconds": _INTEGER,
                    "leaseTransitions": _INTEGER,
                    "acquireTime": _MICRO_TIME,
                    "renewTime": _MICRO_TIME,
                    "strategy": _STRING,
                    "preferredHolder": _STRING,
                },
            },
        ),
        columns=(NAME, TableColumn("Holder", lambda obj, _: obj.get("spec", {}).get("holderIdentity", "")), _AGE),
        admit=_admit_lease,
    ),
    CUSTOM_RESOURCE_DEFINITION,
    ResourceType(
        group="authorization.k8s.io",
        version="v1",
        kind="SelfSubjectAccessReview",
        plural="selfsubjectaccessreviews",
        singular="selfsubjectaccessreview",
        namespaced=False,
        verbs=("create",),
        schema=_schema("SelfSubjectAccessReview asks whether I may.", spec=_ANYTHING, status=_ANYTHING),
        admit=_admit_access_review,
    ),
)
