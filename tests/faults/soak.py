"""Objects that are created and deleted, for rounds or days, and what the operator still holds after each round."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import structlog

from sagemaker_operator.logs import configure
from tests.e2e.harness import operator
from tests.e2e.kinds import Stage
from tests.e2e.order import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sagemaker_operator.manager import Manager

OBJECTS = 24
"""Per round. An idle hour of virtual time costs 0.2 s of heartbeats, so a round is a day only where it is to be one."""
PAUSE_SECONDS = 30.0
DAY_SECONDS = 86_400.0

# Half of a round's 24 objects: what is kept for a while (a delayed key, an event being aggregated) comes and goes.
_FLUCTUATION = 12
# The same in bytes, over a whole soak.
_FLUCTUATION_BYTES = 32_768
# The first rounds fill what is filled once.
_WARM = 1

# The event recorder remembers its latest series up to a number; the sandbox is the world outside.
_BOUNDED = ("sagemaker_operator.kube.events", "sagemaker_operator.sandbox")
_NOT_WEIGHED = (*_BOUNDED, "tests.")
_SHARED = (type, ModuleType, asyncio.AbstractEventLoop, type(cache(len)))
"""Objects that are shared by all; and caches of functions, which have a bound or are keyed by names of the service model."""


@dataclass(frozen=True)
class Held:
    """At the end of a round."""

    live: Counter[str]
    """The operator's own objects by type, and the entries of all their containers."""
    bytes: int
    """All that can be reached from the operator, without the world outside."""


async def soak(
    rounds: int,
    *,
    kind: str = "Model",
    pause: float = PAUSE_SECONDS,
    order: Order = Order.EVENT_FIRST,
    each: Callable[[Held], None] = lambda held: None,
) -> list[Held]:
    """`pause` seconds of virtual time pass after each object; `each` is called after every round."""
    stage = Stage(kind)
    configure(level="error", format_="json", clock=stage.cloud.clock, stream=io.StringIO())
    history: list[Held] = []
    try:
        async with operator(stage.cloud, leader_election=False, order=order) as manager:
            await stage.prepare()
            for number in range(rounds):
                for other in range(OBJECTS):
                    if stage.kind.stop_on_delete:
                        _rename(stage, f"soak-{number}-{other}")
                    await stage.apply()
                    await stage.settled()
                    await stage.delete()
                    await stage.cloud.pass_time(pause)
                history.append(_held(manager))
                each(history[-1])
    finally:
        structlog.reset_defaults()
    return history


def grown(history: Sequence[Held]) -> dict[str, int]:
    """What there is more of at the end than after the first rounds, by more than comes and goes."""
    first, last = history[_WARM].live, history[-1].live
    return {name: count - first[name] for name, count in last.items() if count - first[name] > _FLUCTUATION}


def slope(values: Sequence[float]) -> float:
    """Least squares: growth per round, the first rounds left out."""
    points = list(enumerate(values))[_WARM:]
    middle = sum(x for x, _ in points) / len(points)
    mean = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * (y - mean) for x, y in points) / spread if spread else 0.0


def faults(history: Sequence[Held]) -> list[str]:
    """What says that something is kept of objects that have been; empty: nothing."""
    found = [f"{count} more {name}" for name, count in grown(history).items()]
    steady = slope([held.bytes for held in history]) * len(history)
    if steady > _FLUCTUATION_BYTES:
        found.append(f"{steady:.0f} bytes more, steadily")
    return found


def _rename(stage: Stage, name: str) -> None:
    """The name of a job is spent when it has run."""
    field = next(member.field for member in stage.kind.identifiers if member.api == stage.kind.name_member)
    stage.name = stage.manifest["metadata"]["name"] = stage.manifest["spec"][field] = name


def _held(manager: Manager) -> Held:
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
    return Held(found, _weight(manager))


def _weight(root: object) -> int:
    """Bytes of everything that hangs on it, the service models included."""
    visited: set[int] = set()
    rest, total = [root], 0
    while rest:
        one = rest.pop()
        if id(one) in visited or isinstance(one, _SHARED) or str(type(one).__module__).startswith(_NOT_WEIGHED):
            continue
        visited.add(id(one))
        # msgspec's answer to getsizeof is an address.
        total += memoryview(one).nbytes if isinstance(one, msgspec.Raw) else sys.getsizeof(one)
        rest.extend(gc.get_referents(one))
    return total
