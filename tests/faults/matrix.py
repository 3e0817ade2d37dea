"""All cases, a fixed share of them, and the table of how they went."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.kinds import KINDS
from tests.faults.oracle import problems
from tests.faults.runner import Case, run, undisturbed
from tests.faults.scenarios import SCENARIOS
from tests.faults.troubles import AT_A_CALL, MIXED, STALE, STORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Verdict = tuple[Case, list[str]]


def verdict(case: Case) -> Verdict:
    return case, problems(run(case), undisturbed(case.kind, case.scenario))


def scenarios_of(kind: str) -> list[str]:
    return [name for name, scenario in SCENARIOS.items() if scenario.fits(kind)]


def every_call(kind: str) -> Iterator[Case]:
    """Each call of each scenario, struck in each way."""
    for scenario in scenarios_of(kind):
        for number in range(1, len(undisturbed(kind, scenario).calls) + 1):
            for mode in AT_A_CALL:
                yield Case(kind=kind, scenario=scenario, mode=mode, at=number)


def stale(kind: str, seeds: Iterable[int] = (1,)) -> Iterator[Case]:
    for scenario in scenarios_of(kind):
        for mode in STALE:
            for seed in seeds:
                yield Case(kind=kind, scenario=scenario, mode=mode, seed=seed)


def storms(kind: str, seeds: Iterable[int] = (1,)) -> Iterator[Case]:
    for scenario in scenarios_of(kind):
        for mode in STORMS:
            for seed in seeds:
                yield Case(kind=kind, scenario=scenario, mode=mode, seed=seed)


def mixed(seed: int) -> Case:
    """Kind and scenario follow from the seed too."""
    kind = KINDS[seed % len(KINDS)]
    return Case(kind=kind, scenario=random.Random(seed).choice(scenarios_of(kind)), mode=MIXED, seed=seed)


def share(cases: Sequence[Case], count: int, *, seed: str) -> list[Case]:
    """Always the same `count` of them; another seed, others."""
    return random.Random(seed).sample(cases, min(count, len(cases)))


def families(kind: str) -> dict[str, Callable[[], Iterator[Case]]]:
    return {
        "calls": lambda: every_call(kind),
        "stale": lambda: stale(kind),
        "storms": lambda: storms(kind),
    }


class Table:
    """Scenarios x modes: runs and failures of each kind."""

    def __init__(self) -> None:
        self._runs: Counter[tuple[str, str, str]] = Counter()
        self._failures: Counter[tuple[str, str, str]] = Counter()

    def add(self, case: Case, failed: bool) -> None:
        cell = (case.kind, case.scenario, case.mode)
        self._runs[cell] += 1
        self._failures[cell] += failed

    @property
    def failures(self) -> int:
        return self._failures.total()

    def __str__(self) -> str:
        modes = list(dict.fromkeys(mode for _, _, mode in self._runs))
        head = f"{'kind':33}{'scenario':10}" + "".join(f"{mode:>14}" for mode in modes) + f"{'all':>12}"
        lines = [head]
        for kind, scenario in dict.fromkeys((kind, scenario) for kind, scenario, _ in self._runs):
            cells = [(kind, scenario, mode) for mode in modes]
            lines.append(f"{kind:33}{scenario:10}" + "".join(f"{self._cell([cell]):>14}" for cell in cells))
            lines[-1] += f"{self._cell(cells):>12}"
        totals = [[cell for cell in self._runs if cell[2] == mode] for mode in modes]
        lines.append(f"{'all':43}" + "".join(f"{self._cell(cells):>14}" for cells in totals))
        lines[-1] += f"{self._cell(list(self._runs)):>12}"
        return "\n".join(lines)

    def _cell(self, cells: list[tuple[str, str, str]]) -> str:
        runs = sum(self._runs[cell] for cell in cells)
        failures = sum(self._failures[cell] for cell in cells)
        return f"{runs}/{failures}" if runs else "-"
