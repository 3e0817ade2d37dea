"""What SageMaker last said of a resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_operator.aws.translate import to_api, to_field
from sagemaker_operator.conditions import SYNCED
from sagemaker_operator.kinds.model import output_members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind, StatusClass


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer, with API member names. A summary (`complete` False) has the few members that a List carries."""

    data: Mapping[str, Any]
    complete: bool = True
    found: bool = True

    def status(self, kind: Kind) -> str:
        return str(self.data.get(kind.status_member or "", ""))

    def secondary(self, kind: Kind) -> str:
        return str(self.data.get(kind.secondary_member or "", ""))

    def state(self, kind: Kind) -> StatusClass:
        return kind.classify(self.status(kind))

    def moving(self, kind: Kind) -> bool:
        """SageMaker still works on it, or on something that belongs to it (debug rules)."""
        return self.state(kind).in_transition or self.pending(kind) is not None

    def pending(self, kind: Kind) -> str | None:
        """Why it is not settled although its status is, in ACK's words."""
        return kind.hooks.pending(self.data) if kind.hooks.pending else None

    def lingers(self, kind: Kind) -> bool:
        """At rest, but the record will change once more by itself (a warm pool that ends): worth a slow look."""
        return kind.hooks.lingers(self.data) if kind.hooks.lingers else False


ABSENT = Observation({}, found=False)


def to_status(kind: Kind, observation: Observation) -> dict[str, Any]:
    """The CRD status fields that this observation knows. None: SageMaker no longer has a value; absent: not asked."""
    shapes = output_members(kind.describe)
    fields: dict[str, Any] = {}
    for member in kind.status_members:
        if member.api in observation.data:
            fields[member.field] = to_field(shapes[member.api], observation.data[member.api])
        elif observation.complete:
            fields[member.field] = None
    return fields


def recall(kind: Kind, status: Mapping[str, Any]) -> Observation | None:
    """The observation that the stored status was written from; None if it was never observed."""
    if kind.status_member is None:
        # Its only state is to exist, and that is what Synced says.
        known = any(c.get("type") == SYNCED and c.get("status") == "True" for c in status.get("conditions") or ())
    else:
        known = any(status.get(member.field) for member in kind.status_members if member.api == kind.status_member)
    if not known:
        return None
    shapes = output_members(kind.describe)
    recalled = {
        member.api: to_api(shapes[member.api], status[member.field], path=f"status.{member.field}")
        for member in kind.status_members
        if status.get(member.field) is not None
    }
    return Observation(recalled, complete=False)
