"""AWS's error texts. They differ by kind, and clients (ACK, Terraform) recognise "not found" by them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.kinds.descriptor import Kind

_NOT_FOUND: Mapping[str, str] = {
    "App": 'Unable to describe App "{arn}". (Details: RecordNotFound)',
    "ModelPackage": "ModelPackage {arn} does not exist.",
    "ModelPackageGroup": "ModelPackageGroup {arn} does not exist.",
    "NotebookInstance": "RecordNotFound",
    "NotebookInstanceLifecycleConfig": 'Unable to describe Notebook Instance Lifecycle Config "{arn}". '
    "(Details: RecordNotFound)",
    "Pipeline": "Pipeline '{arn}' does not exist.",
    "PipelineExecution": "PipelineExecution '{arn}' does not exist",
    "ProcessingJob": "Could not find requested job with name: {name}",
    "Project": "Project {name} does not exist.",
    "Space": "RecordNotFound",
    "TrainingJob": "Requested resource not found.",
    "TransformJob": "Could not find requested job with name: {name}",
}
"""Texts confirmed by a client that matches them; all other kinds get the most common one."""

_COMMON = 'Could not find {words} "{arn}".'


def words(kind: Kind) -> str:
    """TrainingJob -> training job, AutoMLJobV2 -> auto ML job V2."""
    if kind.name == "EndpointConfig":
        return "endpoint configuration"
    split: list[str] = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[A-Z]+\d*", kind.name)
    return " ".join(word if word.isupper() or word[-1].isdigit() else word.lower() for word in split)


def not_found(kind: Kind, *, name: str, arn: str) -> ServiceError:
    """The error of Describe, and of operations that need the resource, if it does not exist."""
    text = _NOT_FOUND.get(kind.name, _COMMON).format(name=name, arn=arn, words=words(kind))
    return ServiceError(kind.not_found.codes[0], text)


def already_exists(kind: Kind, *, arn: str, declared: frozenset[str]) -> ServiceError:
    """The error of Create if the name is taken. `declared`: the error codes that the model declares for Create."""
    noun = words(kind)
    if "ResourceInUse" in declared:
        text = (
            f"{noun[:1].upper()}{noun[1:]} names must be unique within an AWS account and region, and a {noun} with "
            f"this name already exists ({arn})"
        )
        return ServiceError("ResourceInUse", text)
    code = "ConflictException" if "ConflictException" in declared else "ValidationException"
    return ServiceError(code, f'Cannot create already existing {noun} "{arn}".')


def quota_exhausted(usage: str, *, limit: int, used: int, asked: int) -> str:
    """The error of a create that would exceed a quota. `usage`: "ml.m5.xlarge for training job usage"."""
    return (
        f"The account-level service limit '{usage}' is {limit} Instances, with current utilization of {used} Instances and "
        f"a request delta of {asked} Instances. Please use AWS Service Quotas to request an increase for this quota."
    )


def wrong_status(kind: Kind, status: str, *, declared: frozenset[str] = frozenset()) -> ServiceError:
    """The error of Stop, Update and Delete if the resource's status does not allow them."""
    return in_use(f"The request was rejected because the {words(kind)} is in status {status}.", declared=declared)


def in_use(text: str, *, declared: frozenset[str]) -> ServiceError:
    """The code depends on what the model declares for the operation: `declared`."""
    code = next((code for code in ("ResourceInUse", "ConflictException") if code in declared), "ValidationException")
    return ServiceError(code, text)
