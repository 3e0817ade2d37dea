"""Decodes a request body to an object of a type: parses, prunes, and reports unknown fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_operator.sandbox.kubernetes import meta
from sagemaker_operator.sandbox.kubernetes.status import bad_request, invalid, invalid_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sagemaker_operator.sandbox.kubernetes.resources import ResourceType

JsonObject = dict[str, Any]

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"

_BODYLESS = ("apiVersion", "kind", "metadata")


class Undecodable(Exception):
    """The object cannot be read as its type; the text is the API server's reason."""


class Decoded(NamedTuple):
    """An object without unknown fields, and the warnings for the client."""

    object: JsonObject
    warnings: list[str]


def parse(body: bytes | None, type_: ResourceType) -> tuple[JsonObject, list[str]]:
    """A request body -> (its JSON object, the paths of duplicate fields). Raises ApiError 400."""
    repeated: list[tuple[int, str]] = []

    def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend((id(result), name) for name in result if names.count(name) > 1)
        return result

    try:
        parsed = json.loads(body or b"", object_pairs_hook=unique)
    except ValueError as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {type_.kind}): couldn't get version/kind;"
            f" json parse error: {error}"
        ) from None
    if not isinstance(parsed, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {type_.kind}): it is not a JSON object"
        )
    return parsed, list(_paths_of(parsed, repeated)) if repeated else []


def _paths_of(value: Any, repeated: list[tuple[int, str]], path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}{name}" for where, name in repeated if where == id(value))
        for name, entry in value.items():
            yield from _paths_of(entry, repeated, f"{path}{name}.")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _paths_of(entry, repeated, f"{path[:-1]}[{index}].")


def check_kind(obj: JsonObject, type_: ResourceType) -> None:
    """Raises ApiError 400 or 422 unless kind and apiVersion of `obj` are those of `type_`; built-in types may omit them."""
    kind, api_version = obj.get("kind") or "", obj.get("apiVersion") or ""
    if type_.custom and not kind:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {type_.kind}): Object 'Kind' is missing"
        )
    if (api_version or type_.custom) and api_version != type_.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({type_.api_version})"
        )
    if kind and kind != type_.kind and type_.custom:
        name = str((obj.get("metadata") or {}).get("name", ""))
        raise invalid(type_, name, [invalid_value("kind", f'"{kind}"', f"must be {type_.kind}")])
    if kind and kind != type_.kind:
        raise bad_request(f'{kind} in version "{type_.version}" cannot be handled as a {type_.kind}')


def decode(obj: JsonObject, type_: ResourceType, *, validation: str, duplicates: list[str]) -> Decoded:
    """`obj` (which is taken over) without what `type_` does not know, defaults filled in, in its stored form.

    `validation` is the query's fieldValidation. Raises Undecodable.
    """
    metadata, unknown, why = meta.decode(obj.get("metadata"))
    if why:
        raise Undecodable(why)
    content = {key: value for key, value in obj.items() if key not in _BODYLESS}
    unknown += type_.schema.prune(content)
    if not type_.custom:
        for error in type_.schema.structural_errors(content):
            raise Undecodable(meta.decode_error(type_.kind, type_.schema.raw, content, error.field))
    problems = [f'duplicate field "{path}"' for path in duplicates] + [f'unknown field "{path}"' for path in unknown]
    if problems and validation == STRICT:
        raise Undecodable(f"strict decoding error: {', '.join(problems)}")
    type_.schema.default(content)
    whole = {"apiVersion": type_.api_version, "kind": type_.kind, "metadata": metadata, **content}
    return Decoded(type_.to_stored(whole), problems if validation == WARN else [])
