"""Objects that come and go by the two dozen, and what the operator still holds after each of them."""

from __future__ import annotations

import gc
import io
from collections import Counter

import structlog

from sagemaker_operator.logs import configure
from tests.e2e.harness import operator
from tests.e2e.kinds import Stage

# An object an hour would be a real day, but an idle hour of virtual time costs 0.2 s and more of heartbeats and shows nothing.
_OBJECTS = 24
_PAUSE_SECONDS = 30.0


# The event recorder remembers its latest series up to a number; the sandbox is the world outside.
_BOUNDED = ("sagemaker_operator.kube.events", "sagemaker_operator.sandbox")


async def soak(rounds: int, *, kind: str = "Model") -> list[Counter[str]]:
    """Live objects at the end of each round: the operator's own by type, and the entries of all its containers."""
    stage = Stage(kind)
    configure(level="error", format_="json", clock=stage.cloud.clock, stream=io.StringIO())
    held: list[Counter[str]] = []
    try:
        async with operator(stage.cloud, leader_election=False):
            await stage.prepare()
            for _ in range(rounds):
                for _ in range(_OBJECTS):
                    await stage.apply()
                    await stage.settled()
                    await stage.delete()
                    await stage.cloud.pass_time(_PAUSE_SECONDS)
                held.append(_held())
    finally:
        structlog.reset_defaults()
    return held


def _held() -> Counter[str]:
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        module = str(type(one).__module__)
        if not module.startswith("sagemaker_operator.") or module.startswith(_BOUNDED):
            continue
        name = f"{module}.{type(one).__qualname__}"
        found[name] += 1
        # What hangs on it directly: a dict that keeps an entry per object that ever was.
        for kept in gc.get_referents(one):
            if isinstance(kept, dict):
                found[f"{name} {{}}"] += len(kept) + sum(
                    len(v) for v in kept.values() if isinstance(v, dict | list | set)
                )
            elif isinstance(kept, list | set):
                found[f"{name} []"] += len(kept)
    return found
