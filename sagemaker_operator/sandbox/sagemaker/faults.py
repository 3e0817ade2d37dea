"""Scripted faults and rate limits: how the simulator misbehaves on request, as AWS does unasked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.protocol import Request, Scope, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANY = "*"


class FaultKind(StrEnum):
    """What goes wrong. Unless noted otherwise the call does not take effect."""

    THROTTLE = "throttle"
    """400 ThrottlingException "Rate exceeded"."""
    SERVER_ERROR = "server-error"
    """500 InternalFailure."""
    ERROR_AFTER = "error-after"
    """The call takes effect, then answers 500."""
    LOST_REPLY = "lost-reply"
    """The call takes effect, then the connection is cut."""
    REFUSED_BEFORE = "refused-before"
    """The connection is refused."""
    SLOW = "slow"
    """The call takes effect at once and answers after `seconds` of loop time, so that a client may give up on it."""
    EXPIRED_TOKEN = "expired-token"  # noqa: S105 - the name of a fault
    ACCESS_DENIED = "access-denied"
    QUOTA = "quota"
    """ResourceLimitExceeded."""
    REJECT = "reject"
    """400 with the fault's own `code` and `message`."""
    EVENTUAL_CONSISTENCY = "eventual-consistency"
    """A resource younger than `seconds` (simulated) is not found, or missing in a list. Ignores `nth` and `times`."""

    @property
    def before(self) -> bool:
        """The call is answered without being carried out."""
        return self not in (self.ERROR_AFTER, self.LOST_REPLY, self.SLOW, self.EVENTUAL_CONSISTENCY)


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One fault. It hits `times` calls (None: all) from the `nth` matching one on, counted from when it is added."""

    operation: str
    """`CreateTrainingJob`, `AssumeRole`..., or ANY."""
    kind: FaultKind
    nth: int = 1
    times: int | None = 1
    when: Callable[[Request], bool] | None = None
    seconds: float = 0.0
    code: str = "ValidationException"
    """Error code of a REJECT."""
    message: str = ""
    """Replaces the default text."""
    matched: int = field(default=0, init=False)
    """Matching calls so far."""

    def concerns(self, request: Request) -> bool:
        return self.operation in (ANY, request.operation) and (self.when is None or self.when(request))

    def hits(self, request: Request) -> bool:
        """Count the call if it matches; True if the fault applies to it."""
        if self.kind is FaultKind.EVENTUAL_CONSISTENCY or not self.concerns(request):
            return False
        self.matched += 1
        return self.matched >= self.nth and (self.times is None or self.matched < self.nth + self.times)

    def error(self, request: Request) -> ServiceError:
        """The error that this fault answers with."""
        code, message, status = _ERRORS.get(self.kind, (self.code, self.message, 400))
        text = self.message or message.format(
            operation=request.operation, account=request.scope.account, key=request.access_key
        )
        return ServiceError(code, text, status=status)


_ERRORS = {
    FaultKind.THROTTLE: ("ThrottlingException", "Rate exceeded", 400),
    FaultKind.SERVER_ERROR: ("InternalFailure", "We encountered an internal error. Please try again.", 500),
    FaultKind.ERROR_AFTER: ("InternalFailure", "We encountered an internal error. Please try again.", 500),
    FaultKind.EXPIRED_TOKEN: (
        "ExpiredTokenException",
        "The security token included in the request is expired",
        400,
    ),
    FaultKind.ACCESS_DENIED: (
        "AccessDeniedException",
        (
            "User: arn:aws:iam::{account}:user/sandbox is not authorized to perform: sagemaker:{operation} because no "
            "identity-based policy allows the sagemaker:{operation} action"
        ),
        400,
    ),
    FaultKind.QUOTA: (
        "ResourceLimitExceeded",
        texts.quota_exhausted("ml.m5.xlarge for training job usage", limit=0, used=0, asked=1),
        400,
    ),
}


class Faults:
    """The script: faults in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __repr__(self) -> str:
        return f"<Faults {self._faults!r}>"

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Script a fault; it stays until it is removed, although it may be spent."""
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        self._faults.remove(fault)

    def clear(self) -> None:
        self._faults.clear()

    def hitting(self, request: Request) -> list[Fault]:
        """The faults that hit this call. Every fault counts every call it matches, so this is asked once per call."""
        return [fault for fault in self._faults if fault.hits(request)]

    def blind_seconds(self, request: Request) -> float:
        """How young a resource must be for this call not to see it yet."""
        lags = [f.seconds for f in self._faults if f.kind is FaultKind.EVENTUAL_CONSISTENCY and f.concerns(request)]
        return max(lags, default=0.0)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: `per_second` calls of unscaled time on average, `burst` at once."""

    per_second: float
    burst: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimits:
    """Limits per operation, counted apart for every account and region, as SageMaker does. None by default."""

    def __init__(self) -> None:
        self._limits: dict[str, RateLimit] = {}
        self._buckets: dict[tuple[str, Scope], _Bucket] = {}

    def __repr__(self) -> str:
        return f"<RateLimits {self._limits!r}>"

    def set(self, operation: str, limit: RateLimit) -> None:
        """Limit an operation, or each of a verb (`List`), or each (ANY); the longest that matches wins."""
        self._limits[operation] = limit
        self._buckets.clear()

    def clear(self) -> None:
        self._limits.clear()
        self._buckets.clear()

    def admit(self, request: Request, *, at: float) -> bool:
        """Take a token for a call made at `at` seconds; False: throttle it."""
        matching = [name for name in self._limits if name == ANY or request.operation.startswith(name)]
        if not matching:
            return True
        limit = self._limits[max(matching, key=len)]
        bucket = self._buckets.setdefault((request.operation, request.scope), _Bucket(limit.burst, at))
        bucket.tokens = min(limit.burst, bucket.tokens + (at - bucket.at) * limit.per_second)
        bucket.at = at
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
