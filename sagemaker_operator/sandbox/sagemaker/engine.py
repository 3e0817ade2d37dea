"""Every operation of every kind, from the descriptors: create, describe, list, stop, update, delete, tags."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.model import OperationModel, OperationNotFoundError

from sagemaker_operator.kinds.described import wrapped
from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kinds.model import operations, service_model
from sagemaker_operator.sandbox.sagemaker import lifecycle, tags, texts
from sagemaker_operator.sandbox.sagemaker.behaviour import answer, declared_errors
from sagemaker_operator.sandbox.sagemaker.behaviours import behaviour_of
from sagemaker_operator.sandbox.sagemaker.listing import list_page
from sagemaker_operator.sandbox.sagemaker.protocol import Request, Scope, ServiceError
from sagemaker_operator.sandbox.sagemaker.quotas import Quotas
from sagemaker_operator.sandbox.sagemaker.records import Record, Store
from sagemaker_operator.sandbox.sagemaker.resources import Resources
from sagemaker_operator.sandbox.sagemaker.validation import validate

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour

_TAGGING = ("AddTags", "ListTags", "DeleteTags")
_MUTATING = ("create", "update", "stop", "delete", "act", "AddTags", "DeleteTags")


class _Route(NamedTuple):
    verb: str
    kinds: tuple[Kind, ...]
    """More than one for operations that kinds share (ListAutoMLJobs)."""


class Engine:
    """The resources and their operations. The caller passes the time; nothing here waits."""

    def __init__(self, kinds: Mapping[str, Kind], *, rng: random.Random) -> None:
        self.store = Store()
        self._rng = rng
        resources = Resources(self.store, kinds)
        self.quotas = Quotas(resources)
        self._behaviours = {kind.name: behaviour_of(kind, resources) for kind in kinds.values()}
        self._routes = _routes(self._behaviours)

    def __repr__(self) -> str:
        return f"<Engine kinds={len(self._behaviours)} {self.store!r}>"

    def behaviour(self, kind: str) -> Behaviour:
        return self._behaviours[kind]

    def speaks(self, operation: str) -> bool:
        return operation in self._routes

    def mutating(self, operation: str) -> bool:
        route = self._routes.get(operation)
        return route is not None and route.verb in _MUTATING

    def resource_name(self, request: Request) -> str:
        """The resource that a call is about; empty if it names none."""
        route = self._routes.get(request.operation)
        members = [] if route is None else [kind.name_member for kind in route.kinds]
        if route is not None:
            members += [member.api for kind in route.kinds for member in kind.identifiers]
        named = (request.input.get(member) for member in (*members, "ResourceArn"))
        return next((value for value in named if isinstance(value, str)), "")

    def call(self, request: Request, *, now: float, blind_seconds: float = 0.0) -> dict[str, Any] | None:
        """Carry out one call. `blind_seconds`: reads do not see resources younger than that. Raises ServiceError."""
        route = self._routes.get(request.operation)
        model = operation_model(request.operation)
        if route is None or model is None:
            raise ServiceError("UnknownOperationException", f"The sandbox does not simulate {request.operation}.")
        validate(model.input_shape, request.input)
        output = self._dispatch(route, request, now, blind_seconds)
        return output if model.output_shape is not None else None

    def _dispatch(self, route: _Route, request: Request, now: float, blind_seconds: float) -> dict[str, Any]:
        given, scope = request.input, request.scope
        if route.verb in _TAGGING:
            return tags.call(route.verb, given, self.store, scope, now=now)
        if route.verb == "create":
            return self._create(route.kinds[0], request, now)
        if route.verb == "list":
            return self._list(route.kinds, request, now, blind_seconds)
        if route.verb == "query":
            return self._query(route.kinds[0], request, now)
        record = self._find(route.kinds, given, scope, now)
        behaviour = self._behaviours[record.kind.name]
        if route.verb == "describe":
            if blind_seconds and record.created > now - blind_seconds:
                raise texts.not_found(record.kind, name=record.name, arn=record.arn)
            return wrapped(record.kind, behaviour.describe(record, now))
        match route.verb:
            case "update":
                behaviour.update(record, given, now)
            case "stop":
                behaviour.stop(record, now)
            case "act":
                behaviour.act(request.operation, record, given, now)
                return answer(request.operation, record, given)
            case _ if behaviour.delete(record, now):
                self.store.remove(record)
        return answer(request.operation, record)

    def _create(self, kind: Kind, request: Request, now: float) -> dict[str, Any]:
        given, scope = request.input, request.scope
        behaviour = self._behaviours[kind.name]
        collection = self.store.collection(scope, kind)
        token = given.get(kind.token_member, "") if kind.token_member else ""
        if token and (known := collection.by_token(token, now=now)) is not None:
            return answer(kind.create, known)
        behaviour.check(given, scope, now)
        self.quotas.check(kind, given, scope, now)
        drawn = "".join(self._rng.choices(string.ascii_lowercase + string.digits, k=12))
        naming = behaviour.naming(given, scope, drawn)
        if (other := collection.get(naming.identity, now=now)) is not None:
            if other.status_class(now) is not StatusClass.GONE:
                raise texts.already_exists(kind, arn=other.arn, declared=declared_errors(kind.create))
            self.store.remove(other)
        labels = tags.to_dict(given.get("Tags", []))
        source_name, source_tags = behaviour.scenario_source(given, naming, labels, scope, now)
        record = Record(
            kind=kind,
            scope=scope,
            identity=naming.identity,
            name=naming.name,
            arn=naming.arn,
            number=self.store.next_number(),
            input=behaviour.with_defaults(given),
            tags=labels,
            created=now,
            modified=now,
            scenario=lifecycle.scenario_of(source_name, source_tags),
            luck=self._rng.random(),
        )
        behaviour.begin(record)
        self.store.add(record, token=token)
        return answer(kind.create, record)

    def _find(self, kinds: tuple[Kind, ...], given: Mapping[str, Any], scope: Scope, now: float) -> Record:
        record = self._search(kinds, given, scope, now)
        if record is not None:
            record.settle(now)
            return record
        kind = kinds[0]
        name = str(given.get(kind.name_member) or given.get(kind.arn_member, ""))
        values = [str(given[member.api]) for member in kind.identifiers if member.api in given] or [name]
        arn = name if name.startswith("arn:") else scope.arn(f"{kind.resource_type}/{'/'.join(values)}")
        raise texts.not_found(kind, name=name, arn=arn)

    def _search(self, kinds: tuple[Kind, ...], given: Mapping[str, Any], scope: Scope, now: float) -> Record | None:
        """By identifiers, or by an ARN in the place of the name."""
        for kind in kinds:
            identity = tuple(str(given.get(member.api, "")) for member in kind.identifiers)
            if (record := self.store.collection(scope, kind).get(identity, now=now)) is not None:
                return record
            if (record := self._behaviours[kind.name].addressed(given, scope, now)) is not None:
                return record
            for arn in (identity[-1], given.get(kind.arn_member, "")):
                if (record := self.store.by_arn(arn, scope, now=now)) is not None and record.kind is kind:
                    return record
        return None

    def _query(self, kind: Kind, request: Request, now: float) -> dict[str, Any]:
        """About the resource that the input names; about all of the kind, if it names none."""
        given, scope = request.input, request.scope
        if given.keys() & {kind.arn_member, *(member.api for member in kind.identifiers)}:
            records = [self._find((kind,), given, scope, now)]
        else:
            records = [record for record in self.store.collection(scope, kind) if not record.gone(now)]
        return self._behaviours[kind.name].query(request.operation, records, given, now)

    def _list(self, kinds: tuple[Kind, ...], request: Request, now: float, blind_seconds: float) -> dict[str, Any]:
        facts = kinds[0].listing
        if facts is None:
            raise ServiceError("UnknownOperationException", f"The sandbox does not simulate {request.operation}.")
        records = [record for kind in kinds for record in self.store.collection(request.scope, kind)]
        if len(kinds) > 1:
            records.sort(key=lambda record: record.number)
        if blind_seconds:
            records = [record for record in records if record.created <= now - blind_seconds]
        for record in records:
            record.settle(now)
        records = [r for r in records if self._behaviours[r.kind.name].listed(r, request.input)]

        def summarize(record: Record) -> dict[str, Any]:
            return self._behaviours[record.kind.name].summary(record, now)

        return list_page(facts, records, request.input, summarize, now=now, status_member=kinds[0].status_member)


def operation_model(operation: str) -> OperationModel | None:
    """The model of a SageMaker operation, or None if there is no such operation."""
    try:
        return service_model().operation_model(operation)
    except OperationNotFoundError:
        return None


def _routes(behaviours: Mapping[str, Behaviour]) -> dict[str, _Route]:
    routes = {operation: _Route(operation, ()) for operation in _TAGGING}
    for behaviour in behaviours.values():
        kind = behaviour.kind
        # Not `kind.stop`: the operator does not stop every kind that SageMaker can stop.
        stop = f"Stop{kind.name}"
        found = (
            (kind.create, "create"),
            (kind.describe, "describe"),
            (kind.update, "update"),
            (kind.delete, "delete"),
            (stop if stop in operations() else kind.stop, "stop"),
            (kind.listing.operation if kind.listing else None, "list"),
            *((operation, "act") for operation in behaviour.actions),
            *((operation, "query") for operation in behaviour.queries),
        )
        for operation, verb in found:
            if operation is not None:
                before = routes[operation].kinds if operation in routes else ()
                routes[operation] = _Route(verb, (*before, kind))
    return routes
