"""The number of runs and failures of each case: as text for progress, as Markdown for docs/faults.md."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.faults.runner import Case

Cell = tuple[str, str, str]
"""(kind, scenario, mode)."""


class Table:
    """Scenarios x modes: runs and failures of each kind."""

    def __init__(self) -> None:
        self._runs: Counter[Cell] = Counter()
        self._failures: Counter[Cell] = Counter()

    def add(self, case: Case, failed: bool) -> None:
        self.count((case.kind, case.scenario, case.mode), runs=1, failures=int(failed))

    def count(self, cell: Cell, *, runs: int, failures: int) -> None:
        self._runs[cell] += runs
        self._failures[cell] += failures

    @property
    def runs(self) -> int:
        return self._runs.total()

    @property
    def failures(self) -> int:
        return self._failures.total()

    def __str__(self) -> str:
        """All cells, `runs/failures`, for a terminal that is wide enough."""
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

    def _cell(self, cells: Iterable[Cell]) -> str:
        cells = list(cells)
        runs = sum(self._runs[cell] for cell in cells)
        failures = sum(self._failures[cell] for cell in cells)
        return f"{runs}/{failures}" if runs else "-"

    def markdown(self) -> str:
        """Two tables, narrow enough for a page: modes x scenarios, and kinds x scenarios; `runs/failures` in each cell."""
        return self._by("mode", lambda cell: cell[2]) + "\n\n" + self._by("kind", lambda cell: cell[0])

    def _by(self, title: str, row_of: Callable[[Cell], str]) -> str:
        scenarios = list(dict.fromkeys(scenario for _, scenario, _ in self._runs))
        lines = [f"| {title} | " + " | ".join([*scenarios, "all"]) + " |", "|---" * (len(scenarios) + 2) + "|"]
        for row in [*dict.fromkeys(map(row_of, self._runs)), "all"]:
            mine = [cell for cell in self._runs if row in ("all", row_of(cell))]
            counts = [self._cell(cell for cell in mine if cell[1] == scenario) for scenario in scenarios]
            lines.append(f"| {row} | " + " | ".join([*counts, self._cell(mine)]) + " |")
        return "\n".join(lines)


def inserted(page: str, block: str, text: str) -> str:
    """The page with `text` in the place of what stands between `<!-- block -->` and `<!-- /block -->`.

    Raises ValueError if the page has no such block.
    """
    pattern = re.compile(rf"(<!-- {block} -->\n).*?(<!-- /{block} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"no <!-- {block} --> ... <!-- /{block} --> to write into")
    return pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)
