"""Detects from failed calls that the operator's own credentials cannot be used any more; `AwsIdentity` waits for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sagemaker_operator.aws.classify import EXPIRED_CODES
from sagemaker_operator.aws.failures import is_clock_skew
from sagemaker_operator.aws.sessions import OTHER_ACCOUNT

if TYPE_CHECKING:
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.errors import AwsError


def is_expired(error: AwsError) -> bool:
    """The credentials were valid until now: new ones may replace them in a minute."""
    return error.code in EXPIRED_CODES


def is_other_account(error: AwsError) -> bool:
    """The renewed credentials are of another account, and are not used."""
    return error.code == OTHER_ACCOUNT


class Expiry:
    """The last refusal of the operator's own credentials: expired, of another account, or a wrong clock."""

    def __init__(self) -> None:
        self._refused = asyncio.Event()
        self._error: AwsError | None = None

    def note_failure(self, error: AwsError, target: Target) -> None:
        """A call to `target` failed, also after its credentials were loaded again."""
        # Credentials of an assumed role are not the operator's own, but those that assume it are.
        own = target.role_arn is None or error.operation in ("AssumeRole", "GetCallerIdentity")
        if is_other_account(error) or is_clock_skew(error) or (is_expired(error) and own):
            self._error = error
            self._refused.set()

    async def wait(self) -> AwsError:
        """Waits until a call is refused, and returns its error."""
        await self._refused.wait()
        assert self._error is not None  # noqa: S101  set before the event
        return self._error

    def clear(self) -> None:
        """The credentials are valid again."""
        self._refused.clear()
