"""OpenAPI documents, for `kubectl explain` and for kubectl's check that the server validates fields."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sagemaker_operator.sandbox.kubernetes.meta import META_SCHEMA
from sagemaker_operator.sandbox.kubernetes.patches import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes.resources import Catalog, ResourceType

JsonObject = dict[str, Any]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_INFO: Final = {"title": "sagemaker-operator sandbox", "version": "v1.32.0"}
_WRITE_PARAMETERS: Final = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]

V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_PROTOBUF_EMPTY: Final = b"\x0a\x032.0"
"""A Document whose only field is swagger="2.0": kubectl diff asks for nothing but protobuf, and needs no definition."""
V2_EMPTY: Final[JsonObject] = {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}}


class OpenApi:
    """The v3 documents of a catalogue, made when asked for and kept until the catalogue changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._revision = -1
        self._documents: dict[str, bytes] = {}

    def index(self) -> JsonObject:
        """/openapi/v3: clients cache each document by the hash in its URL."""
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha256(document).hexdigest()}"}
            for path, document in self._all().items()
        }
        return {"paths": paths}

    def document(self, path: str) -> bytes | None:
        """The document of `api/v1` or `apis/<group>/<version>`, or None if that is not served."""
        return self._all().get(path)

    def _all(self) -> dict[str, bytes]:
        if self._revision != self._catalog.revision:
            self._documents = {
                f"apis/{group}/{version}" if group else f"api/{version}": msgspec.json.encode(_document(types))
                for (group, version), types in self._catalog.group_versions().items()
            }
            self._revision = self._catalog.revision
        return self._documents


def _document(types: list[ResourceType]) -> JsonObject:
    paths: JsonObject = {}
    schemas: JsonObject = {_META: META_SCHEMA}
    for type_ in types:
        root = f"/apis/{type_.group}/{type_.version}" if type_.group else f"/api/{type_.version}"
        collection = f"{root}/namespaces/{{namespace}}/{type_.plural}" if type_.namespaced else f"{root}/{type_.plural}"
        paths[collection] = {
            "get": _operation(type_, "list"),
            "post": _operation(type_, "post", parameters=_WRITE_PARAMETERS),
        }
        paths[f"{collection}/{{name}}"] = {
            "get": _operation(type_, "get"),
            "put": _operation(type_, "put", parameters=_WRITE_PARAMETERS),
            "patch": _operation(type_, "patch", parameters=_WRITE_PARAMETERS),
            "delete": _operation(type_, "delete"),
        }
        schemas[_schema_name(type_)] = _schema(type_)
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def _operation(type_: ResourceType, action: str, parameters: list[JsonObject] | None = None) -> JsonObject:
    reference = {"$ref": f"#/components/schemas/{_schema_name(type_)}"}
    operation: JsonObject = {
        "operationId": f"{action}{type_.group.title().replace('.', '')}{type_.version.title()}{type_.kind}",
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": type_.group, "version": type_.version, "kind": type_.kind},
    }
    if parameters:
        operation["parameters"] = parameters
        media = ["application/json"]
        if action == "patch":
            media = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH, *([] if type_.custom else [STRATEGIC_PATCH])]
        operation["requestBody"] = {"content": {name: {"schema": {"type": "object"}} for name in media}}
    return operation


def _schema_name(type_: ResourceType) -> str:
    group = ".".join(reversed(type_.group.split("."))) if type_.group else "io.k8s.api.core"
    return f"{group}.{type_.version}.{type_.kind}"


def _schema(type_: ResourceType) -> JsonObject:
    raw = type_.schema.raw
    properties = {
        "apiVersion": {"type": "string", "description": "The version of the schema of this object."},
        "kind": {"type": "string", "description": "The kind of this object."},
        "metadata": {
            "description": "Standard object's metadata.",
            "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        },
        **{
            name: schema
            for name, schema in raw.get("properties", {}).items()
            if name not in ("apiVersion", "kind", "metadata")
        },
    }
    kind = {"group": type_.group, "version": type_.version, "kind": type_.kind}
    return {**raw, "properties": properties, "x-kubernetes-group-version-kind": [kind]}
