"""Late initialization: writes SageMaker's defaults into fields of spec that the user left empty, as ACK does. Pure.

Used only with `--write-late-init`; otherwise the operator does not write to spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.aws.translate import to_field
from sagemaker_operator.conditions import LATE_INITIALIZED
from sagemaker_operator.control.spec.update import with_create_names
from sagemaker_operator.kinds.model import members, operation
from sagemaker_operator.kinds.naming import field_name, field_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.kinds.descriptor import Kind

_COMPLETE = "Late initialization successful"
_DELAYED = "Delayed Late Initialization"


class LateInit(msgspec.Struct, frozen=True):
    """The fields of a kind's late initialization that are empty in spec."""

    patch: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Merge patch of spec: the values that SageMaker reported."""
    missing: tuple[str, ...] = ()
    """Paths of the fields that SageMaker has not reported yet, as the user would write them."""
    refused: str | None = None
    """Why Kubernetes rejected `patch`."""


def late_init(kind: Kind, spec: Mapping[str, Any], observed: Mapping[str, Any]) -> LateInit:
    """`spec` has the values of its references; `observed` is a Describe output, or empty before the first.

    Fields below a structure that the user left out are skipped: SageMaker's default is the whole structure.
    """
    shape = operation(kind.create).input_shape
    found = with_create_names(kind, observed)
    patch: dict[str, Any] = {}
    missing: list[str] = []
    for late in kind.late_init:
        members_on_path = late.path.split(".")
        *parents, last = [field_name(member) for member in members_on_path]
        place = _at(spec, parents)
        if not isinstance(place, Mapping) or place.get(last) is not None:
            continue
        value = _at(found, members_on_path)
        if value is None or value in ([], {}):
            if not late.optional or not observed:
                missing.append(field_path(shape, late.path))
            continue
        filled: Any = shape
        for member in members_on_path:
            filled = members(filled)[member]
        branch = patch
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = to_field(filled, value)
    return LateInit(patch, tuple(missing))


def _at(data: Any, path: Sequence[str]) -> Any:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def late_init_conditions(late: LateInit | None) -> dict[str, ConditionValue]:
    """ACK's condition. Its texts are ACK's except the cause: unlike ACK, the operator does not retry every 5 seconds."""
    if late is None:
        return {}
    text = "Late initialization did not complete"
    if late.refused is not None:
        return {LATE_INITIALIZED: ("False", _DELAYED, f"{text}: {late.refused}")}
    if late.missing:
        named = ", ".join(late.missing)
        return {LATE_INITIALIZED: ("False", _DELAYED, f"{text}: SageMaker has not reported {named}")}
    if late.patch:
        return {LATE_INITIALIZED: ("False", _DELAYED, f"{text}: SageMaker's defaults are being written")}
    return {LATE_INITIALIZED: ("True", _COMPLETE, _COMPLETE)}
