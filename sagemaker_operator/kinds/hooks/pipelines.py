"""Pipelines: the definition is a document, given in the spec or by its place in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.kinds.hooks.documents import canonical

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Edit, Verdict

_DEFINITION = "PipelineDefinition"
_LOCATION = "PipelineDefinitionS3Location"


def normalise(path: str, value: Any) -> Any:
    """Two spellings of one JSON document are the same definition."""
    return canonical(value) if path == _DEFINITION else value


def plan_update(edit: Edit) -> Verdict:
    """Describe never returns where a definition came from: after an edit of the spec its place is sent again, which
    changes nothing if nothing changed."""
    if edit.proposal.reject is not None or not edit.edited or _LOCATION not in edit.desired:
        return edit.proposal
    named = {"PipelineName": edit.observed["PipelineName"], _LOCATION: edit.desired[_LOCATION]}
    return replace(edit.proposal, request={**(edit.proposal.request or {}), **named}, fleeting=True)
