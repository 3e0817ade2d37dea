"""References: the names of other objects in a spec, replaced by what those objects stand for. Pure.

Nothing is ever written into spec. What a reference gave is remembered in status (`resolvedReferences`) from the moment the
resource exists, so that the resource can be found, compared and deleted when the other object is long gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.conditions import SYNCED, TERMINAL, ConditionValue
from sagemaker_operator.control.spec.create_input import identifiers
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.kinds.naming import field_name
from sagemaker_operator.kinds.references import Reference, reference_at, reference_field
from sagemaker_operator.objects import ObjectKey

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.kinds.model import Shape
    from sagemaker_operator.objects import KubeObject
    from sagemaker_operator.runtime.store import Change

Find = Callable[[ObjectKey], "KubeObject | None"]
"""Looks an object up. Raises LookupError if this operator does not follow its kind."""

_MARK = b'Ref"'


class Resolution(msgspec.Struct, frozen=True):
    """A spec with its references replaced. Those that gave nothing are left out."""

    spec: Mapping[str, Any]
    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Path of the reference and the object that it names (`spec.modelRef=default/churn`) -> what it gave."""
    problems: tuple[str, ...] = ()
    """What only an edit can mend."""
    waiting: str | None = None
    """What is waited for, for people."""
    unrecorded: bool = False
    """The resource was made from references whose values at that time are not known."""

    @property
    def used(self) -> bool:
        return bool(self.values or self.problems or self.waiting or self.unrecorded)

    @property
    def told(self) -> ConditionValue:
        """The condition ACK.ReferencesResolved."""
        if self.problems:
            return "False", "InvalidReference", "; ".join(self.problems)
        if self.waiting is not None:
            return "Unknown", "ReferenceNotReady", self.waiting
        return "True", "Resolved", ""


def resolve(
    kind: Kind,
    obj: KubeObject,
    spec: Mapping[str, Any],
    *,
    find: Find,
    recorded: Mapping[str, str],
    cross_namespace: bool,
    history: bool = False,
) -> Resolution:
    """`recorded` is what the references gave when the resource was made; it stands in for objects that are gone.

    `history`: the resource is a job that was made already, and what became of the objects since then says nothing of it. Only a
    reference that was edited since is resolved anew.
    """
    if _MARK not in bytes(obj.spec):
        return Resolution(spec)
    walk = _Walk(find, recorded, obj.metadata.namespace, cross_namespace, history=history)
    resolved = walk.structure(operation(kind.create).input_shape, spec, "spec")
    waiting = walk.waiting[0] if walk.waiting else None
    return Resolution(resolved, walk.values, tuple(walk.problems), waiting, walk.unrecorded)


def targets(kind: Kind, obj: KubeObject) -> frozenset[ObjectKey]:
    """The objects that an object refers to."""
    if _MARK not in bytes(obj.spec):
        return frozenset()
    walk = _Walk(lambda key: None, {}, obj.metadata.namespace, True)
    walk.structure(operation(kind.create).input_shape, obj.decode_spec(), "spec")
    return frozenset(walk.targets)


class _Walk:
    """One walk over one spec, in step with the shape of its Create input."""

    def __init__(
        self, find: Find, recorded: Mapping[str, str], namespace: str, cross_namespace: bool, *, history: bool = False
    ) -> None:
        self._find = find
        self._history = history
        self.unrecorded = False
        self._recorded = recorded
        self._namespace = namespace
        self._cross_namespace = cross_namespace
        self.values: dict[str, str] = {}
        self.problems: list[str] = []
        self.waiting: list[str] = []
        self.targets: list[ObjectKey] = []

    def structure(self, shape: Shape, spec: Mapping[str, Any], path: str) -> dict[str, Any]:
        resolved = dict(spec)
        for member, inner in members(shape).items():
            name = field_name(member)
            reference = reference_at(shape, member)
            if reference is not None and reference_field(member) in resolved:
                given = resolved.pop(reference_field(member))
                where = f"{path}.{reference_field(member)}"
                if resolved.get(name) is not None:
                    self.problems.append(f"{path}.{name} and {where}: give one of them")
                elif given is not None and (value := self._value(reference, given, resolved, where)) is not None:
                    resolved[name] = value
            elif name in resolved:
                resolved[name] = self._inside(inner, resolved[name], f"{path}.{name}")
        return resolved

    def _inside(self, shape: Shape, value: Any, path: str) -> Any:
        if shape.type_name == "structure" and isinstance(value, Mapping):
            return self.structure(shape, value, path)
        if shape.type_name == "list" and isinstance(value, list):
            return [self._inside(shape.member, item, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _value(self, reference: Reference, given: Any, beside: Mapping[str, Any], path: str) -> str | None:
        source = given.get("from") if isinstance(given, Mapping) else None
        name = source.get("name") if isinstance(source, Mapping) else None
        if not isinstance(source, Mapping) or not isinstance(name, str) or not name:
            self.problems.append(f"{path}.from.name: required")
            return None
        kind = reference.kind_for(beside)
        if kind is None:
            chosen = field_name(reference.chosen_by)
            self.problems.append(f"{path}: needs {chosen} beside it, one of {', '.join(reference.kinds)}")
            return None
        namespace = source.get("namespace") or self._namespace
        # With the name: what one object gave says nothing of another that the reference was edited to.
        remembered_as = f"{path}={namespace}/{name}"
        if self._history and (known := self._recorded.get(remembered_as)) is not None:
            self.values[remembered_as] = known
            return known
        if self._history and not any(entry.startswith(f"{path}=") for entry in self._recorded):
            self.unrecorded = True
            return None
        if namespace != self._namespace and not self._cross_namespace:
            self.problems.append(
                f"{path}.from.namespace: {namespace!r} is another namespace, and the operator runs with "
                "--enable-cross-namespace=false"
            )
            return None
        key = ObjectKey(kind, namespace, name)
        self.targets.append(key)
        value = self._given_by(key, reference, path, self._recorded.get(remembered_as))
        if value is not None:
            self.values[remembered_as] = value
        return value

    def _given_by(self, key: ObjectKey, reference: Reference, path: str, remembered: str | None) -> str | None:
        about = f"{path} waits for {key.kind} {key.name}" + (
            f" in namespace {key.namespace}" if key.namespace != self._namespace else ""
        )
        try:
            other = self._find(key)
        except LookupError:
            wait = f"{about}, and this operator does not follow that kind (--reconcile-resources)."
        else:
            if other is None:
                wait = f"{about}, which does not exist yet."
            else:
                value, wait = _offered(other, reference, near=key.namespace == self._namespace)
                if value is not None:
                    return value
                wait = f"{about}{wait}"
        if remembered is None:
            self.waiting.append(wait)
        return remembered


def _offered(other: KubeObject, reference: Reference, *, near: bool) -> tuple[str | None, str]:
    """(the value, why there is none yet). What is wrong with an object of another namespace is told to its readers only."""
    status = other.decode_status()
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    terminal = conditions.get(TERMINAL, {})
    if terminal.get("status") == "True":
        return None, ", which needs an edit" + (f": {terminal.get('message', '')}" if near else ".")
    arn = (status.get("ackResourceMetadata") or {}).get("arn")
    if other.metadata.deletion_timestamp is not None:
        return None, ", which is being deleted."
    if arn is None or conditions.get(SYNCED, {}).get("status") != "True":
        return None, ", which is not synced yet."
    if not reference.value:
        return arn, ""
    return identifiers(catalog()[other.kind], other.decode_spec(), arn).get(reference.value), ", which has no name yet."


# --- who waits for whom ----------------------------------------------------------------------------------------------


class Dependants:
    """Wakes the objects that refer to one that changed. An index, so that nothing is ever listed."""

    def __init__(self, wake: Callable[[ObjectKey], None]) -> None:
        self._wake = wake
        self._targets: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self._dependants: dict[ObjectKey, set[ObjectKey]] = {}

    def changed(self, change: Change, listed: bool) -> None:
        """A listener of every kind's informer, our own writes included: they are what makes an object synced."""
        old, new = change
        obj = new or old
        assert obj is not None  # noqa: S101  a change has one of them
        if old is None or new is None or bytes(old.spec) != bytes(new.spec):
            self._index(obj.key, targets(catalog()[obj.kind], new) if new is not None else frozenset())
        if obj.key in self._dependants and (old is None or new is None or _offer(old) != _offer(new)):
            for key in tuple(self._dependants[obj.key]):
                self._wake(key)

    def _index(self, key: ObjectKey, found: frozenset[ObjectKey]) -> None:
        before = self._targets.get(key, frozenset())
        for target in before - found:
            self._dependants[target].discard(key)
            if not self._dependants[target]:
                del self._dependants[target]
        for target in found - before:
            self._dependants.setdefault(target, set()).add(key)
        if found:
            self._targets[key] = found
        else:
            self._targets.pop(key, None)


def _offer(obj: KubeObject) -> tuple[Any, ...]:
    """What a dependant could see of it."""
    status = obj.decode_status()
    states = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    arn = (status.get("ackResourceMetadata") or {}).get("arn")
    going = obj.metadata.deletion_timestamp is not None
    return obj.metadata.uid, arn, states.get(SYNCED), states.get(TERMINAL), going
