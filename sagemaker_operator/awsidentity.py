"""The operator's identity at AWS: read from STS at the start, and again when AWS calls the credentials expired."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sagemaker_operator.aws.expiry import is_expired, is_other_account
from sagemaker_operator.aws.failures import is_clock_skew
from sagemaker_operator.aws.target import Identity, Target
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory
from sagemaker_operator.logs import Event, emit, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_operator.aws.expiry import Expiry
    from sagemaker_operator.aws.sessions import Sessions
    from sagemaker_operator.settings import Settings

_RETRY_SECONDS = 5.0
# Renewing credentials takes minutes; a failed refresh is cached for as long (credentials.FAILURE_PAUSE).
_EXPIRED_RETRY_SECONDS = 15.0
# At most one wake-up of all objects per longest retry interval: SageMaker may refuse credentials that STS accepts.
_WAKE_SECONDS = 900.0
_UNRECOVERABLE = (ErrorCategory.CREDENTIALS, ErrorCategory.ACCESS_DENIED, ErrorCategory.VALIDATION)


class AwsIdentity:
    """`establish()` once, then `watch()` for as long as the operator runs."""

    def __init__(self, sessions: Sessions, expiry: Expiry, settings: Settings, *, renewed: Callable[[], None]) -> None:
        """`renewed` is called when expired credentials are valid again: what failed meanwhile can be retried."""
        self._sessions = sessions
        self._expiry = expiry
        self._settings = settings
        self._renewed = renewed
        self._log = get_logger("operator")
        self._known = False
        self._failure = ""
        """The error of the last attempt to read the identity."""
        self.expired: str | None = None
        """Why the credentials cannot be used (expired, of another account, a wrong clock), and what to do; None: they are valid."""

    @property
    def trouble(self) -> str | None:
        """Why AWS cannot be called; None: it can."""
        waiting = None if self._known else f"waiting for the answer of STS GetCallerIdentity{self._failure}"
        return self.expired or waiting

    async def establish(self) -> Identity:
        """The identity. Waits while STS or a credentials agent is down, and while the credentials are expired.

        Raises ConfigurationError if the credentials were never valid.
        """
        while True:
            try:
                found = await self._sessions.identity(self._settings.aws_region)
            except AwsError as error:
                await self._handle_identity_error(error)
            else:
                self._known, self.expired = True, None
                return Identity(found.account, found.partition)

    async def _handle_identity_error(self, error: AwsError) -> None:
        if is_expired(error) or is_other_account(error) or is_clock_skew(error):
            await self._wait_for_renewal(error)
            return
        if error.category in _UNRECOVERABLE and not self._known:
            what = "AWS does not accept the operator's credentials: " if error.sent else ""
            raise ConfigurationError(f"{what}{error.message}") from error
        self._failure = f": {error.message}"
        self._log_error(error, str(error))
        await asyncio.sleep(_RETRY_SECONDS)

    async def watch(self) -> None:
        """Sets `trouble` while credentials are refused, until STS confirms the account again. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        woken = float("-inf")
        while True:
            await self._wait_for_renewal(await self._expiry.wait())
            await self.establish()
            self._expiry.clear()
            if loop.time() - woken >= _WAKE_SECONDS:
                woken = loop.time()
                self._renewed()

    async def _wait_for_renewal(self, error: AwsError) -> None:
        """Sleeps, then drops the credentials, so that the next call loads new ones."""
        if is_other_account(error):
            text = error.message
        elif is_clock_skew(error):
            text = f"AWS refuses the time of the operator's requests: {error.message}"
        else:
            text = f"AWS says that the operator's credentials have expired: {error.message}"
        if text != self.expired:
            self._log_error(error, text)
        self.expired = text
        await asyncio.sleep(_EXPIRED_RETRY_SECONDS)
        await self._sessions.drop(Target("", self._settings.aws_region))

    def _log_error(self, error: AwsError, text: str) -> None:
        emit(self._log, Event.AWS_ERROR, operation=error.operation, errorCode=error.code, err=text)
