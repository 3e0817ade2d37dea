"""How a kind behaves. `Behaviour` serves any kind from its descriptor; a kind worth more has a subclass."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import Kind, StatusClass
from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.lifecycle import FAILED, GOOD, LifeCycle, life_cycle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import Shape

    from sagemaker_operator.sandbox.sagemaker.records import Record

LAST_MODIFIED = "LastModifiedTime"


class Behaviour:
    """The life and the looks of one kind's resources."""

    def __init__(self, kind: Kind, *, life: LifeCycle | None = None, seconds: float | None = None) -> None:
        """`seconds`: how long a life takes unless a tag says otherwise; None: what suits the kind."""
        self.kind = kind
        self.life = life or life_cycle(kind)
        self.seconds = self.life.seconds if seconds is None else seconds
        model = service_model()
        self._described: Shape = model.operation_model(kind.describe).output_shape
        update = model.operation_model(kind.update).input_shape.members if kind.update else {}
        create = model.operation_model(kind.create).input_shape.members
        identifiers = {member.api for member in kind.identifiers}
        self._updated = tuple(name for name in update if name in create and name not in identifiers)
        self._summary = _summary_members(kind)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind.name}>"

    def check(self, given: Mapping[str, Any]) -> None:
        """Rules between members, which the model cannot state. Raises ServiceError."""

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The Create input as Describe will echo it."""
        return {name: copy.deepcopy(value) for name, value in given.items() if name != "Tags"}

    def begin(self, record: Record) -> None:
        """Plan the life of a new resource."""
        steps = self.life.runs.get(record.wishes.outcome, self.life.runs[GOOD])
        total = self.seconds if record.wishes.seconds is None else record.wishes.seconds
        record.timeline.schedule(steps, start=record.created, total=total)

    def stop(self, record: Record, now: float) -> None:
        """Raises ServiceError when there is nothing to stop. Stopping what is stopping already is no error."""
        status = record.status_class(now)
        if status is StatusClass.STOPPING:
            return
        if record.finished(now):
            raise texts.wrong_status(self.kind, record.status(now))
        record.timeline.schedule(self.life.stop, start=now)

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        """Raises ServiceError while something else is going on."""
        if record.status_class(now).in_transition:
            raise texts.wrong_status(self.kind, record.status(now))
        record.input.update({name: copy.deepcopy(change[name]) for name in self._updated if name in change})
        record.modified = now
        if self.life.update:
            record.timeline.schedule(self.life.update, start=now)

    def delete(self, record: Record, now: float) -> bool:
        """True: gone at once; False: it takes a while. Raises ServiceError when the state does not allow it."""
        if record.deleting:
            return False
        if record.status_class(now).in_transition:
            raise texts.wrong_status(self.kind, record.status(now))
        if not self.life.delete:
            return True
        record.timeline.schedule(self.life.delete, start=now)
        record.deleting = True
        return False

    def describe(self, record: Record, now: float) -> dict[str, Any]:
        """The output of Describe: the input echoed, what the server adds, and whatever else the model requires."""
        kind, phase = self.kind, record.timeline.at(now)
        facts = dict(record.input)
        facts.update((member.api, value) for member, value in zip(kind.identifiers, record.identity, strict=True))
        facts[kind.arn_member] = record.arn
        facts["CreationTime"] = record.created
        facts[LAST_MODIFIED] = record.last_modified(now)
        if kind.created_member:
            facts[kind.created_member] = record.created
        if kind.failure_member and kind.classify(phase.step.status) is StatusClass.FAILED:
            facts[kind.failure_member] = f"The sandbox was asked for the outcome {FAILED}."
        facts.update(self.details(record, now))
        shown = {name: facts[name] for name in self._described.members if name in facts}
        if kind.status_member:
            _put(shown, kind.status_member, phase.step.status)
        if kind.secondary_member:
            _put(shown, kind.secondary_member, phase.step.secondary)
        return _complete(self._described, shown, record)

    def details(self, record: Record, now: float) -> dict[str, Any]:
        """Members of the Describe output that only this kind has."""
        return {}

    def summary(self, record: Record, now: float) -> dict[str, Any]:
        """One entry of the List output."""
        described = self.describe(record, now)
        return {name: described[name] for name in self._summary if name in described}


def _summary_members(kind: Kind) -> tuple[str, ...]:
    if kind.listing is None:
        return ()
    output = service_model().operation_model(kind.listing.operation).output_shape
    entry = output.members[kind.listing.result].member
    return tuple(entry.members) if entry.type_name == "structure" else ()


def _put(target: dict[str, Any], path: str, value: str) -> None:
    """Set a member that may lie inside a structure (`Workforce.Status`)."""
    *parents, last = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value


def _complete(shape: Shape, given: dict[str, Any], record: Record) -> dict[str, Any]:
    """Give every required member a value, so that no client meets an output that AWS could not send."""
    for name in shape.required_members:
        if name not in given:
            given[name] = _least(shape.members[name], record)
    return given


def _least(shape: Shape, record: Record) -> Any:
    """The smallest value that fits a shape."""
    match shape.type_name:
        case "structure":
            return _complete(shape, {}, record)
        case "list":
            return []
        case "map":
            return {}
        case "boolean":
            return False
        case "timestamp":
            return record.created
        case "integer" | "long" | "float" | "double":
            return shape.metadata.get("min", 0)
        case _:
            return shape.metadata.get("enum", [record.arn if shape.name.endswith("Arn") else record.name])[0]


def create_output(kind: Kind, record: Record) -> dict[str, Any]:
    """The output of Create: the ARN and the identifiers, as far as the model has them there."""
    shape = service_model().operation_model(kind.create).output_shape
    if shape is None:
        return {}
    facts = dict(zip((member.api for member in kind.identifiers), record.identity, strict=True))
    facts[kind.arn_member] = record.arn
    return _complete(shape, {name: facts[name] for name in shape.members if name in facts}, record)
