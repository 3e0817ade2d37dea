"""Records the ARN of a resource whose identifier AWS assigns, in an annotation, which a backup keeps.

A restored object has a new UID and no status, so neither its token nor its tag identifies the resource; without the
annotation a second one would be created. The annotation names the object too, because users copy manifests under another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.annotations import CREATED

if TYPE_CHECKING:
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.objects import Meta


def arn_annotation(meta: Meta, arn: str) -> dict[str, str]:
    """The annotation to write."""
    return {CREATED: f"{meta.namespace}/{meta.name} {arn}"}


def annotated_arn(meta: Meta, target: Target | None) -> str | None:
    """The recorded ARN, if it was recorded for this object and is in the target's region and account."""
    name, _, arn = meta.annotations.get(CREATED, "").partition(" ")
    parts = arn.split(":", 5)
    if target is None or name != f"{meta.namespace}/{meta.name}" or len(parts) < 6 or parts[2] != "sagemaker":
        return None
    return arn if (parts[3], parts[4]) == (target.region, target.account) else None
