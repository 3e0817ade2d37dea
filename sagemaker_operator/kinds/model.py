"""SageMaker's service model from botocore: operations, shapes and their names."""

from __future__ import annotations

import html
import os
import re
from functools import cache
from typing import TYPE_CHECKING

from botocore.loaders import create_loader
from botocore.model import OperationModel, OperationNotFoundError, ServiceModel
from botocore.model import Shape as Shape

from sagemaker_operator.kinds.services import SAGEMAKER

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = re.compile(r"Ec2|[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+")
_TAG = re.compile(r"<[^>]+>")
# A full stop ends a sentence only before a capital: "e.g. ml.m5.large" and "2.5 hours" go on.
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?](?=\s+[^a-z\s]|$)")


@cache
def service_model() -> ServiceModel:
    """The SageMaker model. Loaded by botocore's own loader, so a newer model on AWS_DATA_PATH is used.

    Without a session, which would require the environment's AWS_PROFILE to exist.
    """
    loader = create_loader(os.environ.get("AWS_DATA_PATH"))
    return ServiceModel(loader.load_service_model(SAGEMAKER.name, "service-2"), SAGEMAKER.name)


@cache
def operations() -> frozenset[str]:
    """The names of all operations."""
    return frozenset(service_model().operation_names)


def operation(name: str) -> OperationModel:
    """One operation. Raises LookupError if the model has none of that name."""
    try:
        return service_model().operation_model(name)
    except OperationNotFoundError as error:
        raise LookupError(f"SageMaker has no operation {name}") from error


def input_members(name: str) -> Mapping[str, Shape]:
    """The input members of an operation. Raises LookupError."""
    return members(operation(name).input_shape)


def output_members(name: str) -> Mapping[str, Shape]:
    """The output members of an operation. Raises LookupError."""
    return members(operation(name).output_shape)


def members(shape: Shape | None) -> Mapping[str, Shape]:
    """A structure's members in the model's order; nothing for any other shape."""
    found: Mapping[str, Shape] = getattr(shape, "members", {})
    return found


def required_members(shape: Shape | None) -> tuple[str, ...]:
    """A structure's required members."""
    return tuple(getattr(shape, "required_members", ()))


def is_union(shape: Shape) -> bool:
    """A structure of which exactly one member may be set."""
    return bool(getattr(shape, "is_tagged_union", False))


def name_parts(name: str) -> tuple[str, ...]:
    """``HomeEfsFileSystemKmsKeyId`` -> Home, Efs, File, System, Kms, Key, Id; ``EFSFileSystem`` -> EFS, File, System."""
    return tuple(_WORD.findall(name))


def kebab_case(name: str) -> str:
    """``TrainingJob`` -> ``training-job``."""
    return "-".join(part.lower() for part in name_parts(name))


def summary(shape: Shape, *, limit: int = 160) -> str:
    """The first sentence of a shape's documentation as plain text, cut between words to `limit` characters."""
    text = " ".join(html.unescape(_TAG.sub("", shape.documentation)).split())
    end = _SENTENCE_END.search(text)
    if end is not None:
        text = text[: end.end()]
    if len(text) <= limit:
        return text
    return text[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
