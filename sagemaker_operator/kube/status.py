"""What a Kubernetes error answer means: HTTP status and `Status` object -> one `KubeError`."""

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
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Enough for every message of the API server's own; what is longer quotes somebody's object.
_TEXT_LIMIT = 256

# How the API server introduces a value that it quotes.
_QUOTED_VALUE = re.compile("(?:Invalid|Unsupported|Duplicate) value:")

_BY_CODE: dict[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}

_BY_REASON: dict[str, type[KubeError]] = {
    "Expired": Gone,
    "Gone": Gone,
    # A version from the future (etcd was restored from a backup): only a fresh list helps, as with one too old.
    "ResourceVersionTooLarge": Gone,
}


class _Cause(msgspec.Struct):
    reason: str = ""
    field: str = ""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct):
    """The `Status` object, as far as it is read."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_decoder = msgspec.json.Decoder(Status)


def error_of_answer(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, name: str | None = None
) -> KubeError:
    """The error that an HTTP answer outside 2xx stands for. `what` is the request, for people.

    `name` is the object that the request is about: only a 404 that names it says that it does not exist.
    """
    try:
        decoded = _decoder.decode(body)
    except msgspec.DecodeError:
        decoded = Status()
    return _error(what, status, decoded, _retry_after(headers), name=name)


def error_of_event(what: str, data: bytes | msgspec.Raw) -> KubeError:
    """The error that the object of a watch's ERROR event stands for."""
    try:
        decoded = _decoder.decode(data)
    except msgspec.DecodeError:
        decoded = Status()
    # A watch that fails without saying how has failed in the server: worth a retry.
    return _error(what, decoded.code or 500, decoded, None)


def _error(what: str, code: int, status: Status, retry_after: float | None, *, name: str | None = None) -> KubeError:
    details = status.details or _Details()
    causes = details.causes or []
    reason = status.reason
    if any(cause.reason == "ResourceVersionTooLarge" for cause in causes):
        reason = "ResourceVersionTooLarge"
    error = _BY_REASON.get(reason) or _BY_CODE.get(code) or (Unavailable if code >= 500 else KubeError)
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
    """The message without values: a refused object is quoted there, and may hold hyperparameters or an environment."""
    text = status.message
    if quoted := _QUOTED_VALUE.search(text):
        fields = ", ".join(f"{cause.field} ({cause.reason})" for cause in causes if cause.field)
        text = f"{text.split(': ')[0]}: {fields}" if fields else f"{text[: quoted.start()]}invalid value"
    printable = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(printable.split())
    return line if len(line) <= _TEXT_LIMIT else f"{line[: _TEXT_LIMIT - 1]}…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds. The API server sends whole seconds; the date form is for browsers and is ignored."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return float(value)
    return None
