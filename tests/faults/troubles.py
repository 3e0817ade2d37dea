"""The faults of a run, by name. A fault can affect calls, watches and SageMaker itself."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagemaker_operator.sandbox.sagemaker.faults import ANY, Fault, FaultKind
from tests.e2e.harness import USER_KEY
from tests.e2e.wire import Mode, Script
from tests.faults.stale import Stale, StaleTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_operator.kube.transport import Transport
    from sagemaker_operator.sandbox.sagemaker.protocol import Request
    from tests.e2e.harness import Cloud

AT_A_CALL: Mapping[str, Mode] = {
    "unsent": Mode.FAIL_BEFORE,
    "lost-reply": Mode.FAIL_AFTER,
    "hanging": Mode.HANG,
    "late": Mode.LATE,
    "cancelled": Mode.CANCEL,
    "kill-before": Mode.KILL_BEFORE,
    "kill-after": Mode.KILL_AFTER,
    "sigterm": Mode.TERM,
}
"""Modes that strike one call, by its number."""

STALE: Mapping[str, Stale] = {mode.value: mode for mode in Stale}
"""Modes that strike all watches and lists, as the seed says."""

STORMS = ("throttled", "server-errors", "refused", "slow", "expiring", "eventual")
"""Modes that strike calls to SageMaker for a time."""

MIXED = "mixed"
NONE = "none"
MODES = (*AT_A_CALL, *STALE, *STORMS, MIXED)

# Longer than the life of a job in the scenarios; after it everything must come to rest.
_STALE_SECONDS = 1500.0
_STORM_SECONDS = 240.0
_MIXED_SECONDS = 600.0


@dataclass(frozen=True)
class Budget:
    """What a trouble may cost beyond an undisturbed run."""

    calls: int
    mutations: int = 1
    """Of any one operation."""


@dataclass
class Trouble:
    """`script` is asked for every call; `around` puts something between the operator and the API server."""

    script: Script = lambda number, name: None
    around: Callable[[Transport], Transport] = lambda inner: inner
    budget: Budget = Budget(calls=0, mutations=0)


def trouble(mode: str, *, at: int, seed: int, cloud: Cloud) -> Trouble:
    """Needs a running loop. Raises ValueError for a mode that does not exist."""
    rng = random.Random(f"{mode} {seed}")
    if mode in AT_A_CALL:
        return Trouble(script=_at(at, AT_A_CALL[mode]), budget=Budget(calls=10))
    if mode in STALE:
        # Lists after every broken watch, and two refused writes before an object is read past a watch that is stalled.
        return Trouble(around=_stale(STALE[mode], rng, _STALE_SECONDS), budget=Budget(calls=100))
    if mode in STORMS:
        _storm(mode, rng, cloud, _STORM_SECONDS)
        return Trouble(budget=Budget(calls=100, mutations=20))
    if mode == MIXED:
        return _mixed(rng, cloud)
    if mode == NONE:
        return Trouble()
    raise ValueError(f"no mode {mode!r}; there are {', '.join(MODES)}")


def _at(at: int, mode: Mode) -> Script:
    return lambda number, _: mode if number == at else None


def _stale(mode: Stale, rng: random.Random, seconds: float) -> Callable[[Transport], Transport]:
    until = asyncio.get_running_loop().time() + seconds
    return lambda inner: StaleTransport(inner, mode, rng=rng, until=until)


def _storm(mode: str, rng: random.Random, cloud: Cloud, seconds: float) -> None:
    until = cloud.clock() + seconds

    def raging(request: Request) -> bool:
        return cloud.clock() < until and request.access_key != USER_KEY

    def half(request: Request) -> bool:
        return raging(request) and rng.random() < 0.5

    minute = -1

    def expired(request: Request) -> bool:
        nonlocal minute
        if not raging(request) or request.operation == "GetCallerIdentity":
            return False  # a process that begins has just loaded its credentials
        now = int(cloud.clock() // 60)
        fresh, minute = now != minute, now
        return fresh

    kinds = {
        "throttled": (FaultKind.THROTTLE,),
        "server-errors": (FaultKind.SERVER_ERROR, FaultKind.ERROR_AFTER),
        "refused": (FaultKind.REFUSED_BEFORE, FaultKind.LOST_REPLY),
        "slow": (FaultKind.SLOW,),
        "expiring": (FaultKind.EXPIRED_TOKEN,),
        "eventual": (FaultKind.EVENTUAL_CONSISTENCY,),
    }[mode]
    when = {"expiring": expired, "eventual": raging}.get(mode, half)
    longest = {"slow": 30.0, "eventual": 12.0}.get(mode, 0.0)
    for kind in kinds:
        seconds = rng.uniform(0.0, longest)
        cloud.sagemaker.faults.add(Fault(operation=ANY, kind=kind, times=None, when=when, seconds=seconds))


def _mixed(rng: random.Random, cloud: Cloud) -> Trouble:
    until = cloud.clock() + _MIXED_SECONDS
    share = rng.choice((0.02, 0.1, 0.3))
    ends = rng.randrange(4)
    passing = [mode for mode in AT_A_CALL.values() if not mode.ends]
    ending = [mode for mode in AT_A_CALL.values() if mode.ends]

    def script(number: int, _: str) -> Mode | None:
        nonlocal ends
        if cloud.clock() >= until or rng.random() >= share:
            return None
        if ends and rng.random() < 0.3:
            ends -= 1
            return rng.choice(ending)
        return rng.choice(passing)

    if rng.random() < 0.4:
        _storm(rng.choice(STORMS), rng, cloud, _MIXED_SECONDS / 3)
    around = _stale(rng.choice(list(Stale)), rng, _MIXED_SECONDS) if rng.random() < 0.6 else lambda inner: inner
    return Trouble(script=script, around=around, budget=Budget(calls=300, mutations=40))
