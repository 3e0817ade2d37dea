"""Objects with a global resourceVersion, the history for watches, and the snapshots for paged lists."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

JsonObject = dict[str, Any]
CollectionId = tuple[str, str]
"""(group, plural)."""
ObjectId = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped objects."""

# A paged list that is not finished must not be kept indefinitely; a real server forgets it with the next compaction (5 min).
_SNAPSHOTS = 32


class ChangeType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(NamedTuple):
    """One write. `object` is the new state, or for DELETED the last one, always with the write's own version."""

    version: int
    type: ChangeType
    object: JsonObject
    previous: JsonObject | None


Listener = Callable[[Change], None]


class _Collection:
    __slots__ = ("changes", "listeners", "objects", "oldest")

    def __init__(self, history: int, oldest: int) -> None:
        self.objects: dict[ObjectId, JsonObject] = {}
        self.changes: deque[Change] = deque(maxlen=history)
        self.oldest = oldest
        """The oldest version a watch may start from: everything after it is in `changes`."""
        self.listeners: dict[Listener, None] = {}


class Storage:
    """Stored objects are never changed in place, so a reader may keep them; `copy_of` gives one to edit.

    `history` is how many changes each collection remembers for watches.
    """

    def __init__(self, *, history: int) -> None:
        self._history = history
        self._collections: dict[CollectionId, _Collection] = {}
        self._snapshots: OrderedDict[tuple[CollectionId, int], Sequence[JsonObject]] = OrderedDict()
        self.version = 0

    def get(self, collection: CollectionId, key: ObjectId) -> JsonObject | None:
        return self._collection(collection).objects.get(key)

    def list(self, collection: CollectionId, namespace: str | None = None) -> list[JsonObject]:
        """Sorted as etcd sorts them: by namespace, then name."""
        objects = self._collection(collection).objects
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def put(self, collection: CollectionId, key: ObjectId, obj: JsonObject) -> JsonObject:
        """Stores `obj` (without a copy) with the next version, and returns it with that version."""
        held = self._collection(collection)
        previous = held.objects.get(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        held.objects[key] = obj
        type_ = ChangeType.ADDED if previous is None else ChangeType.MODIFIED
        self._publish(held, Change(self.version, type_, obj, previous))
        return obj

    def remove(self, collection: CollectionId, key: ObjectId) -> None:
        """Raises KeyError if there is none."""
        held = self._collection(collection)
        last = held.objects.pop(key)
        self.version += 1
        gone = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.version)}}
        self._publish(held, Change(self.version, ChangeType.DELETED, gone, last))

    def _publish(self, held: _Collection, change: Change) -> None:
        if len(held.changes) == held.changes.maxlen:
            held.oldest = held.changes[0].version
        held.changes.append(change)
        for listener in list(held.listeners):
            listener(change)

    def begin(self, collection: CollectionId) -> None:
        """Creates the collection: watches from before are too old."""
        self._collections[collection] = _Collection(self._history, self.version)

    def oldest(self, collection: CollectionId) -> int:
        """The oldest version a watch may start from."""
        return self._collection(collection).oldest

    def since(self, collection: CollectionId, version: int) -> Iterator[Change]:
        """The kept changes after `version`, oldest first."""
        return (change for change in self._collection(collection).changes if change.version > version)

    def subscribe(self, collection: CollectionId, listener: Listener) -> None:
        self._collection(collection).listeners[listener] = None

    def unsubscribe(self, collection: CollectionId, listener: Listener) -> None:
        self._collection(collection).listeners.pop(listener, None)

    def forget(self) -> None:
        """Compaction: no watch can resume from before now, and no paged list can be continued."""
        self._snapshots.clear()
        for held in self._collections.values():
            held.changes.clear()
            held.oldest = self.version

    def snapshot(self, collection: CollectionId) -> None:
        """Keeps the current state of the collection for `at_snapshot`."""
        self._snapshots[collection, self.version] = self.list(collection)
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def at_snapshot(self, collection: CollectionId, version: int) -> Sequence[JsonObject] | None:
        """The collection at `version`, or None if that is not kept any more."""
        return self._snapshots.get((collection, version))

    def _collection(self, collection: CollectionId) -> _Collection:
        if collection not in self._collections:
            self._collections[collection] = _Collection(self._history, 0)
        return self._collections[collection]

    def __repr__(self) -> str:
        sizes = {"/".join(name): len(held.objects) for name, held in self._collections.items() if held.objects}
        return f"<Storage version {self.version}, {sizes}>"


def copy_of(obj: JsonObject) -> JsonObject:
    """A deep copy, 5 times as fast as copy.deepcopy for JSON."""
    copied: JsonObject = msgspec.json.decode(msgspec.json.encode(obj))
    return copied
