"""Which failures say that the operator's own credentials have expired."""

from __future__ import annotations

import asyncio

import pytest

from sagemaker_operator.aws.expiry import Expiry
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ErrorCategory

OWN = Target("111122223333", "us-west-2")
ROLE = OWN._replace(role_arn="arn:aws:iam::444455556666:role/team")


@pytest.mark.parametrize(
    ("code", "target", "operation", "own"),
    [
        ("ExpiredToken", OWN, "DescribeModel", True),
        ("ExpiredTokenException", OWN, "AssumeRoleWithWebIdentity", True),
        ("RequestExpired", OWN, "DescribeModel", True),
        ("ExpiredToken", ROLE, "AssumeRole", True),
        ("ExpiredToken", ROLE, "DescribeModel", False),
        ("InvalidClientTokenId", OWN, "DescribeModel", False),
        ("AccessDenied", ROLE, "AssumeRole", False),
    ],
)
async def test_only_expiry_of_the_operators_own_credentials_is_reported(
    code: str, target: Target, operation: str, own: bool
) -> None:
    expiry = Expiry()
    error = AwsError("no", category=ErrorCategory.CREDENTIALS, operation=operation, code=code)
    expiry.note_failure(error, target)
    waiting = asyncio.ensure_future(expiry.wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done() == own
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_an_expiry_reported_before_a_waiter_exists_is_not_lost() -> None:
    expiry = Expiry()
    error = AwsError("no", category=ErrorCategory.CREDENTIALS, operation="DescribeModel", code="ExpiredToken")
    expiry.note_failure(error, OWN)
    assert await expiry.wait() is error
