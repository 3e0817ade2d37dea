"""All cases, and a fixed share of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.e2e.kinds import KINDS
from tests.e2e.order import Order
from tests.faults.oracle import problems
from tests.faults.runner import Case, run, undisturbed
from tests.faults.scenarios import SCENARIOS
from tests.faults.troubles import AT_A_CALL, MIXED, STALE, STORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Verdict = tuple[Case, list[str]]


def verdict(case: Case) -> Verdict:
    return case, problems(run(case), undisturbed(case.kind, case.scenario, case.order))


def scenarios_of(kind: str) -> list[str]:
    return [name for name, scenario in SCENARIOS.items() if scenario.fits(kind)]


def every_call(kind: str, order: Order = Order.EVENT_FIRST) -> Iterator[Case]:
    """Each call of each scenario, struck in each way."""
    for scenario in scenarios_of(kind):
        for number in range(1, len(undisturbed(kind, scenario, order).calls) + 1):
            for mode in AT_A_CALL:
                yield Case(kind=kind, scenario=scenario, mode=mode, at=number, order=order)


def stale(kind: str, order: Order = Order.EVENT_FIRST, seeds: Iterable[int] = (1,)) -> Iterator[Case]:
    for scenario in scenarios_of(kind):
        for mode in STALE:
            for seed in seeds:
                yield Case(kind=kind, scenario=scenario, mode=mode, seed=seed, order=order)


def storms(kind: str, order: Order = Order.EVENT_FIRST, seeds: Iterable[int] = (1,)) -> Iterator[Case]:
    for scenario in scenarios_of(kind):
        for mode in STORMS:
            for seed in seeds:
                yield Case(kind=kind, scenario=scenario, mode=mode, seed=seed, order=order)


def mixed(seed: int, order: Order = Order.EVENT_FIRST) -> Case:
    """Kind and scenario follow from the seed too."""
    kind = KINDS[seed % len(KINDS)]
    return Case(kind=kind, scenario=random.Random(seed).choice(scenarios_of(kind)), mode=MIXED, seed=seed, order=order)


def share(cases: Sequence[Case], count: int, *, seed: str) -> list[Case]:
    """Always the same `count` of them; another seed, others."""
    return random.Random(seed).sample(cases, min(count, len(cases)))


def families(kind: str, order: Order = Order.EVENT_FIRST) -> dict[str, Callable[[], Iterator[Case]]]:
    return {
        "calls": lambda: every_call(kind, order),
        "stale": lambda: stale(kind, order),
        "storms": lambda: storms(kind, order),
    }
