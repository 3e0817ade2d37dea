"""Assigns objects to processes that share the work: each process owns a range of hashes.

The hash is that of server-side sharded watches (KEP-5866, alpha in Kubernetes 1.36): 64-bit FNV-1a of the UID, equal ranges.
So the assignment will be the same once the API server does the filtering.
"""

from __future__ import annotations

from typing import NamedTuple

_OFFSET_BASIS = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_SPACE = 1 << 64


def fnv1a_64(text: str) -> int:
    """The 64-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    value = _OFFSET_BASIS
    for byte in text.encode():
        value = (value ^ byte) * _PRIME % _SPACE
    return value


class Shard(NamedTuple):
    """Process `number` (from 0) of `total`. Every UID belongs to exactly one shard."""

    number: int = 0
    total: int = 1

    @property
    def bounds(self) -> tuple[int, int]:
        """The half-open range of hashes."""
        return _SPACE * self.number // self.total, _SPACE * (self.number + 1) // self.total

    def owns(self, uid: str) -> bool:
        if self.total == 1:
            return True
        low, high = self.bounds
        return low <= fnv1a_64(uid) < high

    def __str__(self) -> str:
        return f"shard {self.number} of {self.total}"
