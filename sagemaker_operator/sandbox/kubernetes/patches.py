"""PATCH bodies: JSON patch, JSON merge patch, and the strategic merge of built-in types as far as kubectl uses it."""

from __future__ import annotations

from typing import Any

import json_merge_patch
import jsonpatch
import jsonpointer
import msgspec

from sagemaker_operator.sandbox.kubernetes.status import ApiError, bad_request, unsupported_media
from sagemaker_operator.sandbox.kubernetes.storage import copy_of

JsonObject = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# Lists that a strategic merge adds to instead of replacing, with the key that identifies their items (None: the item itself).
_MERGED_LISTS: dict[str, str | None] = {
    "finalizers": None,
    "ownerReferences": "uid",
    "secrets": "name",
    "imagePullSecrets": "name",
}


def apply_patch(content_type: str, body: bytes, current: JsonObject, *, custom: bool) -> JsonObject:
    """A patched copy of `current`. Raises ApiError 400, 415 or 422."""
    media = content_type.partition(";")[0].strip()
    if media not in (JSON_PATCH, MERGE_PATCH) and (custom or media != STRATEGIC_PATCH):
        accepted = [JSON_PATCH, MERGE_PATCH] if custom else [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH]
        raise unsupported_media(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
        )
    try:
        patch = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    if media == JSON_PATCH:
        return _json_patch(patch, current)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: it is not a JSON object")
    target = copy_of(current)
    if media == STRATEGIC_PATCH:
        return _strategic(target, patch)
    merged: JsonObject = json_merge_patch.merge(target, patch)
    return merged


def _json_patch(patch: Any, current: JsonObject) -> JsonObject:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    try:
        # In place on our own copy: jsonpatch would make one with copy.deepcopy.
        patched: JsonObject = jsonpatch.JsonPatch(patch).apply(copy_of(current), in_place=True)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        # The compared values may be secret; a real server does not show them either.
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request") from None
    return patched


def _strategic(target: JsonObject, patch: JsonObject) -> JsonObject:
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    for key, value in patch.items():
        if key.startswith(("$setElementOrder/", "$retainKeys")):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            target[name] = [item for item in target.get(name, ()) if item not in value]
        elif value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            before = target.get(key)
            target[key] = _strategic(before if isinstance(before, dict) else {}, value)
        elif isinstance(value, list) and key in _MERGED_LISTS:
            target[key] = _merged_list(target.get(key) or [], value, _MERGED_LISTS[key])
        else:
            target[key] = value
    return target


def _merged_list(current: list[Any], patch: list[Any], key: str | None) -> list[Any]:
    if key is None:
        return [*(item for item in patch if item not in current), *current]
    result = {item.get(key): item for item in current}
    for item in patch:
        if item.get("$patch") == "delete":
            result.pop(item.get(key), None)
        else:
            result[item.get(key)] = {**result.get(item.get(key), {}), **item}
    return list(result.values())
