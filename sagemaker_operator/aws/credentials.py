"""Providers of AWS credentials, and the errors of calls that wait for them.

Credentials are fetched and refreshed while a request is being signed. A failure there is not about that request, which was
never sent: it must not be taken for its answer. So it is an `AwsError` with `sent` False.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from aiobotocore.credentials import AioCredentials, AioDeferredRefreshableCredentials
from botocore.exceptions import ClientError

from sagemaker_operator.aws.configuration import explain, require_plain_keys
from sagemaker_operator.aws.failures import CREDENTIALS_HINT, translate_error
from sagemaker_operator.errors import AwsError, ErrorCategory

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.credentials import ReadOnlyCredentials

    from sagemaker_operator.clock import Clock

FAILURE_PAUSE = 15.0
"""Seconds for which a failed refresh is cached: botocore tries again with every API call."""
FRESHNESS = 5.0
"""Seconds for which loaded credentials are cached. When a refresh fails in the 15 minutes before expiry, botocore keeps the
old credentials silently and tries again with every call; this makes it one try in 5 s."""

Check = Callable[["ReadOnlyCredentials"], Awaitable[None]]
"""Called with credentials before they are used for the first time. Raises AwsError to reject them."""

AssumeRole = Callable[[str, str], Awaitable[dict[str, Any]]]
"""(role ARN, region) -> the Credentials member of AssumeRole's answer."""


class Provider(Protocol):
    """botocore's chain, or a replacement."""

    async def load_credentials(self) -> AioCredentials | None:
        """None: no credentials are configured."""


class IdentitySession:
    """One identity: the session that signs as it, and the session's credentials."""

    def __init__(self, session: AioSession, provider: Provider, *, check: Check | None = None) -> None:
        self.session = session
        self._provider = provider
        self._check = check
        self._loaded: AioCredentials | None = None
        session.register_component("credential_provider", self)

    async def load_credentials(self) -> AioCredentials | None:
        """Called by botocore. Raises AwsError."""
        try:
            self._loaded = await self._provider.load_credentials()
        except Exception as exc:
            raise _not_signed(exc) from exc
        return None if self._loaded is None else _CachedCredentials(self._loaded, self._check)

    def expires_at(self) -> float | None:
        """Seconds since the epoch; None for static credentials. botocore has no public attribute for it."""
        moment = getattr(self._loaded, "_expiry_time", None)
        return None if moment is None else float(moment.timestamp())


class StaticCredentials:
    """The provider of one fixed pair of keys."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._credentials = AioCredentials(access_key, secret_key)

    async def load_credentials(self) -> AioCredentials:
        return self._credentials


class AssumedRole:
    """The provider of an assumed role's credentials: fetched on first use, refreshed 15 minutes before they expire."""

    def __init__(self, assume: AssumeRole, role_arn: str, region: str, *, clock: Clock) -> None:
        self._assume = assume
        self._role_arn = role_arn
        self._region = region
        self._credentials = AioDeferredRefreshableCredentials(
            refresh_using=self._refresh,
            method="sts-assume-role",
            time_fetcher=lambda: datetime.fromtimestamp(clock(), tz=UTC),
        )

    async def load_credentials(self) -> AioCredentials:
        return self._credentials

    async def _refresh(self) -> dict[str, str]:
        fresh = await self._assume(self._role_arn, self._region)
        return {
            "access_key": fresh["AccessKeyId"],
            "secret_key": fresh["SecretAccessKey"],
            "token": fresh["SessionToken"],
            "expiry_time": fresh["Expiration"].isoformat(),
        }


class _CachedCredentials(AioCredentials):  # type: ignore[misc]  # aiobotocore is untyped
    """Credentials whose failures are `AwsError`; results and failures are cached for seconds."""

    def __init__(self, inner: AioCredentials, check: Check | None) -> None:
        self._inner = inner
        self._check = check
        self.method = inner.method
        self._frozen: ReadOnlyCredentials | None = None
        self._frozen_until = float("-inf")
        self._failure: AwsError | None = None
        self._failed_until = float("-inf")

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        now = asyncio.get_running_loop().time()
        if self._frozen is not None and now < self._frozen_until:
            return self._frozen
        if self._failure is not None and now < self._failed_until:
            raise _not_signed(self._failure)
        try:
            keys = await self._inner.get_frozen_credentials()
            require_plain_keys(keys, self.method)
            if self._check is not None:
                await self._check(keys)
        except Exception as exc:
            self._failure = _not_signed(exc)
            self._failed_until = now + FAILURE_PAUSE
            raise self._failure from exc
        self._frozen = keys
        self._frozen_until = now + FRESHNESS
        return keys

    async def get_account_id(self) -> str | None:
        account: str | None = (await self.get_frozen_credentials()).account_id
        return account


_OF_A_ROLE = {
    ErrorCategory.THROTTLED: ErrorCategory.TRANSIENT,
    ErrorCategory.VALIDATION: ErrorCategory.ACCESS_DENIED,
}


def role_not_assumed(error: AwsError, role_arn: str) -> AwsError:
    """The error of a failed AssumeRole, with the role's name. Access denied stays access denied: the operator's own
    credentials are valid. A request that STS rejects is not an error of the object's spec, so it is access denied too."""
    category = _OF_A_ROLE.get(error.category, error.category)
    return _unsent(error, category, message=f"cannot assume {role_arn}: {error.message}")


def _not_signed(exc: Exception) -> AwsError:
    """The error of fetching credentials, for the waiting call. A new exception each time it is raised."""
    if isinstance(exc, AwsError):
        return _unsent(exc, exc.category)
    if (known := explain(exc)) is not None:
        return known
    operation = exc.operation_name if isinstance(exc, ClientError) else "GetCredentials"
    error = translate_error(exc, operation=operation)
    if error.category in (ErrorCategory.TRANSIENT, ErrorCategory.THROTTLED):
        # An overloaded or unreachable STS has nothing to do with the rate of the waiting operation.
        return _unsent(error, ErrorCategory.TRANSIENT)
    explained = error.category is ErrorCategory.CREDENTIALS
    message = error.message if explained else f"{operation}: {error.message}; {CREDENTIALS_HINT}"
    return _unsent(error, ErrorCategory.CREDENTIALS, message=message)


def _unsent(error: AwsError, category: ErrorCategory, *, message: str | None = None) -> AwsError:
    return AwsError(
        error.message if message is None else message,
        category=category,
        operation=error.operation,
        code=error.code,
        http_status=error.http_status,
        request_id=error.request_id,
        retry_after=error.retry_after,
        asked_to_wait=error.asked_to_wait,
        sent=False,
    )
