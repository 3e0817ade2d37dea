"""What a reconciler needs of the world, as types: the two boundaries, its cache, the poller, the event recorder."""

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
    """The store of a kind, as a feature beside the kinds needs it."""

    @property
    def synced(self) -> bool: ...


class ObjectLookup(Protocol):
    """The objects of all kinds, for references."""

    def __call__(self, key: ObjectKey) -> KubeObject | None:
        """Raises LookupError if this operator does not follow the kind."""


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
        """A change was logged as `event`; `terminal`: only an edit can mend it."""


class NamespaceConfigs(Protocol):
    """Namespaces, role maps and selectors, as a reconciler needs them."""

    def of(self, namespace: str) -> NamespaceConfig: ...


class Handle(msgspec.Struct, frozen=True):
    """What the poller needs to follow one resource."""

    kind: Kind
    target: Target
    identifiers: Mapping[str, Any]
    created_at: float
    """A lower bound of the resource's creation time, seconds since the epoch."""
    last: Observation | None
    """What is known already: only a change of it is reported. None: whatever is observed next."""
    uid: str = ""
    """Of the object: another one of its name is another object."""
    mutated: bool = False
    """A mutating call was just accepted: what was asked before it does not count."""

    def same_resource(self, other: Handle) -> bool:
        """Whether both are about one object and one resource."""
        return (self.uid, self.target, self.identifiers) == (other.uid, other.target, other.identifiers)


@dataclass(frozen=True, slots=True)
class Services:
    """All of it, for one kind."""

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
