"""Get, list and watch, with the consistency of a real server."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sagemaker_operator.sandbox.kubernetes import status
from sagemaker_operator.sandbox.kubernetes.selectors import Matcher, field_selector, label_selector
from sagemaker_operator.sandbox.kubernetes.watch import Render, Watch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from sagemaker_operator.sandbox.kubernetes.resources import ResourceType
    from sagemaker_operator.sandbox.kubernetes.storage import JsonObject, Storage

_TRUE: Final = frozenset({"true", "1", "True", "TRUE", "t", "T"})
_MATCHES: Final = ("Exact", "NotOlderThan")
# A real server ends a watch without timeoutSeconds after 30 to 60 minutes, at random.
_WATCH_SECONDS: Final = 1800.0
_EXPIRED_CONTINUE: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)
_INCONSISTENT: Final = -1


class Page(NamedTuple):
    """`objects` are in their stored form; `meta` is the list's."""

    objects: list[JsonObject]
    meta: JsonObject


class Reader:
    """Answers from the storage. Methods raise ApiError."""

    def __init__(self, storage: Storage, *, rng: random.Random, bookmark_seconds: float) -> None:
        self._storage = storage
        self._rng = rng
        self._bookmark_seconds = bookmark_seconds

    def page(self, type_: ResourceType, namespace: str | None, query: Mapping[str, str]) -> Page:
        """One list request. Pages after the first come from the first one's snapshot."""
        matches = _matcher(type_, namespace, query)
        wanted, token = query.get("resourceVersion", ""), query.get("continue", "")
        self._check_list_options(wanted, token, query)
        limit = _whole_number("limit", query.get("limit") or "0")
        # "0" means "whatever the watch cache has", and the cache does not page.
        limit = 0 if wanted == "0" else limit
        version, start = self._storage.version, ""
        if token:
            version, start = _decode_token(token)
            if version == _INCONSISTENT:
                version = self._storage.version
                self._storage.snapshot(type_.collection)
            held = self._storage.at_snapshot(type_.collection, version)
            if held is None:
                raise status.expired(_EXPIRED_CONTINUE, continue_=_token(_INCONSISTENT, start))
        else:
            held = self._storage.list(type_.collection)
        selected = [obj for obj in held if _position(obj) > start and matches(obj)]
        meta: JsonObject = {"resourceVersion": str(version)}
        if limit and len(selected) > limit:
            if not token:
                self._storage.snapshot(type_.collection)
            rest, selected = len(selected) - limit, selected[:limit]
            meta["continue"] = _token(version, _position(selected[-1]))
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = rest
        return Page(selected, meta)

    def watch(
        self,
        type_: ResourceType,
        namespace: str | None,
        query: Mapping[str, str],
        *,
        render: Render,
        closed: Callable[[Watch], None],
    ) -> Watch:
        """A started watch. A version that is too old is answered within it, by an ERROR event, as real servers do."""
        wanted = query.get("resourceVersion", "")
        initial = query.get("sendInitialEvents")
        match = query.get("resourceVersionMatch", "")
        if match and initial is None:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise _forbidden_option("resourceVersionMatch", why)
        if initial is not None and match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise _forbidden_option("resourceVersionMatch", why)
        seconds = _whole_number("timeoutSeconds", query.get("timeoutSeconds") or "0")
        lifetime = seconds or self._rng.uniform(_WATCH_SECONDS, 2 * _WATCH_SECONDS)
        bookmarks = is_true(query.get("allowWatchBookmarks", ""))
        watch = Watch(
            self._storage,
            type_.collection,
            matches=_matcher(type_, namespace, query),
            render=render,
            bookmark={"kind": type_.kind, "apiVersion": type_.api_version} if bookmarks else None,
            bookmark_seconds=self._bookmark_seconds,
            end_at=asyncio.get_running_loop().time() + lifetime,
            closed=closed,
        )
        everything = is_true(initial) if initial is not None else wanted in ("", "0")
        if everything:
            version = _version(wanted)
            if version > self._storage.version:
                raise status.too_large_version(version, self._storage.version)
            objects = self._storage.list(type_.collection, namespace)
            watch.start((), initial=objects, announce=initial is not None)
        else:
            since = _version(wanted) if wanted not in ("", "0") else self._storage.version
            oldest = self._storage.oldest(type_.collection)
            if since < oldest:
                watch.fail(status.expired(f"too old resource version: {since} ({oldest})").status())
            else:
                watch.start(self._storage.since(type_.collection, since))
        return watch

    def _check_list_options(self, wanted: str, token: str, query: Mapping[str, str]) -> None:
        match = query.get("resourceVersionMatch", "")
        if "sendInitialEvents" in query:
            raise _forbidden_option("sendInitialEvents", "sendInitialEvents is forbidden for list")
        if token:
            if match:
                why = "resourceVersionMatch is forbidden when continue is provided"
                raise _forbidden_option("resourceVersionMatch", why)
            if wanted not in ("", "0"):
                raise status.bad_request("specifying resource version is not allowed when using continue")
            return
        if match and not wanted:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise _forbidden_option("resourceVersionMatch", why)
        if match and match not in _MATCHES:
            message = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
            raise status.invalid_options(
                "ListOptions", [status.FieldError("resourceVersionMatch", "FieldValueNotSupported", message)]
            )
        version = _version(wanted)
        if match == "Exact" and version == 0:
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            raise _forbidden_option("resourceVersionMatch", why)
        if version > self._storage.version:
            raise status.too_large_version(version, self._storage.version)
        if match == "Exact" and version < self._storage.version:
            raise status.expired("The resourceVersion for the provided list is too old.")


def is_true(text: str | None) -> bool:
    """A boolean of a query, as Go's strconv.ParseBool reads it."""
    return text in _TRUE


def _matcher(type_: ResourceType, namespace: str | None, query: Mapping[str, str]) -> Matcher:
    labels = label_selector(query.get("labelSelector", ""))
    fields = field_selector(query.get("fieldSelector", ""), type_.fields)

    def matches(obj: Mapping[str, Any]) -> bool:
        return (namespace is None or obj["metadata"].get("namespace") == namespace) and labels(obj) and fields(obj)

    return matches


def _forbidden_option(field: str, why: str) -> status.ApiError:
    return status.invalid_options("ListOptions", [status.forbidden_value(field, why)])


def _version(text: str) -> int:
    if not text:
        return 0
    if not text.isdigit():
        shown = status.invalid_value("resourceVersion", f'"{text}"', "it is not a number")
        raise status.bad_request(f"invalid resource version: {shown.field}: {shown.message}")
    return int(text)


def _whole_number(name: str, text: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        raise status.bad_request(f"{name}: {text!r} is not a whole number") from None


def _position(obj: JsonObject) -> str:
    """The object's sort key in the storage. NUL sorts before every character of a name."""
    metadata = obj["metadata"]
    return f"{metadata.get('namespace', '')}\0{metadata['name']}"


def _token(version: int, start: str) -> str:
    content = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(content.encode()).decode()


def _decode_token(token: str) -> tuple[int, str]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token))
        return int(content["rv"]), str(content["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise status.bad_request("continue key is not valid") from None
