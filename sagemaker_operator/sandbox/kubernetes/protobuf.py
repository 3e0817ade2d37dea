"""Protobuf for `kubectl create namespace`: kubectl sends built-in types in it, whatever the server prefers.

The wire format is tag, length, value; field numbers are Kubernetes' generated.proto. Only what `kubectl create` fills in
is decoded. Answers are JSON, which every client accepts.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\0"

_TEXT: Final = "text"
_BYTES: Final = "bytes"
_TEXT_MAP: Final = "map of text"
_BYTES_MAP: Final = "map of bytes"
_Fields = dict[int, tuple[str, Any]]
"""Field number -> (JSON name, how to read it: one of the words above, or the fields of a message)."""

_META: Final[_Fields] = {
    1: ("name", _TEXT),
    2: ("generateName", _TEXT),
    3: ("namespace", _TEXT),
    11: ("labels", _TEXT_MAP),
    12: ("annotations", _TEXT_MAP),
}
_KINDS: Final[Mapping[str, _Fields]] = {
    "Namespace": {1: ("metadata", _META)},
    "ServiceAccount": {1: ("metadata", _META)},
    "ConfigMap": {1: ("metadata", _META), 2: ("data", _TEXT_MAP), 3: ("binaryData", _BYTES_MAP)},
    "Secret": {1: ("metadata", _META), 2: ("data", _BYTES_MAP), 3: ("type", _TEXT), 4: ("stringData", _TEXT_MAP)},
    "SelfSubjectAccessReview": {1: ("metadata", _META)},
    "DeleteOptions": {},
}
_UNKNOWN: Final[_Fields] = {1: ("type", {1: ("apiVersion", _TEXT), 2: ("kind", _TEXT)}), 2: ("raw", "raw")}


def decode(body: bytes) -> dict[str, Any]:
    """The object as JSON has it. Raises ValueError for a body that is not protobuf, or is of an unknown kind."""
    if not body.startswith(_MAGIC):
        raise ValueError("the body is not Kubernetes protobuf")
    try:
        envelope = _message(body[len(_MAGIC) :], _UNKNOWN)
        kind = envelope["type"]["kind"]
        if kind not in _KINDS:
            raise ValueError(f"the sandbox's API emulator reads {kind} as JSON only: use kubectl apply -f")
        return {**envelope["type"], **_message(envelope.get("raw", b""), _KINDS[kind])}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError("the protobuf is malformed") from error


def _message(data: bytes, fields: _Fields) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, value in _pairs(data):
        if number not in fields or not isinstance(value, bytes):
            continue
        name, how = fields[number]
        if isinstance(how, dict):
            result[name] = _message(value, how)
        elif how in (_TEXT_MAP, _BYTES_MAP):
            entry = dict(_pairs(value))
            content = _scalar(entry.get(2, b""), _TEXT if how == _TEXT_MAP else _BYTES)
            result.setdefault(name, {})[entry[1].decode()] = content
        else:
            result[name] = _scalar(value, how)
    return result


def _scalar(value: bytes, how: str) -> Any:
    if how == _TEXT:
        return value.decode()
    return base64.b64encode(value).decode() if how == _BYTES else value


def _pairs(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, bytes) of each length-delimited field, (field number, int) of the others."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                size, position = _varint(data, position)
                if position + size > len(data):
                    raise IndexError("a field longer than its message")
                yield tag >> 3, data[position : position + size]
                position += size
            case 1 | 5 as width:
                position += 8 if width == 1 else 4
            case other:
                raise IndexError(f"wire type {other}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, position
        shift += 7
