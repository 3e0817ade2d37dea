"""Leader election with a coordination.k8s.io/v1 Lease, and a deadline to check before every mutating call.

A Lease elects but does not fence: AWS accepts calls of every process. So the leader checks `LeaderElector.fenced` before
a mutating call: would it end before another process may consider the lease expired?

Guarantees:
- `fenced` is never True in two processes at once: a leader counts its deadline from before it sent a renewal, other
  processes count the (longer) lease from after they observed it.
- A failed attempt never ends leadership by itself; only the deadline or another holder does.

Assumptions:
- The monotonic clocks of two processes run equally fast; their wall clocks may differ. As in client-go, validity is counted
  on the local monotonic clock from the moment a change of the record was observed; timestamps in the Lease are for people.
- `identity` is unique to a process.

Caveat: after `lost` is set the process must restart.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from sagemaker_operator.clock import rfc3339_micro
from sagemaker_operator.errors import Conflict, NotFound, OperatorError
from sagemaker_operator.kube.refusals import VERBS, is_rbac
from sagemaker_operator.logs import Event, emit, get_logger
from sagemaker_operator.objects import Resource

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kube.client import KubeClient

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

# client-go's: standbys that observed the same change must not all retry at the same moment.
_JITTER = 0.2

# An unchanged state is logged again this often: a day of waiting is 144 lines, and `kubectl logs --since=15m` has one.
_REPEAT_SECONDS = 600.0


class LeadershipLost(OperatorError):
    """The lease was not renewed in time, or another process holds it. The process must restart."""


class LeaderElector:
    """One candidate. `run` acquires and renews the lease; the events `leading` and `lost` report the result.

    See the module for guarantees.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: float = 30.0,
        renew_deadline: float = 20.0,
        retry_seconds: float = 4.0,
        clock: Clock,
        rng: random.Random,
        rivals: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """`rivals` is called with the lease acquired; it returns the name of another process that must not run at the same
        time (`Rivals`). While the name is not empty, the lease is released again and `run` waits.

        `identity` must be unique to this process: two that share one would both lead.

        30/20/4 s rather than client-go's 15/10/2: after a normal renewal 16 s are left, enough for a call of 10 s.
        """
        if not retry_seconds * (1 + _JITTER) < renew_deadline < lease_seconds:
            raise ValueError("retry_seconds (with jitter) < renew_deadline < lease_seconds must hold")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._path = LEASES.path(namespace, name)
        self.identity = identity
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry_seconds = retry_seconds
        # A call that times out leaves time for more before the deadline: one lost packet must not end leadership.
        self._call_seconds = renew_deadline / 4
        self._clock = clock
        self._rng = rng
        self._rivals = rivals
        self._lease: dict[str, Any] | None = None
        """The Lease as last read or written, the base of the next write."""
        self._record: dict[str, Any] = {}
        """Its spec when it last changed."""
        self._record_observed_at = 0.0
        """Loop time of that observation."""
        self._renewed: float | None = None
        """Loop time just before the last successful write was sent; None while we do not lead."""
        self._may_hold = False
        """A write that makes us the holder was sent, answered or not, and the lease was not released since."""
        self.last_error: str = ""
        """Why the last attempt failed, for messages; empty after a successful one."""
        self.errors = 0
        """Attempts that failed since the start."""
        self._method = "GET"
        """Of the last request, for messages."""
        self._log = get_logger("lease")
        self._logged: tuple[str, str] = ("", "")
        self._logged_at = 0.0
        self.refused: str | None = None
        """The missing permission while RBAC denies access to the lease; None otherwise."""
        self.leading = asyncio.Event()
        self.lost = asyncio.Event()

    @property
    def is_leader(self) -> bool:
        """True while we hold the lease and its renew deadline has not passed."""
        return self.fenced(0.0)

    @property
    def holder(self) -> str:
        """The last observed holder of the lease; empty if there is none."""
        return str(self._record.get("holderIdentity") or "")

    def fenced(self, budget: float) -> bool:
        """Whether a mutating call that takes at most `budget` seconds may start now. Check it before every such call."""
        if self._renewed is None:
            return False
        return self._renewed + self._renew_deadline - _now() > budget

    @property
    def remaining(self) -> float:
        """Seconds for which we still lead if no renewal succeeds; 0 while we do not."""
        return 0.0 if self._renewed is None else max(0.0, self._renewed + self._renew_deadline - _now())

    async def run(self) -> None:
        """Waits for the lease, sets `leading` and renews, until cancelled. Sets `lost` and raises LeadershipLost."""
        # Without a limit: it depends on other processes.
        while not (await self._attempt(self._renew_deadline) and await self._without_rivals()):
            self._log_waiting()
            await asyncio.sleep(self._pause())
        self.leading.set()
        try:
            await self._keep()
        finally:
            self.leading.clear()

    def _log_waiting(self) -> None:
        """Log why this process does not lead: when the reason changes, and every ten minutes."""
        about = ("refused", self.refused) if self.refused else ("holder", self.holder)
        if not self.refused and (self.last_error or self.holder in ("", self.identity)):
            about = ("error", self.last_error)
        if about == self._logged and _now() - self._logged_at < _REPEAT_SECONDS:
            return
        self._logged, self._logged_at = about, _now()
        lease = f"{self._namespace}/{self._name}"
        if about[0] == "holder":
            emit(self._log, Event.STANDBY, lease=lease, holder=self.holder, identity=self.identity)
        elif about[1]:
            emit(self._log, Event.LEASE_ERROR, lease=lease, identity=self.identity, err=about[1])

    async def _without_rivals(self) -> bool:
        if self._rivals is None:
            return True
        try:
            async with asyncio.timeout(self._call_seconds):
                rival = await self._rivals()
        except Exception as error:
            rival = _text(error)
        if not rival:
            return True
        await self.release()
        self.last_error = rival
        return False

    async def _keep(self) -> None:
        while self._renewed is not None:
            deadline = self._renewed + self._renew_deadline
            await asyncio.sleep(min(self._pause(), deadline - _now()))
            left = deadline - _now()
            if left <= 0:
                break
            if not await self._attempt(left):
                self._log_waiting()
        self._renewed = None
        self.lost.set()
        why = f"{self.holder} holds it" if self.holder not in ("", self.identity) else self.last_error
        raise LeadershipLost(f"lost the lease {self._namespace}/{self._name}: {why or 'it was not renewed in time'}")

    async def release(self) -> bool:
        """Releases the lease, so that the next holder need not wait until it expires. True if it is released.

        Call it after `run` was cancelled and the work that needs the lease has ended. Best effort: a lease that cannot be
        released expires.
        """
        # First locally: no call may start while the lease is being released.
        self._renewed = None
        if not self._may_hold:
            return False
        try:
            async with asyncio.timeout(2 * self._call_seconds):
                while not await self._release_once():
                    continue
        except Exception as error:
            self.last_error = _text(error)
            return False
        return self.holder == ""

    async def _release_once(self) -> bool:
        """False: there was another write in between, try again. A cancelled renewal may still arrive."""
        lease = await self._get()
        self._observe(lease)
        if self.holder == self.identity:
            now = rfc3339_micro(self._clock())
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
            try:
                self._observe(await self._put(lease, self._record | spec))
            except Conflict:
                return False
        self._may_hold = False
        return True

    async def _attempt(self, timeout: float) -> bool:
        """One attempt to acquire or renew. Every error is a failed attempt: only the deadline ends leadership."""
        try:
            async with asyncio.timeout(timeout):
                try:
                    held = await self._acquire_or_renew()
                except Conflict:
                    # Read the lease at once: if there is another holder, we must stop now and not in four seconds.
                    self._lease = None
                    held = await self._acquire_or_renew()
        except Exception as error:
            self.errors += 1
            self.last_error = _text(error)
            self.refused = self._refusal(error) if is_rbac(error) else None
            # The cached object may be outdated.
            self._lease = None
            return False
        self.last_error, self.refused = "", None
        return held

    def _refusal(self, error: Exception) -> str:
        return (
            f"not allowed to {VERBS[self._method]} leases.coordination.k8s.io {self._namespace}/{self._name}, which leader "
            f"election needs: apply manifests/rbac.yaml for this identity ({_text(error)})"
        )

    async def _acquire_or_renew(self) -> bool:
        lease = self._lease if self._renewed is not None else None
        if lease is None:
            try:
                lease = await self._get()
            except NotFound:
                # Deleted, perhaps while another process leads: the last observed record is still valid.
                lease = None
            else:
                self._observe(lease)
            if self._held_by_another():
                self._renewed = None
                return False
        sent = _now()
        self._may_hold = True
        spec = self._desired()
        if lease is None:
            body = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            self._method = "POST"
            async with asyncio.timeout(self._call_seconds):
                stored = await self._client.create(LEASES, self._namespace, body)
        else:
            stored = await self._put(lease, spec)
        self._observe(stored)
        self._renewed = sent
        return True

    def _held_by_another(self) -> bool:
        if self.holder in ("", self.identity):
            return False
        # The duration that the holder wrote, which may differ from ours: ACK's lease lasts 15 s.
        duration = float(self._record.get("leaseDurationSeconds") or self._lease_seconds)
        return _now() < self._record_observed_at + duration

    def _desired(self) -> dict[str, Any]:
        now = rfc3339_micro(self._clock())
        spec = self._record | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._lease_seconds),
            "renewTime": now,
        }
        if self.holder != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(self._record.get("leaseTransitions") or 0) + (1 if self._record else 0)
        return spec

    async def _get(self) -> dict[str, Any]:
        self._method = "GET"
        async with asyncio.timeout(self._call_seconds):
            return await self._client.get_json(self._path)

    async def _put(self, lease: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        # With its resourceVersion: of two concurrent writers, one gets a Conflict.
        self._method = "PUT"
        async with asyncio.timeout(self._call_seconds):
            return await self._client.replace(LEASES, self._namespace, self._name, lease | {"spec": spec})

    def _observe(self, lease: dict[str, Any]) -> None:
        self._lease = lease
        record = lease.get("spec") or {}
        if record != self._record:
            self._record = record
            self._record_observed_at = _now()

    def _pause(self) -> float:
        return self._retry_seconds * (1 + self._rng.uniform(0.0, _JITTER))

    def __repr__(self) -> str:
        state = "leading" if self.is_leader else "lost" if self.lost.is_set() else "waiting"
        return f"<LeaderElector {self._namespace}/{self._name} {state}, held by {self.holder or 'none'}>"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _text(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
