from __future__ import annotations

from itertools import pairwise

from tests.e2e.kinds import KINDS
from tests.endurance.company import Copy
from tests.endurance.plan import LAST, Trouble, growth, windows


def test_every_fault_is_scheduled_and_ends_before_the_last_quarter() -> None:
    for seconds in (180.0, 3600.0):
        found = windows(seconds)
        assert {window.trouble for window in found} == set(Trouble)
        assert all(before.end < after.begin for before, after in pairwise(found))
        assert found[-1].end < LAST * seconds
        assert max(window.end - window.begin for window in found) <= 45.0


def test_growth_is_measured_over_the_second_half() -> None:
    warming = [(float(second), 100.0 + min(second, 50)) for second in range(100)]
    assert growth(warming) == 0.0
    leaking = [(float(second), 100.0 + second / 2) for second in range(100)]
    assert round(growth(leaking)) == 24
    assert growth([]) == 0.0


def test_a_copy_has_every_kind_under_unique_names() -> None:
    one, other = Copy(1), Copy(2)
    assert {one.key(reference)[0] for reference in one.needs} == set(KINDS)
    assert not {one.key(reference)[1:] for reference in one.needs} & {other.key(r)[1:] for r in other.needs}
