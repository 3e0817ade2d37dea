"""Studio: domains, and the user profiles, spaces and apps inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, Naming, declared_errors
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import fill, fill_deep, overlay
from sagemaker_operator.sandbox.sagemaker.texts import in_use, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record

_EBS = {"DefaultEbsStorageSettings": {"DefaultEbsVolumeSizeInGb": 5, "MaximumEbsVolumeSizeInGb": 100}}
_USER = {"SpaceStorageSettings": _EBS}
_DOMAIN_USER = {**_USER, "DefaultLandingUri": "studio::", "StudioWebPortal": "ENABLED"}
_SPACE = {"SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 5}}}
_FOR_UPDATE = "ForUpdate"


class Tenants(Behaviour):
    """A resource inside a domain, which cannot be deleted while another resource uses it."""

    dependants: tuple[str, ...] = ()

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        self.resources.need("Domain", scope, given["DomainId"], now=now, ready=True)

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        for name in self.dependants:
            for other in self.resources.all(name, record.scope, now=now):
                if self.holds(record, other):
                    text = f"Unable to delete {words(self.kind)} {record.name} because it has existing {words(other.kind)}s."
                    raise in_use(text, declared=declared_errors(self.kind.delete))

    def holds(self, record: Record, other: Record) -> bool:
        """`other` is inside `record`: its Create input has every identifier of `record`."""
        return all(
            other.input.get(member.api) == value
            for member, value in zip(self.kind.identifiers, record.identity, strict=True)
        )

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        given = {name: change[name] for name in self._updated if name in change}
        record.input = overlay(record.input, given)


class Domains(Tenants):
    """Domains have an id of their own; their names need not be unique."""

    dependants = ("App", "Space", "UserProfile")
    queries = ("CreatePresignedDomainUrl",)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if given.get("AppNetworkAccessType") == "VpcOnly" and not given.get("SubnetIds"):
            invalid("SubnetIds must be given when AppNetworkAccessType is VpcOnly.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = fill(
            super().with_defaults(given), AppNetworkAccessType="PublicInternetOnly", TagPropagation="DISABLED"
        )
        fill_deep(echoed["DefaultUserSettings"], _DOMAIN_USER)
        return echoed

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        super().apply(record, change)
        if settings := change.get("DomainSettingsForUpdate"):
            renamed = {name.removesuffix(_FOR_UPDATE): value for name, value in settings.items()}
            record.input = overlay(record.input, {"DomainSettings": renamed})

    def details(self, record: Record, now: float) -> dict[str, Any]:
        short = record.identity[0].removeprefix("d-")
        return {
            "HomeEfsFileSystemId": f"fs-{short}",
            "SecurityGroupIdForDomainBoundary": f"sg-{short}",
            "Url": _url(record),
        }

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        for owner in ("UserProfile", "Space"):
            if name := given.get(f"{owner}Name"):
                self.resources.need(owner, record.scope, *record.identity, name, now=now, ready=True)
        return {"AuthorizedUrl": f"{_url(record)}/auth?token=sandbox"}


def _url(domain: Record) -> str:
    return f"https://{domain.identity[0]}.studio.{domain.scope.region}.sagemaker.aws"


class UserProfiles(Tenants):
    """A user of a domain."""

    dependants = ("App",)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill_deep(echoed.setdefault("UserSettings", {}), _USER)
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        return {"HomeEfsFileSystemUid": str(200_000 + record.number)}


class Spaces(Tenants):
    """A space of a domain, private or shared."""

    dependants = ("App",)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        super().check(given, scope, now)
        if ("OwnershipSettings" in given) != ("SpaceSharingSettings" in given):
            invalid("OwnershipSettings and SpaceSharingSettings must be given together.")
        if owner := given.get("OwnershipSettings", {}).get("OwnerUserProfileName"):
            self.resources.need("UserProfile", scope, given["DomainId"], owner, now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill_deep(echoed.setdefault("SpaceSettings", {}), _SPACE)
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        domain_id, name = record.identity
        return {
            "HomeEfsFileSystemUid": str(200_000 + record.number),
            "Url": f"https://{domain_id}.studio.{record.scope.region}.sagemaker.aws/spaces/{name}",
        }

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        settings = described.get("SpaceSettings", {})
        found = {"SpaceSettingsSummary": {n: settings[n] for n in ("AppType", "SpaceStorageSettings") if n in settings}}
        for member in ("SpaceSharingSettings", "OwnershipSettings"):
            if member in described:
                found[f"{member}Summary"] = described[member]
        return found


class Apps(Tenants):
    """An app belongs to a user profile or to a space."""

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        super().check(given, scope, now)
        owners = [name for name in ("UserProfileName", "SpaceName") if name in given]
        if len(owners) != 1:
            invalid("Exactly one of UserProfileName and SpaceName must be given.")
        [owner] = owners
        self.resources.need(owner.removesuffix("Name"), scope, given["DomainId"], given[owner], now=now, ready=True)

    def naming(self, given: Mapping[str, Any], scope: Scope, drawn: str) -> Naming:
        named = super().naming(given, scope, drawn)
        owner = given.get("UserProfileName") or given.get("SpaceName", "")
        path = "/".join((given["DomainId"], owner, given["AppType"].lower(), given["AppName"]))
        return named._replace(arn=scope.arn(f"app/{path}"))

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        fill(echoed.setdefault("ResourceSpec", {}), InstanceType="system")
        return echoed

    def details(self, record: Record, now: float) -> dict[str, Any]:
        return {"LastHealthCheckTimestamp": record.timeline.at(now).start, "LastUserActivityTimestamp": record.created}
