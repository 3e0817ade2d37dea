"""An in-process Kubernetes API, good enough for kubectl and for the operator."""

from __future__ import annotations

from sagemaker_operator.sandbox.kubernetes.emulator import (
    Intercept,
    KubernetesEmulator,
    Request,
    RequestRecord,
    WrittenObject,
)
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from sagemaker_operator.sandbox.kubernetes.server import EmulatorServer, serve
from sagemaker_operator.sandbox.kubernetes.status import ApiError

__all__ = [
    "ApiError",
    "EmulatorServer",
    "InMemoryTransport",
    "Intercept",
    "KubernetesEmulator",
    "Request",
    "RequestRecord",
    "WrittenObject",
    "serve",
]
