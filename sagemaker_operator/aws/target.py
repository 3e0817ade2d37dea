"""The target of an AWS call (account, region, role, endpoint), and the operator's own identity."""

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
    """The operator's own account at AWS."""

    account: str
    partition: str
