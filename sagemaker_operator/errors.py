"""Every error that crosses a package boundary. Raw library errors are translated once, at the two boundaries (`kube/`, `aws/`)."""

from __future__ import annotations

from enum import StrEnum


class OperatorError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigurationError(OperatorError):
    """The operator cannot start as configured. The message is one line that says what to change; exit code 1."""


class KubeError(OperatorError):
    """The Kubernetes API refused, or could not be reached.

    `status` is the HTTP status (0: no answer), `reason` the Status object's reason ("Conflict", "Expired"...).
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        """Seconds, from the Retry-After header or the Status details."""


class Unauthorized(KubeError):
    """401: the credentials are missing, wrong or expired (after one refresh was tried)."""


class Forbidden(KubeError):
    """403: RBAC does not allow it."""


class NotFound(KubeError):
    """404: the API server reports, in a `Status` about this very object (or its namespace), that it does not exist."""


class NotServed(KubeError):
    """404 from something that does not know the object: a proxy, or an API server without the collection.

    It says nothing about the object. An API server answers so for a CRD that is not installed, and while it starts.
    """


class Conflict(KubeError):
    """409: there was another write in between, or the object exists already."""


class Gone(KubeError):
    """410 Gone / Expired: the resource version or continue token is too old; list again."""


class Invalid(KubeError):
    """422: the API server's validation refused the object or the patch (also a failed JSON-patch `test`)."""


class TooLarge(KubeError):
    """413, or etcd's limit in a 500: the object would be too large to store. Retrying the same write cannot succeed."""


class TooManyRequests(KubeError):
    """429: API priority and fairness asks us to wait `retry_after` seconds."""


class Unavailable(KubeError):
    """5xx, a refused or cut connection, a timeout, or an answer that is not Kubernetes JSON. Can be retried."""


class ErrorCategory(StrEnum):
    """The category of an AWS error. `aws/classify` maps codes and texts to it."""

    THROTTLED = "Throttled"
    """Rate exceeded, at AWS or in our own limiter. Not a failure of the object; `retry_after` says when to come back."""
    TRANSIENT = "Transient"
    """5xx, timeout, cut connection. A mutation may have taken effect unless `sent` is False."""
    NOT_FOUND = "NotFound"
    EXISTS = "Exists"
    """A create found the name taken."""
    IN_USE = "InUse"
    """The resource is busy or has dependants; wait and retry."""
    QUOTA = "QuotaExceeded"
    """An account quota is exhausted; retry slowly, the spec is not at fault."""
    VALIDATION = "ValidationFailed"
    """The request is wrong and stays wrong until the spec changes."""
    DEPENDENCY = "DependencyNotReady"
    """Something the request names is not there (yet): a role, an image, S3 data, another resource. May recover without an edit."""
    ACCESS_DENIED = "AccessDenied"
    CREDENTIALS = "Credentials"
    """Missing, expired or malformed credentials of the operator itself."""
    UNKNOWN = "Unknown"


UNCERTAIN = (ErrorCategory.TRANSIENT, ErrorCategory.UNKNOWN, ErrorCategory.THROTTLED)
"""After these a mutating call may have taken effect, or may yet be sent."""


class AwsError(OperatorError):
    """One AWS call failed. `message` carries no request id, so that a condition built from it is stable."""

    def __init__(
        self,
        message: str,
        *,
        category: ErrorCategory,
        operation: str,
        code: str = "",
        http_status: int = 0,
        request_id: str = "",
        retry_after: float | None = None,
        asked_to_wait: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(f"{operation}: {code}: {message}" if code else f"{operation}: {message}")
        self.message = message
        self.category = category
        self.operation = operation
        self.code = code
        self.http_status = http_status
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds until the next attempt makes sense, where known."""
        self.asked_to_wait = asked_to_wait
        """Seconds that the answer asked for, if they are more than anyone waits; not in the text, as they count down."""
        self.sent = sent
        """False only if it is certain that AWS never saw the request."""
