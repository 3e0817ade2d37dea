"""JSON merge patches of a spec, and a part of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Any]

MONITORING_JOB: dict[str, Any] = {
    "monitoringAppSpecification": {"imageURI": "123456789012.dkr.ecr.us-east-1.amazonaws.com/monitor:1"},
    "monitoringInputs": [{"endpointInput": {"endpointName": "churn", "localPath": "/opt/ml/processing/input"}}],
    "monitoringOutputConfig": {
        "monitoringOutputs": [
            {"s3Output": {"s3URI": "s3://example-bucket/reports/", "localPath": "/opt/ml/processing/output"}}
        ]
    },
    "monitoringResources": {"clusterConfig": {"instanceCount": 1, "instanceType": "ml.m5.large", "volumeSizeInGB": 20}},
    "roleARN": "arn:aws:iam::123456789012:role/sagemaker-execution",
}
"""What a schedule monitors, written into the schedule itself."""


def merged(spec: Spec, patch: Spec) -> dict[str, Any]:
    """The spec with the patch on it; None takes a field away."""
    result = dict(spec)
    for name, value in patch.items():
        before = result.get(name)
        result[name] = merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return {name: value for name, value in result.items() if value is not None}


def reverse(spec: Spec, patch: Spec) -> dict[str, Any]:
    """The merge patch that undoes `patch` on `spec`."""
    return {
        name: reverse(spec[name], value)
        if isinstance(value, Mapping) and isinstance(spec.get(name), Mapping)
        else spec.get(name)
        for name, value in patch.items()
    }
