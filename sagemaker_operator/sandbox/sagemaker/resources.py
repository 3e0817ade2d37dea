"""Access of a resource's behaviour to other resources: whether one that it names exists, and which ones use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.protocol import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record, Store


class Resources:
    """The resources of every simulated kind. Resources of other kinds are taken to exist."""

    def __init__(self, store: Store, kinds: Mapping[str, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def __repr__(self) -> str:
        return f"<Resources {len(self._kinds)} kinds>"

    def find(self, kind: str, scope: Scope, *identity: str, now: float) -> Record | None:
        """A resource by its identifiers or by its ARN; None also for one with a status `Deleted`."""
        if kind not in self._kinds:
            return None
        record = self._store.collection(scope, self._kinds[kind]).get(identity, now=now)
        record = record or self._store.by_arn(identity[-1], scope, now=now)
        if record is None or record.kind.name != kind or record.status_class(now) is StatusClass.GONE:
            return None
        record.settle(now)
        return record

    def need(self, kind: str, scope: Scope, *identity: str, now: float, ready: bool = False) -> Record | None:
        """Like `find`, but raises that kind's own "not found". Resources of other accounts and regions always exist.

        `ready`: it must have reached its steady state, too.
        """
        foreign = identity[-1].startswith("arn:") and not identity[-1].startswith(scope.arn(""))
        if kind not in self._kinds or foreign:
            return None
        record = self.find(kind, scope, *identity, now=now)
        described = self._kinds[kind]
        if record is None:
            name = identity[-1]
            arn = name if name.startswith("arn:") else scope.arn(f"{described.resource_type}/{'/'.join(identity)}")
            raise texts.not_found(described, name=name, arn=arn)
        if ready and record.status_class(now) is not StatusClass.STEADY:
            invalid(f"The {texts.words(described)} {record.arn} is not InService.")
        return record

    def all(self, kind: str, scope: Scope, *, now: float) -> list[Record]:
        """Every resource of a kind, oldest first."""
        if kind not in self._kinds:
            return []
        found = list(self._store.collection(scope, self._kinds[kind]))
        return [r for r in found if not r.gone(now) and r.status_class(now) is not StatusClass.GONE]
