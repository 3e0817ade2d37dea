"""Shards and their leases: who may work beside whom.

Shard 0 holds ACK's own lease, so that ACK and we can never lead at once; the others hold one of their own. The holder's
name says how many shards it believes there are. Two processes that count differently would both own some objects, so a
process that has just got its lease looks at the others', and gives its own up again while another count is at work. Each
writes before it reads: of two that start at the same moment at least one sees the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kube.lease import LEASES

if TYPE_CHECKING:
    from sagemaker_operator.kube.client import KubeClient

LEASE_NAME = "ack-sagemaker.services.k8s.aws"
"""ACK's own: in a cluster that is switching, the two controllers can never lead at once."""


def lease_name(shard: int) -> str:
    return LEASE_NAME if shard == 0 else f"{LEASE_NAME}-shard-{shard}"


def holder_identity(process: str, total: int) -> str:
    """The holder's name in the lease. ACK's never ends like this."""
    return process if total == 1 else f"{process}{_ending(total)}"


def _ending(total: int) -> str:
    return f"_of-{total}"


class Rivals:
    """The leases of other layouts, as far as they are alive. Call it after getting one's own lease."""

    def __init__(self, client: KubeClient, *, namespace: str, shard: int, total: int) -> None:
        self._client = client
        self._namespace = namespace
        self._own = lease_name(shard)
        self._total = total
        self._seen: dict[str, tuple[dict[str, Any], float]] = {}
        """By lease: its record and the loop time when it last changed. Its timestamps are another clock's."""

    async def __call__(self) -> str:
        """Who works in another layout, for people; empty: nobody. Raises KubeError."""
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
        known, since = self._seen.get(name, ({}, now))
        if record != known:
            self._seen[name] = (record, now)
            return True
        return now < since + float(record.get("leaseDurationSeconds") or 0.0)
