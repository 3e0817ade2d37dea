"""A fixed share of the fault matrix; `tox -e faults` runs all of it (tests/faults/__main__.py)."""

from __future__ import annotations

import pytest

from tests.e2e.kinds import KINDS
from tests.e2e.order import Order
from tests.faults.matrix import every_call, mixed, share, stale, storms, verdict
from tests.faults.regressions import kept
from tests.faults.runner import Case, run, undisturbed
from tests.faults.troubles import AT_A_CALL

# A life takes 0.15 s; these counts make less than a minute of one core in all, and every kind has one seed.
_CALLS = 3
_STALE = 2
_STORMS = 1
_CREATE = "SageMaker.CreateModel"
_SEEDS = range(1, 27)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_all_faults_ends_in_the_same_state_as_without_faults(kind: str, order: Order) -> None:
    seed = f"{kind} {order}"
    cases = [
        *share(list(every_call(kind, order)), _CALLS, seed=seed),
        *share(list(stale(kind, order)), _STALE, seed=seed),
        *share(list(storms(kind, order)), _STORMS, seed=seed),
    ]
    failed = {str(case): found for case, found in map(verdict, cases) if found}
    assert not failed


@pytest.mark.parametrize("seed", _SEEDS)
def test_mixed_faults_end_in_the_same_state_as_without_faults(seed: int) -> None:
    case, found = verdict(mixed(seed, tuple(Order)[seed % 2]))
    assert not found, case


@pytest.mark.parametrize("case", kept(), ids=str)
def test_every_case_that_failed_once_passes(case: Case) -> None:
    assert verdict(case)[1] == []


@pytest.mark.parametrize("mode", AT_A_CALL)
def test_a_fault_strikes_the_call_that_it_names(mode: str) -> None:
    """The suite would pass if nothing ever went wrong."""
    number = undisturbed("Model", "life", Order.EVENT_FIRST).calls.index(_CREATE) + 1
    struck = run(Case(kind="Model", mode=mode, at=number))
    assert struck.calls[number - 1] == _CREATE
    unmoved = mode in ("unsent", "hanging", "kill-before")
    assert (_CREATE in struck.calls[number:]) == unmoved
    assert struck.processes == (2 if AT_A_CALL[mode].ends else 1)


def test_the_same_case_is_the_same_run() -> None:
    first, second = (run(mixed(7)) for _ in range(2))
    assert first.calls == second.calls
    assert first.logs == second.logs
