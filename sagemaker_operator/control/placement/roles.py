"""Which role is assumed for an object: role maps of accounts and teams, IAMRoleSelectors, and what the ARN records.

An object of which nothing is recorded belongs where its namespace (or a selector) says. Once an ARN is recorded, its
account is where the resource is: a role of that account is used, or none.
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
"""ACK's words: its users' alerts look for them."""
_RETRY_SECONDS = 15.0
"""ACK's. A map that is mended wakes its objects at once; this is for what no watch tells."""

_ROLE_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/[\w+=,.@/-]{1,576}")
_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):[a-z0-9-]+:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):.+")


class Place(NamedTuple):
    """Where a resource is."""

    partition: str
    region: str
    account: str


@dataclass(frozen=True, slots=True)
class Role:
    """As whom SageMaker is called."""

    account: str
    partition: str
    arn: str | None = None
    """None: as the operator itself."""
    selected: str = ""
    """ACK's text about the selector that gave it."""
    drift: str = ""
    """What to say about an account that is asked for and is not the resource's."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no call is made."""

    reason: str
    message: str
    """In short: what ACK says where it says it."""
    cause: str
    """What is wrong, where, and what to do."""
    after: float = _RETRY_SECONDS
    fleeting: bool = False
    """It mends itself within milliseconds, as a rule: said only if it does not."""


class Selector(msgspec.Struct, frozen=True, kw_only=True):
    """One IAMRoleSelector: AND between its selectors, OR inside their lists, empty matches all."""

    name: str
    version: str
    arn: str = ""
    namespaces: tuple[str, ...] = ()
    namespace_labels: dict[str, str] = {}
    types: tuple[tuple[str, str, str], ...] = ()
    """(group, version, kind); an empty one is any."""
    labels: dict[str, str] = {}

    def matches(self, resource: Resource, meta: Meta, namespace: Meta) -> bool:
        kind = (resource.group, resource.version, resource.kind)
        return (
            (not self.namespaces or meta.namespace in self.namespaces)
            and self.namespace_labels.items() <= namespace.labels.items()
            and (not self.types or any(_is_type(wanted, kind) for wanted in self.types))
            and self.labels.items() <= meta.labels.items()
        )


def _is_type(wanted: tuple[str, str, str], kind: tuple[str, str, str]) -> bool:
    return all(part in ("", actual) for part, actual in zip(wanted, kind, strict=True))


def selector_of(obj: KubeObject) -> Selector:
    """The selector that an object describes. One that cannot be read matches everything and has no role: what it was
    meant for is not known, and must not run under another identity."""
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
        types=tuple((wanted.group, wanted.version, wanted.kind) for wanted in spec.resource_type_selector),
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
    """What surrounds the objects of one namespace."""

    namespace: Meta | None = field(default_factory=Meta)
    """Empty: namespaces are not read. None: they are, and this one is not known."""
    gone: bool = False
    """The namespace was deleted, or is being deleted: what it said still holds for objects that were in it, and for no other."""
    system_namespace: str = ""
    accounts: Mapping[str, str] | None = None
    """Data of the account map; None: there is no such ConfigMap."""
    teams: Mapping[str, str] | None = None
    selectors: tuple[Selector, ...] = ()


class _Says(Enum):
    """Who names the role of an object."""

    NOBODY = "nobody"
    ACCOUNT = "its namespace's account"
    TEAM = "its namespace's team"
    SELECTOR = "a selector"


def recorded_place(stored: Mapping[str, Any]) -> Place | None:
    """Where the resource is by its ARN, which SageMaker made; the fields beside it are anybody's word."""
    found = _ARN.fullmatch(str((stored.get("ackResourceMetadata") or {}).get("arn") or ""))
    return Place(found["partition"], found["region"], found["account"]) if found else None


def role_for(
    resource: Resource,
    meta: Meta,
    recorded: Place | None,
    around: NamespaceConfig,
    settings: Settings,
    identity: Identity,
) -> Role | Refusal:
    """The role for an object, `recorded` being where its resource is (None: there is none yet)."""
    says, asked = _asked(resource, meta, around, settings, identity)
    if recorded is None or (isinstance(asked, Role) and asked.account == recorded.account):
        return asked
    namespace = around.namespace or Meta()
    owner = namespace.annotations.get(OWNER_ACCOUNT_ID)
    if isinstance(asked, Refusal) and not (says is _Says.ACCOUNT and owner != recorded.account):
        return asked
    wanted = asked.account if isinstance(asked, Role) else owner
    drift = (
        f"The resource exists in account {recorded.account}, but {says.value} names account {wanted}. It stays where it is."
        if says is not _Says.NOBODY
        else ""
    )
    if recorded.account == identity.account and says is _Says.ACCOUNT:
        return Role(identity.account, identity.partition, drift=drift)
    if not settings.enable_carm or says not in (_Says.NOBODY, _Says.ACCOUNT):
        return _unavailable(
            f"the resource exists in account {recorded.account}, and no role of that account is named for this object"
            + (f" ({says.value} names account {wanted})" if drift else "")
        )
    role = _mapped(ACCOUNT_MAP, around.accounts, recorded.account, around, settings.feature_gates)
    if isinstance(role, Role) and role.account == recorded.account:
        return Role(role.account, role.partition, role.arn, drift=drift)
    return role if isinstance(role, Refusal) else _foreign(recorded.account, role)


def _asked(
    resource: Resource, meta: Meta, around: NamespaceConfig, settings: Settings, identity: Identity
) -> tuple[_Says, Role | Refusal]:
    """The role that the object's surroundings ask for."""
    namespace = around.namespace or Meta()
    gates = settings.feature_gates
    matching = [selector for selector in around.selectors if selector.matches(resource, meta, namespace)]
    if len(matching) > 1:
        names = ", ".join(sorted(selector.name for selector in matching))
        return _Says.SELECTOR, _unavailable(
            f"the IAMRoleSelectors {names} all match this object: exactly one may; narrow or delete the others"
        )
    if matching:
        return _Says.SELECTOR, _of_selector(matching[0])
    if gates.team_level_carm and TEAM_ID in namespace.annotations:
        return _Says.TEAM, _mapped(TEAM_MAP, around.teams, namespace.annotations[TEAM_ID], around, gates)
    if settings.enable_carm and OWNER_ACCOUNT_ID in namespace.annotations:
        owner = namespace.annotations[OWNER_ACCOUNT_ID]
        role = _mapped(ACCOUNT_MAP, around.accounts, owner, around, gates)
        return _Says.ACCOUNT, _foreign(owner, role) if isinstance(role, Role) and role.account != owner else role
    return _Says.NOBODY, Role(identity.account, identity.partition)


def _of_selector(selector: Selector) -> Role | Refusal:
    found = _ROLE_ARN.fullmatch(selector.arn)
    if found is None:
        return _unavailable(f"IAMRoleSelector {selector.name}: spec.arn {selector.arn!r} is no ARN of an IAM role")
    told = f"roleARN: {selector.arn}, selectorName: {selector.name}, selectorResourceVersion: {selector.version}"
    return Role(found["account"], found["partition"], selector.arn, selected=told)


def _mapped(
    name: str, data: Mapping[str, str] | None, id_: str, around: NamespaceConfig, gates: FeatureGates
) -> Role | Refusal:
    """The role that a map gives. The service's own key comes first; if it is there, the other is not looked at."""
    where = f"ConfigMap {around.system_namespace}/{name}"
    if data is None:
        return _unavailable(f"{where} does not exist: create it, with the key {id_!r} and the ARN of a role")
    own = f"sagemaker.{id_}"
    key = own if gates.service_level_carm and own in data else id_
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
