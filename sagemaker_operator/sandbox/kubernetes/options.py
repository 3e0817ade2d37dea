"""What the query of a write may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sagemaker_operator.sandbox.kubernetes import status
from sagemaker_operator.sandbox.kubernetes.decoding import IGNORE, STRICT, WARN
from sagemaker_operator.sandbox.kubernetes.patches import APPLY_PATCH
from sagemaker_operator.sandbox.kubernetes.reads import is_true

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.kubernetes.routing import Request


class WriteOptions(NamedTuple):
    """`manager` will manage the changed fields; `force` takes them over from others in an apply."""

    dry_run: bool = False
    validation: str = WARN
    manager: str = "unknown"
    force: bool = False


def write_options(request: Request) -> WriteOptions:
    """Raises ApiError 422."""
    kinds = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
    kind = kinds.get(request.verb, "DeleteOptions")
    dry_run, validation = request.query.get("dryRun"), request.query.get("fieldValidation") or WARN
    errors = []
    if dry_run not in (None, "", "All"):
        message = f'Unsupported value: ["{dry_run}"]: supported values: "All"'
        errors.append(status.FieldError("dryRun", "FieldValueNotSupported", message))
    if validation not in (STRICT, WARN, IGNORE):
        message = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        errors.append(status.FieldError("fieldValidation", "FieldValueNotSupported", message))
    manager, force = request.query.get("fieldManager", ""), is_true(request.query.get("force"))
    is_apply = request.headers.get("content-type", "").startswith(APPLY_PATCH)
    if is_apply and not manager:
        errors.append(status.required("fieldManager", "is required for apply patch"))
    if not is_apply and force:
        errors.append(status.forbidden_value("force", "may not be specified for non-apply patch"))
    if errors:
        raise status.invalid_options(kind, errors)
    return WriteOptions(
        dry_run=dry_run == "All",
        validation=validation,
        manager=manager or request.user_agent.partition("/")[0] or "unknown",
        force=force,
    )
