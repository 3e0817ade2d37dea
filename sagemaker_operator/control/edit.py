"""What an edit of the spec means: an update SageMaker can make, or a reason why it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.control.delta import differences
from sagemaker_operator.kinds.descriptor import Verdict
from sagemaker_operator.kinds.model import operation, output_members
from sagemaker_operator.kinds.naming import field_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.kinds.descriptor import Kind


def judge(
    kind: Kind, desired: Mapping[str, Any], observed: Observation, *, edited: bool
) -> tuple[tuple[str, ...], Verdict]:
    """(the differing fields as the user wrote them, what to do). `desired` is a Create input; `observed` a Describe."""
    returned = output_members(kind.describe)
    comparable = {name: value for name, value in desired.items() if name in returned}
    paths = differences(comparable, observed.data, ignored=kind.ignored)
    shape = operation(kind.create).input_shape
    fields = tuple(field_path(shape, path) for path in paths)
    if kind.hooks.plan_update is not None:
        return fields, kind.hooks.plan_update(desired, observed.data, paths, edited)
    if not paths:
        return fields, Verdict()
    frozen = [field for path, field in zip(paths, fields, strict=True) if _top(path) not in kind.mutable]
    if kind.update is None or frozen:
        named = ", ".join(frozen or fields)
        return fields, Verdict(reject=f"{named} cannot be changed after creation: SageMaker has no update for it.")
    changed = {_top(path) for path in paths}
    identity = {member.api: desired[member.api] for member in kind.identifiers}
    return fields, Verdict(request=identity | {name: desired[name] for name in changed})


def _top(path: str) -> str:
    return path.split(".", 1)[0].removesuffix("[]")
