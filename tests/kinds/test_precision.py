"""Members that SageMaker keeps in 32 bits, derived from its model."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.precision import same_float, single_precision

FLOATS = {
    "EndpointConfig": {
        "ProductionVariants[].InitialVariantWeight",
        "ShadowProductionVariants[].InitialVariantWeight",
    },
    "InferenceComponent": {
        f"{where}.ComputeResourceRequirements.{what}"
        for where in ("Specification", "Specifications[]")
        for what in ("NumberOfAcceleratorDevicesRequired", "NumberOfCpuCoresRequired")
    },
    "HyperParameterTuningJob": {"HyperParameterTuningJobConfig.TuningJobCompletionCriteria.TargetObjectiveMetricValue"},
}


def test_the_floats_of_every_kind() -> None:
    assert {name: set(found) for name, kind in catalog().items() if (found := single_precision(kind))} == FLOATS


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_spelling_of_a_float_is_the_same(value: float) -> None:
    shortest = float(f"{value:.9g}")
    assert same_float(value, shortest)
    assert same_float(shortest, value)


@given(st.floats(width=32, min_value=2.0**-100, max_value=2.0**100))
def test_neighbours_differ(value: float) -> None:
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert not same_float(value, struct.unpack("<f", struct.pack("<I", bits + 1))[0])


@pytest.mark.parametrize(
    ("one", "other"), [(0.8, None), (0.8, "0.8"), (True, 1.0), (1e300, 1e300), (float("nan"), 1.0), (10**400, 1)]
)
def test_values_that_are_not_floats_are_never_equal(one: Any, other: Any) -> None:
    assert not same_float(one, other)
