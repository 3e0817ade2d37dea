"""The members of a Create input that are single-precision floats, and the comparison of their values.

SageMaker stores members of the shape type `float` in 32 bits and may return either spelling: 0.8 comes back as 0.8 or as
0.800000011920929, and ACK's adoption writes the latter into spec. Members of type `double` keep all their digits.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.model import Shape, members, operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sagemaker_operator.kinds.descriptor import Kind

_FLOAT = struct.Struct("<f")


@cache
def single_precision(kind: Kind) -> frozenset[str]:
    """Paths of the Create input (`ProductionVariants[].InitialVariantWeight`) whose shape type is `float`."""
    created = members(operation(kind.create).input_shape)
    return frozenset(path for name, shape in created.items() for path in _floats(shape, name, frozenset()))


def same_float(one: Any, other: Any) -> bool:
    """Whether two numbers are the same in single precision. False for anything that is not a number."""
    if not (_is_number(one) and _is_number(other)):
        return False
    try:
        return _FLOAT.pack(one) == _FLOAT.pack(other)
    except (OverflowError, struct.error):
        return False  # not representable in 32 bits: SageMaker rejects it


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _floats(shape: Shape, path: str, above: frozenset[str]) -> Iterator[str]:
    match shape.type_name:
        case "float":
            yield path
        case "list":
            yield from _floats(shape.member, f"{path}[]", above)
        case "structure" if shape.name not in above:
            for name, inner in members(shape).items():
                yield from _floats(inner, f"{path}.{name}", above | {shape.name})
