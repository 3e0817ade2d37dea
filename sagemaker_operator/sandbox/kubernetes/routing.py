"""Maps a method and a path to a verb on a resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

READS: Final = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One parsed request. `plural` is empty for paths without a resource (discovery, health)."""

    method: str
    path: str
    verb: str
    """get, list, watch, create, update, patch, delete or deletecollection."""
    group: str = ""
    version: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str | None = None
    """None: no namespace in the path."""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """With lower-case names."""
    body: bytes | None = None

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")


class Target(NamedTuple):
    """What a resource path points at."""

    group: str
    version: str
    plural: str
    namespace: str | None
    name: str
    subresource: str


def target_of(path: str) -> Target | None:
    """None for a path outside the resources."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", version, first, *rest]:
            group = ""
        case ["apis", group, version, first, *rest]:
            pass
        case _:
            return None
    namespace: str | None = None
    # /namespaces/x is a Namespace, /namespaces/x/configmaps a collection, and /namespaces/x/status its subresource.
    if first == "namespaces" and len(rest) >= 2 and not (len(rest) == 2 and rest[1] in ("status", "finalize")):
        namespace, first, *rest = rest
    if len(rest) > 2 or not all([first, *rest]):
        return None
    name, subresource = (*rest, "", "")[:2]
    return Target(group, version, first, namespace, name, subresource)


def verb_of(method: str, target: Target, *, watching: bool) -> str | None:
    """None if the method is not allowed there."""
    if target.name:
        named = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        return named.get(method)
    collection = {"GET": "watch" if watching else "list", "POST": "create", "DELETE": "deletecollection"}
    return collection.get(method)
