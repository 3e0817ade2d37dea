"""The rules of `metadata`, the same for every type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sagemaker_operator.sandbox.kubernetes.schema import Schema, json_type
from sagemaker_operator.sandbox.kubernetes.status import FieldError, forbidden_value, invalid_value, required

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

JsonObject = dict[str, Any]

_STRING: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_STRING_MAP: Final = {"type": "object", "additionalProperties": _STRING}

META_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "description": "ObjectMeta is metadata that all persisted resources must have.",
    "properties": {
        "name": {**_STRING, "description": "Name must be unique within a namespace."},
        "generateName": {**_STRING, "description": "A prefix the server makes a unique name from."},
        "namespace": {**_STRING, "description": "The space within which each name must be unique."},
        "labels": {**_STRING_MAP, "description": "Keys and values to organise and select objects by."},
        "annotations": {**_STRING_MAP, "description": "Unstructured keys and values that tools store with the object."},
        "finalizers": {
            "type": "array",
            "items": _STRING,
            "x-kubernetes-list-type": "set",
            "description": "Must be empty before the object is removed; each entry names who has to remove it.",
        },
        "ownerReferences": {
            "type": "array",
            "description": "Objects this one depends on.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _STRING),
                    **{name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
                },
            },
        },
        "uid": {**_STRING, "description": "Unique in time and space. Set by the server."},
        "resourceVersion": {**_STRING, "description": "The version of this object. Set by the server."},
        "generation": {"type": "integer", "format": "int64", "description": "Counts the edits of the desired state."},
        "creationTimestamp": {**_TIME, "description": "When the server created the object."},
        "deletionTimestamp": {**_TIME, "description": "When the object was asked to go."},
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "selfLink": _STRING,
        "managedFields": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
}

_schema = Schema(META_SCHEMA)

# Set by the server, whatever a client sends.
_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace")

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NOT_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_NOT_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NOT_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_ANNOTATIONS_LIMIT = 256 * 1024
# Without vowels and similar characters, as a real server's.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def decode(meta: Any) -> tuple[JsonObject, list[str], str | None]:
    """A client's metadata -> (known fields, unknown paths, decoding error or None)."""
    if meta is None:
        return {}, [], None
    if not isinstance(meta, dict):
        return {}, [], _cannot_unmarshal(meta, "ObjectMeta.metadata", {"type": "object"})
    unknown = _schema.prune(meta, "metadata")
    for error in _schema.structural_errors(meta):
        return {}, unknown, decode_error("ObjectMeta", META_SCHEMA, meta, error.field)
    for empty in [key for key, value in meta.items() if value in ({}, [], "")]:
        del meta[empty]
    meta.pop("managedFields", None)
    meta.pop("selfLink", None)
    return meta, unknown, None


def decode_error(struct: str, schema: Mapping[str, Any], obj: Mapping[str, Any], field: str) -> str:
    """Go's error text for the value at `field` of `obj`, which has the wrong type for the schema of `struct`."""
    value: Any = obj
    for step in re.findall(r"[^.\[\]]+", field):
        value = value[int(step)] if isinstance(value, list) else value[step]
        schema = schema.get("items") or schema.get("properties", {}).get(step) or schema["additionalProperties"]
    if isinstance(value, str) and schema["type"] == "string":
        layout = "2006-01-02T15:04:05.000000Z07:00" if schema["format"] == "micro-time" else "2006-01-02T15:04:05Z07:00"
        return f'parsing time "{value}" as "{layout}": cannot parse it'
    top = re.split(r"[.\[]", field)[0]
    return _cannot_unmarshal(value, f"{struct}.{top}", schema)


def _cannot_unmarshal(value: Any, field: str, schema: Mapping[str, Any]) -> str:
    kind = json_type(value)
    kind = {"integer": "number", "boolean": "bool"}.get(kind, kind)
    return f"json: cannot unmarshal {kind} into Go struct field {field} of type {_go_type(schema)}"


def _go_type(schema: Mapping[str, Any]) -> str:
    match schema.get("type"):
        case "array":
            return f"[]{_go_type(schema['items'])}"
        case "object" if "additionalProperties" in schema:
            return f"map[string]{_go_type(schema['additionalProperties'])}"
        case "integer":
            return str(schema["format"])
        case "boolean":
            return "bool"
        case "string":
            return "string"
    return "struct"


def for_create(meta: JsonObject, *, namespace: str | None, now: str, uid: str, generation: bool) -> JsonObject:
    """The metadata of a new object: the fields that a client may set, and those that the server sets."""
    result = {key: value for key, value in meta.items() if key not in _SERVER_SET}
    if namespace:
        result["namespace"] = namespace
    result["uid"] = uid
    result["creationTimestamp"] = now
    if generation:
        result["generation"] = 1
    return result


def for_update(meta: JsonObject, old: Mapping[str, Any]) -> JsonObject:
    """The metadata of an edited object: fields set by the server are kept."""
    result = {key: value for key, value in meta.items() if key not in _SERVER_SET}
    result |= {key: old[key] for key in _SERVER_SET if key in old}
    result["resourceVersion"] = old["resourceVersion"]
    return result


def generate_name(prefix: str, rng: random.Random) -> str:
    """`prefix` (cut so that the name fits a label) and five random characters."""
    return prefix[:58] + "".join(rng.choice(_SUFFIX_ALPHABET) for _ in range(5))


def errors(meta: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Iterator[FieldError]:
    """The errors of decoded metadata; `old` is the stored one."""
    name = meta.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif why := not_a_subdomain(name):
        yield invalid_value("metadata.name", f'"{name}"', why)
    for key, value in meta.get("labels", {}).items():
        yield from _key_errors("metadata.labels", key)
        if len(value) > 63:
            yield invalid_value("metadata.labels", f'"{value}"', "must be no more than 63 bytes")
        elif not _LABEL_VALUE.fullmatch(value):
            yield invalid_value("metadata.labels", f'"{value}"', _NOT_LABEL_VALUE)
    annotations = meta.get("annotations", {})
    for key in annotations:
        yield from _key_errors("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        yield FieldError("metadata.annotations", "FieldValueTooLong", message)
    for finalizer in meta.get("finalizers", ()):
        yield from _key_errors("metadata.finalizers", finalizer)
    for reference in meta.get("ownerReferences", ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                why = "version must not be empty" if field == "apiVersion" else "must not be empty"
                yield invalid_value(f"metadata.ownerReferences.{field}", '""', why)
    if old is not None and old.get("deletionTimestamp"):
        new = [entry for entry in meta.get("finalizers", ()) if entry not in old.get("finalizers", ())]
        if new:
            listed = ", ".join(f'"{entry}"' for entry in new)
            yield forbidden_value(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}",
            )


def warnings(meta: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Warnings about accepted metadata, unless `old` has the same."""
    known = old.get("finalizers", ()) if old else ()
    for finalizer in meta.get("finalizers", ()):
        if "/" not in finalizer and finalizer not in known:
            yield (
                f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer name to avoid accidental'
                " conflicts with other finalizer writers"
            )


def not_a_subdomain(name: str) -> str | None:
    """Why `name` is not a DNS subdomain, or None if it is one."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    return None if _SUBDOMAIN.fullmatch(name) else _NOT_SUBDOMAIN


def _key_errors(field: str, key: str) -> Iterator[FieldError]:
    prefix, _, name = key.rpartition("/")
    if prefix and (why := not_a_subdomain(prefix)):
        yield invalid_value(field, f'"{key}"', f"prefix part {why}")
    if len(name) > 63:
        yield invalid_value(field, f'"{key}"', "name part must be no more than 63 bytes")
    elif not _QUALIFIED_NAME.fullmatch(name):
        yield invalid_value(field, f'"{key}"', _NOT_QUALIFIED)
