"""The AWS services whose resources the operator manages, as data: one entry for each group of CRDs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """One service model of botocore and the API group of its kinds."""

    name: str
    """botocore's name of it."""
    group: str
    """The API group of its CRDs, which is ACK's."""


SAGEMAKER = Service("sagemaker", "sagemaker.services.k8s.aws")
