"""Watches namespaces, role maps and IAMRoleSelectors, which decide, besides the object itself, about its placement.

They are a barrier: no worker starts, and the operator does not become leader, before all of them were listed. The readiness
probe and the log report what is forbidden or missing. With `--enable-carm=false` and without the IAMRoleSelector gate none of
them is read: annotations of namespaces are ignored, as with ACK, and no permission is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from sagemaker_operator.annotations import (
    DEFAULT_REGION,
    ENDPOINT_URL,
    NAMESPACE_DELETION_POLICY,
    OWNER_ACCOUNT_ID,
    TEAM_ID,
)
from sagemaker_operator.control.placement.roles import ACCOUNT_MAP, TEAM_MAP, NamespaceConfig, Selector, selector_of
from sagemaker_operator.guard import Guard
from sagemaker_operator.kube.collection import Collection
from sagemaker_operator.logs import get_logger
from sagemaker_operator.objects import Meta, Resource
from sagemaker_operator.runtime.informer import Informer

if TYPE_CHECKING:
    import random

    from sagemaker_operator.errors import KubeError
    from sagemaker_operator.kube.client import KubeClient
    from sagemaker_operator.runtime.store import Change
    from sagemaker_operator.settings import Settings

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SELECTORS = Resource("services.k8s.aws", "v1alpha1", "iamroleselectors", "IAMRoleSelector", namespaced=False)

IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Annotations there are ignored, as ACK does."""

_READ_ANNOTATIONS = (DEFAULT_REGION, ENDPOINT_URL, NAMESPACE_DELETION_POLICY, OWNER_ACCOUNT_ID, TEAM_ID)

_DELETED_NAMESPACES = 1000
"""Kept at most, of 1 KB each. A cluster that makes a namespace per pull request deletes tens of thousands a year."""

Concerned = Callable[[Resource, Meta], bool]
"""Whether a change of this configuration affects an object."""


class NamespaceConfigs:
    """`run()` watches until cancelled, `wait()` is the barrier, `of(namespace)` the current configuration."""

    def __init__(
        self,
        kube: KubeClient,
        settings: Settings,
        *,
        system_namespace: str,
        rng: random.Random,
        wake: Callable[[Concerned], None],
        guard: Guard | None = None,
    ) -> None:
        """`wake` is called with a predicate for each change, after `wait()` has returned. Needs a running loop."""
        gates = settings.feature_gates
        self._system_namespace = system_namespace
        self._rng = rng
        self._wake = wake
        self._guard = guard or Guard(rng=rng)
        self._log = get_logger("namespace-config")
        self._barrier_passed = False
        self._namespaces: dict[str, Meta] = {}
        self._deleted: dict[str, None] = {}
        """Deleted namespaces, oldest first. Another namespace of the same name may be created."""
        self._maps: dict[str, dict[str, str] | None] = {}
        self._selectors: dict[str, Selector] = {}
        self.informers: list[Informer] = []
        self._watches_namespaces = settings.enable_carm or gates.iam_role_selector
        if not self._watches_namespaces:
            return
        # A Role-scoped installation may only watch each of its namespaces by name.
        for name in settings.watch_namespaces or ("",):
            selector = f"metadata.name={name}" if name else None
            self._watch(Collection(kube, NAMESPACES, field_selector=selector), self._namespace_changed)
        for name, enabled in ((ACCOUNT_MAP, settings.enable_carm), (TEAM_MAP, gates.team_level_carm)):
            if enabled:
                source = Collection(kube, CONFIG_MAPS, field_selector=f"metadata.name={name}")
                self._watch(source, self._map_changed, system_namespace)
        if gates.iam_role_selector:
            self._watch(Collection(kube, SELECTORS), self._selector_changed)

    def __repr__(self) -> str:
        return (
            f"<NamespaceConfigs {len(self._namespaces)} namespaces, {len(self._selectors)} selectors, {self.waiting}>"
        )

    def _watch(self, source: Collection, changed: Callable[[Change, bool], None], *namespaces: str) -> None:
        def failed(error: KubeError, delay: float) -> None:
            self._log.warning(
                "Watch failed", controller=source.name, err=error.message, retryAfterSeconds=round(delay, 1)
            )

        informer = Informer(
            source, namespaces=namespaces, rng=self._rng, on_error=failed, guard=self._guard, part="namespace-config"
        )
        informer.listen(changed)
        self.informers.append(informer)

    # --- state -------------------------------------------------------------------------------------------------------

    def of(self, namespace: str) -> NamespaceConfig:
        read = self._watches_namespaces and namespace not in IGNORED_NAMESPACES
        meta = self._namespaces.get(namespace) if read else Meta(name=namespace)
        return NamespaceConfig(
            namespace=meta,
            deleted=read and (namespace in self._deleted or (meta is not None and meta.deletion_timestamp is not None)),
            system_namespace=self._system_namespace,
            accounts=self._maps.get(ACCOUNT_MAP),
            teams=self._maps.get(TEAM_MAP),
            selectors=tuple(self._selectors.values()),
        )

    @property
    def degraded(self) -> str | None:
        """Why a watch fails, and what to do; None while all work."""
        for informer in self.informers:
            if informer.degraded:
                return (
                    f"{informer.name}, which may name accounts and roles: {informer.degraded} "
                    "(an installation without them: --enable-carm=false)"
                )
        return None

    @property
    def waiting(self) -> str | None:
        """What the barrier waits for; None after it. If a watch fails later, its last state is used."""
        missing = [informer.name for informer in self.informers if not informer.synced.is_set()]
        if not missing:
            return None
        return self.degraded or f"{missing[0]}: the first list is not complete"

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                name = f"watch {informer.name}"
                group.create_task(self._guard.keep("namespace-config", name, informer.run), name=name)

    async def wait(self) -> None:
        for informer in self.informers:
            await informer.synced.wait()
        self._barrier_passed = True

    # --- changes -----------------------------------------------------------------------------------------------------

    def _changed(self, concerned: Concerned) -> None:
        # Before that, every object is on its queue anyway.
        if self._barrier_passed:
            self._wake(concerned)

    def _namespace_changed(self, change: Change, listed: bool) -> None:
        old = change.old.metadata if change.old else None
        new = change.new.metadata if change.new else None
        name = (new or old or Meta()).name
        if new is None:
            # Its objects were deleted first. If one is left, the annotations of the namespace still apply to it: keep them.
            self._remember_deleted(name)
            return
        known = self._namespaces.get(name)
        recreated = name in self._deleted or (known is not None and known.uid != new.uid)
        self._deleted.pop(name, None)
        self._namespaces[name] = new
        if known is None or recreated or _annotations(known) != _annotations(new) or self._relabelled(known, new):
            self._changed(lambda resource, meta: meta.namespace == name)

    def _remember_deleted(self, name: str) -> None:
        self._deleted[name] = None
        if len(self._deleted) > _DELETED_NAMESPACES:
            oldest = next(iter(self._deleted))
            del self._deleted[oldest]
            self._namespaces.pop(oldest, None)

    def _relabelled(self, old: Meta, new: Meta) -> bool:
        return bool(self._selectors) and old.labels != new.labels

    def _map_changed(self, change: Change, listed: bool) -> None:
        obj = change.new or change.old
        assert obj is not None  # noqa: S101  a change has one of the two
        name = obj.metadata.name
        before, after = self._maps.get(name), None if change.new is None else change.new.decode_data()
        self._maps[name] = after
        old, new = before or {}, after or {}
        keys = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        ids = {key.removeprefix("sagemaker.") for key in keys}
        annotation = OWNER_ACCOUNT_ID if name == ACCOUNT_MAP else TEAM_ID
        # If the map itself was created or deleted, the message changes also for ids that are not in it.
        all_ids = (before is None) != (after is None)
        namespaces = {
            namespace
            for namespace, meta in self._namespaces.items()
            if annotation in meta.annotations and (all_ids or meta.annotations[annotation] in ids)
        }
        self._changed(lambda resource, meta: meta.namespace in namespaces)

    def _selector_changed(self, change: Change, listed: bool) -> None:
        old = None if change.old is None else self._selectors.pop(change.old.metadata.name, None)
        new = None if change.new is None else selector_of(change.new)
        if new is not None:
            self._selectors[new.name] = new
        sides = [selector for selector in (old, new) if selector is not None]

        def concerned(resource: Resource, meta: Meta) -> bool:
            namespace = self._namespaces.get(meta.namespace, Meta())
            return any(selector.matches(resource, meta, namespace) for selector in sides)

        self._changed(concerned)


def _annotations(meta: Meta) -> dict[str, str]:
    return {name: meta.annotations[name] for name in _READ_ANNOTATIONS if name in meta.annotations}
