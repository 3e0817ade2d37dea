"""The members that a kind's Describe returns: those of its output, or of the structure that the output wraps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.model import Shape, members, operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind


def wrapper_of(describe: str) -> str | None:
    """The member of an output that wraps all others in a structure (`Workforce`); None: the output does not wrap them."""
    output = members(operation(describe).output_shape)
    if len(output) != 1:
        return None
    [(name, shape)] = output.items()
    return name if shape.type_name == "structure" else None


def described_members(kind: Kind) -> Mapping[str, Shape]:
    """Everything that is known of a described resource."""
    return members(described_shape(kind))


def described_shape(kind: Kind) -> Shape | None:
    """The structure that has the resource's members."""
    output = operation(kind.describe).output_shape
    return members(output)[kind.wrapper] if kind.wrapper else output


def wrapped(kind: Kind, resource: dict[str, Any]) -> dict[str, Any]:
    """A Describe's answer that reports these members."""
    return {kind.wrapper: resource} if kind.wrapper else resource


def unwrapped(kind: Kind, answer: dict[str, Any]) -> dict[str, Any]:
    """The resource's members in a Describe's answer."""
    inner: dict[str, Any] = answer.get(kind.wrapper, {}) if kind.wrapper else answer
    return inner
