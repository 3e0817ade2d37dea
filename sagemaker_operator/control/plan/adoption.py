"""The branches of adoption and of read-only objects: pure functions from facts to an action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from sagemaker_operator.annotations import ADOPTION_FIELDS, READ_ONLY
from sagemaker_operator.conditions import ADVISORY, Findings, Progress
from sagemaker_operator.control.plan.actions import Adopt, Disown, Facts, Finish, Identify, Observe, Owner
from sagemaker_operator.control.plan.progress import NOT_SYNCED, PARKED, UNOBSERVED, progress_of
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.control.spec.adoption import Policy, adoption_keys

if TYPE_CHECKING:
    from sagemaker_operator.control.plan.actions import Action


def plan_adoption(facts: Facts) -> Action | None:
    """The action of an object that has no resource yet. None: adoption does not apply, it is created like any other."""
    asked, observed = facts.adoption, facts.observed
    if asked.problem is not None:
        return _refused(asked.problem)
    if asked.policy is None and not asked.adopted:
        return None
    creates = asked.policy is Policy.ADOPT_OR_CREATE and not asked.adopted
    if observed is None:
        if creates and (facts.claimed or facts.managed or (facts.generated_id and not asked.named)):
            # A create was sent or is about to be, or nothing identifies a resource to adopt.
            return None
        if facts.generated_id and not asked.named:
            return _refused(_fields_required(facts))
        return Observe()
    if not observed.found:
        return None if creates else absent(facts)
    if asked.policy is None:
        # The annotation `adopted` alone does not ask for adoption.
        return None
    if facts.managed and creates and facts.owner is not Owner.FOREIGN:
        # An earlier create of ours may have made it.
        return Identify() if facts.owner is Owner.UNKNOWN else None
    if not facts.managed and facts.arn not in (None, observed.data.get(facts.kind.arn_member)):
        return Disown()
    return Adopt()


def observation_only(facts: Facts) -> Action:
    """The action of a read-only object: it makes read calls only."""
    kind, observed, asked = facts.kind, facts.observed, facts.adoption
    if asked.problem is not None:
        return _refused(asked.problem)
    if observed is None:
        if facts.generated_id and not asked.named and not (facts.managed and facts.arn):
            return _refused(_fields_required(facts))
        recalled = facts.recalled
        if recalled is None or facts.edited or facts.never_observed or facts.due or facts.requested or facts.failures:
            return Observe()
        if facts.terminal_reason in PARKED:
            return Observe()
        return Finish(
            None, Requeue.POLL if recalled.moving(kind) or recalled.changes_when_settled(kind) else Requeue.SETTLED
        )
    if not observed.found:
        return absent(facts)
    moving = observed.moving(kind)
    if not observed.complete and (facts.edited or facts.requested or not moving):
        return Observe()
    findings = progress_of(facts, observed)
    if facts.differing:
        fields = ", ".join(facts.differing)
        text = f"SageMaker has another value for {fields}; this object is read-only, so nothing is changed."
        findings = replace(findings, also={ADVISORY: ("True", "Differs", text)})
    return Finish(findings, Requeue.POLL if moving or observed.changes_when_settled(kind) else Requeue.SETTLED)


def absent(facts: Facts) -> Finish:
    """The resource to adopt or to observe does not exist, and must not be created in its place."""
    kind = facts.kind.name
    if facts.adoption.read_only:
        text = f"SageMaker has no such {kind} to observe. Remove the annotation {READ_ONLY} to have it created."
    else:
        text = f"SageMaker has no such {kind}. An adopted resource is never created: delete this object, or create it there."
    text += " The operator checks again every 1 to 15 minutes."
    return Finish(Findings(Progress.UNKNOWN, UNOBSERVED, reason="NotFound", recoverable=text), Requeue.SLOW_BACKOFF)


def _refused(problem: str) -> Finish:
    findings = Findings(Progress.UNKNOWN, NOT_SYNCED, reason="InvalidAdoption", terminal=problem)
    # Only an edit corrects an annotation, and an edit is an event: no timer.
    return Finish(findings, Requeue.SETTLED)


def _fields_required(facts: Facts) -> str:
    required, _ = adoption_keys(facts.kind)
    example = "{" + ", ".join(f'"{key}": "..."' for key in required) + "}"
    return f"metadata.annotations[{ADOPTION_FIELDS}]: required, because AWS makes the identifier: write {example}"
