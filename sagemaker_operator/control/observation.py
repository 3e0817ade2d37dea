"""Observations: the state of a resource as SageMaker last reported it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.aws.translate import SpecError, to_api, to_field
from sagemaker_operator.conditions import CREATED, RECONCILING, SYNCED
from sagemaker_operator.kinds.described import described_members

if TYPE_CHECKING:
    from sagemaker_operator.errors import AwsError
    from sagemaker_operator.kinds.descriptor import Kind, StatusClass


class Observation(msgspec.Struct, frozen=True):
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

    def failure(self, kind: Kind) -> str:
        """SageMaker's reason for a failure; empty if it gives none."""
        if kind.hooks.failure is not None:
            return kind.hooks.failure(self.data)
        return str(self.data.get(kind.failure_member or "") or "")

    def moving(self, kind: Kind) -> bool:
        """Whether SageMaker is still changing it, or something that belongs to it (debug rules)."""
        return self.state(kind).in_transition or self.pending(kind) is not None

    def pending(self, kind: Kind) -> str | None:
        """Why it is not settled although its status is; the text is ACK's."""
        return kind.hooks.pending(self.data) if kind.hooks.pending else None

    def changes_when_settled(self, kind: Kind) -> bool:
        """Whether a settled resource will change once more by itself (a warm pool that ends): it is polled slowly."""
        return kind.hooks.changes_when_settled(self.data) if kind.hooks.changes_when_settled else False


ABSENT = Observation({}, found=False)


class Missed(msgspec.Struct, frozen=True):
    """A poll without an answer."""

    error: AwsError
    times: int
    """Failures in a row."""


def to_status(kind: Kind, observation: Observation) -> dict[str, Any]:
    """The CRD status fields of an observation. None: SageMaker no longer has a value; absent: a summary does not show it."""
    shapes = described_members(kind)
    fields: dict[str, Any] = {}
    for member in kind.status_members:
        if member.api in observation.data:
            fields[member.field] = to_field(shapes[member.api], observation.data[member.api])
        elif observation.complete:
            fields[member.field] = None
    return fields


def accepted(kind: Kind, request: Mapping[str, Any], answer: Mapping[str, Any]) -> Observation:
    """The observation of a resource that was just created and cannot be described yet.

    It has the members of the Create call that Describe has too, and the first status value. It replaces all earlier
    observations: those are of an earlier resource of the object.
    """
    known = described_members(kind).keys() - {"Tags"}
    data = {name: value for name, value in {**request, **answer}.items() if name in known}
    if kind.status_member is not None and kind.first_status is not None:
        data[kind.status_member] = kind.first_status
    return Observation(data)


@cache
def status_fields(kind: Kind) -> Mapping[str, str]:
    """Describe member -> the status field that shows it."""
    return {member.api: member.field for member in kind.status_members}


class _Recalled(Mapping[str, Any]):
    """The stored status by API member, translated on access: most reconciles read two members of ten."""

    __slots__ = ("_kind", "_status")

    def __init__(self, kind: Kind, status: Mapping[str, Any]) -> None:
        self._kind = kind
        self._status = status

    def __getitem__(self, member: str) -> Any:
        field = status_fields(self._kind)[member]
        value = self._status.get(field)
        if value is None:
            raise KeyError(member)
        try:
            return to_api(described_members(self._kind)[member], value, path=f"status.{field}")
        except SpecError:
            # Its type is not SageMaker's, so it was not written from an observation.
            raise KeyError(member) from None

    def __iter__(self) -> Iterator[str]:
        return (member for member in status_fields(self._kind) if self.get(member) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def recall(kind: Kind, status: Mapping[str, Any]) -> Observation | None:
    """The observation that the stored status was written from; None if it was never observed."""
    conditions = status.get("conditions") or ()
    if any((c.get("type"), c.get("status"), c.get("reason")) == (RECONCILING, "True", CREATED) for c in conditions):
        # Written from the answer to Create; nothing was observed since.
        return None
    if kind.status_member is None:
        # The kind has no status. Synced means that the resource exists.
        known = any(c.get("type") == SYNCED and c.get("status") == "True" for c in conditions)
    else:
        known = bool(_Recalled(kind, status).get(kind.status_member))
    return Observation(_Recalled(kind, status), complete=False) if known else None
