"""The CRD of IAMRoleSelector on the emulator and on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.crds.runtime import runtime_crds

if TYPE_CHECKING:
    from tests.crds.support import Client

SELECTORS = "/apis/services.k8s.aws/v1alpha1/iamroleselectors"
ARN = "arn:aws:iam::111111111111:role/sagemaker"


async def created(api: Client, name: str, spec: dict[str, Any]) -> int:
    await api.install(runtime_crds()["iamroleselectors.yaml"], SELECTORS)
    await api.ask("DELETE", f"{SELECTORS}/{name}")
    kind = {"apiVersion": "services.k8s.aws/v1alpha1", "kind": "IAMRoleSelector"}
    return (await api.ask("POST", SELECTORS, kind | {"metadata": {"name": name}, "spec": spec})).status


async def test_the_role_cannot_be_changed_and_the_rest_can(api: Client) -> None:
    assert await created(api, "frozen", {"arn": ARN}) == 201
    refused = await api.merge(f"{SELECTORS}/frozen", {"spec": {"arn": f"{ARN}2"}})
    assert refused.status == 422
    ((field, message),) = refused.causes
    assert field == "spec.arn"
    assert "cannot be changed" in message
    change = {"spec": {"namespaceSelector": {"names": ["one"]}}}
    assert (await api.merge(f"{SELECTORS}/frozen", change)).status == 200


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({}, 422),
        ({"arn": ARN, "namespaceSelector": {}}, 422),
        ({"arn": ARN, "namespaceSelector": {"names": [], "labelSelector": {}}}, 422),
        ({"arn": ARN, "resourceLabelSelector": {}}, 422),
        ({"arn": ARN, "resourceTypeSelector": [{"kind": "Model"}]}, 422),
        ({"arn": ARN, "resourceTypeSelector": [{"group": "", "version": "", "kind": "Model"}]}, 201),
        ({"arn": ARN, "namespaceSelector": {"names": [], "labelSelector": {"matchLabels": {"a": "b"}}}}, 201),
    ],
)
async def test_what_ack_requires_is_required(api: Client, spec: dict[str, Any], status: int) -> None:
    assert await created(api, "required", spec) == status
