"""The table that the tool writes into docs/faults.md."""

from __future__ import annotations

import pytest

from tests.faults.runner import Case
from tests.faults.table import Table, inserted


def test_each_cell_is_runs_and_failures_with_totals() -> None:
    table = Table()
    for mode, failed in (("unsent", False), ("unsent", True), ("late", False)):
        table.add(Case(kind="Model", scenario="life", mode=mode), failed)
    table.add(Case(kind="App", scenario="hasty", mode="unsent"), failed=False)
    assert (table.runs, table.failures) == (4, 1)
    assert table.markdown().splitlines() == [
        "| mode | life | hasty | all |",
        "|---|---|---|---|",
        "| unsent | 2/1 | 1/0 | 3/1 |",
        "| late | 1/0 | - | 1/0 |",
        "| all | 3/1 | 1/0 | 4/1 |",
        "",
        "| kind | life | hasty | all |",
        "|---|---|---|---|",
        "| Model | 3/1 | - | 3/1 |",
        "| App | - | 1/0 | 1/0 |",
        "| all | 3/1 | 1/0 | 4/1 |",
    ]


def test_a_page_keeps_all_text_outside_the_block() -> None:
    page = "before\n<!-- seeds -->\nold\nolder\n<!-- /seeds -->\nafter\n"
    assert inserted(page, "seeds", r"new \1") == "before\n<!-- seeds -->\nnew \\1\n<!-- /seeds -->\nafter\n"
    with pytest.raises(ValueError, match="matrix"):
        inserted(page, "matrix", "new")
