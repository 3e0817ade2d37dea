"""The status of an object at the end of a reconcile, and the smallest patch that gets it there.

`PARTS` lists all that the operator writes into status, in order: a later part overrides an earlier one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.conditions import ADVISORY, Findings, compute
from sagemaker_operator.control.observation import status_fields, to_status
from sagemaker_operator.control.plan.actions import Mutation
from sagemaker_operator.control.spec import tags
from sagemaker_operator.control.spec.merge_patch import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.control.placement.target import Placement
    from sagemaker_operator.control.plan.actions import Facts
    from sagemaker_operator.control.spec.references import Resolution
    from sagemaker_operator.objects import Meta


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a reconcile ended with, as far as status shows it."""

    facts: Facts
    findings: Findings
    placement: Placement
    resolution: Resolution
    stored: Mapping[str, Any]
    """The status as it was when the reconcile began."""
    meta: Meta
    """Of the object as last written."""
    release: bool
    """Our finalizer is taken off next."""
    now: str

    @property
    def recorded_arn(self) -> str | None:
        return (self.stored.get("ackResourceMetadata") or {}).get("arn")


def status_patch(outcome: Outcome) -> dict[str, Any] | None:
    """A JSON merge patch for `status`. None if nothing would change: a write without a change is an etcd write."""
    desired: dict[str, Any] = {}
    for part in PARTS:
        desired |= part(outcome)
    stored = outcome.stored
    patch = {name: value for name, value in desired.items() if stored.get(name) != value}
    return {name: replacing(stored.get(name), value) for name, value in patch.items()} or None


def _observed_fields(outcome: Outcome) -> dict[str, Any]:
    """What Describe reported."""
    facts = outcome.facts
    if not facts.arn or facts.observed is None or not facts.observed.found:
        return {}
    return to_status(facts.kind, facts.observed)


def _resource_metadata(outcome: Outcome) -> dict[str, Any]:
    """ARN, account and region; without a decision about the place, it stays as stored."""
    facts, target = outcome.facts, outcome.placement.target
    if facts.arn is None or target is None or not (facts.managed or facts.adoption.read_only):
        # Only a recorded ARN pins region and account: a mistake in either stays correctable until SageMaker accepted.
        return {}
    metadata = {"ownerAccountID": target.account, "partition": outcome.placement.partition, "region": target.region}
    return {"ackResourceMetadata": metadata | {"arn": facts.arn}}


def _observed_generation(outcome: Outcome) -> dict[str, Any]:
    """The stored one stays as long as an edit is still to be carried out."""
    facts = outcome.facts
    # An edit that could not be compared with the resource must be when AWS answers again.
    not_compared = facts.arn is not None and facts.error is not None and outcome.findings.terminal is None
    # A refusal must not end an edit that shows in no difference.
    not_updated = facts.verdict.fleeting and facts.mutation is not Mutation.UPDATED
    # Nor must a crash between two calls on the tags.
    not_tagged = facts.mutation is Mutation.RETAGGED
    if facts.edited and (not_compared or not_updated or not_tagged):
        return {"observedGeneration": outcome.stored["observedGeneration"]}
    return {"observedGeneration": outcome.meta.generation}


def _conditions(outcome: Outcome) -> dict[str, Any]:
    facts, findings = outcome.facts, outcome.findings
    conditions = compute(
        outcome.stored.get("conditions") or (),
        replace(findings, also={**_standing_advice(outcome), **facts.feature_conditions, **findings.also}),
        job=facts.kind.is_job,
        late_init=facts.late is not None,
        generation=outcome.meta.generation,
        now=outcome.now,
    )
    return {"conditions": conditions}


def _standing_advice(outcome: Outcome) -> dict[str, ConditionValue]:
    """The advice that an update was accepted with holds until the next edit."""
    advice, stored = outcome.facts.kind.hooks.advice, outcome.stored.get("conditions") or ()
    if advice is None or outcome.facts.edited:
        return {}
    found = [c for c in stored if (c.get("type"), c.get("reason")) == (ADVISORY, advice.reason)]
    return {ADVISORY: ("True", advice.reason, found[0].get("message", ""))} if found else {}


def _fields_of_the_update(outcome: Outcome) -> dict[str, Any]:
    """What the kind's hook records of an update that was accepted, or that is not needed any more."""
    facts = outcome.facts
    if facts.mutation is Mutation.UPDATED or facts.verdict.request is None:
        return dict(facts.verdict.status)
    return {}


def _resolved_references(outcome: Outcome) -> dict[str, Any]:
    resolution = outcome.resolution
    if not outcome.facts.arn or not resolution.values or resolution.waiting is not None:
        return {}
    return {"resolvedReferences": dict(resolution.values)}


def _managed_tag_keys(outcome: Outcome) -> dict[str, Any]:
    """The tag keys that are ours from now on."""
    facts = outcome.facts
    tagging = facts.tagging
    if facts.arn not in (None, outcome.recorded_arn) and facts.managed and not facts.adoption.read_only:
        # Just created or adopted.
        tagging = tags.tagging(facts.kind, outcome.resolution.spec, None, due=True)
    elif not tagging.compared:
        return {}
    return {"managedTagKeys": tagging.managed_keys or None}


def _no_state_of_a_deleted_resource(outcome: Outcome) -> dict[str, Any]:
    """Otherwise "Deleting" would stay as long as another's finalizer holds the object."""
    facts = outcome.facts
    member, observed = facts.kind.status_member, facts.observed
    if not (outcome.release and facts.deleting and facts.other_finalizers) or facts.retain:
        return {}
    if member is None or (observed is not None and observed.found):
        return {}
    return {status_fields(facts.kind)[member]: None}


def _handled_request(outcome: Outcome) -> dict[str, Any]:
    facts = outcome.facts
    handled = outcome.meta.annotations.get(RECONCILE_REQUESTED)
    # None: the annotation was removed while this reconcile ran, and the answer to a write of ours shows it.
    if not facts.requested or facts.error is not None or handled is None:
        return {}
    observed_at = {"observedAt": outcome.now} if facts.observed is not None else {}
    return {"lastHandledReconcileAt": handled, **observed_at}


PARTS: tuple[Callable[[Outcome], dict[str, Any]], ...] = (
    _observed_fields,
    _resource_metadata,
    _observed_generation,
    _conditions,
    _fields_of_the_update,
    _resolved_references,
    _managed_tag_keys,
    _no_state_of_a_deleted_resource,
    _handled_request,
)
