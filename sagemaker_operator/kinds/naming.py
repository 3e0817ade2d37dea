"""How the CRDs call what SageMaker calls otherwise: ACK's naming rule, and its inverse.

The rule reproduces all 1,765 field paths of ACK's 26 CRDs. Values (enum values, map keys, tag keys) are never renamed.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from sagemaker_operator.kinds.model import Shape, members, service_model, words

if TYPE_CHECKING:
    from collections.abc import Mapping

_INITIALISMS = {
    word: word.upper()
    for word in (
        *("Ami", "Arn", "Cpu", "Ebs", "Ec2", "Ecr", "Efs", "Gid", "Iam", "Id", "Ip", "Json", "Kms", "Sns", "Ui", "Uid"),
        *("Uri", "Url", "Vpc"),
    )
} | {"Arns": "ARNs", "Ids": "IDs"}
_FIRST = frozenset(_INITIALISMS) | frozenset(_INITIALISMS.values())


@cache
def field_name(member: str) -> str:
    """The CRD field of an API member: ``RoleArn`` -> ``roleARN``, ``EFSFileSystem`` -> ``efsFileSystem``."""
    if member == "Type":
        # `type` is a keyword of Go, and ACK's Go structs show through.
        return "type_"
    first, *rest = words(member)
    head = first.lower() if first in _FIRST else first[0].lower() + first[1:]
    return head + "".join(_INITIALISMS.get(word, word) for word in rest)


def member_names(shape: Shape) -> Mapping[str, str]:
    """CRD field -> API member, for every member of a structure."""
    return _member_names(shape.name)


@cache
def _member_names(shape_name: str) -> Mapping[str, str]:
    # By name: a Shape is built anew on each access, and compares by identity.
    shape = service_model().shape_for(shape_name)
    return MappingProxyType({field_name(member): member for member in members(shape)})


def member_name(shape: Shape, field: str) -> str:
    """The API member behind a CRD field of a structure. Raises KeyError if the structure has no such field."""
    return member_names(shape)[field]


def field_path(shape: Shape, path: str) -> str:
    """``InputDataConfig[].DataSource`` below `shape` -> ``inputDataConfig[].dataSource``.

    Ends at the first map: its keys are the user's data, and do not belong into messages.
    """
    found: list[str] = []
    current = shape
    for part in path.split("."):
        if current.type_name != "structure":
            break
        member = part.removesuffix("[]")
        found.append(field_name(member) + part[len(member) :])
        current = members(current)[member]
        if part != member:
            current = current.member
    return ".".join(found)
