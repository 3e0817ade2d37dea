"""Numbers that SageMaker keeps in single precision do not count as drift in either spelling."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sagemaker_operator.annotations import ADOPTION_POLICY
from sagemaker_operator.conditions import READY, TERMINAL
from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

AS_ACK_STORED_IT = 0.800000011920929
"""float64(float32(0.8)): SageMaker answers 0.8."""

FLOATS = {
    "EndpointConfig": ("productionVariants.0", "initialVariantWeight"),
    "InferenceComponent": ("specification.computeResourceRequirements", "numberOfCPUCoresRequired"),
}


def put(spec: Any, kind: str, value: float) -> None:
    path, field = FLOATS[kind]
    for name in path.split("."):
        spec = spec[int(name)] if isinstance(spec, list) else spec[name]
    spec[field] = value


@pytest.mark.parametrize("kind", FLOATS)
async def test_the_long_spelling_of_a_float_is_neither_an_edit_nor_drift(kind: str) -> None:
    """It was ImmutableField for an endpoint configuration, and two rollouts and NotConverging for an inference component."""
    stage = Stage(kind)
    async with operator(stage.cloud, resync_seconds=60.0):
        await stage.prepare()
        made = copy.deepcopy(stage.manifest)
        put(stage.manifest["spec"], kind, 0.8)
        answer = await stage.cloud.ask(stage.kind.create, **stage.create_input())
        assert "__type" not in answer, answer
        stage.manifest = made
        put(stage.manifest["spec"], kind, AS_ACK_STORED_IT)
        stage.manifest["metadata"]["annotations"] = {ADOPTION_POLICY: "adopt-or-create"}
        stage.cloud.forget()
        await stage.apply()
        await stage.settled()
        await stage.cloud.pass_time(600)
        conditions = await stage.conditions()
        assert TERMINAL not in conditions
        assert conditions[READY]["status"] == "True"
        assert [name for name in stage.mutating() if name != "AddTags"] == []
