"""Every operation of every kind, from the descriptors: create, describe, list, stop, update, delete, tags."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.model import OperationModel, OperationNotFoundError

from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker import lifecycle, tags, texts
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, create_output
from sagemaker_operator.sandbox.sagemaker.listing import list_page
from sagemaker_operator.sandbox.sagemaker.protocol import Request, Scope, ServiceError
from sagemaker_operator.sandbox.sagemaker.records import Identity, Record, Store
from sagemaker_operator.sandbox.sagemaker.training import TrainingJobs
from sagemaker_operator.sandbox.sagemaker.validation import validate

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind

_TAGGING = ("AddTags", "ListTags", "DeleteTags")
_MUTATING = ("create", "update", "stop", "delete", "AddTags", "DeleteTags")


class _Route(NamedTuple):
    verb: str
    kinds: tuple[Kind, ...]
    """More than one for operations that kinds share (ListAutoMLJobs)."""


class Engine:
    """The resources and what can be done to them. Time comes with every call; nothing here waits."""

    def __init__(self, kinds: Mapping[str, Kind], *, rng: random.Random, job_seconds: float | None = None) -> None:
        self.store = Store()
        self._rng = rng
        self._behaviours = {kind.name: _behaviour(kind, job_seconds) for kind in kinds.values()}
        self._routes = _routes(kinds)

    def __repr__(self) -> str:
        return f"<Engine kinds={len(self._behaviours)} {self.store!r}>"

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
        record = self._find(route.kinds, given, scope, now)
        behaviour = self._behaviours[record.kind.name]
        if route.verb == "describe":
            if blind_seconds and record.created > now - blind_seconds:
                raise texts.not_found(record.kind, name=record.name, arn=record.arn)
            return behaviour.describe(record, now)
        if route.verb == "update":
            behaviour.update(record, given, now)
        elif route.verb == "stop":
            behaviour.stop(record, now)
        elif behaviour.delete(record, now):
            self.store.remove(record)
        return {record.kind.arn_member: record.arn}

    def _create(self, kind: Kind, request: Request, now: float) -> dict[str, Any]:
        given, scope = request.input, request.scope
        behaviour = self._behaviours[kind.name]
        collection = self.store.collection(scope, kind)
        token = given.get(kind.token_member, "") if kind.token_member else ""
        if token and (known := collection.by_token(token, now=now)) is not None:
            return create_output(kind, known)
        behaviour.check(given)
        name, identity, arn = self._name(kind, given, scope)
        if (other := collection.get(identity, now=now)) is not None:
            model = service_model().operation_model(kind.create)
            declared = frozenset(shape.name for shape in model.error_shapes)
            raise texts.already_exists(kind, arn=other.arn, declared=declared)
        labels = tags.to_dict(given.get("Tags", []))
        record = Record(
            kind=kind,
            scope=scope,
            identity=identity,
            name=name,
            arn=arn,
            number=self.store.next_number(),
            input=behaviour.with_defaults(given),
            tags=labels,
            created=now,
            modified=now,
            wishes=lifecycle.wishes(name, labels),
            luck=self._rng.random(),
        )
        behaviour.begin(record)
        self.store.add(record, token=token)
        return create_output(kind, record)

    def _name(self, kind: Kind, given: Mapping[str, Any], scope: Scope) -> tuple[str, Identity, str]:
        """(name, identity, ARN). Identifiers that the caller does not choose are drawn here."""
        drawn = "".join(self._rng.choices(string.ascii_lowercase + string.digits, k=12))
        own_id = f"{kind.resource_type[:1]}-{drawn}"
        chosen = [given.get(member.api) for member in kind.identifiers]
        tail = "/".join(str(value) for value in chosen if value is not None) or own_id
        arn = scope.arn(f"{kind.resource_type}/{tail}")
        identity = tuple(
            str(value) if value is not None else arn if member.api.endswith("Arn") else own_id
            for member, value in zip(kind.identifiers, chosen, strict=True)
        )
        return str(given.get(kind.name_member, tail)), identity, arn

    def _find(self, kinds: tuple[Kind, ...], given: Mapping[str, Any], scope: Scope, now: float) -> Record:
        for kind in kinds:
            collection = self.store.collection(scope, kind)
            identity = tuple(str(given.get(member.api, "")) for member in kind.identifiers)
            if (record := collection.get(identity, now=now)) is not None:
                return record
            if (record := self.store.by_arn(identity[-1], scope, now=now)) is not None and record.kind is kind:
                return record
        raise texts.not_found(kinds[0], name=identity[-1], arn=scope.arn(f"{kinds[0].resource_type}/{identity[-1]}"))

    def _list(self, kinds: tuple[Kind, ...], request: Request, now: float, blind_seconds: float) -> dict[str, Any]:
        facts = kinds[0].listing
        if facts is None:
            raise ServiceError("UnknownOperationException", f"The sandbox does not simulate {request.operation}.")
        records = [record for kind in kinds for record in self.store.collection(request.scope, kind)]
        if len(kinds) > 1:
            records.sort(key=lambda record: record.number)
        if blind_seconds:
            records = [record for record in records if record.created <= now - blind_seconds]

        def summarize(record: Record) -> dict[str, Any]:
            return self._behaviours[record.kind.name].summary(record, now)

        return list_page(facts, records, request.input, summarize, now=now)


def operation_model(operation: str) -> OperationModel | None:
    """The model of a SageMaker operation, or None if there is no such operation."""
    try:
        return service_model().operation_model(operation)
    except OperationNotFoundError:
        return None


def _behaviour(kind: Kind, job_seconds: float | None) -> Behaviour:
    return TrainingJobs(kind, seconds=job_seconds) if kind.name == "TrainingJob" else Behaviour(kind)


def _routes(kinds: Mapping[str, Kind]) -> dict[str, _Route]:
    routes = {operation: _Route(operation, ()) for operation in _TAGGING}
    for kind in kinds.values():
        operations = {
            "create": kind.create,
            "describe": kind.describe,
            "update": kind.update,
            "delete": kind.delete,
            "stop": kind.stop,
            "list": kind.listing.operation if kind.listing else None,
        }
        for verb, operation in operations.items():
            if operation is not None:
                before = routes[operation].kinds if operation in routes else ()
                routes[operation] = _Route(verb, (*before, kind))
    return routes
