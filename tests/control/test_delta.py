"""Only what the user set is compared."""

from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.control.delta import differences

SAME: list[tuple[Any, Any]] = [
    ({}, {"EnableNetworkIsolation": False}),
    ({"A": {"B": 1}}, {"A": {"B": 1, "C": "default"}}),
    ({"A": ["x", "y"]}, {"A": ["y", "x"]}),
    ({"A": [{"N": 1}, {"N": 2}]}, {"A": [{"N": 2, "D": 0}, {"N": 1}]}),
    ({"A": 1}, {"A": 1.0}),
    ({"A": ""}, {}),
    ({"A": False}, {}),
    ({"A": []}, {}),
    ({"A": {"B": ""}}, {}),
]
DIFFERENT: list[tuple[Any, Any, tuple[str, ...]]] = [
    ({"A": {"B": 1}}, {"A": {"B": 2}}, ("A.B",)),
    ({"A": {"B": 1}}, {}, ("A.B",)),
    ({"A": ["x"]}, {"A": ["x", "y"]}, ("A",)),
    ({"A": [{"N": 1}]}, {"A": [{"N": 2}]}, ("A",)),
    ({"A": ["x", "x"]}, {"A": ["x", "y"]}, ("A",)),
    ({"A": 1, "B": 2}, {"A": 2, "B": 1}, ("A", "B")),
    ({"A": False}, {"A": True}, ("A",)),
]


@pytest.mark.parametrize(("desired", "observed"), SAME)
def test_equal(desired: Any, observed: Any) -> None:
    assert differences(desired, observed) == ()


@pytest.mark.parametrize(("desired", "observed", "paths"), DIFFERENT)
def test_different(desired: Any, observed: Any, paths: tuple[str, ...]) -> None:
    assert differences(desired, observed) == paths


def test_ignored_paths_are_not_compared() -> None:
    desired = {"A": {"B": 1}, "L": [{"X": 1, "Y": 2}]}
    observed = {"A": {"B": 9}, "L": [{"X": 1, "Y": 9}]}
    assert differences(desired, observed, ignored=("A.B", "L[].Y")) == ()
