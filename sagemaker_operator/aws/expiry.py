"""Whether AWS still takes the operator's own credentials: told by every call, waited for by whoever answers for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sagemaker_operator.aws.classify import EXPIRED_CODES

if TYPE_CHECKING:
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.errors import AwsError


def is_expired(error: AwsError) -> bool:
    """The credentials were good until now: new ones may be in their place in a minute."""
    return error.code in EXPIRED_CODES


class Expiry:
    """The last refusal of the operator's own credentials as expired, if any."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._error: AwsError | None = None

    def learn(self, error: AwsError, target: Target) -> None:
        """A call to `target` failed, and loading the credentials anew did not help."""
        # An assumed role's are not the operator's own, but those that assume it are.
        if is_expired(error) and (target.role_arn is None or error.operation == "AssumeRole"):
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
