"""`python -m tests.bench report [FILE]`: all benchmarks (or the JSON lines of FILE) as the Markdown table of docs/benchmarks.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RUNS = (
    ("lifecycle", "--jobs", "1"),
    ("lifecycle", "--jobs", "1000"),
    ("steady", "--jobs", "1000"),
    ("steady", "--jobs", "10000"),
    ("throttle", "--jobs", "5000"),
    ("fairness", "--jobs", "5000"),
    ("failover", "--jobs", "1000"),
    ("restart", "--objects", "10000"),
    ("coldstart",),
    ("memory",),
    ("throughput",),
    ("watch",),
    ("queue",),
    ("cpu",),
)
"""What `all` and `report` run. The last takes four and a half real minutes, the 10,000 jobs several minutes of CPU."""


class Target(NamedTuple):
    bench: str
    params: dict[str, Any]
    what: str
    limit: float
    figure: Callable[[dict[str, Any]], float]
    at_least: bool = False


TARGETS = (
    Target("lifecycle", {"jobs": 1000}, "AWS calls per ten-minute job", 3.5, lambda f: f["callsPerJob"]),
    Target("lifecycle", {"jobs": 1000}, "Kubernetes writes per ten-minute job", 10, lambda f: f["writesPerJob"]),
    Target("lifecycle", {"jobs": 1000}, "1,000 jobs submitted, s", 20, lambda f: f["submittedAfterSeconds"]["max"]),
    Target("throttle", {}, "5,000 jobs at 4 creates/s, times N/4 s", 1.2, lambda f: f["timesIdeal"]),
    Target("throttle", {}, "share of calls refused", 0.05, lambda f: f["refusedShare"]),
    Target(
        "fairness", {}, "delay of another namespace's create, times its time alone", 2, lambda f: f["delayTimesAlone"]
    ),
    Target("steady", {"jobs": 1000}, "AWS reads per second, 1,000 running jobs", 1, lambda f: f["callsPerSecond"]),
    Target("steady", {"jobs": 1000}, "detection lag p99, s", 20, lambda f: f["detectionLagSeconds"]["p99"]),
    Target("coldstart", {}, "RSS with 10,000 objects, MB", 200, lambda f: f["rssMB"]),
    Target("coldstart", {}, "longest loop stall after start-up, ms", 50, lambda f: f["longestStallAfterMs"]),
    Target("coldstart", {}, "full collection, ms", 20, lambda f: f["fullCollectionMs"]),
    Target(
        "coldstart",
        {},
        "mutating calls and writes at start",
        0,
        lambda f: f["calls"]["mutations"] + f["calls"]["writes"],
    ),
    Target("restart", {}, "new object served during start, s", 1, lambda f: f["newObjectServedSeconds"]),
    Target("cpu", {}, "CPU for 1,000 jobs of 240 s, s", 12, lambda f: f["cpuSeconds"]),
    Target("throughput", {}, "reconciles per CPU second", 800, lambda f: f["reconcilesPerCpuSecond"], at_least=True),
    Target(
        "throughput", {}, "share of CPU in botocore", 0.8, lambda f: f["cpuShare"].get("botocore", 0.0), at_least=True
    ),
    Target("watch", {}, "µs per 4 KB event", 15, lambda f: f["microsecondsPerEvent"]),
    Target("watch", {}, "times faster than the library's Watch", 5, lambda f: f["timesFaster"], at_least=True),
)


def main(arguments: list[str]) -> int:
    lines = Path(arguments[0]).read_text().splitlines() if arguments else list(_run_all())
    sys.stdout.write(markdown([json.loads(line) for line in lines if line.startswith("{")]))
    return 0


def _run_all() -> Iterable[str]:
    for words in RUNS:
        sys.stderr.write(f"# {' '.join(words)}\n")
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench", *words], stdout=subprocess.PIPE, text=True, check=False
        )
        # The raw line too: readers of the table may want what it leaves out.
        sys.stderr.write(done.stdout)
        yield done.stdout


def markdown(results: list[dict[str, Any]]) -> str:
    """One row per target, from the first result that fits; a target without a result says so."""
    machine = results[0]["machine"] if results else {}
    rows = ["| benchmark | figure | target | measured | |", "|---|---|---|---|---|"]
    for target in TARGETS:
        sign = "at least" if target.at_least else "at most"
        found = next((result for result in results if _fits(result, target)), None)
        if found is None:
            measured, verdict = "not measured", ""
        else:
            value = target.figure(found["figures"])
            measured = f"{value:g}"
            verdict = "met" if (value >= target.limit if target.at_least else value <= target.limit) else "**missed**"
        rows.append(f"| `{target.bench}` | {target.what} | {sign} {target.limit:g} | {measured} | {verdict} |")
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([*rows, "", f"Measured on: {where}.", ""])


def _fits(result: dict[str, Any], target: Target) -> bool:
    return result["bench"] == target.bench and target.params.items() <= result["params"].items()
