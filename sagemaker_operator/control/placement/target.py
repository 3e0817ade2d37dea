"""Decides about the location of an object's resource, the identity of calls, and the deletion policy. Pure.

All calls of a reconcile use one target and one identity, decided here. Without a valid decision there is a `Refusal`, and
no call is made. Nothing here falls back to another identity than the requested one.
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
        """What is wrong with the name of a region; None if AWS has it."""


REGION_DRIFT = "RegionDrift"
ACCOUNT_DRIFT = "AccountDrift"
UNKNOWN_DELETION_POLICY = "UnknownDeletionPolicy"
_ADVISORY_REASONS = frozenset({REGION_DRIFT, ACCOUNT_DRIFT, UNKNOWN_DELETION_POLICY})

INVALID_ENDPOINT = "InvalidEndpointURL"
INVALID_REGION = "InvalidRegion"
UNKNOWN_NAMESPACE = "UnknownNamespace"
REFUSALS = frozenset({IAM_ROLE_NOT_AVAILABLE, INVALID_ENDPOINT, INVALID_REGION, UNKNOWN_NAMESPACE})
"""Reasons of a refusal. A stored condition with one of them is out of date once there is a target."""

_NAMESPACE_RECREATED = Refusal(
    UNKNOWN_NAMESPACE,
    "The namespace is not known yet",
    "a namespace of this name was deleted, and the new one, which may name another account and region, was not observed yet",
    fleeting=True,
)
# The watch of namespaces may lag behind the watch of the objects in a new one, by milliseconds.
_NAMESPACE_UNKNOWN = Refusal(
    UNKNOWN_NAMESPACE,
    "The namespace is not known yet",
    "this object's namespace, which may name an account and a region, was not observed yet",
    fleeting=True,
)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for one object. `target` is None exactly if there is a refusal."""

    target: Target | None
    partition: str = ""
    refusal: Refusal | None = None
    deletion_policy: DeletionPolicy
    policy_from: str
    """The source of the policy: "object", "namespace" or "flag"."""
    displaced: bool = False
    """A create without an answer was sent to `target`, and the object now requests another: describe there, do not create."""
    also: Mapping[str, ConditionValue] = msgspec.field(default_factory=dict)
    """Conditions that report the decision."""


def place(
    kind: Kind,
    obj: KubeObject,
    stored: Mapping[str, Any],
    config: NamespaceConfig,
    settings: Settings,
    identity: Identity,
    regions: Regions,
) -> Placement:
    """`stored` is the object's status. Total: there is a result for any annotations and maps."""
    recorded = recorded_place(stored)
    requested = _place(kind, obj, recorded, config, settings, identity, regions)
    sent = claimed_place(kind, obj.metadata) if recorded is None else None
    at = requested.target and (requested.target.region, requested.target.account)
    if sent is None or at == (sent.region, sent.account) or config.namespace is None or regions(sent.region):
        return requested
    there = _place(kind, obj, sent, config, settings, identity, regions)
    refusal = there.refusal
    if refusal is not None:
        sent_to = f"a create without an answer was sent to account {sent.account}, region {sent.region}, and is described there"
        refusal = replace(refusal, cause=f"{sent_to}: {refusal.cause}")
    return msgspec.structs.replace(there, also=requested.also, displaced=True, refusal=refusal)


def _place(
    kind: Kind,
    obj: KubeObject,
    recorded: Place | None,
    config: NamespaceConfig,
    settings: Settings,
    identity: Identity,
    regions: Regions,
) -> Placement:
    """`recorded` is the known location of the resource."""
    policy, policy_from, advice = deletion_policy(obj, config, settings)
    notes = [(UNKNOWN_DELETION_POLICY, advice)] if advice else []
    if config.namespace is None:
        return Placement(target=None, refusal=_NAMESPACE_UNKNOWN, deletion_policy=policy, policy_from=policy_from)
    if config.deleted and recorded is None and _belongs_to_recreated_namespace(kind, obj.metadata, config.namespace):
        return Placement(target=None, refusal=_NAMESPACE_RECREATED, deletion_policy=policy, policy_from=policy_from)
    own_endpoint = config.namespace.annotations.get(ENDPOINT_URL) or None
    endpoint = own_endpoint or settings.aws_endpoint_url
    region, requested_by, drift = _region(obj, recorded, config, settings)
    role: Role | Refusal
    if own_endpoint and (problem := endpoint_problem(own_endpoint, unsafe=settings.allow_unsafe_aws_endpoint_urls)):
        text = f"annotation {ENDPOINT_URL} of namespace {config.namespace.name}: {problem}"
        role = Refusal(INVALID_ENDPOINT, "AWS endpoint is not usable", text)
    elif requested_by and not endpoint and (wrong := regions(region)):
        role = Refusal(INVALID_REGION, "AWS region is not usable", f"{requested_by}: {wrong}")
    else:
        role = role_for(kind.resource, obj.metadata, recorded, config, settings, identity)
    if isinstance(role, Refusal):
        return Placement(
            target=None, refusal=role, deletion_policy=policy, policy_from=policy_from, also=_conditions(notes, None)
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
        also=_conditions(notes, role),
    )


def _belongs_to_recreated_namespace(kind: Kind, meta: Meta, deleted: Meta) -> bool:
    """Whether an object can only belong to a later namespace of the same name as the `deleted` one."""
    made_later = meta.creation_timestamp > (deleted.deletion_timestamp or meta.creation_timestamp)
    return made_later or kind.finalizer not in meta.finalizers


def deletion_policy(obj: KubeObject, config: NamespaceConfig, settings: Settings) -> tuple[DeletionPolicy, str, str]:
    """(policy, its source, what is wrong with it): the object's, else its namespace's, else the flag's.

    An invalid value means retain: a retained resource can still be deleted, a deleted one cannot be restored.
    """
    namespace = config.namespace.annotations if config.namespace else {}
    for source, given, name in (
        ("object", obj.metadata.annotations, DELETION_POLICY),
        ("namespace", namespace, NAMESPACE_DELETION_POLICY),
    ):
        if name not in given:
            continue
        value = given[name]
        if value in tuple(DeletionPolicy):
            return DeletionPolicy(value), source, ""
        problem = (
            f"Annotation {name} of the {source} is {value!r}, which is not a deletion policy: write delete or retain. "
            "Until then the resource is retained when this object is deleted."
        )
        return DeletionPolicy.RETAIN, source, problem
    return settings.deletion_policy, "flag", ""


def _region(
    obj: KubeObject, recorded: Place | None, config: NamespaceConfig, settings: Settings
) -> tuple[str, str, str]:
    """(region, the annotation that names it, the message if another one than the recorded is requested).

    The recorded one, else the object's, else its namespace's, else the flag's.
    """
    namespace = config.namespace or Meta()
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
            "stays there. To move it, delete and apply the object; to keep it, revert the annotation."
        )
        return recorded.region, "", drift
    return (recorded.region if recorded else settings.aws_region), "", ""


def _conditions(notes: list[tuple[str, str]], role: Role | None) -> dict[str, ConditionValue]:
    conditions: dict[str, ConditionValue] = {}
    if role is not None and role.selected:
        conditions[IAM_ROLE_SELECTED] = ("True", SELECTED, role.selected)
    if notes:
        conditions[ADVISORY] = ("True", notes[0][0], " ".join(text for _, text in notes))
    return conditions


def is_unreported(placement: Placement, stored: Mapping[str, Any]) -> bool:
    """Whether the stored conditions report another decision than this one."""
    before = {
        str(c.get("type")): (c.get("status"), c.get("reason"), c.get("message")) for c in stored.get("conditions") or ()
    }
    advised = before.get(ADVISORY)
    if advised is not None and advised[1] not in _ADVISORY_REASONS:
        advised = None  # of another feature
    return advised != placement.also.get(ADVISORY) or before.get(IAM_ROLE_SELECTED) != placement.also.get(
        IAM_ROLE_SELECTED
    )
