"""The members of a Create input that name a resource of another kind and can be given as a reference.

Beside `modelName` there is `modelRef: {from: {name, namespace}}`: the name of an object of ours instead of the resource's.
Fields are called as ACK's runtime calls them: without Name, ID or ARN, and with Ref.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.naming import field_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.model import Shape


@dataclass(frozen=True, slots=True)
class Reference:
    """The kind that a member refers to. Exactly one of `kind` and `kinds` is set."""

    kind: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """By the value of the member `chosen_by` beside it, where that decides."""
    chosen_by: str = ""
    value: str = ""
    """The Describe identifier that the member takes; empty: the resource's ARN."""

    def kind_for(self, beside: Mapping[str, object]) -> str | None:
        """The kind, given the CRD fields beside the reference; None: it does not follow from them."""
        return self.kind or self.kinds.get(str(beside.get(field_name(self.chosen_by))))


def _named(kind: str, member: str | None = None) -> Reference:
    return Reference(kind, value=member or f"{kind}Name")


_EXCEPTIONS: Mapping[str, Reference] = {
    "BaseInferenceComponentName": _named("InferenceComponent"),
    # SageMaker's baselining jobs are processing jobs.
    "BaseliningJobName": _named("ProcessingJob"),
    "LifecycleConfigName": _named("NotebookInstanceLifecycleConfig"),
    # Takes an ARN too, and a version in a group has no other name.
    "ModelPackageName": Reference("ModelPackage"),
    "MonitoringJobDefinitionName": Reference(
        kinds={
            name: f"{name}JobDefinition" for name in ("DataQuality", "ModelBias", "ModelExplainability", "ModelQuality")
        },
        chosen_by="MonitoringType",
        value="JobDefinitionName",
    ),
    "OwnerUserProfileName": _named("UserProfile"),
    "SourceModelPackageArn": Reference("ModelPackage"),
    "SourcePipelineExecutionArn": Reference("PipelineExecution"),
}
"""Members that name a resource without being called after its kind and identifier."""


@cache
def _references() -> Mapping[str, Reference]:
    """By member: `<Kind>Name` or `<Kind>Id`, as the kind's Describe has it, and `<Kind>Arn`; then the exceptions."""
    found: dict[str, Reference] = {}
    for name, kind in catalog().items():
        found[f"{name}Arn"] = Reference(name)
        identifiers = {identifier.api for identifier in kind.identifiers}
        found |= {member: _named(name, member) for member in (f"{name}Name", f"{name}Id") if member in identifiers}
    found.update(_EXCEPTIONS)
    return found


_NOT_OURS = frozenset({"UnifiedStudioSettings"})
"""Structures whose members of these names mean something else: a DataZone domain."""

_SUFFIX = re.compile(r"(Name|ID|ARN)$")


def reference_at(shape: Shape, member: str) -> Reference | None:
    """The reference of `member` of the structure `shape`; None if it does not name another kind's resource."""
    found = _references().get(member)
    if found is None or shape.name in _NOT_OURS:
        return None
    own_name = found.kind and shape.name in (f"Create{found.kind}Request", f"Create{found.kind}Input")
    return None if own_name else found


def reference_field(member: str) -> str:
    """``ModelName`` -> ``modelRef``; ``DomainId`` -> ``domainRef``."""
    return reference_field_of(field_name(member))


def reference_field_of(field: str) -> str:
    """``modelName`` -> ``modelRef``."""
    return _SUFFIX.sub("", field) + "Ref"
