"""Maps (operation, code, text, HTTP status, kind) of an AWS error to its `ErrorCategory`.

SageMaker's declared errors are not reliable: DescribeTrainingJob declares ResourceNotFound and answers
ValidationException "Requested resource not found", and half of the creates report "exists" only in the text. So code and
text both decide, and the texts are rows of data. Two rules are for safety:

- "Not found" makes the operator create. On a Describe it requires a code for it, the kind's own pattern, or a text about
  absence; any other ValidationException is *not* absence.
- "Not found" at a create is about something that the request names (a role, an image, S3 data, the model of an endpoint
  configuration created a second ago), which may appear later without an edit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_operator.errors import ErrorCategory

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind

READ_VERBS = ("Describe", "List", "Get", "Search", "BatchDescribe", "Query")
"""Operations that change nothing. Everything else is a mutation, unknown verbs included."""

_CREATE_VERBS = ("Create", "Register", "Import", "Put")
_PRIMARY_VERBS = ("Describe", "BatchDescribe", "Get", "Stop", "Delete", "Deregister")
"""Operations whose input names only the resource itself, so that "not found" can only mean that one."""


def is_read(operation: str) -> bool:
    """Whether `operation` changes nothing at AWS, so that repeating it is safe."""
    return operation.startswith(READ_VERBS)


def _creates(operation: str, kind: Kind | None) -> bool:
    if kind is not None and operation == kind.create:
        return True
    return operation.startswith(_CREATE_VERBS) or operation == "StartPipelineExecution"


EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "ExpiredIdentityToken", "RequestExpired", "TokenRefreshRequired"}
)
"""Credentials that were valid until now: new ones may replace them in a minute."""


class _Code(NamedTuple):
    category: ErrorCategory
    codes: frozenset[str]


def _codes(category: ErrorCategory, names: str) -> _Code:
    return _Code(category, frozenset(names.split()))


# Codes with one meaning for every operation and text.
_CODES: tuple[_Code, ...] = (
    _codes(
        ErrorCategory.THROTTLED,
        "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException"
        " TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded SlowDown PriorRequestNotComplete",
    ),
    _codes(
        ErrorCategory.CREDENTIALS,
        " ".join(EXPIRED_CODES) + " UnrecognizedClientException"
        " InvalidClientTokenId InvalidAccessKeyId InvalidSignatureException SignatureDoesNotMatch AuthFailure"
        " IncompleteSignature IncompleteSignatureException MissingAuthenticationToken"
        " MissingAuthenticationTokenException InvalidIdentityToken InvalidIdentityTokenException"
        " IDPRejectedClaim",
    ),
    _codes(
        ErrorCategory.ACCESS_DENIED,
        "AccessDenied AccessDeniedException UnauthorizedOperation NotAuthorized NotAuthorizedException OptInRequired"
        " SubscriptionRequiredException RegionDisabledException",
    ),
    _codes(
        ErrorCategory.QUOTA,
        "ResourceLimitExceeded ServiceQuotaExceededException LimitExceededException LimitExceeded",
    ),
    _codes(
        ErrorCategory.TRANSIENT,
        "InternalFailure InternalError InternalServerError InternalServerException ServiceUnavailable"
        " ServiceUnavailableException ServiceException InternalDependencyException RequestTimeout"
        " RequestTimeoutException IDPCommunicationError",
    ),
)

_NOT_FOUND_CODES = frozenset({"ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException"})
_IN_USE_CODES = frozenset({"ResourceInUse", "ResourceInUseException", "ConflictException", "ConcurrentUpdateException"})
_VALIDATION_CODES = frozenset(
    {
        "ValidationException",
        "ValidationError",
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "InvalidParameterException",
        "MissingParameter",
        "MissingParameterException",
        "SerializationException",
        "MalformedQueryString",
        "MalformedInput",
    }
)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# The request itself is malformed: no pattern of absence may match inside the echo of a bad name.
_MALFORMED = _any(r"validation errors? detected", r"failed to satisfy constraint")

_RATE = _any(r"\brate exceeded\b", r"too many requests")
_QUOTA = _any(r"account-level service limit", r"\bservice quota\b", r"quota .{0,80}\bexceeded")
_DENIED = _any(r"not authorized", r"access denied", r"explicit deny")

# Texts of AWS and moto for an absent resource (those of single kinds are in the kind's pattern).
_ABSENT = _any(
    r"(could|can) ?not find",
    r"does(n't| not) exist",
    r"\bnot found\b",
    r"RecordNotFound",
    r"\bno (device|workforce)",
)

_EXISTS = _any(
    r"already[ -]exist", r"cannot create a duplicate\b", r"RecordAlreadyExists", r"name .{0,160}already in use"
)

# A create that names something absent, not ready, or not usable yet (IAM needs seconds to propagate a new role).
_DEPENDENCY = _any(
    r"(could|can) ?not assume",
    r"unable to assume",
    r"sts:AssumeRole",
    r"\bPassRole\b",
    r"trust (relationship|policy)",
    # A role that IAM has not propagated yet: CreateFeatureGroup calls its ARN invalid, or the S3 URI that it cannot read
    # (Terraform's provider retries both texts, and every ValidationException of CreateFlowDefinition, for this reason).
    r"\brole\b.{0,200}\b(is|was) (invalid|not valid)\b",
    r"\binvalid (\w+ )?role\b",
    r"\binvalid s3 ?uri\b",
    r"\b(can ?not|could not) be assumed\b",
    r"\bmust be assumable\b",
    r"\brole\b.{0,200}\b(lacks?|(does|do)( not|n't) have|missing)\b.{0,80}\bpermissions?\b",
    r"no s3 objects",
    r"(could|can) ?not (access|retrieve|download|pull|read)",
    r"unable to (access|locate|retrieve|download|pull|read)",
    r"access (was |is )?denied",
    r"not authorized",
    r"NoSuchBucket|NoSuchKey|NoSuchEntity",
    r"requested image",
    r"\bECR image\b.{0,400}\bfailed",
    r"(is|are) not (in service|inservice|ready|available|active)\b",
    r"must be (in )?(inservice|in service|active|completed)\b",
)

# The resource exists and is busy: a later reconcile succeeds without an edit.
_BUSY = _any(
    r"in[- ]progress",
    r"unable to transition",
    r"\bstatus\b.{0,80}\bnot in\b",
    r"is (currently )?(in status|in state|being|in use|creating|updating|deleting|pending|stopping)\b",
    r"(because|while) .{0,200}\b(status|state)\b",
    r"(is|are) (still )?(associated|attached|referenced|running)\b",
    r"has (dependent|existing|active)\b",
)


def classify(
    operation: str, code: str, message: str = "", http_status: int = 0, kind: Kind | None = None
) -> ErrorCategory:
    """The category of an error that AWS answered. `kind`: the kind that the call is about, if known."""
    for row in _CODES:
        if code in row.codes:
            return row.category
    if http_status == 429 or _RATE.search(message):
        return ErrorCategory.THROTTLED
    if http_status >= 500:
        return ErrorCategory.TRANSIENT

    creating = _creates(operation, kind)
    if code in _NOT_FOUND_CODES:
        return ErrorCategory.DEPENDENCY if creating else ErrorCategory.NOT_FOUND
    if code in _IN_USE_CODES:
        return ErrorCategory.EXISTS if creating else ErrorCategory.IN_USE
    if _QUOTA.search(message):
        return ErrorCategory.QUOTA
    if code not in _VALIDATION_CODES and not _is_not_found_code(code, kind):
        return _by_status(http_status)
    if _MALFORMED.search(message):
        return ErrorCategory.VALIDATION
    return _by_text(operation, code, message, kind, creating=creating)


def _is_not_found_code(code: str, kind: Kind | None) -> bool:
    return kind is not None and code in kind.not_found.codes


def _by_text(operation: str, code: str, message: str, kind: Kind | None, *, creating: bool) -> ErrorCategory:
    if creating:
        if _EXISTS.search(message):
            return ErrorCategory.EXISTS
        if _DEPENDENCY.search(message) or _ABSENT.search(message):
            return ErrorCategory.DEPENDENCY
        return ErrorCategory.VALIDATION
    if operation.startswith(("Update", "Start")):
        # "Could not find endpoint configuration x" at UpdateEndpoint is about what the edit names. That the endpoint
        # itself is gone shows in the Describe at the start of every reconcile.
        if _DEPENDENCY.search(message) or _ABSENT.search(message):
            return ErrorCategory.DEPENDENCY
        return ErrorCategory.IN_USE if _BUSY.search(message) else ErrorCategory.VALIDATION
    # Before absence: "not authorized, or it does not exist" must not lead to a create.
    if _DENIED.search(message):
        return ErrorCategory.ACCESS_DENIED
    if operation.startswith(_PRIMARY_VERBS) and _absent(code, message, kind):
        return ErrorCategory.NOT_FOUND
    if not is_read(operation) and _BUSY.search(message):
        return ErrorCategory.IN_USE
    return ErrorCategory.VALIDATION


def _absent(code: str, message: str, kind: Kind | None) -> bool:
    if kind is not None and code in kind.not_found.codes:
        pattern = kind.not_found.pattern
        if pattern is None or pattern.search(message):
            return True
    return bool(_ABSENT.search(message))


def _by_status(http_status: int) -> ErrorCategory:
    if http_status == 401:
        return ErrorCategory.CREDENTIALS
    if http_status == 403:
        return ErrorCategory.ACCESS_DENIED
    return ErrorCategory.UNKNOWN
