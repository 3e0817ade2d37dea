"""Where an object's resource is, as whom SageMaker is called for it, and what its deletion does: a pure function.

Every call of a pass goes to one place under one identity, decided here. What cannot be decided is a `Refusal`: then no
call is made at all. Nothing here ever falls back to another identity than the one that was asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sagemaker_operator.annotations import (
    DEFAULT_REGION,
    DELETION_POLICY,
    ENDPOINT_URL,
    NAMESPACE_DELETION_POLICY,
    REGION,
)
from sagemaker_operator.aws.target import Target
from sagemaker_operator.conditions import ADVISORY, IAM_ROLE_SELECTED, ConditionValue
from sagemaker_operator.control.placement.claim import claimed_place
from sagemaker_operator.control.placement.roles import (
    IAM_ROLE_NOT_AVAILABLE,
    SELECTED,
    NamespaceConfig,
    Place,
    Refusal,
    Role,
    recorded_place,
    role_for,
)
from sagemaker_operator.objects import Meta
from sagemaker_operator.settings import DeletionPolicy, endpoint_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.aws.target import Identity
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject
    from sagemaker_operator.settings import Settings


class Regions(Protocol):
    def __call__(self, region: str) -> str | None:
        """What is wrong with the name of a region; None: AWS has it."""


REGION_DRIFT = "RegionDrift"
ACCOUNT_DRIFT = "AccountDrift"
UNKNOWN_DELETION_POLICY = "UnknownDeletionPolicy"
_ADVICE = frozenset({REGION_DRIFT, ACCOUNT_DRIFT, UNKNOWN_DELETION_POLICY})

INVALID_ENDPOINT = "InvalidEndpointURL"
INVALID_REGION = "InvalidRegion"
UNKNOWN_NAMESPACE = "UnknownNamespace"
REFUSALS = frozenset({IAM_ROLE_NOT_AVAILABLE, INVALID_ENDPOINT, INVALID_REGION, UNKNOWN_NAMESPACE})
"""Reasons of a refusal: a stored condition that bears one is out of date once there is a place."""

_MADE_AGAIN = Refusal(
    UNKNOWN_NAMESPACE,
    "The namespace is not known yet",
    "a namespace of this name was deleted, and the operator has not seen the new one, which may name another account and region",
    fleeting=True,
)
# The watch of namespaces may lag behind the watch of the objects in a new one, by milliseconds.
_NOT_YET = Refusal(
    UNKNOWN_NAMESPACE,
    "The namespace is not known yet",
    "the operator has not seen this object's namespace, which may name an account and a region",
    fleeting=True,
)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for one object. `target` is None exactly if there is a refusal."""

    target: Target | None
    partition: str = ""
    refusal: Refusal | None = None
    deletion_policy: DeletionPolicy
    policy_from: str
    """Who says so: "object", "namespace" or "flag"."""
    displaced: bool = False
    """A create without an answer was sent to `target`, and the object asks to be elsewhere now: look there, create nothing."""
    also: Mapping[str, ConditionValue] = msgspec.field(default_factory=dict)
    """Conditions that tell of the decision."""


def place(
    kind: Kind,
    obj: KubeObject,
    stored: Mapping[str, Any],
    around: NamespaceConfig,
    settings: Settings,
    identity: Identity,
    regions: Regions,
) -> Placement:
    """`stored` is the object's status. Total: whatever the annotations and maps say, there is an answer."""
    recorded = recorded_place(stored)
    asked = _place(kind, obj, recorded, around, settings, identity, regions)
    sent = claimed_place(kind, obj.metadata) if recorded is None else None
    at = asked.target and (asked.target.region, asked.target.account)
    if sent is None or at == (sent.region, sent.account) or around.namespace is None or regions(sent.region):
        return asked
    there = _place(kind, obj, sent, around, settings, identity, regions)
    refusal = there.refusal
    if refusal is not None:
        what = f"a create without an answer was sent to account {sent.account}, region {sent.region}, and is looked for there"
        refusal = replace(refusal, cause=f"{what}: {refusal.cause}")
    return msgspec.structs.replace(there, also=asked.also, displaced=True, refusal=refusal)


def _place(
    kind: Kind,
    obj: KubeObject,
    recorded: Place | None,
    around: NamespaceConfig,
    settings: Settings,
    identity: Identity,
    regions: Regions,
) -> Placement:
    """`recorded` is where the resource is known to be."""
    policy, policy_from, advice = deletion_policy(obj, around, settings)
    notes = [(UNKNOWN_DELETION_POLICY, advice)] if advice else []
    if around.namespace is None:
        return Placement(target=None, refusal=_NOT_YET, deletion_policy=policy, policy_from=policy_from)
    if around.gone and recorded is None and _is_younger(kind, obj.metadata, around.namespace):
        return Placement(target=None, refusal=_MADE_AGAIN, deletion_policy=policy, policy_from=policy_from)
    own_endpoint = around.namespace.annotations.get(ENDPOINT_URL) or None
    endpoint = own_endpoint or settings.aws_endpoint_url
    region, asked_by, drift = _region(obj, recorded, around, settings)
    role: Role | Refusal
    if own_endpoint and (problem := endpoint_problem(own_endpoint, unsafe=settings.allow_unsafe_aws_endpoint_urls)):
        text = f"annotation {ENDPOINT_URL} of namespace {around.namespace.name}: {problem}"
        role = Refusal(INVALID_ENDPOINT, "AWS endpoint is not usable", text)
    elif asked_by and not endpoint and (wrong := regions(region)):
        role = Refusal(INVALID_REGION, "AWS region is not usable", f"{asked_by}: {wrong}")
    else:
        role = role_for(kind.resource, obj.metadata, recorded, around, settings, identity)
    if isinstance(role, Refusal):
        return Placement(
            target=None, refusal=role, deletion_policy=policy, policy_from=policy_from, also=_told(notes, None)
        )
    if role.drift:
        notes.append((ACCOUNT_DRIFT, role.drift))
    if drift:
        notes.append((REGION_DRIFT, drift))
    return Placement(
        target=Target(role.account, region, role.arn, endpoint),
        partition=recorded.partition if recorded else role.partition,
        deletion_policy=policy,
        policy_from=policy_from,
        also=_told(notes, role),
    )


def _is_younger(kind: Kind, meta: Meta, deleted: Meta) -> bool:
    """Whether an object in a namespace that was deleted can only belong to the next one of that name."""
    made_later = meta.creation_timestamp > (deleted.deletion_timestamp or meta.creation_timestamp)
    return made_later or kind.finalizer not in meta.finalizers


def deletion_policy(obj: KubeObject, around: NamespaceConfig, settings: Settings) -> tuple[DeletionPolicy, str, str]:
    """(policy, who says so, what is wrong with it): the object's, else its namespace's, else the flag's.

    A word that is no policy retains: what was kept can still be deleted, the other way round it is too late.
    """
    namespace = around.namespace.annotations if around.namespace else {}
    for source, said, name in (
        ("object", obj.metadata.annotations, DELETION_POLICY),
        ("namespace", namespace, NAMESPACE_DELETION_POLICY),
    ):
        if name not in said:
            continue
        value = said[name]
        if value in tuple(DeletionPolicy):
            return DeletionPolicy(value), source, ""
        problem = (
            f"Annotation {name} of the {source} is {value!r}, which is no deletion policy: write delete or retain. "
            "Until then the resource is retained when this object is deleted."
        )
        return DeletionPolicy.RETAIN, source, problem
    return settings.deletion_policy, "flag", ""


def _region(
    obj: KubeObject, recorded: Place | None, around: NamespaceConfig, settings: Settings
) -> tuple[str, str, str]:
    """(region, the annotation that gives it, what to say if another one is asked for).

    The recorded one, else the object's, else its namespace's, else the flag's.
    """
    namespace = around.namespace or Meta()
    for name, value, source in (
        (REGION, obj.metadata.annotations.get(REGION), "the object"),
        (DEFAULT_REGION, namespace.annotations.get(DEFAULT_REGION), f"namespace {namespace.name}"),
    ):
        if not value:
            continue
        if recorded is None:
            return value, f"annotation {name} of {source}", ""
        if recorded.region == value:
            return value, "", ""
        drift = (
            f"Annotation {name} of {source} asks for region {value}, but the resource exists in {recorded.region} and "
            "stays there. To move it, delete and apply the object; to keep it, take the annotation back."
        )
        return recorded.region, "", drift
    return (recorded.region if recorded else settings.aws_region), "", ""


def _told(notes: list[tuple[str, str]], role: Role | None) -> dict[str, ConditionValue]:
    told: dict[str, ConditionValue] = {}
    if role is not None and role.selected:
        told[IAM_ROLE_SELECTED] = ("True", SELECTED, role.selected)
    if notes:
        told[ADVISORY] = ("True", notes[0][0], " ".join(text for _, text in notes))
    return told


def is_unreported(placement: Placement, stored: Mapping[str, Any]) -> bool:
    """Whether the stored conditions tell of another decision than this one."""
    before = {
        str(c.get("type")): (c.get("status"), c.get("reason"), c.get("message")) for c in stored.get("conditions") or ()
    }
    advised = before.get(ADVISORY)
    if advised is not None and advised[1] not in _ADVICE:
        advised = None  # another feature's
    return advised != placement.also.get(ADVISORY) or before.get(IAM_ROLE_SELECTED) != placement.also.get(
        IAM_ROLE_SELECTED
    )
