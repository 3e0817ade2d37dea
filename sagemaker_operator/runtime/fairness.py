"""The order of ready keys: by priority, then namespaces in turn, without starvation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """controller-runtime's values, so that its dashboards can be used."""

    HIGH = 10
    """A person waits for it: a deletion, a reconcile requested by annotation."""
    NORMAL = 0
    LOW = -100
    """Thousands at once: the initial list, the resync."""


PATIENCE = 16
"""How many gets a waiting priority can be skipped for before it is served next.

controller-runtime has no such limit, and a steady hundred of normal keys starved its initial list for 40 minutes.
"""


class _Lane(Generic[K]):
    """One priority: a ring of namespaces, each with its keys in order of arrival. Each namespace in the ring has a key."""

    __slots__ = ("ring", "size", "skipped")

    def __init__(self) -> None:
        self.ring: OrderedDict[str, OrderedDict[K, None]] = OrderedDict()
        self.size = 0
        self.skipped = 0

    def append(self, namespace: str, key: K) -> None:
        if not self.size:
            self.skipped = 0
        keys = self.ring.get(namespace)
        if keys is None:
            keys = self.ring[namespace] = OrderedDict()
        keys[key] = None
        self.size += 1

    def remove(self, namespace: str, key: K) -> None:
        keys = self.ring[namespace]
        del keys[key]
        self.size -= 1
        if not keys:
            del self.ring[namespace]

    def take(self, namespace: str) -> K:
        keys = self.ring[namespace]
        key, _ = keys.popitem(last=False)
        self.size -= 1
        if keys:
            self.ring.move_to_end(namespace)
        else:
            del self.ring[namespace]
        return key


class FairQueue(Generic[K]):
    """Ready keys, each at most once, and the count of taken keys per namespace. Every operation is O(1).

    - The highest waiting priority is served, unless another one was skipped `PATIENCE` times: then that one. As several
      can be due at once, a priority is skipped at most `PATIENCE + len(Priority) - 1` = 18 times in a row.
    - Within a priority the namespaces take turns, each with its oldest key.
    - A namespace that uses half the workers is skipped while another one waits, so that its slow keys cannot use all of
      them. At most two namespaces can use that many, so skipping takes at most two steps.
    """

    def __init__(self, *, namespace_of: Callable[[K], str], workers: int) -> None:
        self._namespace_of = namespace_of
        self._cap = max(1, (workers + 1) // 2)
        self._lanes: dict[Priority, _Lane[K]] = {priority: _Lane() for priority in Priority}
        self._items: OrderedDict[K, tuple[float, Priority]] = OrderedDict()
        """(time of arrival, priority) by key, in order of arrival: a raised priority keeps a key's place here."""
        self._in_flight: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def push(self, key: K, *, priority: Priority, now: float) -> None:
        """Add a key that is not in the queue. `now` (loop time) is when it arrived."""
        self._items[key] = (now, priority)
        self._lanes[priority].append(self._namespace_of(key), key)

    def raise_priority(self, key: K, priority: Priority) -> None:
        """Move a queued key to a higher priority; a lower or equal one changes nothing."""
        since, current = self._items[key]
        if priority <= current:
            return
        namespace = self._namespace_of(key)
        self._lanes[current].remove(namespace, key)
        self._lanes[priority].append(namespace, key)
        self._items[key] = (since, priority)

    def pop(self) -> tuple[K, float]:
        """The next key and its time of arrival. Raises IndexError if there is none.

        The key counts against its namespace until `release`.
        """
        lane, namespace = self._next()
        for other in self._lanes.values():
            other.skipped += 1
        lane.skipped = 0
        key = lane.take(namespace)
        self._in_flight[namespace] = self._in_flight.get(namespace, 0) + 1
        since, _ = self._items.pop(key)
        return key, since

    def _next(self) -> tuple[_Lane[K], str]:
        waiting = [lane for lane in self._lanes.values() if lane.size]
        if len(waiting) > 1:
            # The sort is stable: due ones first, each group by priority.
            waiting.sort(key=lambda lane: lane.skipped < PATIENCE)
        for lane in waiting:
            for namespace in lane.ring:
                if self._in_flight.get(namespace, 0) < self._cap:
                    return lane, namespace
        # All waiting namespaces are at their cap: serve one rather than leave workers idle.
        return waiting[0], next(iter(waiting[0].ring))

    def release(self, key: K) -> None:
        """A popped key is not being worked on any more."""
        namespace = self._namespace_of(key)
        left = self._in_flight[namespace] - 1
        if left:
            self._in_flight[namespace] = left
        else:
            del self._in_flight[namespace]

    def clear(self) -> None:
        """Drop all waiting keys; popped keys must still be released."""
        self._items.clear()
        for priority in self._lanes:
            self._lanes[priority] = _Lane()

    def oldest(self) -> float | None:
        """Time of arrival of the key that waits longest, in any priority."""
        return next(iter(self._items.values()))[0] if self._items else None

    def depth_by_priority(self) -> dict[Priority, int]:
        return {priority: lane.size for priority, lane in self._lanes.items()}
