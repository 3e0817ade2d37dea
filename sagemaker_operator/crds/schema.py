"""Structural OpenAPI v3 schemas of a kind's spec and status, from the service model.

Types and names are ACK's: every field path of ACK's CRDs exists here with the same type. Beyond ACK, values that SageMaker would
reject are rejected at `kubectl apply`, with the field's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_operator.crds.patterns import portable
from sagemaker_operator.crds.rules import Rule, frozen, not_both, one_of
from sagemaker_operator.kinds.described import described_members
from sagemaker_operator.kinds.model import (
    Shape,
    input_members,
    is_union,
    members,
    name_parts,
    operation,
    required_members,
    summary,
)
from sagemaker_operator.kinds.naming import field_name, field_path
from sagemaker_operator.kinds.references import Reference, reference_at, reference_field, reference_field_of
from sagemaker_operator.kinds.updates import fixed_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sagemaker_operator.kinds.descriptor import Kind

Schema = dict[str, Any]

_SCALARS: Mapping[str, Schema] = {
    "string": {"type": "string"},
    "blob": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int64"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "timestamp": {"type": "string", "format": "date-time"},
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "string": ("minLength", "maxLength"),
    "blob": ("minLength", "maxLength"),
    "list": ("minItems", "maxItems"),
    "map": ("minProperties", "maxProperties"),
    "integer": ("minimum", "maximum"),
    "long": ("minimum", "maximum"),
    "float": ("minimum", "maximum"),
    "double": ("minimum", "maximum"),
}
_MAX_ENUM = 20
"""AWS extends long sets often: a fixed list of 225 instance types would reject next week's."""
_ALSO_STORED: Mapping[str, str] = {
    # ACK's adoption of a pipeline execution writes the ARN without the pipeline's name (facts: ACK v1.9.1, observed).
    "PipelineNameOrArn": r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:pipeline/",
}
"""Shape -> pattern of values that ACK has stored and the model's pattern rejects: a backup of ACK's must be accepted."""
_OWN = "State of the operator between two steps of an update."

_CONDITION: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string", "description": "True, False or Unknown."},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "reason": {"type": "string", "description": "The reason in CamelCase, for programs."},
        "message": {"type": "string", "description": "The message for people."},
    },
    "required": ["status", "type"],
}
_COMMON_STATUS: Schema = {
    "ackResourceMetadata": {
        "type": "object",
        "description": "The AWS resource of this object.",
        "properties": {
            "arn": {"type": "string", "description": "Set as soon as SageMaker accepted the resource."},
            "ownerAccountID": {"type": "string"},
            "partition": {"type": "string"},
            "region": {"type": "string"},
        },
        "required": ["ownerAccountID", "region"],
    },
    "conditions": {"type": "array", "items": _CONDITION},
    "resolvedReferences": {
        "type": "object",
        "description": "Values of the references in spec, by path and object, when the resource was created or last updated.",
        "additionalProperties": {"type": "string"},
    },
    "lastHandledReconcileAt": {
        "type": "string",
        "description": "The value of the annotation services.k8s.aws/reconcile-requested-at that was last handled.",
    },
    "observedAt": {
        "type": "string",
        "format": "date-time",
        "description": "When SageMaker was polled for the last such request.",
    },
    "managedTagKeys": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Keys of the tags that spec has put on the resource: one that leaves spec is removed there too.",
    },
    "observedGeneration": {
        "type": "integer",
        "format": "int64",
        "description": "The metadata.generation of this status.",
    },
}


def spec_schema(kind: Kind, *, relaxed: bool = False, resolved: bool = False) -> Schema:
    """The schema of `spec`: the Create input under CRD names.

    `relaxed`: without enums, patterns, limits and rules, as ACK's own CRDs. `resolved`: for a spec whose references have
    been replaced by their values.
    """
    shape = operation(kind.create).input_shape
    either = [field for group in kind.either_or for field in group]
    style = _Style(checked=not relaxed, references=not resolved, either=frozenset(either))
    schema = _object((*_spec_members(kind).items(), *_extra_members(kind)), kind.required, style=style, within=shape)
    schema["description"] = f"The desired resource: the input of SageMaker's {kind.create}."
    if not relaxed:
        for group in kind.either_or:
            *parents, _ = group[0].split(".")
            node = _node(schema, parents)
            names = [path.rpartition(".")[2] for path in group]
            refs = [ref for name in names if (ref := reference_field_of(name)) in node["properties"]]
            _add_rule(node, one_of([*names, *refs]))
    return schema


def object_schema(kind: Kind, *, relaxed: bool = False) -> Schema:
    """The schema of the whole object, with the rule that needs both spec and status."""
    schema: Schema = {
        "type": "object",
        "description": f"One SageMaker {' '.join(name_parts(kind.name)).lower()}.",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(kind, relaxed=relaxed),
            "status": status_schema(kind),
        },
    }
    fixed = [name for name in _spec_members(kind) if name not in kind.mutable and name != "Tags"]
    shape = operation(kind.create).input_shape
    unchangeable = [field_name(name) for name in fixed]
    unchangeable += [reference_field(name) for name in fixed if reference_at(shape, name)]
    unchangeable += [field_path(shape, path).removeprefix("spec.") for path in fixed_within(kind)]
    if not relaxed and unchangeable:
        _add_rule(schema, frozen(kind, sorted(unchangeable)))
    return schema


def status_schema(kind: Kind) -> Schema:
    """The schema of `status`. Types only: every answer of SageMaker must fit, including values added later."""
    outputs = described_members(kind)
    shown = _object(((member.api, outputs[member.api]) for member in kind.status_members), (), style=_PLAIN)
    own = {member.field: {"type": "string", "description": _OWN} for member in kind.own_status}
    return {
        "type": "object",
        "description": "The resource as last observed in SageMaker.",
        "properties": {**_COMMON_STATUS, **shown.get("properties", {}), **own},
    }


class _Style(NamedTuple):
    """Constraints beside the types."""

    checked: bool
    references: bool
    either: frozenset[str] = frozenset()
    """Fields with a rule of their own about which of them must be set."""


_PLAIN = _Style(checked=False, references=False)


def _schema(shape: Shape, *, style: _Style) -> Schema:
    match shape.type_name:
        case "structure":
            required = [field_name(name) for name in required_members(shape)] if style.checked else []
            schema = _object(members(shape).items(), required, style=style, within=shape)
            if style.checked and is_union(shape):
                _add_rule(schema, one_of([field_name(name) for name in members(shape)]))
        case "list":
            schema = {"type": "array", "items": _schema(shape.member, style=style)}
        case "map":
            schema = {"type": "object", "additionalProperties": _schema(shape.value, style=style)}
        case scalar:
            schema = dict(_SCALARS[scalar])
    if style.checked:
        schema |= checks(shape)
    return schema


def _object(
    fields: Iterable[tuple[str, Shape]], required: Iterable[str], *, style: _Style, within: Shape | None = None
) -> Schema:
    """`within` is the structure that the fields are members of, where they can be references."""
    properties: Schema = {}
    needed = set(required)
    rules: list[Rule] = []
    for name, shape in fields:
        text = summary(shape)
        field = field_name(name)
        properties[field] = ({"description": text} if text else {}) | _schema(shape, style=style)
        reference = reference_at(within, name) if style.references and within is not None else None
        if reference is not None:
            other = reference_field(name)
            properties[other] = _reference(field, reference, checked=style.checked)
            if field in needed:
                needed.remove(field)
                rules.append(one_of([field, other]))
            elif field not in style.either:
                rules.append(not_both(field, other))
    schema: Schema = {"type": "object"}
    if properties:
        # The API server drops an empty `properties`, and then every `kubectl apply` reports "configured".
        schema["properties"] = dict(sorted(properties.items()))
    if needed:
        schema["required"] = sorted(needed)
    if style.checked:
        for rule in rules:
            _add_rule(schema, rule)
    return schema


def _reference(field: str, reference: Reference, *, checked: bool) -> Schema:
    what = f"{reference.kind} object" if reference.kind else "object"
    source: Schema = {
        "type": "object",
        "description": f"The referenced {what}.",
        "properties": {
            "name": {"type": "string", "description": "Its metadata.name."},
            "namespace": {"type": "string", "description": "Empty: the namespace of this object."},
        },
    }
    schema: Schema = {
        "type": "object",
        "description": f"Instead of {field}: the {what} to take it from; the operator waits until that is synced.",
        "properties": {"from": source},
    }
    if checked:
        schema["required"], source["required"] = ["from"], ["name"]
    return schema


def checks(shape: Shape) -> Schema:
    """The model's constraints on one value, without trivial ones."""
    found: Schema = {}
    facts = shape.metadata
    for fact, name in zip(("min", "max"), _LIMITS.get(shape.type_name, ()), strict=False):
        # A lower bound of 0 is trivial for a length, but not for a number.
        if fact in facts and (facts[fact] or name == "minimum"):
            found[name] = facts[fact]
    values = facts.get("enum", ())
    if 0 < len(values) <= _MAX_ENUM and not shape.name.endswith("InstanceType"):
        found["enum"] = list(values)
    if "pattern" in facts:
        known = (facts["pattern"], _ALSO_STORED.get(shape.name))
        if pattern := portable("|".join(text for text in known if text)):
            found["pattern"] = pattern
    return found


def _node(schema: Schema, path: Iterable[str]) -> Schema:
    for name in path:
        schema = schema["properties"][name]
    return schema


def _add_rule(schema: Schema, rule: Rule) -> None:
    schema.setdefault("x-kubernetes-validations", []).append(rule)


def _spec_members(kind: Kind) -> Mapping[str, Shape]:
    """All of the Create input but the idempotency token, which is the object's UID."""
    return {name: shape for name, shape in input_members(kind.create).items() if name != kind.token_member}


def _extra_members(kind: Kind) -> Iterable[tuple[str, Shape]]:
    """Members of the update input that are fields of spec."""
    taken = input_members(kind.update) if kind.update else {}
    return [(member.api, taken[member.api]) for member in kind.extra_spec]
