"""Translates every exception of an AWS call to `AwsError`, with a text that is safe to show.

Guarantees about the text:
- It is stable: no request id or anything else that differs between two failures with the same cause, because it becomes a
  condition.
- It quotes no value: AWS and botocore both echo the offending value, which may be a secret in an environment or a
  hyperparameter. The member is named instead.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import botocore.exceptions as boto

from sagemaker_operator.aws.classify import EXPIRED_CODES, classify
from sagemaker_operator.aws.configuration import explain
from sagemaker_operator.backoff import LONGEST_RETRY_AFTER
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sagemaker_operator.kinds.descriptor import Kind

MAX_MESSAGE = 1024
"""Characters. A condition's message may have 32 KiB, but AWS's authorisation texts are pages long."""

CREDENTIALS_HINT = (
    "give the operator AWS credentials: an IAM role for its service account (IRSA or EKS Pod Identity), "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
)

_EXPIRED_HINT = (
    "renew what the operator was given, or give it credentials that renew themselves: an IAM role for its service account "
    "(IRSA or EKS Pod Identity); a clock that is minutes off does the same"
)

_UNKNOWN_KEY_HINT = f"{CREDENTIALS_HINT}; if they work in other regions, this one has yet to be enabled for the account"

_CLOCK_HINT = "set the clock of the node that the operator runs on: AWS accepts five minutes of difference"

# AWS's answers to an access key that a region does not know: a wrong one, or a valid one in a region that is not enabled.
_UNKNOWN_KEY_CODES = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure"})
_CLOCK = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)

_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_NOISE: tuple[tuple[re.Pattern[str], str], ...] = (
    # The Java SDK's trailer, passed on by services that call one another.
    (re.compile(r"\s*\(Service: [^()]*; Status Code: \d+;[^()]*\)"), ""),
    (re.compile(r"[,;.]?\s*\(?\b(?:x-amzn-)?request[ -]?id\b\s*[:=]?\s*[\w-]{8,}\)?", re.IGNORECASE), ""),
    (re.compile(rf"\s*\(?\b(?:RequestID|trace ?id|correlation ?id)\b\s*[:=]?\s*{_UUID}\)?", re.IGNORECASE), ""),
    (re.compile(r"\s*Encoded authorization failure message:\s*\S+", re.IGNORECASE), ""),
    # Coral's constraint report: keep the path, drop the value.
    (re.compile(r"Value '.*?' at '([\w.\[\]-]+)' failed to satisfy", re.DOTALL), r"Value at '\1' failed to satisfy"),
)
_SPACES = re.compile(r"\s+")

# One line of botocore's validation report: problem, path, and the safe part of the rest.
_REPORTED = re.compile(
    r"""^(?:
      Missing\ required\ parameter\ in\ (?P<missing_in>\S+):\ "(?P<missing>\w+)"
    | Unknown\ parameter\ in\ (?P<unknown_in>\S+):\ "(?P<unknown>\w+)"
    | Invalid\ type\ for\ (?:document\ )?parameter\ (?P<type_of>\S+?),\ value:
    | Invalid\ value\ for\ parameter\ (?P<range_of>\S+?),\ value:
    | Invalid\ length\ for\ parameter\ (?P<length_of>\S+?),\ value:
    | Invalid\ number\ of\ parameters\ set\ for\ tagged\ union\ structure\ (?P<union>\S+?)\.\s
    | Must\ set\ one\ of\ the\ following\ keys\ for\ tagged\ unionstructure\ (?P<empty_union>\S+?):
    )""",
    re.VERBOSE | re.MULTILINE,
)
_PHRASES: Mapping[str, str] = {
    "type_of": "{} has the wrong type",
    "range_of": "{} is below its minimum",
    "length_of": "{} is shorter than its minimum",
    "union": "{} must have exactly one member set",
    "empty_union": "{} must have exactly one member set",
}

# Raised before the connection carried a byte of the request.
_NOT_SENT = (boto.ConnectTimeoutError, boto.SSLError, boto.ProxyConnectionError)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.SSOError,
    boto.LoginError,
    boto.MetadataRetrievalError,
    boto.ProfileNotFound,
    boto.InvalidConfigError,
)
_NO_ENDPOINT = (
    boto.BaseEndpointResolverError,
    boto.EndpointProviderError,
    boto.InvalidRegionError,
    boto.UnknownRegionError,
    boto.ServiceNotInRegionError,
)


def clean_message(text: str) -> str:
    """`text` without request ids and echoed values, on one line, at most `MAX_MESSAGE` characters."""
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    text = _SPACES.sub(" ", text).strip()
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def translate_error(exc: BaseException, *, operation: str, kind: Kind | None = None, endpoint: str = "") -> AwsError:
    """The `AwsError` for an exception of a call of `operation`. The caller raises it `from` the original.

    `endpoint`: the URL of the call; the text names its host if AWS sent no text.
    """
    if isinstance(exc, AwsError):
        return exc
    if isinstance(exc, boto.ClientError):
        return _answered(exc, operation, kind, _host(endpoint))
    if isinstance(exc, boto.ParamValidationError):
        message = _rebuild_report(str(exc.kwargs.get("report", "")))
        return AwsError(message, category=ErrorCategory.VALIDATION, operation=operation, sent=False)
    if isinstance(exc, _NO_CREDENTIALS):
        known = explain(exc)
        message = (
            f"{known.message if known else f'no usable AWS credentials ({type(exc).__name__})'}; {CREDENTIALS_HINT}"
        )
        category = known.category if known else ErrorCategory.CREDENTIALS
        return AwsError(message, category=category, operation=operation, sent=False)
    if isinstance(exc, OSError) and (known := explain(exc)) is not None:
        return AwsError(known.message, category=known.category, operation=operation, sent=False)
    if isinstance(exc, (ConfigurationError, *_NO_ENDPOINT)):
        return AwsError(clean_message(str(exc)), category=ErrorCategory.VALIDATION, operation=operation, sent=False)
    return _unanswered(exc, operation, endpoint)


def _host(url: str) -> str:
    """Host and port of a URL; "AWS" if there is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "AWS"
    except ValueError:
        return "AWS"


def _answered(exc: boto.ClientError, operation: str, kind: Kind | None, host: str) -> AwsError:
    error: Mapping[str, Any] = exc.response.get("Error", {})
    metadata: Mapping[str, Any] = exc.response.get("ResponseMetadata", {})
    # An empty element of STS's XML is None.
    code = str(error.get("Code") or "")
    text = str(error.get("Message") or "")
    status = int(metadata.get("HTTPStatusCode", 0))
    category = classify(operation, code, text, status, kind)
    if code.isdigit() or (not code and not text):
        # Not an AWS error (a proxy's page, another service): botocore puts the HTTP status where the code belongs.
        code, text = "", f"HTTP {status} without an AWS error code from {host}"
    message = clean_message(text) or f"{operation}: HTTP {status} without a text from {host}"
    asked = _retry_after(metadata.get("HTTPHeaders", {}))
    if category is ErrorCategory.CREDENTIALS:
        if clock := _CLOCK.search(text):
            message = clock[0]  # the rest are three times, which differ at each attempt
        message = f"{message.rstrip('.')}; {_credentials_hint(code, text)}"
    return AwsError(
        message,
        category=category,
        operation=operation,
        code=code,
        http_status=status,
        request_id=str(metadata.get("RequestId", "")),
        retry_after=None if asked is None else min(asked, LONGEST_RETRY_AFTER),
        asked_to_wait=asked if asked is not None and asked > LONGEST_RETRY_AFTER else None,
    )


def is_clock_skew(error: AwsError) -> bool:
    """AWS refuses the time of the request's signature: nothing succeeds until the clock is set."""
    return error.category is ErrorCategory.CREDENTIALS and error.message.endswith(_CLOCK_HINT)


def _credentials_hint(code: str, text: str) -> str:
    if _CLOCK.search(text):
        return _CLOCK_HINT
    if code in EXPIRED_CODES:
        return _EXPIRED_HINT
    return _UNKNOWN_KEY_HINT if code in _UNKNOWN_KEY_CODES else CREDENTIALS_HINT


def _unanswered(exc: BaseException, operation: str, endpoint: str) -> AwsError:
    asked = exc.kwargs.get("endpoint_url") if isinstance(exc, boto.BotoCoreError) else None
    cause = exc.kwargs.get("error") if isinstance(exc, boto.BotoCoreError) else exc
    sent = True
    if isinstance(exc, _NOT_SENT):
        sent = False
    elif isinstance(exc, (boto.EndpointConnectionError, aiohttp.ClientError, OSError)):
        # aiobotocore raises EndpointConnectionError for a refused connection *and* for one reset during
        # the exchange; only the connector's own errors prove that nothing was sent.
        sent = not isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror))
    if isinstance(exc, (boto.BotoCoreError, aiohttp.ClientError, asyncio.TimeoutError, OSError)) or _unparsable(exc):
        return AwsError(
            f"no answer from {_host(str(asked or endpoint))} ({_symptom(exc, cause)})",
            category=ErrorCategory.TRANSIENT,
            operation=operation,
            sent=sent,
        )
    return AwsError(type(exc).__name__, category=ErrorCategory.UNKNOWN, operation=operation)


def _unparsable(exc: BaseException) -> bool:
    """The answer is not of the AWS protocol. botocore's parser errors share no base class with its other exceptions."""
    return type(exc).__module__ == "botocore.parsers"


def _symptom(exc: BaseException, cause: object) -> str:
    """Type names and the operating system's reason; the texts themselves contain addresses and sometimes the request."""
    if not isinstance(cause, BaseException):
        return type(exc).__name__
    names = type(exc).__name__ if cause is exc else f"{type(exc).__name__}: {type(cause).__name__}"
    reason = _reason(cause)
    return f"{names}: {reason}" if reason else names


def _reason(cause: BaseException) -> str:
    for error in (getattr(cause, "certificate_error", None), getattr(cause, "os_error", None), cause):
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(error.verify_message)
        if isinstance(error, ssl.SSLError):
            return str(error.reason or "")
        if isinstance(error, OSError) and error.errno and error.strerror:
            return error.strerror
    return ""


def _rebuild_report(report: str) -> str:
    """botocore's report without its values: "Invalid type for parameter Environment.PASSWORD, value: s3cret, ..."."""
    parts: list[str] = []
    for match in _REPORTED.finditer(report):
        found = {name: text for name, text in match.groupdict().items() if text is not None}
        if "missing" in found:
            parts.append(f"{_inside(found['missing_in'])}{found['missing']} is required")
        elif "unknown" in found:
            parts.append(f"{_inside(found['unknown_in'])}{found['unknown']} is not a known member")
        else:
            ((name, where),) = found.items()
            parts.append(_PHRASES[name].format(where))
    return clean_message("; ".join(parts)) or "the request does not have the shape that the operation takes"


def _inside(parent: str) -> str:
    return "" if parent == "input" else f"{parent}."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds. `x-amz-retry-after` counts milliseconds, HTTP's `retry-after` seconds (AWS sends no dates)."""
    for header, unit in (("x-amz-retry-after", 1e-3), ("retry-after", 1.0)):
        text = headers.get(header, "").strip()
        if text.isdigit():
            return int(text) * unit
    return None
