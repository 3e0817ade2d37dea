"""The model registry: model packages, alone or as versions of a group."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, Naming, declared_errors
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import digest, echo, fill
from sagemaker_operator.sandbox.sagemaker.texts import in_use, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_GROUP = "ModelPackageGroupName"
_TO_ADD = "AdditionalInferenceSpecificationsToAdd"
_TO_REMOVE = "CustomerMetadataPropertiesToRemove"
_POLICY = "ResourcePolicy"
_BATCH = frozenset(service_model().shape_for("BatchDescribeModelPackageSummary").members)
_MERGED = ("CustomerMetadataProperties",)


def _created_by(record: Record) -> dict[str, Any]:
    arn = f"arn:{record.scope.partition}:iam::{record.scope.account}:role/sandbox"
    return {"IamIdentity": {"Arn": arn, "PrincipalId": "AROASANDBOX:session"}}


class ModelPackageGroups(Behaviour):
    """A group with packages cannot be deleted. `notes`: `ResourcePolicy`, after a Put."""

    actions = ("PutModelPackageGroupPolicy", "DeleteModelPackageGroupPolicy")
    queries = ("GetModelPackageGroupPolicy",)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        if operation == "PutModelPackageGroupPolicy":
            record.notes[_POLICY] = given[_POLICY]
        else:
            self._policy(record)
            del record.notes[_POLICY]

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        return {_POLICY: self._policy(record)}

    def _policy(self, record: Record) -> str:
        if _POLICY not in record.notes:
            invalid(f"Cannot find resource policy of Model Package Group: {record.name}")
        return str(record.notes[_POLICY])

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        packages = self.resources.all("ModelPackage", record.scope, now=now)
        if any(package.input.get(_GROUP) == record.name for package in packages):
            text = f"Model Package Group cannot be deleted because it still contains Model Packages: {record.arn}"
            raise in_use(text, declared=declared_errors(self.kind.delete))

    def details(self, record: Record, now: float) -> dict[str, Any]:
        return {"CreatedBy": _created_by(record)}


class ModelPackages(Behaviour):
    """A versioned package is identified by its ARN and numbered within its group; numbers are not reused."""

    queries = ("BatchDescribeModelPackage",)

    def __init__(self, kind: Kind, *, resources: Resources | None = None) -> None:
        super().__init__(kind, resources=resources)
        self._versions: dict[tuple[Scope, str], int] = {}

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if ("ModelPackageName" in given) == (_GROUP in given):
            invalid("Exactly one of ModelPackageName and ModelPackageGroupName must be given.")
        if _GROUP in given:
            if given.get("Tags"):
                invalid("Tags cannot be given for a versioned model package: it has those of its group.")
            self.resources.need("ModelPackageGroup", scope, given[_GROUP], now=now)

    def naming(self, given: Mapping[str, Any], scope: Scope, drawn: str) -> Naming:
        if _GROUP not in given:
            return super().naming(given, scope, drawn)
        group = _last(given[_GROUP])
        version = self._versions[scope, group] = self._versions.get((scope, group), 0) + 1
        arn = scope.arn(f"model-package/{group}/{version}")
        return Naming(group, (arn,), arn)

    def scenario_source(
        self, given: Mapping[str, Any], naming: Naming, tags: Mapping[str, str], scope: Scope, now: float
    ) -> Any:
        group = self.resources.find("ModelPackageGroup", scope, _last(given.get(_GROUP, "")), now=now)
        return (naming.name, group.tags) if group else (naming.name, tags)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = fill(echo(given, without=("Tags", "ClientToken")), CertifyForMarketplace=False)
        if _GROUP in echoed:
            echoed[_GROUP] = _last(echoed[_GROUP])
            fill(echoed, ModelApprovalStatus="PendingManualApproval")
        for container in _containers(echoed):
            _resolve(container)
        for profile in echoed.get("ValidationSpecification", {}).get("ValidationProfiles", ()):
            fill(profile["TransformJobDefinition"]["TransformOutput"], KmsKeyId="")
        return echoed

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        given = {name: copy.deepcopy(value) for name, value in change.items() if name in self._created}
        given.pop("ClientToken", None)
        if "ApprovalDescription" in change:
            given["ApprovalDescription"] = change["ApprovalDescription"]
        for member in _MERGED:
            if member in given:
                given[member] = {**record.input.get(member, {}), **given[member]}
        record.input.update(echo(given))
        for key in change.get(_TO_REMOVE, ()):
            record.input.get("CustomerMetadataProperties", {}).pop(key, None)
        added = copy.deepcopy(change.get(_TO_ADD, []))
        if added:
            record.input.setdefault("AdditionalInferenceSpecifications", []).extend(added)
        for container in _containers(record.input):
            _resolve(container)

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        super().check_update(record, change, now)
        known = {one["Name"] for one in record.input.get("AdditionalInferenceSpecifications", ())}
        if any(one["Name"] in known for one in change.get(_TO_ADD, ())):
            invalid("Names of additional inference specifications must be unique within a model package.")

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {
            "ModelPackageName": record.name,
            "CreatedBy": _created_by(record),
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }
        if _GROUP in record.input:
            found["ModelPackageVersion"] = int(_last(record.arn))
        if record.modified > record.created:
            found["LastModifiedBy"] = _created_by(record)
        return found

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        found = {record.arn: record for record in records}
        summaries, errors = {}, {}
        for arn in given["ModelPackageArnList"]:
            if arn in found:
                described = self.describe(found[arn], now)
                described["ModelPackageGroupName"] = described.get(_GROUP, described["ModelPackageName"])
                summaries[arn] = {name: described[name] for name in _BATCH if name in described}
            else:
                missing = not_found(self.kind, name=arn, arn=arn)
                errors[arn] = {"ErrorCode": missing.code, "ErrorResponse": missing.message}
        return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors}

    def listed(self, record: Record, given: Mapping[str, Any]) -> bool:
        """AWS lists only unversioned packages unless ModelPackageType asks for others."""
        group = record.input.get(_GROUP)
        if _GROUP in given:
            return bool(group == _last(given[_GROUP]))
        wanted = given.get("ModelPackageType", "Unversioned")
        return bool(wanted == "Both" or (wanted == "Versioned") == (group is not None))

    def summarized(self, record: Record, described: Mapping[str, Any]) -> dict[str, Any]:
        return {} if _GROUP in record.input else {"ModelPackageName": record.name}


def _last(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _containers(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from given.get("InferenceSpecification", {}).get("Containers", ())
    for one in given.get("AdditionalInferenceSpecifications", ()):
        yield from one["Containers"]


def _resolve(container: dict[str, Any]) -> None:
    if "Image" in container:
        fill(container, ImageDigest=digest(container["Image"]))
