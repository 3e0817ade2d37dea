"""The Leases of shards, and the check that all processes are configured with the same number of shards.

Guarantees:
- Shard 0 uses ACK's own Lease, so that ACK and this operator never lead at once. Other shards have Leases of their own.
- Processes with different shard counts never lead at once: both would own some objects. The holder's name in a Lease
  contains its shard count; a process that has acquired its Lease reads the others, and releases its own while one with
  another count is alive. Each writes before it reads, so of two that start together at least one detects the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kube.lease import LEASES

if TYPE_CHECKING:
    from sagemaker_operator.kube.client import KubeClient

LEASE_NAME = "ack-sagemaker.services.k8s.aws"
"""The name that ACK uses: during a migration the two controllers never lead at once."""


def lease_name(shard: int) -> str:
    return LEASE_NAME if shard == 0 else f"{LEASE_NAME}-shard-{shard}"


def holder_identity(process: str, total: int) -> str:
    """The holder's name in the lease. ACK's never has this ending."""
    return process if total == 1 else f"{process}{_ending(total)}"


def _ending(total: int) -> str:
    return f"_of-{total}"


class Rivals:
    """The live leases of processes with another shard count. Call it after acquiring the own lease."""

    def __init__(self, client: KubeClient, *, namespace: str, shard: int, total: int) -> None:
        self._client = client
        self._namespace = namespace
        self._own = lease_name(shard)
        self._total = total
        self._observed: dict[str, tuple[dict[str, Any], float]] = {}
        """By lease: its record and the loop time when it last changed (its timestamps are of another clock)."""

    async def __call__(self) -> str:
        """The holder of a live lease with another shard count, for messages; empty if there is none. Raises KubeError."""
        for lease in (await self._client.get_json(LEASES.path(self._namespace)))["items"]:
            name = lease["metadata"]["name"]
            record = lease.get("spec") or {}
            holder = str(record.get("holderIdentity") or "")
            peer = self._total > 1 and holder.endswith(_ending(self._total))
            if not name.startswith(LEASE_NAME) or name == self._own or not holder or peer:
                continue
            if self._alive(name, record):
                return f"{holder} holds {name}"
        return ""

    def _alive(self, name: str, record: dict[str, Any]) -> bool:
        now = asyncio.get_running_loop().time()
        known, since = self._observed.get(name, ({}, now))
        if record != known:
            self._observed[name] = (record, now)
            return True
        return now < since + float(record.get("leaseDurationSeconds") or 0.0)
