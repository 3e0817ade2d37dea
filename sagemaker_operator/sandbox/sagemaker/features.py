"""Feature groups: an update does not change their status, only that of the last update."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import UPDATE_FAILURE, Behaviour
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.records import Change
from sagemaker_operator.sandbox.sagemaker.rewriting import fill, overlay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record


class FeatureGroups(Behaviour):
    """Features can be added, never removed. `notes`: `described`, their metadata (description, parameters) by name."""

    actions = ("UpdateFeatureMetadata",)
    queries = ("DescribeFeatureMetadata",)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        feature = self._feature(record, given["FeatureName"])
        metadata = record.notes.setdefault("described", {}).setdefault(feature["FeatureName"], {"Parameters": {}})
        metadata["Description"] = given.get("Description", metadata.get("Description", ""))
        metadata["Parameters"] |= {one["Key"]: one["Value"] for one in given.get("ParameterAdditions", ())}
        for key in given.get("ParameterRemovals", ()):
            metadata["Parameters"].pop(key, None)
        metadata["LastModifiedTime"] = now

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        feature = self._feature(record, given["FeatureName"])
        metadata = record.notes.get("described", {}).get(feature["FeatureName"], {})
        return {
            "FeatureGroupArn": record.arn,
            "FeatureGroupName": record.name,
            "FeatureName": feature["FeatureName"],
            "FeatureType": feature["FeatureType"],
            "CreationTime": record.created,
            "LastModifiedTime": metadata.get("LastModifiedTime", record.created),
            "Description": metadata.get("Description", ""),
            "Parameters": [{"Key": key, "Value": value} for key, value in metadata.get("Parameters", {}).items()],
        }

    def _feature(self, record: Record, name: str) -> dict[str, Any]:
        for feature in record.input["FeatureDefinitions"]:
            if feature["FeatureName"] == name:
                return dict(feature)
        raise ServiceError("ResourceNotFound", f"Feature {name} does not exist in feature group {record.arn}.")

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if "OfflineStoreConfig" not in given and not given.get("OnlineStoreConfig", {}).get("EnableOnlineStore"):
            invalid("At least one of OnlineStoreConfig and OfflineStoreConfig must be given.")
        names = {feature["FeatureName"] for feature in given["FeatureDefinitions"]}
        for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
            if given[member] not in names:
                invalid(f"{member} {given[member]} is not among FeatureDefinitions.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        if store := echoed.get("OfflineStoreConfig"):
            fill(store, DisableGlueTableCreation=False)
            if not store["DisableGlueTableCreation"]:
                table = echoed["FeatureGroupName"].replace("-", "_").lower()
                catalog = {"TableName": table, "Catalog": "AwsDataCatalog", "Database": "sagemaker_featurestore"}
                fill(store, DataCatalogConfig=catalog)
        return fill(echoed, ThroughputConfig={"ThroughputMode": "OnDemand"})

    def begin(self, record: Record) -> None:
        super().begin(record)
        if store := record.input.get("OfflineStoreConfig"):
            root = store["S3StorageConfig"]["S3Uri"].rstrip("/")
            path = f"{record.scope.account}/sagemaker/{record.scope.region}/offline-store/{record.name}"
            stamp = int(record.created)
            fill(store["S3StorageConfig"], ResolvedOutputS3Uri=f"{root}/{path}-{stamp}/data")

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        super().check_update(record, change, now)
        if record.pending is not None:
            invalid(f"Feature group {record.arn} cannot be updated while another update is in progress.")
        if record.status_class(now) is StatusClass.FAILED:
            raise self.busy(record, self.kind.update, now)
        known = {feature["FeatureName"] for feature in record.input["FeatureDefinitions"]}
        for feature in change.get("FeatureAdditions", ()):
            if feature["FeatureName"] in known:
                invalid(f"Feature {feature['FeatureName']} exists already.")

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        self.check_update(record, change, now)
        effect: dict[str, Any] = {}
        if additions := change.get("FeatureAdditions"):
            effect["FeatureDefinitions"] = [*record.input["FeatureDefinitions"], *copy.deepcopy(additions)]
        for member in ("OnlineStoreConfig", "ThroughputConfig"):
            if member in change:
                effect[member] = overlay(record.input.get(member, {}), change[member])
        record.failure, record.modified = "", now
        record.pending = Change(
            at=now + record.scenario.change_seconds,
            input=effect,
            notes={"updated": True},
            failure=UPDATE_FAILURE if record.scenario.update_fails else "",
        )

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {"NextToken": ""}
        if "OfflineStoreConfig" in record.input and record.status_class(now) is StatusClass.STEADY:
            found["OfflineStoreStatus"] = {"Status": "Active"}
        if record.input.get("OnlineStoreConfig", {}).get("EnableOnlineStore"):
            found["OnlineStoreTotalSizeBytes"] = 0
        if record.pending is not None:
            found["LastUpdateStatus"] = {"Status": "InProgress"}
        elif record.failure:
            found["LastUpdateStatus"] = {"Status": "Failed", "FailureReason": record.failure}
        elif record.notes.get("updated"):
            found["LastUpdateStatus"] = {"Status": "Successful"}
        return found

    def describe(self, record: Record, now: float) -> dict[str, Any]:
        shown = super().describe(record, now)
        if record.status_class(now) not in (StatusClass.FAILED, StatusClass.DELETE_FAILED):
            # FailureReason is that of creation or deletion; a failed update has its own in LastUpdateStatus.
            shown.pop("FailureReason", None)
        return shown
