"""Whether the operator's own credentials are still good: learned from every call, waited for by AwsIdentity."""

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
    """The credentials were good until now: new ones may be in their place in a minute."""
    return error.code in EXPIRED_CODES


def is_other_account(error: AwsError) -> bool:
    """The credentials were renewed as another account's, and are not used."""
    return error.code == OTHER_ACCOUNT


class Expiry:
    """The last refusal of the operator's own credentials as expired, as another account's or for the clock, if any."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._error: AwsError | None = None

    def learn(self, error: AwsError, target: Target) -> None:
        """A call to `target` failed, and loading the credentials anew did not help."""
        # An assumed role's are not the operator's own, but those that assume it are.
        own = target.role_arn is None or error.operation in ("AssumeRole", "GetCallerIdentity")
        if is_other_account(error) or is_clock_skew(error) or (is_expired(error) and own):
            self._error = error
            self._told.set()

    async def wait(self) -> AwsError:
        """Until a call is refused."""
        await self._told.wait()
        assert self._error is not None  # noqa: S101  set before the event
        return self._error

    def clear(self) -> None:
        """They are good again."""
        self._told.clear()
