"""`python -m tests.bench NAME [--option value]`: one benchmark, one line of JSON. `report` runs all and prints Markdown."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.bench import report
from tests.bench.machine import machine
from tests.bench.registry import BENCHES

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
    if name not in BENCHES:
        print(
            f"usage: python -m tests.bench {{{','.join((*BENCHES, 'all', 'report'))}}} [--option value]",
            file=sys.stderr,
        )
        return 2
    params = _params(name, options)
    logging.disable(logging.CRITICAL)
    before = machine()
    figures: Figures = BENCHES[name](**params)
    print(json.dumps({"bench": name, "params": params, "figures": figures, "machine": before}), flush=True)
    return 0


def _params(name: str, options: list[str]) -> dict[str, Any]:
    """The benchmark's keyword arguments with their defaults, overridden by `--name value`."""
    known = {
        option.name: option.default
        for option in inspect.signature(BENCHES[name]).parameters.values()
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
