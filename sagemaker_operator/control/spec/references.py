"""References: replaces the names of other objects in a spec by the identifiers of their resources. Pure.

Resolved values are never written into spec. They are recorded in status (`resolvedReferences`) as soon as the resource
exists, so that it can be found, compared and deleted after the other object is gone.
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
"""Returns an object from the cache. Raises LookupError if this operator does not watch its kind."""

_REFERENCE_SUFFIX = b'Ref"'


class Resolution(msgspec.Struct, frozen=True):
    """A spec with its references replaced. Fields of unresolved references are left out."""

    spec: Mapping[str, Any]
    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Path of the reference and the object that it names (`spec.modelRef=default/churn`) -> its value."""
    problems: tuple[str, ...] = ()
    """Errors that only an edit can fix."""
    waiting: str | None = None
    """What the first unresolved reference waits for, as a message to the user."""
    unrecorded: bool = False
    """The resource was created from references whose values at that time are unknown."""

    @property
    def used(self) -> bool:
        return bool(self.values or self.problems or self.waiting or self.unrecorded)

    @property
    def condition(self) -> ConditionValue:
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
    """`recorded`: the values of the references when the resource was created; used for objects that are gone.

    `history`: the resource is a job that exists already, so later changes of the referenced objects do not affect it. Only a
    reference that was edited since is resolved again.
    """
    if _REFERENCE_SUFFIX not in bytes(obj.spec):
        return Resolution(spec)
    walk = _Walk(find, recorded, obj.metadata.namespace, cross_namespace, history=history)
    resolved = walk.structure(operation(kind.create).input_shape, spec, "spec")
    waiting = walk.waiting[0] if walk.waiting else None
    return Resolution(resolved, walk.values, tuple(walk.problems), waiting, walk.unrecorded)


def targets(kind: Kind, obj: KubeObject) -> frozenset[ObjectKey]:
    """The objects that an object references."""
    if _REFERENCE_SUFFIX not in bytes(obj.spec):
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
        # The name is part of the key: an edited reference must not reuse the value of another object.
        record_key = f"{path}={namespace}/{name}"
        if self._history and (known := self._recorded.get(record_key)) is not None:
            self.values[record_key] = known
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
        value = self._value_of(key, reference, path, self._recorded.get(record_key))
        if value is not None:
            self.values[record_key] = value
        return value

    def _value_of(self, key: ObjectKey, reference: Reference, path: str, recorded: str | None) -> str | None:
        about = f"{path} waits for {key.kind} {key.name}" + (
            f" in namespace {key.namespace}" if key.namespace != self._namespace else ""
        )
        try:
            other = self._find(key)
        except LookupError:
            wait = f"{about}, and this operator does not reconcile that kind (--reconcile-resources)."
        else:
            if other is None:
                wait = f"{about}, which does not exist yet."
            else:
                value, wait = _identifier(other, reference, same_namespace=key.namespace == self._namespace)
                if value is not None:
                    return value
                wait = f"{about}{wait}"
        if recorded is None:
            self.waiting.append(wait)
        return recorded


def _identifier(other: KubeObject, reference: Reference, *, same_namespace: bool) -> tuple[str | None, str]:
    """(the value, why there is none yet).

    The message of an object in another namespace is not repeated: the reader may not be allowed to read that object.
    """
    status = other.decode_status()
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    terminal = conditions.get(TERMINAL, {})
    if terminal.get("status") == "True":
        return None, ", which has a terminal error" + (f": {terminal.get('message', '')}" if same_namespace else ".")
    arn = (status.get("ackResourceMetadata") or {}).get("arn")
    if other.metadata.deletion_timestamp is not None:
        return None, ", which is being deleted."
    if arn is None or conditions.get(SYNCED, {}).get("status") != "True":
        return None, ", which is not synced yet."
    if not reference.value:
        return arn, ""
    return identifiers(catalog()[other.kind], other.decode_spec(), arn).get(reference.value), ", which has no name yet."


# --- the index of references -----------------------------------------------------------------------------------------


class Dependants:
    """Enqueues the objects that reference a changed one. It keeps an index, so nothing is listed."""

    def __init__(self, wake: Callable[[ObjectKey], None]) -> None:
        self._wake = wake
        self._targets: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self._dependants: dict[ObjectKey, set[ObjectKey]] = {}

    def changed(self, change: Change, listed: bool) -> None:
        """A listener of every kind's informer. It needs own writes too: those make an object synced."""
        old, new = change
        obj = new or old
        assert obj is not None  # noqa: S101  a change has one of them
        if old is None or new is None or bytes(old.spec) != bytes(new.spec):
            self._index(obj.key, targets(catalog()[obj.kind], new) if new is not None else frozenset())
        if obj.key in self._dependants and (
            old is None or new is None or _resolvable_state(old) != _resolvable_state(new)
        ):
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


def _resolvable_state(obj: KubeObject) -> tuple[Any, ...]:
    """The parts of an object that the resolution of a reference depends on."""
    status = obj.decode_status()
    states = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    arn = (status.get("ackResourceMetadata") or {}).get("arn")
    deleting = obj.metadata.deletion_timestamp is not None
    return obj.metadata.uid, arn, states.get(SYNCED), states.get(TERMINAL), deleting
