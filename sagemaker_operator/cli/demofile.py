"""The objects that `demo -f` can run, and the errors for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.control.features.adopted_resource import ADOPTED_RESOURCES
from sagemaker_operator.control.features.field_export import CONFIG_MAPS, FIELD_EXPORTS, SECRETS
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import GROUP

if TYPE_CHECKING:
    from sagemaker_operator.objects import Resource

_FEATURES = {resource.kind: resource for resource in (FIELD_EXPORTS, ADOPTED_RESOURCES)}
_TARGETS = {resource.kind: resource for resource in (CONFIG_MAPS, SECRETS)}
"""Targets of FieldExports: applied, and not waited for."""

_OLD_GROUP = "sagemaker.aws.amazon.com"
_REPLACED = {
    "TrainingJob": "TrainingJob",
    "HyperparameterTuningJob": "HyperParameterTuningJob",
    "BatchTransformJob": "TransformJob",
    "ProcessingJob": "ProcessingJob",
    "HostingDeployment": "Model, EndpointConfig and Endpoint",
    "Model": "Model",
    "EndpointConfig": "EndpointConfig",
}
_SCALING = "HostingAutoscalingPolicy"


def resource_of(kind: str) -> Resource:
    """The collection of a kind that `complaint` accepts."""
    served = catalog().get(kind)
    return served.resource if served is not None else (_FEATURES | _TARGETS)[kind]


def is_followed(kind: str) -> bool:
    """Whether it has conditions to wait for."""
    return kind not in _TARGETS


def complaint(document: dict[str, Any], kind: str) -> str | None:
    """Why the demo cannot run the object; None if it can."""
    version = document.get("apiVersion")
    group = version.rpartition("/")[0] if isinstance(version, str) else None
    if group == _OLD_GROUP:
        return _of_the_original_operator(kind)
    known = [*catalog(), *_FEATURES, *_TARGETS]
    if kind not in known:
        return f"kind {kind!r} is not among {', '.join(known)}"
    wanted = resource_of(kind)
    if version is not None and group != wanted.group:
        return f"{kind} has apiVersion {version!r}: it must be {wanted.api_version}"
    return None


def _of_the_original_operator(kind: str) -> str:
    about = f"{kind} of {_OLD_GROUP} is an object of the original SageMaker Operators for Kubernetes"
    if kind == _SCALING:
        return f"{about}. SageMaker has no such resource: use ACK's controller for Application Auto Scaling"
    if kind not in _REPLACED:
        return f"{about}, which this operator does not run"
    return (
        f"{about}. Write it as {_REPLACED[kind]} of {GROUP}/v1alpha1, whose spec has the fields of SageMaker's Create call; "
        "docs/adoption.md shows how an object takes over a resource that exists"
    )
