"""What a reconciler remembers of its objects between reconciles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.control.spec.late_init import LateInit


class Accepted(NamedTuple):
    """An update that SageMaker accepted."""

    request: Mapping[str, Any]
    generation: int
    """Of the spec that it was for: a notebook is stopped and started with the same request for every edit."""
    times: int
    """How often this very request was accepted for this generation."""


NOT_ACCEPTED = Accepted({}, 0, 0)


@dataclass(slots=True)
class Memory:
    """By UID of the object. It only saves work: a restart without it ends in the same state."""

    accepted_updates: dict[str, dict[str | None, Accepted]] = field(default_factory=dict)
    """The last update of each operation: one that never takes effect must not loop."""
    described: dict[str, float] = field(default_factory=dict)
    """Loop time of the last Describe, for the resync. A restart spreads the first ones over one interval."""
    requests: dict[str, str] = field(default_factory=dict)
    """The last reconcile request that was carried out."""
    refused_fills: dict[str, LateInit] = field(default_factory=dict)
    """What Kubernetes refused to store in spec: it is not written again after every Describe."""
    retag: set[str] = field(default_factory=set)
    """Objects whose tags the next reconcile compares: the last one could not, or has changed some."""
    throttled: dict[str, float] = field(default_factory=dict)
    """Loop time since when every reconcile has ended in a throttled call."""
    unsent: set[str] = field(default_factory=set)
    """Objects that have our finalizer, and of which no create ever left this process."""

    def __len__(self) -> int:
        by_uid = (self.accepted_updates, self.described, self.requests, self.refused_fills, self.throttled)
        return len(self.retag) + len(self.unsent) + sum(len(kept) for kept in by_uid)

    def forget(self, uid: str) -> None:
        self.accepted_updates.pop(uid, None)
        self.described.pop(uid, None)
        self.requests.pop(uid, None)
        self.refused_fills.pop(uid, None)
        self.retag.discard(uid)
        self.throttled.pop(uid, None)
        self.unsent.discard(uid)
