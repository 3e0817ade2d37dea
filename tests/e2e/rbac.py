"""The manifests' RBAC rules as an authorizer in front of any API server: refuses requests without a rule, and counts used rules.

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
from tests.transports import ForwardingTransport, Request, WholeStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sagemaker_operator.kube.transport import StreamingResponse

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


class Authorizer(ForwardingTransport):
    """Answers 403 where RBAC would. `denied` and `unused` are the rules that the manifests lack or do not need."""

    def __init__(self, grants: frozenset[Grant]) -> None:
        super().__init__()
        self._grants = grants
        self._used: set[Grant] = set()
        self.denied: list[Grant] = []

    @property
    def unused(self) -> frozenset[Grant]:
        return self._grants - self._used

    async def answer(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return Response(403, {"Content-Type": "application/json"}, refused)
        return await super().answer(request)

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[StreamingResponse]:
        refused = self._refused(request)
        if refused is not None:
            yield WholeStream(403, refused)
            return
        async with super().open(request) as stream:
            yield stream

    def _refused(self, request: Request) -> bytes | None:
        """The Status of a request that is not granted; None for one that is."""
        target, method, query = target_of(request.path), request.method, dict(request.query)
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
