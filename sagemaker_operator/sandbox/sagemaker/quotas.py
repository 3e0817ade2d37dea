"""Quotas of concurrent instances by type, counted per use, account and region as in Service Quotas."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.kinds.model import service_model
from sagemaker_operator.sandbox.sagemaker import texts
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record
    from sagemaker_operator.sandbox.sagemaker.resources import Resources

_INSTANCES_OF: Mapping[str, str | None] = {
    "TrainingJob": "ResourceConfig",
    "ProcessingJob": "ProcessingResources",
    "TransformJob": "TransformResources",
    "NotebookInstance": None,
    "Endpoint": "ProductionVariants",
}
"""Kinds that use instances, and the member that says which; None: the input itself. An endpoint's is its configuration's."""

_TYPES = (
    "TrainingInstanceType",
    "ProcessingInstanceType",
    "TransformInstanceType",
    "InstanceType",
    "ProductionVariantInstanceType",
)


def instance_types() -> frozenset[str]:
    """All instance types of the kinds with a quota."""
    return frozenset(name for shape in _TYPES for name in service_model().shape_for(shape).enum)


class Quotas:
    """Instances by type; a type without a quota has no limit. Checked at creation only: existing resources are kept."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._limits: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Quotas {self._limits!r}>"

    def set(self, instance_type: str, limit: int) -> None:
        """At most `limit` instances of `ml.m5.xlarge` for each use: training jobs, endpoints..."""
        self._limits[instance_type] = limit

    def clear(self) -> None:
        self._limits.clear()

    def check(self, kind: Kind, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        """Raises ServiceError(ResourceLimitExceeded) if a resource of this input would exceed a quota."""
        if not self._limits or kind.name not in _INSTANCES_OF:
            return
        used: Counter[str] = Counter()
        for record in self._resources.all(kind.name, scope, now=now):
            if _uses_instances(record, now):
                used.update(self._instances(kind, record.input, scope, now))
        for instance_type, asked in self._instances(kind, given, scope, now).items():
            limit = self._limits.get(instance_type)
            if limit is not None and used[instance_type] + asked > limit:
                usage = f"{instance_type} for {texts.words(kind)} usage"
                text = texts.quota_exhausted(usage, limit=limit, used=used[instance_type], asked=asked)
                raise ServiceError("ResourceLimitExceeded", text)

    def _instances(self, kind: Kind, given: Mapping[str, Any], scope: Scope, now: float) -> Counter[str]:
        if kind.name == "Endpoint":
            config = self._resources.find("EndpointConfig", scope, given["EndpointConfigName"], now=now)
            given = config.input if config else {}
        member = _INSTANCES_OF[kind.name]
        found: Counter[str] = Counter()
        for group in _groups(given if member is None else given.get(member)):
            found[group["InstanceType"]] += group.get("InstanceCount", group.get("InitialInstanceCount", 1))
        return found


def _uses_instances(record: Record, now: float) -> bool:
    state = record.status_class(now)
    return state.in_transition or state is StatusClass.STEADY


def _groups(value: Any) -> Iterator[Mapping[str, Any]]:
    """The structures inside `value` with an instance type."""
    if isinstance(value, list):
        for item in value:
            yield from _groups(item)
    elif isinstance(value, dict):
        if "InstanceType" in value:
            yield value
        for item in value.values():
            yield from _groups(item)
