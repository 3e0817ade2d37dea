"""Test data of one kind: every test that runs over all kinds reads it from here.

The sample itself is `manifests/samples/<kind in lower case>.yaml`. A new kind needs a sample and a `Story`
(docs/adding-a-kind.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER_ROLE = "arn:aws:iam::123456789012:role/sagemaker-other"
NEW_ROLE = "arn:aws:iam::123456789012:role/made-a-second-ago"
"""A role that IAM has not propagated yet."""

ROLE: Mapping[str, Any] = {"roleARN": NEW_ROLE}
EXECUTION_ROLE: Mapping[str, Any] = {"executionRoleARN": NEW_ROLE}

SECURITY_GROUPS = ["sg-0123456789abcdef0", "sg-0fedcba9876543210"]
VPC: Mapping[str, Any] = {
    "vpcConfig": {
        "securityGroupIDs": SECURITY_GROUPS,
        "subnets": ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"],
    }
}
NETWORK: Mapping[str, Any] = {"networkConfig": VPC}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of the spec that SageMaker can apply."""

    spec: Mapping[str, Any]
    """Merge patch of the spec."""
    calls: tuple[str, ...]
    """The mutating calls that it needs, in order."""
    at: str
    """Path of the changed value in the Describe output."""
    value: Any


@dataclass(frozen=True, kw_only=True)
class BadValue:
    """A spec that the CRD refuses at apply."""

    spec: Mapping[str, Any]
    """Merge patch of the sample's spec."""
    at: str
    """Path of the field that the error names."""
    newer: bool = False
    """The value may be valid in a newer version of SageMaker: under ACK's CRDs it is sent."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What differs by kind in the lifecycle of its sample. Patches are merge patches of its spec."""

    needs: tuple[str, ...] = ()
    """Sample documents, as `<file>` or `<file>#<number>`, that must be settled first."""
    ends: str = ""
    """The status value in which it settles; empty: the kind has no status."""
    status: tuple[str, ...] = ()
    """Fields of the settled status, beside the status value itself."""
    nameless: bool = False
    """AWS generates the identifier: no field of spec identifies the resource."""
    absent: str = ""
    """SageMaker's error text for a resource that does not exist; empty: the error code is enough."""
    bad: BadValue
    edit: Edit | None = None
    """None: SageMaker has no update for the kind."""
    also: tuple[str, ...] = ()
    """Sample documents that must be settled before the edit."""
    frozen: Mapping[str, Any] = field(default_factory=dict)
    """A change of an immutable field."""
    frozen_inside: tuple[str, Mapping[str, Any]] | None = None
    """A field that the update accepts, and a change of an immutable member inside of it; None: there is none."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Lists of several elements whose order does not matter, so that SageMaker may reorder them; empty: the kind has none."""
    no_op: Mapping[str, Any] = field(default_factory=dict)
    """An edit that does not change the desired state, for kinds without tags to reorder."""
    not_in_status: Mapping[str, str] = field(default_factory=dict)
    """Members of the Describe output that status leaves out, with the reason."""
    unreached: frozenset[str] = frozenset()
    """Status values that no simulated lifecycle enters: the service model does not document how they are reached."""
    role: Mapping[str, Any] = field(default_factory=dict)
    """Patch that sets the role that SageMaker assumes to `NEW_ROLE`; empty: the kind has no role."""
