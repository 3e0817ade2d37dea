"""Model packages: what the update operation spells as "to add" and "to remove"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Edit, Verdict
from sagemaker_operator.kinds.hooks.documents import canonical
from sagemaker_operator.kinds.updates import additions

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPECIFICATIONS = "AdditionalInferenceSpecifications"
_GROUP = "ModelPackageGroupName"
_CARD = "ModelCard.ModelCardContent"


def normalise(path: str, value: Any) -> Any:
    """A group may be named by its ARN, and is described by its name; a model card's content is a document."""
    if path == _GROUP and isinstance(value, str):
        return value.rpartition("/")[2]
    return canonical(value) if path == _CARD else value


def failure(observed: Mapping[str, Any]) -> str:
    """A package has no reason of its own: its steps have, each with the name of what it validated or scanned."""
    details = observed.get("ModelPackageStatusDetails") or {}
    steps = [*(details.get("ValidationStatuses") or ()), *(details.get("ImageScanStatuses") or ())]
    reasons = [f"{step.get('Name', '')}: {step['FailureReason']}" for step in steps if step.get("FailureReason")]
    return "; ".join(reasons)


def plan_update(edit: Edit) -> Verdict:
    """Specifications are only ever added."""
    if edit.proposal.reject is not None:
        return edit.proposal
    request = dict(edit.proposal.request or {})
    if f"{_SPECIFICATIONS}ToAdd" in request:
        new = additions(edit, _SPECIFICATIONS, key="Name")
        if not new:
            text = "specifications can be added, but neither changed nor removed."
            return Verdict(reject=f"spec.additionalInferenceSpecifications: {text}")
        request[f"{_SPECIFICATIONS}ToAdd"] = new
    return replace(edit.proposal, request=request) if request else NOTHING_TO_DO
