"""Records the region and account that a create was sent to, in an annotation that is written with the finalizer.

A create without an answer may have created a resource. If the requested region or account is edited before the outcome is
known, the resource is still where the create was sent. The operator describes it there first, and creates nothing elsewhere
until it is known not to exist.

Guarantees: the annotation needs no write of its own; it contains the UID, so it has no effect in a copied or restored manifest.
Caveats: a user who may edit the object may edit the annotation. So it only decides where to *describe*; nothing is created,
updated or deleted because of it, and only a resource that is tagged with this object's UID is accepted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sagemaker_operator.annotations import CREATE_SENT
from sagemaker_operator.control.placement.roles import Place

if TYPE_CHECKING:
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import Meta

_VALUE = re.compile(r"(?P<uid>\S+) (?P<partition>aws[a-z-]*) (?P<region>[a-z0-9-]{1,40}) (?P<account>\d{12})")


def claim_annotation(meta: Meta, target: Target, partition: str) -> dict[str, str]:
    """The annotation to write with the finalizer."""
    return {CREATE_SENT: f"{meta.uid} {partition} {target.region} {target.account}"}


def claimed_place(kind: Kind, meta: Meta) -> Place | None:
    """Where a create of this object may have been sent. None: nowhere, or the annotation is not valid for it."""
    found = _VALUE.fullmatch(meta.annotations.get(CREATE_SENT, ""))
    if found is None or kind.finalizer not in meta.finalizers or found["uid"] != meta.uid:
        return None
    return Place(found["partition"], found["region"], found["account"])
