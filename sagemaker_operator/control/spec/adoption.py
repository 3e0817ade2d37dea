"""Resources that were there before their object: what the annotations ask for, and what a pass does about it.

`adopt` takes the resource as it is and writes the spec from it. `adopt-or-create` keeps the spec: a resource that is found
is brought to it, one that is not is created. Both are the user's explicit word, so a tag that names another object does not
stop them; the object then says so with ACK.Advisory, because no cluster can see whether that other object still lives.
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
"""Reason of the ACK.Advisory on an adopted object whose resource bears the UID of another one."""


_ANOTHER = (
    "The resource's tag services.k8s.aws/uid names another object. If that object still lives, in this cluster or another, "
    "both will change the resource: delete one of them with the deletion policy retain, or make it read-only."
)


class Policy(StrEnum):
    ADOPT = "adopt"
    ADOPT_OR_CREATE = "adopt-or-create"


class Adoption(msgspec.Struct, frozen=True):
    """What an object's annotations ask for."""

    policy: Policy | None = None
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The resource's identifiers by their CRD names, as `adoption-fields` has them."""
    arn: str | None = None
    """The identifier of a kind that is known by its ARN alone."""
    adopted: bool = False
    """A resource that was there before this object: if it is gone, nobody makes another."""
    read_only: bool = False
    problem: str | None = None
    """What is wrong with the annotations, and what to write."""

    @property
    def named(self) -> bool:
        """The annotations say which resource is meant."""
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
            # AWS makes the identifier, or may make it (a version of a model package).
            required.append(ARN_KEY)
    return tuple(required), tuple(optional)


def asked(kind: Kind, annotations: Mapping[str, str], spec: Mapping[str, Any], gates: FeatureGates) -> Adoption:
    """What the annotations mean. A gate that is off makes its annotations mean nothing."""
    adopted = annotations.get(ADOPTED, "").lower() == "true"
    read_only = gates.read_only_resources and annotations.get(READ_ONLY, "").lower() == "true"
    for name in (ADOPTED, READ_ONLY) if gates.read_only_resources else (ADOPTED,):
        if annotations.get(name, "false").lower() not in ("true", "false"):
            # A word that may mean yes would, taken for no, create what the user only wanted to look at.
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
        return {}, f"{where}: {kind.name} has no {', '.join(unknown)}; it is known by {known}"
    if missing := [key for key in required if not fields.get(key)]:
        return {}, f"{where}: {', '.join(missing)} is missing: write {example}"
    if ARN_KEY in fields and not fields[ARN_KEY].startswith("arn:"):
        return {}, f"{where}: arn must be an ARN: write {example}"
    return fields, None


def _contradiction(fields: Mapping[str, str], spec: Mapping[str, Any]) -> str | None:
    """Where the spec stays the user's, it must not name another resource than the annotation does."""
    for name, said in fields.items():
        if spec.get(name, said) != said:
            return (
                f"metadata.annotations[{ADOPTION_FIELDS}]: {name} is {said!r}, but spec.{name} is {spec[name]!r}; "
                "make them the same, or take the annotation away"
            )
    return None


def adopted_spec(kind: Kind, spec: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """The spec that says what SageMaker has.

    Kept from `spec` is what no Describe tells: tags, and what the operator is told about updates.
    """
    found = with_create_names(kind, observed)
    inputs = input_members(kind.create)
    told = described_members(kind).keys() | {path.partition(".")[0] for path in kind.read_from}
    wanted = dict(spec)
    for member in inputs.keys() & told - {"Tags", kind.token_member}:
        name = field_name(member)
        if reference_field(member) in spec:
            continue  # said by a reference, which stays
        if found.get(member) is not None:
            wanted[name] = to_field(inputs[member], found[member])
        elif name not in kind.required:
            wanted.pop(name, None)
    for member, there in kind.described_by_arn.items():
        if reference_field(member) not in spec and observed.get(there):
            wanted.setdefault(field_name(member), observed[there])
    made = {member.field for member in kind.identifiers}
    for group in kind.either_or:
        # SageMaker tells both names of a model package in a group, and takes only one: the one that the user gave, or
        # without one the group's, because a version's own name is AWS's.
        given = {name for name in group if name in wanted}
        if len(given) > 1 and (kept := given & spec.keys() or given - made):
            for name in given - kept:
                del wanted[name]
    return wanted


def adoption_patch(kind: Kind, obj: KubeObject, asked: Adoption, observed: Mapping[str, Any]) -> dict[str, Any]:
    """What an adoption changes in the object, as one merge patch; empty if it is all there."""
    meta, spec = obj.metadata, obj.decode_spec()
    patch: dict[str, Any] = {}
    if kind.finalizer not in meta.finalizers:
        patch["finalizers"] = [*meta.finalizers, kind.finalizer]
    if meta.annotations.get(ADOPTED) != "true":
        patch["annotations"] = {ADOPTED: "true"}
    wanted = adopted_spec(kind, spec, observed) if asked.policy is Policy.ADOPT else spec
    return ({"metadata": patch} if patch else {}) | ({"spec": replacing(spec, wanted)} if wanted != spec else {})


def adoption_conditions(
    asked: Adoption, stored: Sequence[Mapping[str, Any]], *, another: bool = False
) -> dict[str, ConditionValue]:
    """The conditions of an adopted object. What the tags said is known from the stored conditions once it was told."""
    if not asked.adopted:
        return {}
    told = {ADOPTED_CONDITION: ("True", "Adopted", "The resource was there before this object.")}
    if another or any((c.get("type"), c.get("reason")) == (ADVISORY, CREATED_FOR_ANOTHER) for c in stored):
        told[ADVISORY] = ("True", CREATED_FOR_ANOTHER, _ANOTHER)
    return told
