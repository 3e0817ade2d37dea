"""The cache of one kind, updated by its watchers and by the operator's own writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, ItemsView, Iterable, KeysView, ValuesView

    from sagemaker_operator.objects import KubeObject, ObjectKey

Name = tuple[str, str]
"""(namespace, name)"""


class Change(NamedTuple):
    """One change of the cache. Both set with other UIDs: the object was deleted and created again."""

    old: KubeObject | None
    new: KubeObject | None


class Store:
    """Objects by (namespace, name).

    Guarantees:
    - A read is never older than our own last write: `apply_own_write` takes the answer of a PATCH, and the watch's echo
      of it (or any older state) is dropped as stale.
    - A deleted object stays deleted: late events about it are dropped. `_newest` is the newest version that a list or a
      watch of a scope has delivered; an object that is absent and not newer than that has been deleted.

    Assumption: versions compare as integers within one collection (KEP-5504).

    Caveat: if a server's versions are not integers, only a repeated version is stale.
    """

    def __init__(self, namespaces: Collection[str] = ()) -> None:
        """`namespaces` that are watched, each by its own watcher; empty: all, by one watcher."""
        self._objects: dict[Name, KubeObject] = {}
        self._namespaces = frozenset(namespaces)
        self._unlisted: set[str] = set(namespaces) or {""}
        self._newest: dict[str, int] = {}
        """By scope: a namespace where each is watched on its own, else ""."""
        self._removed: dict[Name, str] = {}
        """UIDs of objects that our own write removed and of which the watch may still deliver older states."""
        self.synced = asyncio.Event()
        """Set once everything watched was listed."""

    # Reading

    def get(self, namespace: str, name: str) -> KubeObject | None:
        return self._objects.get((namespace, name))

    def keys(self) -> KeysView[Name]:
        return self._objects.keys()

    def items(self) -> ItemsView[Name, KubeObject]:
        return self._objects.items()

    def objects(self) -> ValuesView[KubeObject]:
        return self._objects.values()

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        state = "synced" if self.synced.is_set() else f"{len(self._unlisted)} lists missing"
        return f"<Store {len(self._objects)} objects, newest {max(self._newest.values(), default=0)}, {state}>"

    # Updates from the watch

    def apply(self, obj: KubeObject) -> Change | None:
        """An object from the watch. None: nothing has changed, or the cached state is newer."""
        scope = self._scope(obj.metadata.namespace)
        newest = self._newest.get(scope, 0)
        if obj.version > newest:
            self._newest[scope] = obj.version
        elif obj.version and _name(obj) not in self._objects:
            return None
        return self._put(obj)

    def delete(self, gone: KubeObject | ObjectKey, version: int = 0) -> KubeObject | None:
        """A deletion from the watch; `version` is the object's, 0 if it is not known.

        The cached object that was removed; None if there was none, or if it is newer than its deletion (created again).
        """
        if isinstance(gone, tuple):
            name: Name = (gone.namespace, gone.name)
        else:
            name, version = _name(gone), version or gone.version
        scope = self._scope(name[0])
        self._newest[scope] = max(self._newest.get(scope, 0), version)
        self._removed.pop(name, None)
        cached = self._objects.get(name)
        if cached is None or 0 < version < cached.version:
            return None
        return self._objects.pop(name)

    def replace(
        self,
        objects: Iterable[KubeObject],
        resource_version: str,
        *,
        namespace: str | None = None,
        rewound: bool = False,
    ) -> list[Change]:
        """A whole list of `namespace` (None: of all that is watched), as of `resource_version`.

        Returns the changes, including deletions of absent objects. A list that is older than what the watch has delivered
        (from a lagging replica) changes nothing, unless `rewound`: versions have gone back (etcd was restored), and cached
        states newer than the list do not exist any more.
        """
        version = int(resource_version) if resource_version.isdigit() else 0
        scopes = {namespace} if namespace is not None and self._namespaces else set(self._namespaces) or {""}
        changes: list[Change] = []
        if rewound and 0 < version < max(self._newest.get(scope, 0) for scope in scopes):
            changes = self._rewind(objects, namespace)
            self._newest.update(dict.fromkeys(scopes, version))
        elif not 0 < version < max(self._newest.get(scope, 0) for scope in scopes):
            present: set[Name] = set()
            for obj in objects:
                present.add(_name(obj))
                if change := self._put(obj):
                    changes.append(change)
            changes += self._remove_absent(present, version, namespace)
            self._newest.update(dict.fromkeys(scopes, version))
        self._unlisted -= scopes
        if not self._unlisted:
            self.synced.set()
        return changes

    def _rewind(self, objects: Iterable[KubeObject], namespace: str | None) -> list[Change]:
        """Replace the cache by the list, whatever its versions."""
        listed = {_name(obj): obj for obj in objects}
        inside = [name for name in self._objects if namespace is None or name[0] == namespace]
        changes = [Change(self._objects.pop(name), None) for name in inside if name not in listed]
        for name, obj in listed.items():
            cached = self._objects.get(name)
            if cached is None or (cached.metadata.uid, cached.version) != (obj.metadata.uid, obj.version):
                self._objects[name] = obj
                changes.append(Change(cached, obj))
        for name in [name for name in self._removed if namespace is None or name[0] == namespace]:
            del self._removed[name]
        return changes

    def _remove_absent(self, present: set[Name], version: int, namespace: str | None) -> list[Change]:
        def absent(names: Iterable[Name]) -> list[Name]:
            return [name for name in names if name not in present and (namespace is None or name[0] == namespace)]

        changes = []
        for name in absent(self._objects):
            cached = self._objects[name]
            if version and cached.version > version:
                continue  # our own write is newer than the list; the watch will deliver a deletion
            del self._objects[name]
            changes.append(Change(cached, None))
        for name in absent(self._removed):
            del self._removed[name]  # the list is newer than the removal: no older state can arrive any more
        return changes

    # Own writes

    def apply_own_write(self, obj: KubeObject) -> Change | None:
        """The answer to our own PATCH. None: the watch has delivered it already.

        The patch that removes the last finalizer of a deleted object removes the object. API servers answer it with the
        version before, so that version is ignored.
        """
        name = _name(obj)
        cached = self._objects.get(name)
        if cached is None and obj.version <= self._newest.get(self._scope(name[0]), 0):
            return None
        if not (obj.metadata.deletion_timestamp and not obj.metadata.finalizers):
            return self._put(obj)
        if cached is None or cached.metadata.uid != obj.metadata.uid:
            return None
        self._removed[name] = obj.metadata.uid
        return Change(self._objects.pop(name), None)

    # Inside

    def _scope(self, namespace: str) -> str:
        return namespace if self._namespaces else ""

    def _put(self, obj: KubeObject) -> Change | None:
        name = _name(obj)
        cached = self._objects.get(name)
        if cached is not None and _is_stale(obj, cached):
            return None
        if self._removed and (uid := self._removed.get(name)):
            if uid == obj.metadata.uid:
                return None
            del self._removed[name]
        self._objects[name] = obj
        return Change(cached, obj)


def _name(obj: KubeObject) -> Name:
    return obj.metadata.namespace, obj.metadata.name


def _is_stale(obj: KubeObject, cached: KubeObject) -> bool:
    same = obj.metadata.uid == cached.metadata.uid
    if obj.version and cached.version:
        return obj.version <= cached.version if same else obj.version < cached.version
    return same and obj.metadata.resource_version == cached.metadata.resource_version
