"""Notebook instances, which must be stopped to be changed or deleted, and their lifecycle configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour
from sagemaker_operator.sandbox.sagemaker.lifecycle import CHANGE_SECONDS, FAILED, GOOD, LifeCycle, Step
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import echo, fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_UP = Step("InService")
_DOWN = Step("Stopped")

LIFE = LifeCycle(
    {GOOD: (Step("Pending"), _UP), FAILED: (Step("Pending"), Step("Failed"))},
    stop=(Step("Stopping", CHANGE_SECONDS), _DOWN),
    update=(Step("Updating", CHANGE_SECONDS), _DOWN),
    update_failed=(Step("Updating", CHANGE_SECONDS), Step("Failed")),
    maintenance=(Step("PendingMaintenance", CHANGE_SECONDS), Step("InMaintenance", CHANGE_SECONDS), _UP),
    delete=(Step("Deleting", CHANGE_SECONDS), Step("")),
)
_START = (Step("Pending", CHANGE_SECONDS), _UP)

_RENAMED = {"LifecycleConfigName": "NotebookInstanceLifecycleConfigName", "SecurityGroupIds": "SecurityGroups"}
_DISASSOCIATED = {
    "DisassociateLifecycleConfig": "NotebookInstanceLifecycleConfigName",
    "DisassociateAcceleratorTypes": "AcceleratorTypes",
    "DisassociateDefaultCodeRepository": "DefaultCodeRepository",
    "DisassociateAdditionalCodeRepositories": "AdditionalCodeRepositories",
}
_NEEDED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "StartNotebookInstance": (("Stopped", "Failed"), "Pending"),
    "StopNotebookInstance": (("InService",), "Stopping"),
    "UpdateNotebookInstance": (("Stopped", "Failed"), "Updating"),
    "DeleteNotebookInstance": (("Stopped", "Failed"), "Deleting"),
}
"""Operation -> (statuses that allow it, the status it leads to)."""
_DEFAULT_VOLUME_GB = 5


class NotebookInstances(Behaviour):
    """`input` has Describe's member names, not Create's."""

    actions = ("StartNotebookInstance",)
    queries = ("CreatePresignedNotebookInstanceUrl",)

    def __init__(self, kind: Kind, *, resources: Resources | None = None) -> None:
        super().__init__(kind, resources=resources, life=LIFE)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if given.get("DirectInternetAccess") == "Disabled" and "SubnetId" not in given:
            invalid("DirectInternetAccess can be Disabled only in a VPC: SubnetId must be given.")
        self._check_config(given, scope, now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return fill(
            self._renamed(given),
            DirectInternetAccess="Enabled",
            VolumeSizeInGB=_DEFAULT_VOLUME_GB,
            RootAccess="Enabled",
            IpAddressType="ipv4",
            PlatformIdentifier="notebook-al2-v3",
            InstanceMetadataServiceConfiguration={"MinimumInstanceMetadataServiceVersion": "1"},
        )

    def _renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {_RENAMED.get(name, name): value for name, value in echo(given, without=("Tags",)).items()}

    def busy(self, record: Record, operation: str | None, now: float) -> ServiceError:
        needed, goal = _NEEDED[operation or ""]
        text = (
            f"Status ({record.status(now)}) not in ([{', '.join(needed)}]). "
            f"Unable to transition to ({goal}) for Notebook Instance ({record.arn})"
        )
        return ServiceError("ValidationException", text)

    def _check_status(self, record: Record, operation: str, now: float) -> None:
        if record.status(now) not in _NEEDED[operation][0]:
            raise self.busy(record, operation, now)

    def stop(self, record: Record, now: float) -> None:
        self._check_status(record, "StopNotebookInstance", now)
        record.move(self.life.stop, now)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        self._check_status(record, operation, now)
        record.failure = ""
        record.move(_START, now)

    def query(self, operation: str, records: Sequence[Record], given: Mapping[str, Any], now: float) -> dict[str, Any]:
        [record] = records
        if record.status_class(now) is not StatusClass.STEADY:
            invalid(f"Notebook Instance ({record.arn}) is {record.status(now)}: only one in service can be opened.")
        return {"AuthorizedUrl": f"https://{_address(record)}?authToken=sandbox"}

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        self._check_status(record, "UpdateNotebookInstance", now)
        self._check_config(change, record.scope, now)
        if change.get("VolumeSizeInGB", record.input["VolumeSizeInGB"]) < record.input["VolumeSizeInGB"]:
            invalid("VolumeSizeInGB cannot be decreased.")
        for flag, member in _DISASSOCIATED.items():
            if change.get(flag) and member in self._renamed(change):
                invalid(f"{member} cannot be set and disassociated at once.")

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        given = {name: change[name] for name in self._updated if name in change}
        record.input.update(self._renamed(given))
        for flag, member in _DISASSOCIATED.items():
            if change.get(flag):
                record.input.pop(member, None)

    def check_delete(self, record: Record, now: float) -> None:
        self._check_status(record, "DeleteNotebookInstance", now)

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if record.status_class(now) is StatusClass.STEADY:
            found["Url"] = _address(record)
        if "SubnetId" in record.input:
            found["NetworkInterfaceId"] = f"eni-{record.number:017x}"
        return found

    def _check_config(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if "LifecycleConfigName" in given:
            self.resources.need("NotebookInstanceLifecycleConfig", scope, given["LifecycleConfigName"], now=now)


def _address(record: Record) -> str:
    return f"{record.name}.notebook.{record.scope.region}.sagemaker.aws"
