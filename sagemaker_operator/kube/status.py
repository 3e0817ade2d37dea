"""Maps a Kubernetes error answer (HTTP status and `Status` object) to a `KubeError`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from sagemaker_operator.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    NotServed,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Enough for every message of the API server's own; a longer one quotes an object.
_TEXT_LIMIT = 256

# For messages that name fields and quote the rules of a CRD, which are longer.
_RULES_LIMIT = 1024

# etcd's own limit, as the API server passes it on with a 500, and that of the connection between them.
_TOO_LARGE = re.compile("etcdserver: request is too large|trying to send message larger than max")

# A cause: its type, the rejected value, and the schema's rule. A value is removed if its end can be found; a cause that
# quotes anything else is not shown.
_CAUSE = re.compile(
    r'(?P<what>(?:Invalid|Unsupported) value): (?P<value>"(?:[^"\\]|\\.)*"|-?\d[\d.e+-]*|true|false|null): (?P<rule>.+)',
    re.DOTALL,
)
# For a rule about an object or a list the API server leaves the value out.
_WITHOUT_VALUE = re.compile(r"Invalid value: (?!map\[)(?P<rule>[A-Za-z][^{}]*)")
# "spec.x in body must be of type date-time: "the value"".
_OF_TYPE = re.compile(r"(?P<kept>.*\bmust be of type [\w-]+)\b.*", re.DOTALL)
# The API server names the type in the place of a value that is none of the above.
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null", "map"})

# The API server's text before a quoted value.
_QUOTED_VALUE = re.compile("(?:Invalid|Unsupported|Duplicate) value:")

_BY_CODE: dict[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: TooManyRequests,
}

_BY_REASON: dict[str, type[KubeError]] = {
    "Expired": Gone,
    "Gone": Gone,
    # A version newer than the server's (etcd was restored from a backup): list again, as for one that is too old.
    "ResourceVersionTooLarge": Gone,
}


class _Cause(msgspec.Struct):
    reason: str = ""
    field: str = ""
    message: str = ""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct):
    """The members of a `Status` object that are used."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_decoder = msgspec.json.Decoder(Status)


def error_of_answer(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, name: str | None = None
) -> KubeError:
    """The error for an HTTP answer outside 2xx. `what`: the request, for the text.

    `name`: the object of the request. Only a 404 that names it is NotFound; others (no such API) are NotServed.
    """
    try:
        decoded = _decoder.decode(body)
    except msgspec.DecodeError:
        decoded = Status()
    return _error(what, status, decoded, _retry_after(headers), name=name)


def error_of_event(what: str, data: bytes | msgspec.Raw) -> KubeError:
    """The error for the object of a watch's ERROR event."""
    try:
        decoded = _decoder.decode(data)
    except msgspec.DecodeError:
        decoded = Status()
    # An ERROR event without a code is an error of the server: retry.
    return _error(what, decoded.code or 500, decoded, None)


def _error(what: str, code: int, status: Status, retry_after: float | None, *, name: str | None = None) -> KubeError:
    details = status.details or _Details()
    causes = details.causes or []
    reason = status.reason
    if any(cause.reason == "ResourceVersionTooLarge" for cause in causes):
        reason = "ResourceVersionTooLarge"
    large = TooLarge if _TOO_LARGE.search(status.message) else None
    error = large or _BY_REASON.get(reason) or _BY_CODE.get(code) or (Unavailable if code >= 500 else KubeError)
    if error is NotFound and (status.kind != "Status" or (name is not None and details.name != name)):
        error = NotServed
    text = _text(status, causes) if status.kind == "Status" else "the answer is not a Kubernetes Status"
    return error(
        f"{what}: HTTP {code}{f' {reason}' if reason else ''}: {text}",
        status=code,
        reason=reason,
        retry_after=details.retry_after_seconds if retry_after is None else retry_after,
    )


def _text(status: Status, causes: list[_Cause]) -> str:
    """The message without values: it quotes a rejected object, which may have hyperparameters or environment variables."""
    text, limit = status.message, _TEXT_LIMIT
    if quoted := _QUOTED_VALUE.search(text):
        fields = "; ".join(dict.fromkeys(_without_value(cause) for cause in causes if cause.field not in ("", "<nil>")))
        text, limit = (
            f"{text.split(': ')[0]}: {fields}" if fields else f"{text[: quoted.start()]}invalid value",
            _RULES_LIMIT,
        )
    printable = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _without_value(cause: _Cause) -> str:
    """The server's text of a cause: its field and the violated rule, without the value."""
    if without := _WITHOUT_VALUE.fullmatch(cause.message):
        return f"{cause.field}: {without['rule'].strip()}"
    found = _CAUSE.fullmatch(cause.message)
    if found is None:
        # "Required value", "Forbidden: ..." and the like quote nothing.
        plain = cause.message and not _QUOTED_VALUE.search(cause.message)
        return f"{cause.field}: {cause.message}" if plain else f"{cause.field} ({cause.reason})"
    rule = found["rule"].strip()
    if typed := _OF_TYPE.fullmatch(rule):
        rule = typed["kept"]
    value = found["value"].strip('"')
    if value not in _TYPES and len(value) > 1 and value in rule:
        return f"{cause.field} ({cause.reason})"
    what = f"{found['what']}: " if found["what"].startswith("Unsupported") else ""
    return f"{cause.field}: {what}{rule}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds. The API server sends whole seconds; the date form is for browsers and is ignored."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return float(value)
    return None
