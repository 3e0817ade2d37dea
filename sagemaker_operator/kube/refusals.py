"""The writes that RBAC currently denies: permissions can be revoked after the start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_operator.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_operator.objects import Resource

# A denied key is retried at least this often; a write that is not needed any more is forgotten after this time.
_FORGOTTEN_SECONDS = 1800.0
# Enough for 26 kinds with two subresources and two verbs in nine namespaces (936 keys).
_REMEMBERED = 1024

_OURS = (".services.k8s.aws", "services.k8s.aws")
"""Suffixes of the API groups of our kinds, which the operator must be able to write."""

# RBAC's (and every authorizer's) text. An admission webhook answers 403 too, about one object and its author.
_UNAUTHORIZED = re.compile(r" cannot (\w+) resource ")

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
"""HTTP method to the verb of a rule, for single objects."""


def is_rbac(error: Exception) -> bool:
    """Whether a permission is missing; False if an admission webhook rejected one object."""
    return isinstance(error, Forbidden) and _UNAUTHORIZED.search(error.message) is not None


class _Refused(NamedTuple):
    text: str
    at: float


class Refusals:
    """Keeps the denied writes of our kinds, until one of the same kind and namespace succeeds."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the loop's time."""
        self._now = now
        self._refused: dict[tuple[str, Resource, str, str], _Refused] = {}

    def note(self, method: str, resource: Resource, namespace: str, subresource: str, error: Exception | None) -> None:
        """The outcome of one write; `error` None: it was accepted."""
        if not resource.group.endswith(_OURS):
            return
        key = (method, resource, namespace, subresource)
        if error is None:
            self._refused.pop(key, None)
        elif is_rbac(error) and (key in self._refused or len(self._refused) < _REMEMBERED):
            plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
            where = f" in namespace {namespace}" if namespace else ""
            text = f"not allowed to {VERBS.get(method, method)} {plural}{where}: apply manifests/rbac.yaml for this identity"
            self._refused[key] = _Refused(text, self._now())

    def current(self) -> str | None:
        """A write that was denied when last tried; None if there is none."""
        now = self._now()
        return next((one.text for one in self._refused.values() if now - one.at < _FORGOTTEN_SECONDS), None)
