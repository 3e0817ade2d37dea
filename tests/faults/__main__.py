"""Faults at every call: repeat one run, or run the whole matrix.

python -m tests.faults --kind TrainingJob                                   the calls of a run, numbered
python -m tests.faults --kind TrainingJob --mode kill-after --at 9          one run with a fault at call 9
python -m tests.faults --kind TrainingJob --seed 7                          mixed faults, drawn from the seed
python -m tests.faults --matrix [--kind Model] [--jobs 2] [--share 500]     every call, every mode; one table
python -m tests.faults --seeds 1000                                         mixed faults, seeds 1 to 1000
python -m tests.faults --soak 3                                             days in which objects come and go; what is kept

Each takes `--order answer-first`: the answers to the operator's own writes then come before their watch events.
With `--report docs/faults.md` the last three write what they found into that page.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from sagemaker_operator.clock import rfc3339, wall_clock
from tests.e2e.kinds import KINDS
from tests.e2e.order import Order
from tests.faults.matrix import Verdict, families, mixed, share, verdict
from tests.faults.oracle import problems
from tests.faults.regressions import keep
from tests.faults.runner import Case, in_virtual_time, run, undisturbed
from tests.faults.scenarios import SCENARIOS
from tests.faults.soak import DAY_SECONDS, OBJECTS, Held, faults, slope, soak
from tests.faults.table import Table, inserted
from tests.faults.troubles import MIXED, MODES, NONE

_SHOWN = 400
# Parts of 50 runs, of 0.15 s each on an idle core, between two lines of progress.
_PROGRESS_EVERY = 10
_FEWEST_DAYS = 3
# A job, what has no life cycle, what is updated, and what needs others.
_SOAKED = ("TrainingJob", "Model", "Pipeline", "Endpoint")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="life")
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--at", type=int, default=0, help="number of the call to strike")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--order", type=Order, choices=list(Order), default=Order.EVENT_FIRST)
    parser.add_argument("--log", action="store_true", help="also print the operator's log")
    parser.add_argument("--matrix", action="store_true", help="all kinds (or --kind), every call, every mode")
    parser.add_argument("--share", type=int, default=0, help="only so many cases of the matrix, always the same ones")
    parser.add_argument("--seeds", type=int, default=0, help="mixed faults, with the seeds from 1 to this")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--report", type=Path, help="a page to write the table into, between its <!-- matrix --> marks")
    parser.add_argument("--soak", type=int, default=0, help="simulated days of objects that come and go")
    options = parser.parse_args()
    if 0 < options.soak < _FEWEST_DAYS:
        parser.error(f"--soak: at least {_FEWEST_DAYS} days, or there is no slope")
    if options.soak:
        return _soaked(options)
    if options.matrix or options.seeds:
        return _many(options)
    if options.kind is None:
        parser.error("--kind, --matrix, --seeds or --soak is needed")
    mode = options.mode or (NONE if options.seed is None else MIXED)
    return _one(
        Case(
            kind=options.kind,
            scenario=options.scenario,
            mode=mode,
            at=options.at,
            seed=options.seed or 1,
            order=options.order,
        ),
        options.log,
    )


def _one(case: Case, log: bool) -> int:
    played = run(case)
    for number, call in enumerate(played.calls, start=1):
        _say(f"{number:4}  {call}{'   <- ' + case.mode if number == case.at else ''}")
    if log:
        _say("\n".join(played.logs))
    found = problems(played, undisturbed(case.kind, case.scenario, case.order))
    _say(f"{case}: {len(played.calls)} calls, {played.processes} processes, created {played.made}")
    for problem in found:
        _say(f"FAILED: {problem}")
    if not found:
        _say("passed")
    return bool(found)


def _many(options: argparse.Namespace) -> int:
    table = Table()
    with ProcessPoolExecutor(options.jobs) as pool:
        if options.seeds:
            starts = range(1, len(KINDS) + 1)
            groups = [
                [mixed(seed, options.order) for seed in range(start, options.seeds + 1, len(KINDS))] for start in starts
            ]
        else:
            kinds = [options.kind] if options.kind else list(KINDS)
            per_kind = -(-options.share // len(kinds)) if options.share else 0
            groups = list(pool.map(partial(_cases, order=options.order, share_of=per_kind), kinds))
        parts = [part for group in groups for part in _parts(group)]
        whole = sum(map(len, parts))
        for number, verdicts in enumerate(pool.map(_judged, parts), start=1):
            for case, found in verdicts:
                table.add(case, bool(found))
                if found:
                    _say(f"FAILED {case}\n    " + "\n    ".join(problem[:_SHOWN] for problem in found))
                    if options.seeds:
                        keep(case)
            if number % _PROGRESS_EVERY == 0:
                _say(f"{table.runs} of {whole} runs, {table.failures} failures")
    _say(str(table))
    if options.report:
        _report(options.report, _block("seeds" if options.seeds else "matrix", options.order), table.markdown())
    return bool(table.failures)


def _soaked(options: argparse.Namespace) -> int:
    kinds = [options.kind] if options.kind else list(_SOAKED)
    lines = ["| kind | days | objects | bytes on day 2 | bytes at the end | bytes a day | kept |", "|---" * 7 + "|"]
    failed = False
    with ProcessPoolExecutor(options.jobs) as pool:
        for kind, history in zip(
            kinds, pool.map(partial(_days, days=options.soak, order=options.order), kinds), strict=True
        ):
            found, weights = faults(history), [held.bytes for held in history]
            failed |= bool(found)
            lines.append(
                f"| {kind} | {options.soak} | {options.soak * OBJECTS} | {weights[1]:,} | {weights[-1]:,} "
                f"| {slope(weights):+.0f} | {'; '.join(found) or 'nothing'} |"
            )
            _say(lines[-1])
    if options.report:
        _report(options.report, _block("soak", options.order), "\n".join(lines))
    return failed


def _block(name: str, order: Order) -> str:
    return name if order is Order.EVENT_FIRST else f"{name} {order}"


def _days(kind: str, days: int, order: Order) -> list[Held]:
    # The objects' lifecycles add to the pauses between them.
    living = soak(days, kind=kind, pause=DAY_SECONDS / OBJECTS, order=order)
    history: list[Held] = in_virtual_time(living, end=3 * days * DAY_SECONDS)
    return history


def _report(page: Path, block: str, text: str) -> None:
    """Writes what was found, and of what, into the page."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    command = " ".join(word for word in sys.argv[1:] if not word.startswith("--report") and word != str(page))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    reported = f"`python -m tests.faults {command}`, {rfc3339(wall_clock())}, commit {commit.strip()}, {machine}:"
    page.write_text(inserted(page.read_text(encoding="utf-8"), block, f"{reported}\n\n{text}"), encoding="utf-8")


def _cases(kind: str, order: Order, share_of: int) -> list[Case]:
    cases = [case for family in families(kind, order).values() for case in family()]
    return share(cases, share_of, seed=kind) if share_of else cases


def _parts(cases: list[Case]) -> list[list[Case]]:
    rest = iter(cases)
    return list(iter(lambda: list(islice(rest, 50)), []))


def _judged(cases: list[Case]) -> list[Verdict]:
    return [verdict(case) for case in cases]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
