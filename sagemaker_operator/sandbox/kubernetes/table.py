"""Tables for `kubectl get`: the server renders the columns, the client only aligns them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sagemaker_operator.clock import parse_rfc3339
from sagemaker_operator.sandbox.kubernetes.resources import ResourceType, TableColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

JsonObject = dict[str, Any]

_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\]])+)                                        # .name, with \. for a dot in it
      | \[\s*'(?P<quoted>[^']*)'\s*\]                                        # ['name']
      | \[\s*(?P<index>-?\d+|\*)\s*\]                                        # [0] and [*]
      | \[\?\(\s*@\.(?P<left>[\w.]+)\s*==\s*(?P<quote>["'])(?P<right>.*?)(?P=quote)\s*\)\]   # [?(@.type=="Ready")]
    """,
    re.VERBOSE,
)


def json_path(text: str) -> Callable[[Any], list[Any]]:
    """Compiles the part of JSONPath that printer columns use. Raises ValueError for the rest of it."""
    steps: list[Callable[[list[Any]], list[Any]]] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if not found:
            raise ValueError(f"unsupported JSONPath {text!r} at {text[position:]!r}")
        steps.append(_step(found))
        position = found.end()

    def run(obj: Any) -> list[Any]:
        values = [obj]
        for step in steps:
            values = step(values)
        return values

    return run


def _step(found: re.Match[str]) -> Callable[[list[Any]], list[Any]]:
    if found["left"]:
        inner, wanted = json_path(f".{found['left']}"), found["right"]
        return lambda values: [
            item for value in values if isinstance(value, list) for item in value if inner(item) == [wanted]
        ]
    if found["index"] == "*":
        return lambda values: [
            item for value in values for item in (value.values() if isinstance(value, dict) else value or ())
        ]
    if found["index"]:
        index = int(found["index"])
        return lambda values: [
            value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)
        ]
    name = found["quoted"] if found["quoted"] is not None else found["name"].replace("\\", "")
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _name(obj: Mapping[str, Any], _: float) -> str:
    return str(obj["metadata"]["name"])


NAME: Final = TableColumn("Name", _name, format="name", description="Name of the object.")


def crd_columns(version: Mapping[str, Any]) -> tuple[TableColumn, ...]:
    """The columns of one version of a CRD. Raises ValueError for a bad JSONPath."""
    columns = version.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    return (
        NAME,
        *(
            TableColumn(
                name=column["name"],
                type=column["type"],
                format=column.get("format", ""),
                description=column.get("description")
                or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
                priority=column.get("priority", 0),
                cell=_cell(json_path(column["jsonPath"]), column["type"]),
            )
            for column in columns
        ),
    )


def _cell(path: Callable[[Any], list[Any]], kind: str) -> Callable[[Mapping[str, Any], float], Any]:
    def cell(obj: Mapping[str, Any], now: float) -> Any:
        values = path(obj)
        if not values or values[0] is None:
            return None
        if kind == "date":
            return age(values[0], now)
        if kind == "string":
            return ",".join(_text(value) for value in values)
        return values[0]

    return cell


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def age(timestamp: str | None, now: float) -> str:
    """`now - timestamp` in kubectl's format: at most two units, coarser for longer times."""
    if not timestamp:
        return "<unknown>"
    try:
        seconds = int(now - parse_rfc3339(timestamp))
    except ValueError:
        return "<invalid>"
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return f"{days // 365}y" + (f"{days % 365}d" if days % 365 else "")
    return f"{days // 365}y"


def table(
    type_: ResourceType,
    objects: Iterable[JsonObject],
    *,
    now: float,
    meta: Mapping[str, Any],
    include: str = "Metadata",
    header: bool = True,
) -> JsonObject:
    """A Table of stored objects. `include` is the query's includeObject: Metadata, Object or None."""
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in type_.columns
    ]
    rows = []
    for stored in objects:
        row: JsonObject = {"cells": [column.cell(stored, now) for column in type_.columns]}
        if include == "Object":
            row["object"] = type_.present(stored)
        elif include != "None":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            row["object"] = {**partial, "metadata": stored["metadata"]}
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(meta),
        "columnDefinitions": definitions if header else None,
        "rows": rows,
    }
