"""What a reconciler depends on, as protocols: AWS, Kubernetes, its cache, the poller, the event recorder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from sagemaker_operator.aws.target import Identity, Target
    from sagemaker_operator.clock import Clock
    from sagemaker_operator.control.observation import Missed, Observation
    from sagemaker_operator.control.placement.roles import NamespaceConfig
    from sagemaker_operator.control.placement.target import Regions
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.logs import Event
    from sagemaker_operator.objects import KubeObject, ObjectKey, Resource
    from sagemaker_operator.settings import Settings


class AwsPort(Protocol):
    async def call(
        self,
        target: Target,
        operation: str,
        params: Mapping[str, Any],
        *,
        kind: Kind | None = None,
        caller: str = "",
    ) -> dict[str, Any]: ...


class KubePort(Protocol):
    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str | None = None
    ) -> KubeObject: ...


class Cache(Protocol):
    """The store of one kind, as a reconciler needs it."""

    def get(self, key: ObjectKey) -> KubeObject | None: ...

    async def read(self, key: ObjectKey) -> KubeObject | None:
        """The object as the API server has it now; None: it is gone. Raises KubeError."""

    def apply_own_write(self, obj: KubeObject) -> None: ...


class Sources(Cache, Protocol):
    """The store of a kind, as a feature controller needs it."""

    @property
    def synced(self) -> bool: ...


class ObjectLookup(Protocol):
    """The objects of all kinds, for references."""

    def __call__(self, key: ObjectKey) -> KubeObject | None:
        """Raises LookupError if this operator does not watch the kind."""


class Tracker(Protocol):
    """The poller, as a reconciler needs it."""

    def take(self, key: ObjectKey, uid: str, identifiers: Mapping[str, Any]) -> Observation | Missed | None: ...

    def track(self, key: ObjectKey, handle: Handle) -> None: ...

    def untrack(self, key: ObjectKey) -> None: ...


class Recorder(Protocol):
    def record(
        self, regarding: Mapping[str, str], *, type: Literal["Normal", "Warning"], reason: str, note: str, action: str
    ) -> None: ...


class CountTransition(Protocol):
    def __call__(self, event: Event, *, terminal: bool) -> None:
        """A transition was logged as `event`. `terminal`: only an edit of the object helps."""


class NamespaceConfigs(Protocol):
    """Namespaces, role maps and selectors, as a reconciler needs them."""

    def of(self, namespace: str) -> NamespaceConfig: ...


class Handle(msgspec.Struct, frozen=True):
    """What the poller needs to poll one resource."""

    kind: Kind
    target: Target
    identifiers: Mapping[str, Any]
    created_at: float
    """A lower bound of the resource's creation time, seconds since the epoch."""
    last: Observation | None
    """What was observed last: only a change of it is reported. None: the next observation is reported in any case."""
    uid: str = ""
    """Of the object: another object may have the same name later."""
    mutated: bool = False
    """A mutating call was just accepted: answers to reads that were sent before it do not count."""

    def same_resource(self, other: Handle) -> bool:
        """Whether both are about one object and one resource."""
        return (self.uid, self.target, self.identifiers) == (other.uid, other.target, other.identifiers)


@dataclass(frozen=True, slots=True)
class Services:
    """All that the reconciler of one kind depends on."""

    settings: Settings
    identity: Identity
    cache: Cache
    kube: KubePort
    aws: AwsPort
    other_objects: ObjectLookup
    tracker: Tracker
    recorder: Recorder
    count_transition: CountTransition
    namespace_configs: NamespaceConfigs
    regions: Regions
    clock: Clock
    rng: random.Random
