"""The benchmarks by name. Each is a function of keyword options that returns its figures; some run in virtual time."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.figures import Figures

# Imported only when it runs: the simulators that virtual time needs would count as the operator's memory.
MODULES = {
    **dict.fromkeys(("lifecycle", "steady", "throttle", "fairness", "failover", "restart"), "tests.bench.virtual"),
    **dict.fromkeys(("coldstart", "throughput", "watch", "queue", "memory", "cpu"), "tests.bench.real"),
}


def bench(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(MODULES[name]), name)
    return found


def run(name: str, params: dict[str, Any]) -> Figures:
    function = bench(name)
    if not inspect.iscoroutinefunction(function):
        return dict(function(**params))
    from tests.bench.virtual import run_virtual

    return dict(run_virtual(function(**params)))
