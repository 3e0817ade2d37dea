"""`python -m tests.bench.stored KIND STATUS`: a settled object and its Describe output, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.logs import configure
from tests.bench.virtual import run_virtual
from tests.e2e.harness import Cloud, operator, sample


async def settled(kind: str, status: str) -> dict[str, Any]:
    """A settled object of the operator and its Describe output, from a run in virtual time."""
    cloud = Cloud(kinds=[kind], relaxed=True)
    manifest = sample(kind.lower())
    name = manifest["metadata"]["name"]
    described = catalog()[kind]
    async with operator(cloud):
        if kind == "Endpoint":
            await _prerequisites(cloud, manifest)
        await cloud.apply(manifest)

        async def reached() -> bool:
            return status in (await cloud.status(name, kind=kind)).values()

        await cloud.until(reached)
        await asyncio.sleep(120.0)
        stored = await cloud.get(name, kind=kind)
    answer = await cloud.ask(
        described.describe, **{described.name_member: stored["spec"][described.identifiers[0].field]}
    )
    return {"template": stored, "described": answer}


async def _prerequisites(cloud: Cloud, endpoint: dict[str, Any]) -> None:
    config = endpoint["spec"]["endpointConfigName"]
    await cloud.ask(
        "CreateModel",
        ModelName="m",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/r",
        PrimaryContainer={"Image": "i"},
    )
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    await cloud.ask("CreateEndpointConfig", EndpointConfigName=config, ProductionVariants=[variant])


if __name__ == "__main__":
    configure(level="critical", format_="json", clock=wall_clock)
    sys.stdout.write(json.dumps(run_virtual(settled(*sys.argv[1:]))))
