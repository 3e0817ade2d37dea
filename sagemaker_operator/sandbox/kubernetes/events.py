"""Event: one store, served as core/v1 (what `kubectl describe` reads) and as events.k8s.io/v1 (what operators write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sagemaker_operator.sandbox.kubernetes.resources import ResourceType, TableColumn
from sagemaker_operator.sandbox.kubernetes.schema import Schema
from sagemaker_operator.sandbox.kubernetes.status import FieldError, invalid_value, required
from sagemaker_operator.sandbox.kubernetes.table import age

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JsonObject = dict[str, Any]

# events.k8s.io name -> core name. The core form is the one stored.
_CORE_NAME: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_EVENTS_NAME: Final = {core: name for name, core in _CORE_NAME.items()}
_IMMUTABLE: Final = (
    "involvedObject", "reason", "message", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime", "action",
    "related", "reportingComponent", "reportingInstance",
)  # fmt: skip
_NOTE_LIMIT: Final = 1024
_NAME_LIMIT: Final = 128

_STRING: Final = {"type": "string"}
_REFERENCE: Final = {
    "type": "object",
    "description": "The object this Event is about.",
    "properties": dict.fromkeys(
        ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"), _STRING
    ),
}
_MICRO_TIME: Final = {"type": "string", "format": "micro-time", "nullable": True}
_TIME: Final = {"type": "string", "format": "date-time", "nullable": True}
_CORE_PROPERTIES: Final[JsonObject] = {
    "involvedObject": _REFERENCE,
    "reason": {**_STRING, "description": "Why the action was taken, machine readable."},
    "message": {**_STRING, "description": "What happened, for people."},
    "source": {"type": "object", "properties": {"component": _STRING, "host": _STRING}},
    "firstTimestamp": _TIME,
    "lastTimestamp": _TIME,
    "count": {"type": "integer", "format": "int32"},
    "type": {**_STRING, "description": "Normal or Warning."},
    "eventTime": _MICRO_TIME,
    "series": {
        "type": "object",
        "nullable": True,
        "properties": {"count": {"type": "integer", "format": "int32"}, "lastObservedTime": _MICRO_TIME},
    },
    "action": {**_STRING, "description": "What action was taken or failed."},
    "related": {**_REFERENCE, "nullable": True},
    "reportingComponent": {**_STRING, "description": "Who emitted the Event."},
    "reportingInstance": {**_STRING, "description": "Which instance emitted it."},
}


def _renamed(obj: Mapping[str, Any], names: Mapping[str, str]) -> JsonObject:
    return {names.get(key, key): value for key, value in obj.items()}


def _to_core(obj: JsonObject) -> JsonObject:
    return _renamed(obj, _CORE_NAME)


def _from_core(obj: JsonObject) -> JsonObject:
    return _renamed(obj, _EVENTS_NAME)


def _admit_core(obj: JsonObject, _: Mapping[str, Any] | None) -> list[FieldError]:
    return list(_common_errors(obj, controller="reportingComponent"))


def _admit_events(obj: JsonObject, old: Mapping[str, Any] | None) -> list[FieldError]:
    errors = list(_common_errors(obj, controller="reportingController"))
    series = obj.get("series")
    if series and (old is None or series != old.get("series")):
        if series.get("count", 0) < 2:
            errors.append(invalid_value("series.count", '""', "should be at least 2"))
        if not series.get("lastObservedTime"):
            errors.append(required("series.lastObservedTime"))
    if old is not None:
        errors += [
            invalid_value(_EVENTS_NAME.get(field, field), '""', "field is immutable")
            for field in _IMMUTABLE
            if obj.get(field) != old.get(field)
        ]
        return errors
    if not obj.get("eventTime"):
        errors.append(required("eventTime"))
    if obj.get("type") not in ("Normal", "Warning"):
        errors.append(invalid_value("type", '""', f"has invalid value: {obj.get('type', '')}"))
    errors += [
        invalid_value(field, '""', "needs to be unset")
        for field in ("firstTimestamp", "lastTimestamp", "count", "source")
        if obj.get(field)
    ]
    return errors


def _common_errors(obj: Mapping[str, Any], *, controller: str) -> Iterator[FieldError]:
    namespace = obj["metadata"]["namespace"]
    involved = obj.get("involvedObject", {}).get("namespace", "")
    mismatch = invalid_value("involvedObject.namespace", f'"{involved}"', "does not match event.namespace")
    if not obj.get("eventTime"):
        if namespace != (involved or "default"):
            yield mismatch
        return
    if not involved and namespace not in ("default", "kube-system"):
        yield mismatch
    for field, shown in (
        ("reportingComponent", controller),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ):
        if not obj.get(field):
            yield required(shown)
        elif len(obj[field]) > _NAME_LIMIT:
            yield invalid_value(shown, '""', f"can have at most {_NAME_LIMIT} characters")
    if len(obj.get("message", "")) > _NOTE_LIMIT:
        yield invalid_value("message", '""', f"can have at most {_NOTE_LIMIT} characters")


def _last_seen(obj: Mapping[str, Any], now: float) -> str:
    series = obj.get("series") or {}
    return age(series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime"), now)


def _first_seen(obj: Mapping[str, Any], now: float) -> str:
    return age(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _count(obj: Mapping[str, Any], _: float) -> int:
    series = obj.get("series") or {}
    return int(series.get("count") or obj.get("count") or 1)


def _object(obj: Mapping[str, Any], _: float) -> str:
    involved = obj.get("involvedObject", {})
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _source(obj: Mapping[str, Any], _: float) -> str:
    source = obj.get("source") or {}
    component = obj.get("reportingComponent") or source.get("component", "")
    instance = obj.get("reportingInstance") or source.get("host", "")
    return f"{component}, {instance}" if instance else component


_COLUMNS: Final = (
    TableColumn("Last Seen", _last_seen, description="When this was last reported."),
    TableColumn("Type", lambda obj, _: obj.get("type", "")),
    TableColumn("Reason", lambda obj, _: obj.get("reason", "")),
    TableColumn("Object", _object),
    TableColumn("Subobject", lambda obj, _: obj.get("involvedObject", {}).get("fieldPath", ""), priority=1),
    TableColumn("Source", _source, priority=1),
    TableColumn("Message", lambda obj, _: obj.get("message", "").strip()),
    TableColumn("First Seen", _first_seen, priority=1),
    TableColumn("Count", _count, type="integer", priority=1),
    TableColumn("Name", lambda obj, _: obj["metadata"]["name"], priority=1),
)

_REFERENCE_FIELDS: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _selectable(reference: str, controller: str) -> dict[str, str]:
    fields = {f"{reference}.{field}": f"involvedObject.{field}" for field in _REFERENCE_FIELDS}
    return {**fields, "reason": "reason", "type": "type", controller: "reportingComponent"}


CORE_EVENT: Final = ResourceType(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    schema=Schema(
        {
            "type": "object",
            "description": "Event is a report of an event somewhere in the cluster.",
            "properties": _CORE_PROPERTIES,
        }
    ),
    columns=_COLUMNS,
    selectable={**_selectable("involvedObject", "reportingComponent"), "source": "source.component"},
    admit=_admit_core,
)

EVENTS_EVENT: Final = ResourceType(
    group="events.k8s.io",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    schema=Schema(
        {
            "type": "object",
            "description": "Event is a report of an event somewhere in the cluster.",
            "properties": _renamed(_CORE_PROPERTIES, _EVENTS_NAME),
        }
    ),
    columns=_COLUMNS,
    selectable=_selectable("regarding", "reportingController"),
    stored_as=("", "events"),
    to_stored=_to_core,
    from_stored=_from_core,
    admit=_admit_events,
)
