"""Only fields that the user set are compared."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_operator.control.spec.diff import differences

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


ONE, TWO = {"Image": "x"}, {"Image": "x", "Environment": {"A": "1"}}


def test_a_map_that_is_named_is_compared_with_all_its_keys() -> None:
    wanted, there = {"A": {"M": {"x": "1"}}}, {"A": {"M": {"x": "1", "y": "2"}, "N": 1}}
    assert differences(wanted, there) == ()
    assert differences(wanted, there, whole=["A.M"]) == ("A.M.y",)
    assert differences({"A": {}}, there, whole=["A.M"]) == (), "what the user never set"
    assert differences(wanted["A"], there["A"], at="A", whole=["A.M"]) == ("A.M.y",)


def test_a_list_that_is_named_is_compared_in_order_and_below_it_others_are_not() -> None:
    desired = {"Pipeline": [{"N": 1, "Set": ["a", "b"]}, {"N": 2}], "Other": [1, 2]}
    same = {"Pipeline": [{"N": 1, "Set": ["b", "a"]}, {"N": 2, "D": 0}], "Other": [2, 1]}
    assert differences(desired, same, ordered={"Pipeline"}) == ()
    reversed_ = {**same, "Pipeline": same["Pipeline"][::-1]}
    assert differences(desired, reversed_, ordered={"Pipeline"}) == ("Pipeline",)
    assert differences(desired, reversed_) == ()
    assert differences({"A": desired}, {"A": reversed_}, ordered={"Pipeline"}) == ("A.Pipeline",)
    assert differences({"A": [desired]}, {"A": [reversed_]}, ordered={"Pipeline"}) == ("A",)


@pytest.mark.parametrize("desired", list(itertools.permutations([ONE, TWO, ONE])))
@pytest.mark.parametrize("observed", list(itertools.permutations([ONE, TWO, {**ONE, "Mode": "SingleModel"}])))
def test_matching_leaves_an_element_for_the_one_that_needs_it(desired: Any, observed: Any) -> None:
    assert differences({"L": desired}, {"L": observed}) == ()
    assert differences({"L": desired}, {"L": [ONE, *observed[1:]]}) == (() if observed[0] != TWO else ("L",))


_VALUES = st.recursive(
    st.integers(0, 2) | st.sampled_from("ab"),
    lambda inner: st.dictionaries(st.sampled_from("XYZ"), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _supersets(draw: st.DrawFn, value: Any) -> Any:
    """What SageMaker may make of a value: structures have more members, lists another order."""
    if isinstance(value, dict):
        more = draw(st.dictionaries(st.sampled_from("PQ"), _VALUES, max_size=2))
        return more | {name: draw(_supersets(item)) for name, item in value.items()}
    if isinstance(value, list):
        return draw(st.permutations([draw(_supersets(item)) for item in value]))
    return value


@given(st.data())
def test_a_shuffled_list_of_supersets_is_equal(data: st.DataObject) -> None:
    desired = data.draw(st.lists(_VALUES, max_size=6))
    assert differences({"L": desired}, {"L": data.draw(_supersets(desired))}) == ()


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=5, max_size=5))
def test_a_pairing_is_found_exactly_if_there_is_one(fits: list[list[bool]]) -> None:
    """Desired element i matches element j where `fits[i][j]`: the element has the member that i sets."""
    desired = [{f"W{i}": "yes"} for i in range(5)]
    observed = [{f"W{i}": "yes" for i in range(5) if fits[i][j]} for j in range(5)]
    there_is = any(all(fits[i][j] for i, j in enumerate(order)) for order in itertools.permutations(range(5)))
    assert (differences({"L": desired}, {"L": observed}) == ()) == there_is


def test_a_float_is_compared_in_single_precision_and_a_double_is_not() -> None:
    """SageMaker says 0.8 of what ACK's adoption wrote as 0.800000011920929: an endpoint configuration cannot be edited, and a
    difference that is none was Terminal."""
    desired = {"V": [{"W": 0.800000011920929, "D": 0.800000011920929}], "Z": 1.5}
    observed = {"V": [{"W": 0.8, "D": 0.8}], "Z": 1.5}
    assert differences(desired, observed, single={"V[].W", "V[].D"}) == ()
    assert differences(desired, observed, single={"V[].W"}) == ("V",)
    assert differences({"W": 0.8}, {"W": 0.80001}, single={"W"}) == ("W",)
    assert differences({"W": 0.8}, {}, single={"W"}) == ("W",)
