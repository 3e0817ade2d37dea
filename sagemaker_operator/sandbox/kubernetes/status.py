"""Errors of the API server: an exception, and its Status object.

The texts are those of a Kubernetes 1.36 API server, because clients (kubectl among them) parse some of them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

# Errors after which the server does not run CEL rules, which would only repeat them less clearly.
_BLOCKING = frozenset(
    {"FieldValueTypeInvalid", "FieldValueRequired", "FieldValueNotSupported", "FieldValueTooLong", "FieldValueTooMany"}
)


class Named(Protocol):
    """The names of a resource type in errors."""

    @property
    def group(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def kind(self) -> str: ...


class FieldError(NamedTuple):
    """One cause of a 422. `message` starts with the text of `reason` ("Invalid value: ...")."""

    field: str
    reason: str
    message: str

    @property
    def blocks_rules(self) -> bool:
        return self.reason in _BLOCKING


def invalid_value(field: str, shown: str, why: str) -> FieldError:
    """`shown` is the value as JSON."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


def required(field: str, why: str = "") -> FieldError:
    return FieldError(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def forbidden_value(field: str, why: str) -> FieldError:
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {why}")


class ApiError(Exception):
    """A refusal. `retry_after` is in seconds and becomes the Retry-After header too."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
        continue_: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.continue_ = continue_
        """The token with which an expired paged list can be continued, inconsistently."""

    def status(self) -> dict[str, Any]:
        """The Status object."""
        meta = {"continue": self.continue_} if self.continue_ else {}
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": meta, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            body["details"] = details
        body["code"] = self.code
        return body


def _details(resource: Named, name: str, *, by_kind: bool = False) -> dict[str, Any]:
    """Clients show `kind` as the resource: it is the plural in most errors, the Kind in those about an object's content."""
    details = {"name": name, "group": resource.group, "kind": resource.kind if by_kind else resource.plural}
    return {key: value for key, value in details.items() if value}


def qualified(resource: Named, *, by_kind: bool = False) -> str:
    """`trainingjobs.sagemaker.services.k8s.aws`, or the bare name for the core group."""
    name = resource.kind if by_kind else resource.plural
    return f"{name}.{resource.group}" if resource.group else name


def bad_request(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def not_found(resource: Named, name: str) -> ApiError:
    message = f'{qualified(resource)} "{name}" not found'
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, details=_details(resource, name))


def already_exists(resource: Named, name: str) -> ApiError:
    message = f'{qualified(resource)} "{name}" already exists'
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", message, details=_details(resource, name))


def forbidden(resource: Named, name: str, why: str, causes: Sequence[FieldError] = ()) -> ApiError:
    details = _details(resource, name)
    if causes:
        details["causes"] = [_cause(cause) for cause in causes]
    return ApiError(
        HTTPStatus.FORBIDDEN, "Forbidden", f'{qualified(resource)} "{name}" is forbidden: {why}', details=details
    )


def conflict(
    resource: Named,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
    *,
    by_kind: bool = False,
) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(resource, by_kind=by_kind)} "{name}": {why}'
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, details=_details(resource, name, by_kind=by_kind))


def apply_conflict(message: str, causes: Sequence[FieldError]) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, details={"causes": [_cause(cause) for cause in causes]})


def invalid(resource: Named, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with one cause per error."""
    texts = [f"{error.field}: {error.message}" for error in errors]
    why = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(resource, name, by_kind=True)
    details["causes"] = [_cause(error) for error in errors]
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{qualified(resource, by_kind=True)} "{name}" is invalid: {why}',
        details=details,
    )


class _Options(NamedTuple):
    kind: str
    group: str = "meta.k8s.io"
    plural: str = ""


def invalid_options(kind: str, errors: Sequence[FieldError]) -> ApiError:
    """422 about the query parameters; `kind` is ListOptions, CreateOptions..."""
    return invalid(_Options(kind), "", errors)


def invalid_patch(shown: str, why: str) -> ApiError:
    """A patch whose result cannot be decoded as the object's type."""
    error = invalid_value("patch", shown, why)
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f' "" is invalid: patch: {error.message}',
        details={"causes": [_cause(error)]},
    )


def unsupported_media(message: str) -> ApiError:
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)


def expired(message: str, *, continue_: str | None = None) -> ApiError:
    return ApiError(HTTPStatus.GONE, "Expired", message, continue_=continue_)


def not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message, details={})


def success(resource: Named, name: str, uid: str) -> dict[str, Any]:
    """The Status object that answers a delete."""
    details = {**_details(resource, name), "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def too_large_version(wanted: int, current: int) -> ApiError:
    return ApiError(
        HTTPStatus.GATEWAY_TIMEOUT,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        details={"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]},
        retry_after=1,
    )


def _cause(error: FieldError) -> dict[str, str]:
    return {"reason": error.reason, "message": error.message, "field": error.field}
