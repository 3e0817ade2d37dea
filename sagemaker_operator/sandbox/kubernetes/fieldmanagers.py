"""Server-side apply: the managers of an object's fields, and conflicts between them.

An object's fields are counted from the first apply on; what it had before belongs to `before-first-apply`, as on a real
server for objects that are older than field management. A real server counts from the create, and so names the manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from sagemaker_operator.sandbox.kubernetes import fieldsets
from sagemaker_operator.sandbox.kubernetes.status import ApiError, FieldError, apply_conflict, bad_request
from sagemaker_operator.sandbox.kubernetes.storage import copy_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.sandbox.kubernetes.fieldsets import Path
    from sagemaker_operator.sandbox.kubernetes.resources import ResourceType

JsonObject = dict[str, Any]

APPLY, UPDATE = "Apply", "Update"
_BEFORE: Final = "before-first-apply"


class Manager(NamedTuple):
    """Who changed fields, and how."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def shown(self) -> str:
        parts = [f'"{self.name}"']
        if self.subresource:
            parts.append(f'with subresource "{self.subresource}"')
        if self.operation == UPDATE:
            parts.append(f"using {self.api_version}")
        return " ".join(parts)


Managers = dict[Manager, frozenset["Path"]]


class Applied(NamedTuple):
    """The object after an apply, and its new managedFields."""

    object: JsonObject
    managed_fields: list[JsonObject]


class _NoTimes(yaml.SafeLoader):
    """YAML's timestamps stay text: JSON has none."""


_NoTimes.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(body: bytes | None, type_: ResourceType) -> JsonObject:
    """The configuration in an apply's body, which may be YAML. Raises ApiError 400, or 500 for an unknown field or type."""
    try:
        config = yaml.load(body or b"", Loader=_NoTimes)  # noqa: S506 a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(config, dict) or not config.get("kind"):
        raise bad_request("invalid object type: /, Kind=")
    metadata = config.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    content = {name: value for name, value in copy_of(config).items() if name not in ("apiVersion", "kind", "metadata")}
    unknown = type_.schema.prune(content)
    lines = [f".{path}: field not declared in schema" for path in unknown]
    lines += [
        f".{error.field}: {error.message}"
        for error in type_.schema.structural_errors(content)
        if error.reason == "FieldValueTypeInvalid"
    ]
    if lines:
        text = lines[0] if len(lines) == 1 else "errors:\n  " + "\n  ".join(lines)
        where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {type_.api_version}, Kind={type_.kind}"
        raise ApiError(500, "", f"failed to create typed patch object ({where}): {text}")
    return config


def within(config: JsonObject, type_: ResourceType, subresource: str) -> JsonObject:
    """The part of a configuration that its endpoint accepts: the status, or all but the status."""
    if subresource == "status":
        identity = {name: config["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")
                    if name in config["metadata"]}  # fmt: skip
        return {name: value for name, value in config.items() if name in ("apiVersion", "kind", "status")} | {
            "metadata": identity
        }
    return {name: value for name, value in config.items() if name != "status" or not type_.status_subresource}


def apply(
    type_: ResourceType, live: JsonObject, config: JsonObject, *, by: str, subresource: str, force: bool, now: str
) -> Applied:
    """`config` (see `within`) applied to `live`. Raises ApiError 409 for fields that others manage, unless `force`."""
    schema = fieldsets.schema_of(type_)
    managers = _managers_of(live) if is_tracked(live) else {_before(type_): fieldsets.compare(schema, {}, live).changed}
    applier = Manager(by, APPLY, type_.api_version, subresource)
    last, mine = managers.pop(applier, frozenset()), fieldsets.owned(schema, config)
    others: frozenset[Path] = frozenset().union(*managers.values())
    result = fieldsets.merged(schema, copy_of(live), config)
    fieldsets.remove(schema, result, last - mine - others, mine | others)
    changes = fieldsets.compare(schema, live, result)
    conflicts = {manager: lost for manager, held in managers.items() if (lost := held & changes.changed & mine)}
    if conflicts and not force:
        raise _conflict(conflicts)
    left = {manager: held - changes.changed - changes.removed for manager, held in managers.items()}
    return Applied(result, _entries({**left, applier: mine}, live, now))


def created(type_: ResourceType, config: JsonObject, *, by: str, now: str) -> list[JsonObject]:
    """The managedFields of an object that an apply creates."""
    mine = fieldsets.owned(fieldsets.schema_of(type_), config)
    return _entries({Manager(by, APPLY, type_.api_version, ""): mine}, {}, now)


def updated(
    type_: ResourceType, old: JsonObject, new: JsonObject, *, by: str, subresource: str, now: str
) -> list[JsonObject]:
    """The managedFields of a tracked object after another write: the writer manages the changed fields."""
    changes = fieldsets.compare(fieldsets.schema_of(type_), old, new)
    writer = Manager(by, UPDATE, type_.api_version, subresource)
    managers = _managers_of(old)
    mine = (managers.pop(writer, frozenset()) | changes.changed) - changes.removed
    left = {manager: held - changes.changed - changes.removed for manager, held in managers.items()}
    return _entries({**left, writer: mine}, old, now)


def is_tracked(obj: Mapping[str, Any]) -> bool:
    return "managedFields" in obj["metadata"]


def _before(type_: ResourceType) -> Manager:
    return Manager(_BEFORE, UPDATE, type_.api_version, "")


def _managers_of(obj: Mapping[str, Any]) -> Managers:
    return {
        _manager_of(entry): fieldsets.from_fields_v1(entry["fieldsV1"])
        for entry in obj.get("metadata", {}).get("managedFields", ())
    }


def _manager_of(entry: Mapping[str, Any]) -> Manager:
    return Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))


def _entries(managers: Managers, before: Mapping[str, Any], now: str) -> list[JsonObject]:
    """One entry per manager with fields; an unchanged entry keeps its time."""
    known = {_manager_of(entry): entry for entry in before.get("metadata", {}).get("managedFields", ())}
    entries = []
    for manager, held in managers.items():
        fields = fieldsets.to_fields_v1(held)
        if not fields:
            continue
        unchanged = manager in known and known[manager]["fieldsV1"] == fields
        entries.append(
            {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": manager.api_version,
                "time": known[manager]["time"] if unchanged else now,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
                **({"subresource": manager.subresource} if manager.subresource else {}),
            }
        )
    order = ("operation", "time", "manager", "apiVersion")
    return sorted(entries, key=lambda entry: (*(entry[name] for name in order), entry.get("subresource", "")))


def _conflict(conflicts: Mapping[Manager, frozenset[Path]]) -> ApiError:
    found = [(manager, fieldsets.shown(path)) for manager, paths in sorted(conflicts.items()) for path in sorted(paths)]
    if len(found) == 1:
        (manager, path) = found[0]
        text = f"Apply failed with 1 conflict: conflict with {manager.shown()}: {path}"
    else:
        lines = [
            line
            for manager, paths in sorted(conflicts.items())
            for line in (
                f"conflicts with {manager.shown()}:",
                *(f"- {fieldsets.shown(path)}" for path in sorted(paths)),
            )
        ]
        text = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    causes = [FieldError(path, "FieldManagerConflict", f"conflict with {manager.shown()}") for manager, path in found]
    return apply_conflict(text, causes)
