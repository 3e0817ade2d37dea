"""What the suite knows of one kind, in one place: every test that runs over all kinds reads it from here.

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
"""A role that IAM has not spread yet."""

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
    """One change that SageMaker can make."""

    spec: Mapping[str, Any]
    """Merge patch of the spec."""
    calls: tuple[str, ...]
    """The mutating calls that it takes, in order."""
    at: str
    """Path in the Describe output."""
    value: Any


@dataclass(frozen=True, kw_only=True)
class BadValue:
    """A spec that the CRD refuses at apply."""

    spec: Mapping[str, Any]
    """Merge patch of the sample's spec."""
    at: str
    """Path of the field that the refusal names."""
    newer: bool = False
    """SageMaker might have learned the value since this version: under ACK's CRDs it is asked."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is particular about the lifecycle of a kind's sample. Patches are merge patches of its spec."""

    needs: tuple[str, ...] = ()
    """Documents, as `<file>` or `<file>#<number>`, that must be settled before."""
    ends: str = ""
    """The status in which it settles; empty: it has none."""
    status: tuple[str, ...] = ()
    """Fields of the settled status, beside the status value itself."""
    nameless: bool = False
    """AWS makes the identifier: nothing in spec finds the resource."""
    absent: str = ""
    """SageMaker's text for a resource that does not exist; empty: the error's code says so."""
    bad: BadValue
    edit: Edit | None = None
    """None: SageMaker has no update for the kind."""
    also: tuple[str, ...] = ()
    """Documents that the edit needs."""
    frozen: Mapping[str, Any] = field(default_factory=dict)
    """A change that SageMaker cannot make."""
    frozen_inside: tuple[str, Mapping[str, Any]] | None = None
    """A field that the update takes, and changes inside of it that the update has no place for; None: there are none."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Lists of more than one element whose order SageMaker does not keep; empty: the kind has none."""
    no_op: Mapping[str, Any] = field(default_factory=dict)
    """An edit after which the spec still asks for the same, for kinds without tags to reorder."""
    not_in_status: Mapping[str, str] = field(default_factory=dict)
    """Members of the Describe output that status leaves out, with the reason."""
    unreached: frozenset[str] = frozenset()
    """Status values that no simulated lifecycle passes: the service model does not say what leads to them."""
    role: Mapping[str, Any] = field(default_factory=dict)
    """Sets the role that SageMaker assumes to `NEW_ROLE`; empty: the kind has no role."""
