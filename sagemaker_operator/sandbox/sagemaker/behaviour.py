"""How a kind behaves. `Behaviour` serves any kind from its descriptor; a kind that needs more has a subclass."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sagemaker_operator.kinds.described import described_shape
from sagemaker_operator.kinds.descriptor import Kind, StatusClass
from sagemaker_operator.kinds.model import input_members, service_model
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.lifecycle import FAILED, GOOD, LifeCycle, Step, life_cycle
from sagemaker_operator.sandbox.sagemaker.records import Change, Identity, Store
from sagemaker_operator.sandbox.sagemaker.resources import Resources
from sagemaker_operator.sandbox.sagemaker.rewriting import echo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from botocore.model import Shape

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope, ServiceError
    from sagemaker_operator.sandbox.sagemaker.records import Record

LAST_MODIFIED = "LastModifiedTime"
FAILURE = f"The sandbox was asked for the outcome {FAILED}."
UPDATE_FAILURE = "The sandbox was asked to fail this update."
DELETE_FAILURE = "The sandbox was asked to fail this deletion."


class Naming(NamedTuple):
    """Name, identifiers and ARN of a new resource."""

    name: str
    identity: Identity
    """Values of `kind.identifiers`; an identifier that was left out is ``""``."""
    arn: str


class Behaviour:
    """The life cycle of one kind's resources and their Describe and List output."""

    actions: ClassVar[tuple[str, ...]] = ()
    """Operations beyond create, update, stop and delete that change a resource, carried out by `act`."""
    queries: ClassVar[tuple[str, ...]] = ()
    """Read-only operations beyond describe and list, answered by `query`."""

    def __init__(self, kind: Kind, *, resources: Resources | None = None, life: LifeCycle | None = None) -> None:
        self.kind = kind
        self.resources = resources or Resources(Store(), {})
        self.life = life or life_cycle(kind)
        model = service_model()
        self._described: Shape = described_shape(kind)
        update = input_members(kind.update) if kind.update else {}
        self._created = input_members(kind.create)
        identifiers = {member.api for member in kind.identifiers}
        self._updated = tuple(name for name in update if name in self._created and name not in identifiers)
        update_shape = model.operation_model(kind.update).input_shape if kind.update else None
        # What an update requires is sent in full.
        self._partial: Mapping[str, Shape] = (
            {n: shape for n, shape in update_shape.members.items() if n not in update_shape.required_members}
            if update_shape
            else {}
        )
        self._summary = _summary_members(kind)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind.name}>"

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        """Rules between members and about the resources they name, which the model cannot express. Raises ServiceError."""

    def naming(self, given: Mapping[str, Any], scope: Scope, drawn: str) -> Naming:
        """`drawn`: twelve random characters, for identifiers that the caller does not choose."""
        kind = self.kind
        own_id = f"{kind.resource_type[:1]}-{drawn}"
        chosen = [
            str(given.get(member.api, "")) if member.api in self._created else None for member in kind.identifiers
        ]
        tail = "/".join(value for value in chosen if value) or own_id
        arn = scope.arn(f"{kind.resource_type}/{tail}")
        identity = tuple(
            value if value is not None else arn if member.api.endswith("Arn") else own_id
            for member, value in zip(kind.identifiers, chosen, strict=True)
        )
        return Naming(str(given.get(kind.name_member, tail)), identity, arn)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The Create input as Describe will echo it."""
        return echo(given, without=("Tags",))

    def scenario_source(
        self, given: Mapping[str, Any], naming: Naming, tags: Mapping[str, str], scope: Scope, now: float
    ) -> Any:
        """The (name, tags) that select the scenario: those of the resource unless a kind overrides it."""
        return naming.name, tags

    def begin(self, record: Record) -> None:
        """Schedule the life cycle of a new resource."""
        steps = self.life.runs.get(record.scenario.outcome, self.life.runs[GOOD])
        total = self.life.seconds if record.scenario.seconds is None else record.scenario.seconds
        record.timeline.schedule(steps, start=record.created, total=total)
        if record.scenario.maintenance_after is not None and steps is self.life.runs[GOOD]:
            record.move(self.life.maintenance, record.timeline.end + record.scenario.maintenance_after)

    def force_failure(self, record: Record) -> None:
        """Make a new resource fail because something that it uses fails."""
        record.scenario = replace(record.scenario, outcome=FAILED)

    def stop(self, record: Record, now: float) -> None:
        """Raises ServiceError when the resource has finished. Stopping it while it is stopping has no effect."""
        status = record.status_class(now)
        if status is StatusClass.STOPPING:
            return
        if record.finished(now):
            raise self.busy(record, self.kind.stop, now)
        record.move(self.life.stop, now)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        """Carry out one of `actions`. Raises ServiceError."""
        raise NotImplementedError(operation)

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        """The output of one of `queries`. `records`: the one that the input names, or all. Raises ServiceError."""
        raise NotImplementedError(operation)

    def addressed(self, given: Mapping[str, Any], scope: Scope, now: float) -> Record | None:
        """The resource of an action whose input has neither its identifiers nor its ARN (a callback token)."""
        return None

    def busy(self, record: Record, operation: str | None, now: float) -> ServiceError:
        """What `operation` answers when the resource's status does not allow it."""
        return texts.wrong_status(self.kind, record.status(now), declared=declared_errors(operation))

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        """Raises ServiceError while another change is in progress."""
        self.check_update(record, change, now)
        failing = record.scenario.update_fails
        record.failure = UPDATE_FAILURE if failing else ""
        if not failing:
            self.apply(record, change)
        record.modified = now
        record.move(self.changing(record, failing=failing), now)

    def changing(self, record: Record, *, failing: bool) -> tuple[Step, ...]:
        """The steps of an update."""
        if not failing:
            return self.life.update
        return (self.life.rollback_failed if record.scenario.rollback_fails else ()) or self.life.update_failed

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        """Raises ServiceError."""
        if record.status_class(now).in_transition:
            raise self.busy(record, self.kind.update, now)

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        """Let an update take effect."""
        merged = {}
        for name in self._updated:
            if name in change:
                shape = self._partial.get(name)
                before = record.input.get(name)
                if name in self.kind.removed_by:
                    merged[name] = {**(before or {}), **change[name]}
                    continue
                merged[name] = change[name] if shape is None else _merged(shape, before, change[name])
        # Merged before the defaults are filled in: a default must not replace what was set before.
        record.input.update(self.with_defaults(merged))
        for name, remove in self.kind.removed_by.items():
            for key in change.get(remove, ()):
                record.input.get(name, {}).pop(key, None)

    def defer(self, record: Record, now: float, *, change: dict[str, Any], failure: str = "", **notes: Any) -> None:
        """Begin an update that Describe shows only when it is over."""
        record.failure = ""
        record.modified = now
        record.move(self.changing(record, failing=bool(failure)), now)
        record.pending = Change(at=record.timeline.end, input=change, notes=notes, failure=failure)

    def delete(self, record: Record, now: float) -> bool:
        """True: deleted at once; False: deleting. Raises ServiceError when the status does not allow it."""
        if record.status_class(now) is StatusClass.GONE:
            raise texts.not_found(self.kind, name=record.name, arn=record.arn)
        if record.deleting:
            return False
        self.check_delete(record, now)
        if record.scenario.delete_fails and self.life.delete_failed:
            # Once: the next deletion succeeds.
            record.scenario = replace(record.scenario, delete_fails=False)
            record.move(self.life.delete_failed, now)
            return False
        if not self.life.delete:
            return True
        record.move(self.life.delete, now)
        record.deleting = True
        return False

    def check_delete(self, record: Record, now: float) -> None:
        """Raises ServiceError."""
        if record.status_class(now).in_transition:
            raise self.busy(record, self.kind.delete, now)

    def describe(self, record: Record, now: float) -> dict[str, Any]:
        """The output of Describe: the input echoed, what the server adds, and whatever else the model requires."""
        kind, phase = self.kind, record.timeline.at(now)
        facts = dict(record.input)
        facts.update(
            (member.api, value) for member, value in zip(kind.identifiers, record.identity, strict=True) if value
        )
        facts[kind.arn_member] = record.arn
        facts["CreationTime"] = record.created
        facts[LAST_MODIFIED] = record.last_modified(now)
        if kind.created_member:
            facts[kind.created_member] = record.created
        if kind.failure_member and kind.classify(phase.step.status) is StatusClass.DELETE_FAILED:
            facts[kind.failure_member] = DELETE_FAILURE
        elif kind.failure_member and record.failure:
            facts[kind.failure_member] = record.failure
        elif kind.failure_member and kind.classify(phase.step.status) is StatusClass.FAILED:
            facts[kind.failure_member] = FAILURE
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
        # A transform job's summary has the time although its Describe has not, and the List filters by it.
        described.setdefault(LAST_MODIFIED, record.last_modified(now))
        described.update(self.summarized(record, described))
        return {name: described[name] for name in self._summary if name in described}

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        """Members of the List output that Describe has at another path or not at all."""
        return {}

    def listed(self, record: Record, given: Mapping[str, Any]) -> bool:
        """Filters of the List operation that only this kind has; AWS applies them before it cuts pages."""
        return True


def declared_errors(operation: str | None) -> frozenset[str]:
    """The error codes that the model declares for an operation."""
    if operation is None:
        return frozenset()
    return frozenset(shape.name for shape in service_model().operation_model(operation).error_shapes)


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


def _merged(shape: Shape, before: Any, change: Any) -> Any:
    """An update of a structure changes the members that it names.

    Replaced as a whole: lists, maps, unions, and a structure that requires members (an S3 location), which is one value.
    """
    partial = shape.type_name == "structure" and not shape.required_members and not shape.is_tagged_union
    if not (partial and isinstance(before, dict) and isinstance(change, dict)):
        return change
    return before | {name: _merged(shape.members[name], before.get(name), value) for name, value in change.items()}


def _complete(shape: Shape, given: dict[str, Any], record: Record) -> dict[str, Any]:
    """Give every required member a value, so that no client meets an output that AWS could not send."""
    for name in shape.required_members:
        if name not in given:
            given[name] = "" if _is_message(name, shape.members[name]) else _least(shape.members[name], record)
    return given


def _is_message(name: str, shape: Shape) -> bool:
    """A text about an event; empty because none has happened."""
    return shape.type_name == "string" and "enum" not in shape.metadata and name.endswith(("Reason", "Message"))


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
        case "string" if shape.name == "S3Uri":
            return f"s3://sandbox/{record.name}"
        case _:
            return shape.metadata.get("enum", [record.arn if shape.name.endswith("Arn") else record.name])[0]


def answer(operation: str, record: Record, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The output of an operation that answers with no more than the ARN and the identifiers, as far as it has them.

    `given`: the input, for an operation that names a part of the resource.
    """
    shape = service_model().operation_model(operation).output_shape
    if shape is None:
        return {}
    kind = record.kind
    facts = dict(zip((member.api for member in kind.identifiers), record.identity, strict=True)) | record.notes
    facts |= given
    facts[kind.arn_member] = record.arn
    return _complete(shape, {name: facts[name] for name in shape.members if name in facts}, record)
