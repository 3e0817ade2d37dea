"""The wire protocol: caller and operation of an AWS request, and the form of an answer or an error (JSON 1.1)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = "application/x-amz-json-1.1"
_TARGET = "SageMaker."
_CREDENTIAL = re.compile(
    r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)
_ACCOUNT_IN_KEY = re.compile(r"A[KS]IA(\d{12})")
"""Real access keys have no twelve decimal digits here (they are base 32), so the rule cannot catch one by accident."""


class Scope(NamedTuple):
    """Account and region: each has its own resources, limits and counters."""

    account: str
    region: str

    @property
    def partition(self) -> str:
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def arn(self, resource: str) -> str:
        """An ARN of the sagemaker service; `resource` is `training-job/name`."""
        return f"arn:{self.partition}:sagemaker:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One decoded API call."""

    operation: str
    scope: Scope
    access_key: str
    input: Mapping[str, Any] = field(repr=False)


class ServiceError(Exception):
    """An error that the service answers with. `status` is the HTTP status."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class ConnectionCut(Exception):
    """The connection ends without an answer. `applied`: the call took effect before."""

    def __init__(self, *, applied: bool) -> None:
        super().__init__("connection cut after the call took effect" if applied else "connection refused")
        self.applied = applied


def invalid(message: str) -> NoReturn:
    """Raise AWS's ValidationException."""
    raise ServiceError("ValidationException", message)


class Credential(NamedTuple):
    access_key: str
    region: str


def credential(headers: Mapping[str, str]) -> Credential:
    """The access key and region of a SigV4 signature. Raises ServiceError without one; the signature is not verified."""
    found = _CREDENTIAL.search(header(headers, "Authorization"))
    if found is None:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
    return Credential(found["key"], found["region"])


def account_of(access_key: str, default: str) -> str:
    """The account that an access key names (`AKIA` or `ASIA`, then the twelve digits), otherwise the default one."""
    found = _ACCOUNT_IN_KEY.match(access_key)
    return found[1] if found else default


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value whatever the case of its name, or ``""``."""
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), "")


def target(headers: Mapping[str, str]) -> str:
    """The SageMaker operation of X-Amz-Target, or ``""`` (the query protocol has none)."""
    value = header(headers, "X-Amz-Target")
    return value.removeprefix(_TARGET) if value.startswith(_TARGET) else ""


def decode(body: bytes) -> dict[str, Any]:
    """The call's input, without nulls: to AWS they are the same as absent. Raises ServiceError for no JSON object."""
    try:
        decoded = _without_nulls(json.loads(body or b"{}"))
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise ServiceError("SerializationException", "Start of structure or map found where not expected.")
    return decoded


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def success(output: Mapping[str, Any] | None, *, request_id: str) -> Answer:
    """An operation without output shape answers with an empty body."""
    body = b"" if output is None else json.dumps(output).encode()
    return Answer(200, _headers(request_id), body)


def failure(error: ServiceError, *, request_id: str, modelled: bool) -> Answer:
    """Errors of the model spell their text `Message`, the common ones of all services `message`."""
    text = "Message" if modelled else "message"
    body = json.dumps({"__type": error.code, text: error.message}).encode()
    return Answer(error.status, _headers(request_id), body)


def _headers(request_id: str) -> dict[str, str]:
    return {"Content-Type": JSON_TYPE, "x-amzn-RequestId": request_id}
