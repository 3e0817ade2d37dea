"""Which resource an object made whose identifier is AWS's, remembered where a backup keeps it: in an annotation.

A restored object has a new UID and no status, and neither its token nor its tag leads to the resource any more: without this
a second one would be made. The annotation names the object too, because people copy manifests under another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_operator.annotations import CREATED

if TYPE_CHECKING:
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.objects import Meta


def mark(meta: Meta, arn: str) -> dict[str, str]:
    """The annotation that says so."""
    return {CREATED: f"{meta.namespace}/{meta.name} {arn}"}


def recalled_arn(meta: Meta, target: Target | None) -> str | None:
    """The ARN that this very object is marked with, if it lies where the object belongs to."""
    name, _, arn = meta.annotations.get(CREATED, "").partition(" ")
    parts = arn.split(":", 5)
    if target is None or name != f"{meta.namespace}/{meta.name}" or len(parts) < 6 or parts[2] != "sagemaker":
        return None
    return arn if (parts[3], parts[4]) == (target.region, target.account) else None
