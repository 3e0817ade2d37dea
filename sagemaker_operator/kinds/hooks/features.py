"""Feature groups: features are added, never changed, and an update makes one kind of change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Edit, Verdict
from sagemaker_operator.kinds.updates import additions

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "FeatureGroupName"
_ADDITIONS = "FeatureAdditions"
# All pages were requested, but SageMaker kept returning a token: a new feature cannot be distinguished from one not returned.
_UNREAD = (
    "SageMaker has not returned all features of this group, so that spec.featureDefinitions cannot be compared yet."
)


def pending(observed: Mapping[str, Any]) -> str | None:
    """An update leaves FeatureGroupStatus as it is, and is reported separately."""
    updating = (observed.get("LastUpdateStatus") or {}).get("Status") == "InProgress"
    return "FeatureGroup is updating." if updating else None


def plan_update(edit: Edit) -> Verdict:
    """New features first, then the online store, then its throughput: each in an update of its own."""
    if edit.proposal.request is None:
        return edit.proposal
    request = dict(edit.proposal.request)
    if _ADDITIONS in request:
        if edit.observed.get("NextToken"):
            return Verdict(wait=_UNREAD)
        new = additions(edit, "FeatureDefinitions", key="FeatureName")
        if new is None:
            return Verdict(reject="spec.featureDefinitions: features can be added, but neither changed nor removed.")
        del request[_ADDITIONS]
        if new:
            return Verdict(request={_NAME: request[_NAME], _ADDITIONS: new})
    name = request.pop(_NAME)
    first = next(iter(sorted(request)), None)
    return NOTHING_TO_DO if first is None else Verdict(request={_NAME: name, first: request[first]})
