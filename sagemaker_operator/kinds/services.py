"""The AWS services whose resources the operator manages, as data: one entry for each group of CRDs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TagCalls:
    """How a service reads and changes the tags of a resource, by its ARN."""

    list: str = "ListTags"
    add: str = "AddTags"
    remove: str = "DeleteTags"
    arn_member: str = "ResourceArn"
    as_map: bool = False
    """Tags are a map of keys to values, and not a list of structures with Key and Value."""
    page_size: int | None = 100
    """MaxResults of the read; None: the answer always has all tags."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service model of botocore and the API group of its kinds."""

    name: str
    """botocore's name of it, which is also that of its endpoint settings."""
    title: str
    """Its name in messages."""
    group: str
    """The API group of its CRDs, which is ACK's."""
    iam_prefix: str
    """The prefix of its IAM actions."""
    tags: TagCalls = TagCalls()


SAGEMAKER = Service("sagemaker", "SageMaker", "sagemaker.services.k8s.aws", "sagemaker")
APPLICATION_AUTO_SCALING = Service(
    "application-autoscaling",
    "Application Auto Scaling",
    "applicationautoscaling.services.k8s.aws",
    "application-autoscaling",
    TagCalls("ListTagsForResource", "TagResource", "UntagResource", "ResourceARN", as_map=True, page_size=None),
)
SERVICES = (SAGEMAKER, APPLICATION_AUTO_SCALING)
"""All of them; names of operations are unique among them (tests/kinds/test_services.py)."""
