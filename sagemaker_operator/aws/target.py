"""Where a call goes and as whom, and who the operator itself is."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """The identity of an AWS client; also the key of its limiter (account, region)."""

    account: str
    region: str
    role_arn: str | None = None
    """Assumed for the call; None: the operator's own identity."""
    endpoint_url: str | None = None
    """None: the partition's own endpoint."""


class Identity(NamedTuple):
    """Who the operator is at AWS."""

    account: str
    partition: str
