"""A short soak; `python -m tests.faults --soak DAYS` is the long one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.order import Order
from tests.faults.runner import in_virtual_time
from tests.faults.soak import Held, faults, grown, slope, soak


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", ["Model", "Pipeline", "TrainingJob"])
def test_nothing_is_kept_of_deleted_objects(kind: str, order: Order) -> None:
    assert grown(in_virtual_time(soak(3, kind=kind, order=order))) == {}


def test_a_leak_of_one_entry_per_object_is_found() -> None:
    history = [Held(Counter({"Memory {}": 24 * number}), 0) for number in range(4)]
    assert grown(history) == {"Memory {}": 48}


def test_the_slope_excludes_the_first_round() -> None:
    assert slope([0.0, 1000.0, 1010.0, 1020.0, 1030.0]) == pytest.approx(10.0)
    assert slope([0.0, 5.0, 5.0]) == 0.0


def test_steady_growth_is_found_and_a_fluctuation_is_not() -> None:
    assert faults([Held(Counter(), 20_000_000 + 2400 * day) for day in range(20)]) == ["48000 bytes more, steadily"]
    assert faults([Held(Counter(), 20_000_000 + 12_000 * (day % 2)) for day in range(20)]) == []
