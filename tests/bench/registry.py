"""The benchmarks by name. Each is a plain function of keyword options that returns its figures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.bench import virtual
from tests.bench.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from tests.bench.figures import Figures


def _simulated(bench: Callable[..., Coroutine[Any, Any, Figures]]) -> Callable[..., Figures]:
    @functools.wraps(bench)
    def run(**params: Any) -> Figures:
        return run_virtual(bench(**params))

    return run


BENCHES: dict[str, Callable[..., Figures]] = {
    "lifecycle": _simulated(virtual.lifecycle),
    "steady": _simulated(virtual.steady),
    "throttle": _simulated(virtual.throttle),
    "fairness": _simulated(virtual.fairness),
    "failover": _simulated(virtual.failover),
}
