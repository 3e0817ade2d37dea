"""Who the operator is at AWS, by STS: asked at the start, and again whenever AWS calls its credentials expired."""

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
# A person, or whatever renews them, needs minutes; a failed refresh is remembered for as long.
_EXPIRED_RETRY_SECONDS = 15.0
# The longest retry of an object that AWS refused. Whom SageMaker refuses and STS does not is not hurried more often than that.
_HURRY_SECONDS = 900.0
_HOPELESS = (ErrorCategory.CREDENTIALS, ErrorCategory.ACCESS_DENIED, ErrorCategory.VALIDATION)


class AwsIdentity:
    """`establish()` once, then `watch()` for as long as the operator runs."""

    def __init__(self, sessions: Sessions, expiry: Expiry, settings: Settings, *, renewed: Callable[[], None]) -> None:
        """`renewed` is called when expired credentials are good again: whatever failed meanwhile may have another try."""
        self._sessions = sessions
        self._expiry = expiry
        self._settings = settings
        self._renewed = renewed
        self._log = get_logger("operator")
        self._known = False
        self._failure = ""
        """Of the last attempt to find out who we are."""
        self.expired: str | None = None
        """Why the credentials cannot be used (expired, of another account, a wrong clock), and what to do; None: they are good."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be asked of AWS; None: it can."""
        waiting = None if self._known else f"waiting for the answer of STS GetCallerIdentity{self._failure}"
        return self.expired or waiting

    async def establish(self) -> Identity:
        """Waits for an STS or a credentials agent that is down, and for good credentials in the place of expired ones.

        Raises ConfigurationError if the credentials never were any good.
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
        if error.category in _HOPELESS and not self._known:
            what = "AWS does not accept the operator's credentials: " if error.sent else ""
            raise ConfigurationError(f"{what}{error.message}") from error
        self._failure = f": {error.message}"
        self._tell(error, str(error))
        await asyncio.sleep(_RETRY_SECONDS)

    async def watch(self) -> None:
        """From when the credentials are refused until STS confirms the account again there is `trouble`. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        hurried = float("-inf")
        while True:
            await self._wait_for_renewal(await self._expiry.wait())
            await self.establish()
            self._expiry.clear()
            if loop.time() - hurried >= _HURRY_SECONDS:
                hurried = loop.time()
                self._renewed()

    async def _wait_for_renewal(self, error: AwsError) -> None:
        """A while; whatever calls AWS next loads the credentials anew."""
        if is_other_account(error):
            text = error.message
        elif is_clock_skew(error):
            text = f"AWS refuses the time of the operator's requests: {error.message}"
        else:
            text = f"AWS says that the operator's credentials have expired: {error.message}"
        if text != self.expired:
            self._tell(error, text)
        self.expired = text
        await asyncio.sleep(_EXPIRED_RETRY_SECONDS)
        await self._sessions.drop(Target("", self._settings.aws_region))

    def _tell(self, error: AwsError, text: str) -> None:
        emit(self._log, Event.AWS_ERROR, operation=error.operation, errorCode=error.code, err=text)
