"""Cases that failed once: tests/faults/regressions.txt has the arguments that repeat each, one per line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tests.e2e.order import Order
from tests.faults.runner import Case

FILE = Path(__file__).with_name("regressions.txt")


def kept() -> list[Case]:
    lines = [line.partition("#")[0].strip() for line in FILE.read_text().splitlines()]
    return [_case(line) for line in lines if line]


def keep(case: Case) -> None:
    """Adds a case, unless it is there."""
    if case not in kept():
        with FILE.open("a") as file:
            file.write(f"{case}\n")


def _case(line: str) -> Case:
    words = shlex.split(line)
    values: dict[str, Any] = {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    for number in ("at", "seed"):
        if number in values:
            values[number] = int(values[number])
    if "order" in values:
        values["order"] = Order(values["order"])
    return Case(**values)
