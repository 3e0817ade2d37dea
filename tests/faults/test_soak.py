from __future__ import annotations

import pytest

from tests.faults.runner import in_virtual_time
from tests.faults.soak import soak

# Half of a round's 24 objects: what is kept for a while (a delayed key, an event being aggregated) comes and goes.
_FLUCTUATION = 12


@pytest.mark.parametrize("kind", ["Model", "Pipeline"])
def test_nothing_is_kept_of_objects_that_have_been(kind: str) -> None:
    held = in_virtual_time(soak(4, kind=kind))
    # The first rounds fill what is filled once.
    grown = {name: count - held[1][name] for name, count in held[-1].items() if count - held[1][name] > _FLUCTUATION}
    assert not grown
