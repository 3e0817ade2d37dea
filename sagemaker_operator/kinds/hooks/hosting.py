"""Endpoints and inference components: a failed update is not sent again before spec changes.

SageMaker takes a failed update back and reports the resource InService with a FailureReason: only the annotation knows
what was tried. Its keys and the texts are ACK's, so that either controller understands what the other remembered.
An endpoint that could not be taken back either runs a mix of both configurations, whatever Describe calls live.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Edit, Verdict
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.kinds.naming import field_name

if TYPE_CHECKING:
    from sagemaker_operator.kinds.model import Shape

LAST_CONFIG = "sagemaker.services.k8s.aws/last-endpoint-config-for-update"
LAST_SPEC = "sagemaker.services.k8s.aws/last-spec-for-update"

_CONFIG = "EndpointConfigName"
_DEPLOYMENT = "DeploymentConfig"
_ROLLOUT = (
    _DEPLOYMENT,
    "RetainAllVariantProperties",
    "ExcludeRetainedVariantProperties",
    "RetainDeploymentConfig",
)
# No instances were available: the same update may succeed tomorrow.
_RETRIABLE = "Request to service failed"
_ROLLBACK_FAILED = "UpdateRollbackFailed"
NOT_DEPLOYED = "DeploymentFailed"
"""The reason of a Terminal: SageMaker could not carry the deployment out."""
# (the property that is retained, what a configuration calls it, what Describe calls its present value, what people call it)
_RETAINED = (
    ("DesiredWeight", "InitialVariantWeight", "CurrentWeight", "weight"),
    ("DesiredInstanceCount", "InitialInstanceCount", "CurrentInstanceCount", "instance count"),
)
_SETTLED = ("InService", "OutOfService", _ROLLBACK_FAILED)


def update_endpoint(edit: Edit) -> Verdict:
    """A new configuration, rolled out as the spec says; by default with the variants' current weights and counts.

    A deployment configuration alone is compared with the last one that was used: before the first update there is none.
    """
    proposal, observed = edit.proposal, edit.observed
    live, wanted = observed.get(_CONFIG, ""), edit.desired.get(_CONFIG)
    if wanted is None:
        # A CRD that is looser than ours lets it go.
        return Verdict(reject="spec.endpointConfigName is required: name the configuration to deploy.")
    status, failure = observed.get("EndpointStatus"), observed.get("FailureReason", "")
    last, rollback_failed = edit.annotations.get(LAST_CONFIG), status == _ROLLBACK_FAILED
    # Back to what is called live after an update of ours that went wrong: no difference shows that it is not deployed.
    back = rollback_failed and last is not None and last != wanted and proposal.reject is None
    if proposal.request is None and not back:
        return proposal
    if edit.differing and _CONFIG not in edit.differing and not observed.get("LastDeploymentConfig") and not back:
        return NOTHING_TO_DO
    tried = last == wanted and (rollback_failed or (failure and not failure.startswith(_RETRIABLE)))
    if status == "Failed" or (status in _SETTLED and tried and wanted != live):
        text = f"unable to update endpoint. check FailureReason. latest EndpointConfigName is {live}"
        return _not_deployed("endpoint", f"api error EndpointUpdateError: {text}", observed, failed=status == "Failed")
    rollout = {name: edit.desired[name] for name in _ROLLOUT if name in edit.desired}
    deployed = {"EndpointName": observed["EndpointName"], _CONFIG: wanted}
    request = {"RetainAllVariantProperties": True} | rollout | dict(proposal.request or deployed)
    return Verdict(request=request, annotations={LAST_CONFIG: wanted})


def update_component(edit: Edit) -> Verdict:
    """What differs of specification and copies, rolled out as the spec says. The whole spec is remembered, as ACK does.

    A deployment configuration is compared as an endpoint's is; without one SageMaker deploys as it always did for ACK.
    """
    if edit.proposal.request is None:
        return edit.proposal
    rollout = {_DEPLOYMENT: edit.desired[_DEPLOYMENT]} if _DEPLOYMENT in edit.desired else {}
    if all(_is_rollout(path) for path in edit.differing) and not edit.observed.get("LastDeploymentConfig"):
        return NOTHING_TO_DO
    created = {name: value for name, value in edit.desired.items() if name not in ("Tags", _DEPLOYMENT)}
    spec = _as_written(operation("CreateInferenceComponent").input_shape, created)
    spec |= _as_written(operation("UpdateInferenceComponent").input_shape, rollout)
    status = edit.observed.get("InferenceComponentStatus")
    tried = edit.observed.get("FailureReason") and _parsed(edit.annotations.get(LAST_SPEC)) == spec
    if status == "Failed" or (status == "InService" and tried):
        text = "Unable to update inference component. Check FailureReason."
        text = f"api error InferenceComponentUpdateError: {text}"
        return _not_deployed("inference component", text, edit.observed, failed=status == "Failed")
    remembered = json.dumps(spec, separators=(",", ":"), sort_keys=True)
    return replace(edit.proposal, request={**edit.proposal.request, **rollout}, annotations={LAST_SPEC: remembered})


def _not_deployed(what: str, text: str, observed: Mapping[str, Any], *, failed: bool) -> Verdict:
    """`text` is ACK's. Where ACK's tests compare it, in a rollback, Ready alone has the rest; a failed one has all in both."""
    reason = str(observed.get("FailureReason") or "")
    cause = f" SageMaker's reason: {reason}" if reason else ""
    if failed:
        remedy = f"SageMaker cannot update an {what} in Failed status: delete this object and create it again."
        return Verdict(reject=f"{text.rstrip('.')}. {remedy}{cause}", reason=NOT_DEPLOYED)
    remedy = (
        "The update was rolled back and is not sent again: change spec to another value, or back to what is deployed."
    )
    return Verdict(reject=text, reason=NOT_DEPLOYED, hint=f"{remedy}{cause}")


def retained_properties(edit: Mapping[str, Any], observed: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Which weights and counts of a new configuration have no effect, and the field that changes it.

    `edit` is the desired spec with API names, `observed` the endpoint before the update, `config` the new configuration.
    """
    kept = {one.get("VariantPropertyType") for one in edit.get("ExcludeRetainedVariantProperties") or ()}
    live = {variant.get("VariantName"): variant for variant in observed.get("ProductionVariants") or ()}
    ineffective = []
    for variant in config.get("ProductionVariants") or ():
        now = live.get(variant.get("VariantName"), {})
        for property_, initial, current, what in _RETAINED:
            old, new = now.get(property_, now.get(current)), variant.get(initial)
            # SageMaker keeps weights in single precision.
            same = old is None or new is None or math.isclose(old, new, rel_tol=1e-6)
            if not same and property_ not in kept:
                ineffective.append(f"{variant['VariantName']} keeps {what} {old:g}, not {new:g}")
    if not ineffective:
        return None
    return (
        f"EndpointConfig {config.get(_CONFIG)} is deployed with the variants' present weights and instance counts, as ACK does it: "
        f"{', '.join(ineffective)}. To use those of a configuration, set spec.retainAllVariantProperties to false "
        "together with the next change of spec.endpointConfigName."
    )


def retained_config(desired: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The Describe input of the configuration that an update deploys, where its variants' properties are retained by default."""
    return {_CONFIG: request[_CONFIG]} if "RetainAllVariantProperties" not in desired and _CONFIG in request else None


def normalise_component(path: str, value: Any) -> Any:
    """Describe returns a container's image as specified and as resolved at that time; the specified one is compared."""
    if path == "Specifications[].Container" and isinstance(value, Mapping) and "DeployedImage" in value:
        return {**value, "Image": value["DeployedImage"].get("SpecifiedImage")}
    return value


def _is_rollout(path: str) -> bool:
    return path.partition(".")[0] == _DEPLOYMENT


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def _as_written(shape: Shape, value: Any) -> Any:
    """With CRD names."""
    match shape.type_name:
        case "structure":
            known = members(shape)
            return {field_name(name): _as_written(known[name], item) for name, item in value.items()}
        case "list":
            return [_as_written(shape.member, item) for item in value]
    return value
