"""`python -m tests.bench NAME [--option value]`: one benchmark, one line of JSON. `report` runs all and prints Markdown."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.logs import configure
from tests.bench import report
from tests.bench.machine import machine
from tests.bench.registry import MODULES, bench, run

if TYPE_CHECKING:
    from tests.bench.figures import Figures


def main(arguments: list[str]) -> int:
    name, options = (arguments[0] if arguments else "help"), arguments[1:]
    if name == "report":
        return report.main(options)
    if name == "all":
        # Each in a process of its own: memory and collector figures must not know what ran before.
        return max(
            subprocess.run([sys.executable, "-m", "tests.bench", bench, *more]).returncode
            for bench, *more in report.RUNS
        )
    if name not in MODULES:
        names = ",".join((*MODULES, "all", "report"))
        sys.stderr.write(f"usage: python -m tests.bench {{{names}}} [--option value]\n")
        return 2
    params = _params(name, options)
    with Path(os.devnull).open("w") as nowhere:
        # Lines are made, as the operator makes them, and written to where they cost no terminal.
        configure(level="info", format_="json", clock=wall_clock, stream=nowhere)
        sys.stdout.write(json.dumps(_measured(name, params)) + "\n")
    return 0


def _measured(name: str, params: dict[str, Any]) -> dict[str, Any]:
    before = machine()
    figures: Figures = run(name, params)
    return {"bench": name, "params": params, "figures": figures, "machine": before}


def _params(name: str, options: list[str]) -> dict[str, Any]:
    """The benchmark's keyword arguments with their defaults, overridden by `--name value`."""
    known = {
        option.name: option.default
        for option in inspect.signature(bench(name)).parameters.values()
        if option.name != "quiet"
    }
    for flag, value in zip(options[::2], options[1::2], strict=True):
        option = flag.removeprefix("--").replace("-", "_")
        if option not in known:
            raise SystemExit(f"{name} has no {flag}; it has {', '.join(f'--{o}' for o in known)}")
        known[option] = type(known[option])(value)
    return known


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
