"""How a deployment is rolled out; after a failed one SageMaker rolls back, and the same update is not sent again."""

from __future__ import annotations

from typing import Any

import yaml

from tests.e2e.harness import SAMPLES, Cloud, operator
from tests.e2e.kinds import VIRTUAL, Stage

pytestmark = VIRTUAL

LAST = "sagemaker.services.k8s.aws/last-endpoint-config-for-update"


async def test_a_failed_update_has_acks_message_and_is_not_repeated() -> None:
    cloud = Cloud(kinds=["Model", "EndpointConfig", "Endpoint"])
    model, config, endpoint = yaml.safe_load_all((SAMPLES / "chain-endpoint.yaml").read_text())
    name, live = endpoint["metadata"]["name"], config["spec"]["endpointConfigName"]
    others = [_copy(config, f"{live}-fails"), _copy(config, f"{live}-good")]
    for manifest in (model, config, endpoint, *others):
        manifest["metadata"].setdefault("namespace", "default")

    async def condition(type_: str) -> dict[str, Any]:
        return (await cloud.conditions(name, kind="Endpoint")).get(type_, {})

    async def ready() -> bool:
        return (await condition("Ready")).get("status") == "True"

    async def terminal() -> bool:
        return bool(await condition("ACK.Terminal"))

    async with operator(cloud):
        for manifest in (model, config, *others, endpoint):
            await cloud.apply(manifest)
        await cloud.until(ready)
        await cloud.patch(name, {"spec": {"endpointConfigName": f"{live}-fails"}}, kind="Endpoint")
        await cloud.until(terminal)
        assert (await condition("ACK.Terminal"))["message"] == (
            "api error EndpointUpdateError: unable to update endpoint. check FailureReason. "
            f"latest EndpointConfigName is {live}"
        )
        status = await cloud.status(name, kind="Endpoint")
        assert status["endpointStatus"] == "InService"
        assert status["failureReason"]
        stored = await cloud.get(name, kind="Endpoint")
        assert stored["metadata"]["annotations"][LAST] == f"{live}-fails"
        await cloud.pass_time(2 * 36_000)
        assert len(cloud.sagemaker.calls.of("UpdateEndpoint")) == 1, "the same update fails again"

        await cloud.patch(name, {"spec": {"endpointConfigName": f"{live}-good"}}, kind="Endpoint")
        await cloud.until(ready)
        assert not await terminal()
        assert "failureReason" not in await cloud.status(name, kind="Endpoint")
        answer = await cloud.ask("DescribeEndpoint", EndpointName=endpoint["spec"]["endpointName"])
        assert answer["EndpointConfigName"] == f"{live}-good"
    assert len(cloud.sagemaker.calls.of("UpdateEndpoint")) == 2


async def test_a_component_is_rolled_out_as_its_spec_says() -> None:
    stage = Stage("InferenceComponent")
    size = {"type_": "COPY_COUNT", "value": 1}
    policy: dict[str, Any] = {"maximumBatchSize": size, "waitIntervalInSeconds": 60}
    stage.manifest["spec"]["deploymentConfig"] = {"rollingUpdatePolicy": policy}
    async with operator(stage.cloud, resync_seconds=60.0):
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.cloud.pass_time(600)
        assert "UpdateInferenceComponent" not in stage.mutating(), "nothing was deployed in another way"
        await stage.edit({"runtimeConfig": {"copyCount": 2}})
        await stage.settled()
        batch = {"Type": "COPY_COUNT", "Value": 1}
        asked = {"RollingUpdatePolicy": {"MaximumBatchSize": batch, "WaitIntervalInSeconds": 60}}
        assert (await stage.describe())["LastDeploymentConfig"] == asked
        await stage.cloud.pass_time(600)
        assert stage.mutating().count("UpdateInferenceComponent") == 1
        await stage.edit({"deploymentConfig": {"rollingUpdatePolicy": {"waitIntervalInSeconds": 120}}})
        await stage.settled()
        last = (await stage.describe())["LastDeploymentConfig"]
    assert last["RollingUpdatePolicy"]["WaitIntervalInSeconds"] == 120
    assert stage.mutating().count("UpdateInferenceComponent") == 2


def _copy(config: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        **config,
        "metadata": {"name": name},
        "spec": {**config["spec"], "endpointConfigName": name},
    }
