"""The cache of one kind, fed by its watchers and by our own writes."""

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
    """Objects by (namespace, name), never going back in time.

    - A read is never older than our own last write: `apply_own_write` takes the answer of a PATCH, and the watch's echo
      of it (or anything before it) is dropped as stale.
    - What is gone stays gone: late news of a deleted object is dropped. `_seen` is the newest version that a list or a
      watch of a scope has told; what is absent and not newer than that has been deleted.

    Versions compare as integers within one collection (KEP-5504). A server whose versions are no integers can only be
    believed: then nothing but a repeated version counts as stale.
    """

    def __init__(self, namespaces: Collection[str] = ()) -> None:
        """`namespaces` that are watched, each by its own watcher; empty: all, by one watcher."""
        self._objects: dict[Name, KubeObject] = {}
        self._namespaces = frozenset(namespaces)
        self._unlisted: set[str] = set(namespaces) or {""}
        self._seen: dict[str, int] = {}
        """By scope: a namespace where each is watched on its own, else ""."""
        self._removed: dict[Name, str] = {}
        """UIDs that our own write removed and of which the watch may still bring older states."""
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
        return f"<Store {len(self._objects)} objects, seen {max(self._seen.values(), default=0)}, {state}>"

    # News from the watch

    def apply(self, obj: KubeObject) -> Change | None:
        """An object that the watch brought. None: nothing new, the state is older than what is known."""
        scope = self._scope(obj.metadata.namespace)
        seen = self._seen.get(scope, 0)
        if obj.version > seen:
            self._seen[scope] = obj.version
        elif obj.version and _name(obj) not in self._objects:
            return None
        return self._put(obj)

    def delete(self, gone: KubeObject | ObjectKey, version: int = 0) -> KubeObject | None:
        """A deletion that the watch brought; `version` is the object's if one is passed, 0 if it is not known.

        The cached object that was removed; None if there was none, or if it is newer than its deletion (created again).
        """
        if isinstance(gone, tuple):
            name: Name = (gone.namespace, gone.name)
        else:
            name, version = _name(gone), version or gone.version
        scope = self._scope(name[0])
        self._seen[scope] = max(self._seen.get(scope, 0), version)
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

        Returns what changed, deletions of absent objects included. A list that is older than what the watch has brought
        since (a lagging replica answered) contains nothing new and changes nothing, unless `rewound`: versions have gone
        back, and what is cached from beyond the list's version never happened.
        """
        version = int(resource_version) if resource_version.isdigit() else 0
        scopes = {namespace} if namespace is not None and self._namespaces else set(self._namespaces) or {""}
        changes: list[Change] = []
        if rewound and 0 < version < max(self._seen.get(scope, 0) for scope in scopes):
            changes = self._rewind(objects, namespace)
            self._seen.update(dict.fromkeys(scopes, version))
        elif not 0 < version < max(self._seen.get(scope, 0) for scope in scopes):
            present: set[Name] = set()
            for obj in objects:
                present.add(_name(obj))
                if change := self._put(obj):
                    changes.append(change)
            changes += self._remove_absent(present, version, namespace)
            self._seen.update(dict.fromkeys(scopes, version))
        self._unlisted -= scopes
        if not self._unlisted:
            self.synced.set()
        return changes

    def _rewind(self, objects: Iterable[KubeObject], namespace: str | None) -> list[Change]:
        """Take the list as it is, whatever versions it has."""
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
                continue  # our own write came after the list; the watch will tell
            del self._objects[name]
            changes.append(Change(cached, None))
        for name in absent(self._removed):
            del self._removed[name]  # the list was made after it: no older state can come any more
        return changes

    # News from ourselves

    def apply_own_write(self, obj: KubeObject) -> Change | None:
        """The answer to our own PATCH. None: the watch has been faster.

        The answer to the patch that removes the last finalizer of a deleted object is that object's end; API servers
        answer it with the version before, so its version says nothing.
        """
        name = _name(obj)
        cached = self._objects.get(name)
        if cached is None and obj.version <= self._seen.get(self._scope(name[0]), 0):
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
