"""Selects the role to assume for an object, from role maps of accounts and teams, IAMRoleSelectors and the recorded ARN.

Without a recorded ARN the namespace (or a selector) decides about the account. With one the resource is in the ARN's
account: a role of that account is used, or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sagemaker_operator.annotations import OWNER_ACCOUNT_ID, TEAM_ID
from sagemaker_operator.objects import Meta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.aws.target import Identity
    from sagemaker_operator.objects import KubeObject, Resource
    from sagemaker_operator.settings import FeatureGates, Settings

ACCOUNT_MAP = "ack-role-account-map"
TEAM_MAP = "ack-role-team-map"

IAM_ROLE_NOT_AVAILABLE = "IAMRoleNotAvailable"
SELECTED = "Selected"
_NOT_AVAILABLE = "IAM Role is not available"
"""ACK's text: alerts of its users match it."""
_RETRY_SECONDS = 15.0
"""ACK's interval. A fixed map wakes its objects at once; the retry is for changes that no watch reports."""

_ROLE_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/[\w+=,.@/-]{1,576}")
_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):[a-z0-9-]+:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):.+")


class Place(NamedTuple):
    """The location of a resource."""

    partition: str
    region: str
    account: str


@dataclass(frozen=True, slots=True)
class Role:
    """The identity for calls of SageMaker."""

    account: str
    partition: str
    arn: str | None = None
    """None: the operator's own identity."""
    selected: str = ""
    """ACK's text about the selector of this role; empty without one."""
    drift: str = ""
    """The message if another account than the resource's is requested; else empty."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no call of SageMaker is made."""

    reason: str
    message: str
    """A short text; ACK's where ACK has one."""
    cause: str
    """What is wrong, where, and what to do."""
    after: float = _RETRY_SECONDS
    fleeting: bool = False
    """It usually resolves itself within milliseconds, so it is reported only if it does not."""


class Selector(msgspec.Struct, frozen=True, kw_only=True):
    """One IAMRoleSelector: AND between its selectors, OR inside their lists, empty matches all."""

    name: str
    version: str
    arn: str = ""
    namespaces: tuple[str, ...] = ()
    namespace_labels: dict[str, str] = {}
    types: tuple[tuple[str, str, str], ...] = ()
    """(group, version, kind); an empty element matches any."""
    labels: dict[str, str] = {}

    def matches(self, resource: Resource, meta: Meta, namespace: Meta) -> bool:
        kind = (resource.group, resource.version, resource.kind)
        return (
            (not self.namespaces or meta.namespace in self.namespaces)
            and self.namespace_labels.items() <= namespace.labels.items()
            and (not self.types or any(_is_type(selected, kind) for selected in self.types))
            and self.labels.items() <= meta.labels.items()
        )


def _is_type(selected: tuple[str, str, str], kind: tuple[str, str, str]) -> bool:
    return all(part in ("", actual) for part, actual in zip(selected, kind, strict=True))


def selector_of(obj: KubeObject) -> Selector:
    """The selector that an object describes.

    An invalid one matches everything and has no role: the objects that it is for are unknown, and they must not be
    reconciled under another identity.
    """
    meta = obj.metadata
    try:
        spec = msgspec.convert(obj.decode_spec(), _Spec)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return Selector(name=meta.name, version=meta.resource_version)
    return Selector(
        name=meta.name,
        version=meta.resource_version,
        arn=spec.arn,
        namespaces=tuple(spec.namespace_selector.names),
        namespace_labels=spec.namespace_selector.label_selector.match_labels,
        types=tuple((type_.group, type_.version, type_.kind) for type_ in spec.resource_type_selector),
        labels=spec.resource_label_selector.match_labels,
    )


class _Labels(msgspec.Struct, rename="camel"):
    match_labels: dict[str, str] = {}


class _Namespaces(msgspec.Struct, rename="camel"):
    names: list[str] = []
    label_selector: _Labels = msgspec.field(default_factory=_Labels)


class _Type(msgspec.Struct):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    arn: str
    namespace_selector: _Namespaces = msgspec.field(default_factory=_Namespaces)
    resource_type_selector: list[_Type] = []
    resource_label_selector: _Labels = msgspec.field(default_factory=_Labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceConfig:
    """The configuration that applies to the objects of one namespace."""

    namespace: Meta | None = field(default_factory=Meta)
    """Empty: namespaces are not read. None: they are read, and this one is unknown."""
    deleted: bool = False
    """The namespace is deleted or being deleted. Its annotations still apply to the objects in it, and to no new ones."""
    system_namespace: str = ""
    accounts: Mapping[str, str] | None = None
    """Data of the account map; None: there is no such ConfigMap."""
    teams: Mapping[str, str] | None = None
    selectors: tuple[Selector, ...] = ()


class _Source(Enum):
    """What decides about the account of an object."""

    OPERATOR = "the operator"
    ACCOUNT = "its namespace's account"
    TEAM = "its namespace's team"
    SELECTOR = "a selector"


def recorded_place(stored: Mapping[str, Any]) -> Place | None:
    """The location according to the ARN, which SageMaker assigned. Region and account in status are not trusted."""
    found = _ARN.fullmatch(str((stored.get("ackResourceMetadata") or {}).get("arn") or ""))
    return Place(found["partition"], found["region"], found["account"]) if found else None


def role_for(
    resource: Resource,
    meta: Meta,
    recorded: Place | None,
    config: NamespaceConfig,
    settings: Settings,
    identity: Identity,
) -> Role | Refusal:
    """The role for an object, `recorded` being the location of its resource (None: there is none yet)."""
    source, requested = _requested(resource, meta, config, settings, identity)
    if recorded is None or (isinstance(requested, Role) and requested.account == recorded.account):
        return requested
    namespace = config.namespace or Meta()
    owner = namespace.annotations.get(OWNER_ACCOUNT_ID)
    if isinstance(requested, Refusal) and not (source is _Source.ACCOUNT and owner != recorded.account):
        return requested
    other = requested.account if isinstance(requested, Role) else owner
    drift = (
        f"The resource exists in account {recorded.account}, but {source.value} names account {other}. It stays where it is."
        if source is not _Source.OPERATOR
        else ""
    )
    if recorded.account == identity.account and source is _Source.ACCOUNT:
        return Role(identity.account, identity.partition, drift=drift)
    if not settings.enable_carm or source not in (_Source.OPERATOR, _Source.ACCOUNT):
        return _unavailable(
            f"the resource exists in account {recorded.account}, and no role of that account is named for this object"
            + (f" ({source.value} names account {other})" if drift else "")
        )
    role = _mapped(ACCOUNT_MAP, config.accounts, recorded.account, config, settings.feature_gates)
    if isinstance(role, Role) and role.account == recorded.account:
        return Role(role.account, role.partition, role.arn, drift=drift)
    return role if isinstance(role, Refusal) else _foreign(recorded.account, role)


def _requested(
    resource: Resource, meta: Meta, config: NamespaceConfig, settings: Settings, identity: Identity
) -> tuple[_Source, Role | Refusal]:
    """What the namespace and the selectors request, without regard to where the resource is."""
    namespace = config.namespace or Meta()
    gates = settings.feature_gates
    matching = [selector for selector in config.selectors if selector.matches(resource, meta, namespace)]
    if len(matching) > 1:
        names = ", ".join(sorted(selector.name for selector in matching))
        return _Source.SELECTOR, _unavailable(
            f"the IAMRoleSelectors {names} all match this object: exactly one may; narrow or delete the others"
        )
    if matching:
        return _Source.SELECTOR, _of_selector(matching[0])
    if gates.team_level_carm and TEAM_ID in namespace.annotations:
        return _Source.TEAM, _mapped(TEAM_MAP, config.teams, namespace.annotations[TEAM_ID], config, gates)
    if settings.enable_carm and OWNER_ACCOUNT_ID in namespace.annotations:
        owner = namespace.annotations[OWNER_ACCOUNT_ID]
        role = _mapped(ACCOUNT_MAP, config.accounts, owner, config, gates)
        return _Source.ACCOUNT, _foreign(owner, role) if isinstance(role, Role) and role.account != owner else role
    return _Source.OPERATOR, Role(identity.account, identity.partition)


def _of_selector(selector: Selector) -> Role | Refusal:
    found = _ROLE_ARN.fullmatch(selector.arn)
    if found is None:
        return _unavailable(f"IAMRoleSelector {selector.name}: spec.arn {selector.arn!r} is not the ARN of an IAM role")
    selected = f"roleARN: {selector.arn}, selectorName: {selector.name}, selectorResourceVersion: {selector.version}"
    return Role(found["account"], found["partition"], selector.arn, selected=selected)


def _mapped(
    name: str, data: Mapping[str, str] | None, id_: str, config: NamespaceConfig, gates: FeatureGates
) -> Role | Refusal:
    """The role of an id in a map. If the service's own key exists, the general key is ignored."""
    where = f"ConfigMap {config.system_namespace}/{name}"
    if data is None:
        return _unavailable(f"{where} does not exist: create it, with the key {id_!r} and the ARN of a role")
    service_key = f"sagemaker.{id_}"
    key = service_key if gates.service_level_carm and service_key in data else id_
    if key not in data:
        return _unavailable(f"{where} has no key {key!r}: add it, with the ARN of a role")
    # A block scalar in YAML ends with a newline.
    arn = data[key].strip()
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        what = "is empty" if not arn else f"is {arn!r}"
        return _unavailable(f"key {key!r} of {where} {what}: it must be arn:aws:iam::ACCOUNT:role/NAME")
    return Role(found["account"], found["partition"], arn)


def _foreign(account: str, role: Role) -> Refusal:
    return _unavailable(
        f"key {account!r} of {ACCOUNT_MAP} names {role.arn}, a role of account {role.account}: "
        f"it must be a role of account {account}"
    )


def _unavailable(cause: str) -> Refusal:
    return Refusal(IAM_ROLE_NOT_AVAILABLE, _NOT_AVAILABLE, cause)
