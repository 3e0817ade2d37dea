"""Where a create of an object was sent, remembered in the object together with the finalizer that says that one may have been.

A create without an answer may have made a resource. If the region or account that the object asks for is edited before the
answer is known, the resource is still where the create was sent: that place is asked first, and nothing is created elsewhere
until it is known not to have one.

Guarantees: written with the finalizer, so it costs no write of its own; bound to the UID, so that a copied or restored
manifest does not carry it along.
Caveats: whoever may edit the object may edit the annotation, so it only ever decides where to *look*: nothing is created,
updated or deleted by it, and of what is found only a resource that is tagged with this object's UID is believed.
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


def claim_mark(meta: Meta, target: Target, partition: str) -> dict[str, str]:
    """The annotation that goes with the finalizer."""
    return {CREATE_SENT: f"{meta.uid} {partition} {target.region} {target.account}"}


def claimed_place(kind: Kind, meta: Meta) -> Place | None:
    """Where a create of this very object may have been sent; None: nowhere, or the annotation does not say."""
    found = _VALUE.fullmatch(meta.annotations.get(CREATE_SENT, ""))
    if found is None or kind.finalizer not in meta.finalizers or found["uid"] != meta.uid:
        return None
    return Place(found["partition"], found["region"], found["account"])
