"""Names of CRD fields for API members, by ACK's rule, and its inverse.

The rule reproduces all 1,765 field paths of ACK's 26 CRDs. Values (enum values, map keys, tag keys) are never renamed.
"""

from __future__ import annotations

import re
from functools import cache

from sagemaker_operator.kinds.model import Shape, members, name_parts

_SINGULAR = (
    "Acl Acp Ami Api Arn Asn Aws Az Bgp Cidr Cors Cpu Db Dhcp Dns Ebs Ec2 Ecmp Ecr Efs Eks Ena Fpga Gid Gpu Html "
    "Http Https Iam Icmp Id Io Iops Ip Json Jwt Kms Ldap Mfa Nat Oidc Sdk Sns Sqs Sse Ssl Tcp Tde Tls Udp Ui Uid "
    "Uri Url Uuid Vlan Vpc Vpn Waf Xml Yaml"
)
_INITIALISMS = (
    {word: word.upper() for word in _SINGULAR.split()}
    | {f"{word}s": f"{word.upper()}s" for word in _SINGULAR.split()}
    # ACK replaces parts of words: Id and Io begin these two.
    | {"Https": "HTTPS", "Idc": "IDc", "Iot": "IOt"}
)
_FIRST = frozenset(_INITIALISMS) | frozenset(_INITIALISMS.values())

_INDEX = re.compile(r"\[\d*\]$")


@cache
def field_name(member: str) -> str:
    """The CRD field of an API member: ``RoleArn`` -> ``roleARN``, ``EFSFileSystem`` -> ``efsFileSystem``."""
    if member == "Type":
        # `type` is a keyword of Go, so ACK's Go structs, and with them its CRDs, have `type_`.
        return "type_"
    first, *rest = name_parts(member)
    head = first.lower() if first in _FIRST else first[0].lower() + first[1:]
    return head + "".join(_INITIALISMS.get(word, word) for word in rest)


def type_name(name: str) -> str:
    """The kind of a resource, as ACK spells it: ``HumanTaskUi`` -> ``HumanTaskUI``, as its own ``RestApi`` is ``RestAPI``."""
    return "".join(_INITIALISMS.get(word, word) for word in name_parts(name))


def short_name(kind: str) -> str:
    """The short name of a kind in kubectl: ``Domain`` -> ``smdomain``, ``FeatureGroup`` -> ``smfg``."""
    parts = name_parts(kind)
    return "sm" + (parts[0] if len(parts) == 1 else "".join(part[0] for part in parts)).lower()


def field_path(shape: Shape, path: str, *, root: str = "spec") -> str:
    """`OutputDataConfig.S3OutputPath` below `shape` -> `spec.outputDataConfig.s3OutputPath`: as the user wrote it.

    Understands our own paths (`A.B`, `A[0].B`, `A[].B`) and those of AWS's constraint reports, which begin members with
    a small letter and count lists from one (`inputDataConfig.1.member.channelName`). Ends at the first map, whose keys
    are the user's data, and at the first member that the model does not know.
    """
    found = root
    current = shape
    parts = [part for part in path.split(".") if part]
    for position, part in enumerate(parts):
        if current.type_name == "list":
            if part.isdigit():
                found += f"[{int(part) - 1}]"
                continue
            current = current.member
            if part == "member":
                continue
        if current.type_name != "structure":
            break
        index = _INDEX.search(part)
        member = _spelled(current, part[: index.start()] if index else part)
        if member is None:
            break
        found += f".{field_name(member)}"
        current = members(current)[member]
        if index and current.type_name == "list":
            found += index.group()
            # A bare list at the end stays a list; only a path that goes on descends into its items.
            if position + 1 < len(parts):
                current = current.member
    return found


def _spelled(shape: Shape, name: str) -> str | None:
    """The member of this name, compared without case."""
    known = members(shape)
    if name in known:
        return name
    return next((member for member in known if member.lower() == name.lower()), None)
