"""The manifests' RBAC rules as an authorizer in front of any API server: what they do not grant is refused, what they do counted.

The test servers have no RBAC of their own. This follows RBAC's rules: a ClusterRole bound by a ClusterRoleBinding holds in
every namespace, a Role in its own; `*` stands for all; a rule with resourceNames holds for requests that name the object in
their URL.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from sagemaker_operator.kube.transport import Response
from sagemaker_operator.sandbox.kubernetes.routing import target_of, verb_of
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from sagemaker_operator.kube.transport import Query, StreamingResponse, Transport

# Features that need more than the rest have a file of their own, which is applied with it by default.
RBAC = sorted((ROOT / "manifests").glob("rbac*.yaml"))


class Grant(NamedTuple):
    """One verb on one resource. `namespace` and `name` are empty where it holds for all."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def allows(self, asked: Grant) -> bool:
        """`asked` is a request: its namespace is empty for all of them, its name for none."""
        return (
            self.verb in (asked.verb, "*")
            and self.group in (asked.group, "*")
            and self.resource in (asked.resource, "*")
            and self.namespace in (asked.namespace, "")
            and self.name in (asked.name, "")
        )


def granted(documents: list[dict[str, Any]]) -> Iterator[Grant]:
    """What the bound roles among RBAC manifests grant, with everything multiplied out."""
    roles = {(role["kind"], role["metadata"]["name"]): role for role in documents if "rules" in role}
    for binding in documents:
        if not binding["kind"].endswith("Binding"):
            continue
        namespace = binding["metadata"].get("namespace", "")
        for rule in roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", [""]):
                            yield Grant(verb, group, resource, namespace, name)


def shipped() -> frozenset[Grant]:
    return frozenset(
        granted([found for file in RBAC for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))])
    )


class Authorizer:
    """A Transport that answers 403 where RBAC would. `denied` and `unused` say what the manifests should be told."""

    def __init__(self, grants: frozenset[Grant]) -> None:
        self._grants = grants
        self._used: set[Grant] = set()
        self.denied: list[Grant] = []
        self._inner: Transport | None = None

    @property
    def unused(self) -> frozenset[Grant]:
        return self._grants - self._used

    def through(self, inner: Transport) -> Transport:
        self._inner = inner
        return self

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        timeout: float,
    ) -> Response:
        assert self._inner is not None
        refused = self._refused(method, path, dict(query))
        if refused is not None:
            return Response(403, {"Content-Type": "application/json"}, refused)
        return await self._inner.request(method, path, query=query, headers=headers, body=body, timeout=timeout)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] = {}, timeout: float
    ) -> AsyncIterator[StreamingResponse]:
        assert self._inner is not None
        refused = self._refused("GET", path, dict(query))
        if refused is not None:
            yield _Refused(refused)
            return
        async with self._inner.stream(path, query=query, headers=headers, timeout=timeout) as stream:
            yield stream

    def _refused(self, method: str, path: str, query: Mapping[str, str]) -> bytes | None:
        """The Status of a request that is not granted; None for one that is."""
        target = target_of(path)
        if target is None or not target.plural:
            # Discovery and health are open to every authenticated user.
            return None
        verb = verb_of(method, target, watching=query.get("watch") in ("1", "true")) or method.lower()
        resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
        # A list or watch of one name is allowed where that name is.
        selected = query.get("fieldSelector", "").removeprefix("metadata.name=")
        asked = Grant(verb, target.group, resource, target.namespace or "", target.name or selected)
        by = {grant for grant in self._grants if grant.allows(asked)}
        if by:
            self._used |= by
            return None
        self.denied.append(asked)
        message = f'{resource}.{target.group} "{target.name}" is forbidden: User cannot {verb} resource "{resource}"'
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}
        return json.dumps(status | {"message": message}).encode()


class _Refused:
    """A watch that was not allowed."""

    status = 403
    headers: Mapping[str, str] = {"Content-Type": "application/json"}

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def read(self) -> bytes:
        return self._body
