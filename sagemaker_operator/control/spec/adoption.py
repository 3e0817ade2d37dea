"""Adoption of resources that are older than their object: reads the annotations and computes the patch.

`adopt` takes the resource as it is and writes the spec from it. `adopt-or-create` keeps the spec: a resource that exists is
updated to match it, one that does not is created. Both are explicit requests, so a tag that names another object does not
stop them. The object then has the condition ACK.Advisory: the other object may be in another cluster, so the operator
cannot know whether it still exists.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.annotations import ADOPTED, ADOPTION_FIELDS, ADOPTION_POLICY, READ_ONLY
from sagemaker_operator.aws.translate import to_field
from sagemaker_operator.conditions import ADOPTED as ADOPTED_CONDITION
from sagemaker_operator.conditions import ADVISORY
from sagemaker_operator.control.spec.merge_patch import replacing
from sagemaker_operator.control.spec.update import with_create_names
from sagemaker_operator.kinds.described import described_members
from sagemaker_operator.kinds.model import input_members
from sagemaker_operator.kinds.naming import field_name
from sagemaker_operator.kinds.references import reference_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject
    from sagemaker_operator.settings import FeatureGates

ARN_KEY = "arn"

CREATED_FOR_ANOTHER = "CreatedForAnotherObject"
"""Reason of the ACK.Advisory on an adopted object whose resource is tagged with the UID of another object."""

_CREATED_FOR_ANOTHER_MESSAGE = (
    "The resource's tag services.k8s.aws/uid names another object. If that object still exists, in this cluster or another, "
    "both will change the resource: delete one of them with the deletion policy retain, or make it read-only."
)


class Policy(StrEnum):
    ADOPT = "adopt"
    ADOPT_OR_CREATE = "adopt-or-create"


class Adoption(msgspec.Struct, frozen=True):
    """The adoption that the annotations of an object request."""

    policy: Policy | None = None
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The resource's identifiers by their CRD names, as `adoption-fields` has them."""
    arn: str | None = None
    """The ARN, for a kind that is identified by nothing else."""
    adopted: bool = False
    """The resource was adopted: if it is gone, the operator does not create another."""
    read_only: bool = False
    problem: str | None = None
    """What is wrong with the annotations, and what to write."""

    @property
    def named(self) -> bool:
        """Whether the annotations identify a resource."""
        return bool(self.fields or self.arn)


NO_ADOPTION = Adoption()


def adoption_keys(kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(required, optional) keys of `adoption-fields`: ACK's, derived from how the resource is described."""
    required, optional = [], []
    for member in kind.identifiers:
        if member.api in kind.optional_identifiers:
            optional.append(member.field)
        elif member.field in kind.required or kind.id_in_arn:
            required.append(member.field)
        else:
            # AWS assigns the identifier, or may do so (a version of a model package).
            required.append(ARN_KEY)
    return tuple(required), tuple(optional)


def requested_adoption(
    kind: Kind, annotations: Mapping[str, str], spec: Mapping[str, Any], gates: FeatureGates
) -> Adoption:
    """The adoption that the annotations request. Annotations of a disabled feature gate are ignored."""
    adopted = annotations.get(ADOPTED, "").lower() == "true"
    read_only = gates.read_only_resources and annotations.get(READ_ONLY, "").lower() == "true"
    for name in (ADOPTED, READ_ONLY) if gates.read_only_resources else (ADOPTED,):
        if annotations.get(name, "false").lower() not in ("true", "false"):
            # Reading an ambiguous value as false would create a resource that the user only desired to observe.
            text = f"metadata.annotations[{name}]: must be true or false, not {annotations[name]!r}"
            return Adoption(adopted=adopted, read_only=read_only, problem=text)
    given = annotations.get(ADOPTION_POLICY) if gates.resource_adoption else None
    if given is None and not read_only:
        return Adoption(adopted=adopted)
    if given is not None and given not in tuple(Policy):
        text = f"metadata.annotations[{ADOPTION_POLICY}]: must be {' or '.join(Policy)}, not {given!r}"
        return Adoption(adopted=adopted, read_only=read_only, problem=text)
    policy = Policy(given) if given is not None else None
    fields, problem = _fields(kind, annotations.get(ADOPTION_FIELDS), needed=policy is Policy.ADOPT and not read_only)
    if problem is None and policy is not Policy.ADOPT:
        problem = _contradiction(fields, spec)
    arn = fields.get(ARN_KEY)
    identifiers = {name: value for name, value in fields.items() if name != ARN_KEY}
    return Adoption(policy, identifiers, arn, adopted, read_only, problem)


def _fields(kind: Kind, text: str | None, *, needed: bool) -> tuple[dict[str, str], str | None]:
    """The parsed annotation, and what is wrong with it."""
    required, optional = adoption_keys(kind)
    where = f"metadata.annotations[{ADOPTION_FIELDS}]"
    example = "{" + ", ".join(f'"{key}": "..."' for key in required) + "}"
    if not text:
        return {}, f"{where}: required: write {example}" if needed else None
    try:
        fields = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        return {}, f"{where}: must be a JSON object of strings: write {example}"
    if unknown := sorted(fields.keys() - {*required, *optional}):
        known = ", ".join((*required, *optional))
        return {}, f"{where}: {kind.name} has no {', '.join(unknown)}; its keys are {known}"
    if missing := [key for key in required if not fields.get(key)]:
        return {}, f"{where}: {', '.join(missing)} is missing: write {example}"
    if ARN_KEY in fields and not fields[ARN_KEY].startswith("arn:"):
        return {}, f"{where}: arn must be an ARN: write {example}"
    return fields, None


def _contradiction(fields: Mapping[str, str], spec: Mapping[str, Any]) -> str | None:
    """What is wrong if the spec, where adoption keeps it, identifies another resource than the annotation."""
    for name, value in fields.items():
        if spec.get(name, value) != value:
            return (
                f"metadata.annotations[{ADOPTION_FIELDS}]: {name} is {value!r}, but spec.{name} is {spec[name]!r}; "
                "make them equal, or remove the annotation"
            )
    return None


def adopted_spec(kind: Kind, spec: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """The spec that describes the resource as SageMaker reports it.

    Members that Describe does not return are kept from `spec`: tags, and options of updates.
    """
    found = with_create_names(kind, observed)
    inputs = input_members(kind.create)
    reported = described_members(kind).keys() | {path.partition(".")[0] for path in kind.read_from}
    desired = dict(spec)
    for member in inputs.keys() & reported - {"Tags", kind.token_member}:
        name = field_name(member)
        if reference_field(member) in spec:
            continue  # a reference gives the value, and stays
        if found.get(member) is not None:
            desired[name] = to_field(inputs[member], found[member])
        elif name not in kind.required:
            desired.pop(name, None)
    for member, described_member in kind.described_by_arn.items():
        if reference_field(member) not in spec and observed.get(described_member):
            desired.setdefault(field_name(member), observed[described_member])
    identifiers = {member.field for member in kind.identifiers}
    for group in kind.either_or:
        # SageMaker reports both names of a model package in a group, but accepts only one. Keep the one in `spec`, else the
        # group's, because AWS assigns the name of a version.
        given = {name for name in group if name in desired}
        if len(given) > 1 and (kept := given & spec.keys() or given - identifiers):
            for name in given - kept:
                del desired[name]
    return desired


def adoption_patch(kind: Kind, obj: KubeObject, adoption: Adoption, observed: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that an adoption makes to the object, as one merge patch; empty if there are none left."""
    meta, spec = obj.metadata, obj.decode_spec()
    patch: dict[str, Any] = {}
    if kind.finalizer not in meta.finalizers:
        patch["finalizers"] = [*meta.finalizers, kind.finalizer]
    if meta.annotations.get(ADOPTED) != "true":
        patch["annotations"] = {ADOPTED: "true"}
    desired = adopted_spec(kind, spec, observed) if adoption.policy is Policy.ADOPT else spec
    return ({"metadata": patch} if patch else {}) | ({"spec": replacing(spec, desired)} if desired != spec else {})


def adoption_conditions(
    adoption: Adoption, stored: Sequence[Mapping[str, Any]], *, another: bool = False
) -> dict[str, ConditionValue]:
    """The conditions of an adopted object.

    `another`: the tags name another object. Tags are read once; afterwards the stored advisory is kept.
    """
    if not adoption.adopted:
        return {}
    conditions = {ADOPTED_CONDITION: ("True", "Adopted", "The resource existed before this object.")}
    if another or any((c.get("type"), c.get("reason")) == (ADVISORY, CREATED_FOR_ANOTHER) for c in stored):
        conditions[ADVISORY] = ("True", CREATED_FOR_ANOTHER, _CREATED_FOR_ANOTHER_MESSAGE)
    return conditions
