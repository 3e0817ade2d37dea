"""Carries out each action of the plan: a call or a write, and its outcome as facts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.annotations import UID_TAG
from sagemaker_operator.aws.translate import SpecError
from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import ADVISORY, LATE_INITIALIZED, with_conditions
from sagemaker_operator.control.observation import ABSENT, Observation, accepted
from sagemaker_operator.control.plan.actions import (
    Action,
    Adopt,
    Claim,
    Confirm,
    Create,
    Delete,
    Disown,
    Fill,
    Find,
    Finish,
    Identify,
    Mutation,
    Observe,
    Owner,
    ReadTags,
    Retag,
    Stop,
    Update,
)
from sagemaker_operator.control.reconcile.memory import Accepted
from sagemaker_operator.control.spec import tags
from sagemaker_operator.control.spec.adoption import adoption_conditions, adoption_patch
from sagemaker_operator.control.spec.create_input import create_request, desired_input
from sagemaker_operator.control.spec.late_init import late_init, late_init_conditions
from sagemaker_operator.control.spec.tags import UNTAGGED
from sagemaker_operator.errors import ErrorCategory, Invalid, OperatorError
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.conditions import ConditionValue
    from sagemaker_operator.control.reconcile.context import Context
    from sagemaker_operator.errors import AwsError
    from sagemaker_operator.kinds.descriptor import Verdict

# Errors of calls on tags that do not block the rest of the reconcile.
_IGNORED_TAG_ERRORS = (
    ErrorCategory.ACCESS_DENIED,
    ErrorCategory.VALIDATION,
    ErrorCategory.QUOTA,
    ErrorCategory.NOT_FOUND,
)

# A Describe takes 0.1 s. One that takes longer is throttled or gets no answer, and the poller makes the next.
_READ_SECONDS = 3.0

_STATUS_OF_THE_OBJECT = frozenset({"conditions", "lastHandledReconcileAt"})
"""Status fields about the object itself. All others are about the resource."""


async def execute(context: Context, action: Action) -> None:
    """Any action but Finish. Raises KubeError if Kubernetes refused a write; an AWS error becomes a fact."""
    match action:
        case Claim():
            await context.claim()
            context.update_facts(managed=True, claimed=True)
        case Disown():
            await _disown(context)
        case Adopt():
            await _adopt(context)
        case Create():
            await _create(context)
        case Confirm():
            await _confirm(context)
        case Observe():
            await _observe(context)
        case Find():
            await _find(context)
        case Identify():
            await _identify(context)
        case Update(verdict):
            await _update(context, verdict)
        case Fill():
            await _fill(context)
        case ReadTags():
            await _read_tags(context)
        case Retag():
            await _retag(context)
        case Stop() | Delete():
            await _stop_or_delete(context, action)
        case Finish():
            raise AssertionError("Finish ends the reconcile")


async def _disown(context: Context) -> None:
    """Before the finalizer is added: with it, a recorded ARN counts as ours, and would be updated and deleted."""
    meta = context.obj.metadata
    lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    removed = {name: None for name in context.stored if name not in _STATUS_OF_THE_OBJECT}
    await context.write({"metadata": lock, "status": removed}, subresource="status")
    context.reload()


async def _adopt(context: Context) -> None:
    """In one write, so that a crash leaves the object either unchanged or adopted."""
    observed, meta, asked = context.facts.observed, context.obj.metadata, context.facts.adoption
    assert observed is not None  # noqa: S101  the plan adopts only an observed resource
    arn = observed.data[context.kind.arn_member]
    owner = None if context.facts.deleting else await _owner(context, arn)
    if context.facts.error is not None:
        return
    patch = {} if context.facts.deleting else adoption_patch(context.kind, context.obj, asked, observed.data)
    if patch:
        patch["metadata"] = {"resourceVersion": meta.resource_version, **patch.get("metadata", {})}
        try:
            await context.write(patch, subresource=None)
        except Invalid as error:
            text = f"The object cannot take the spec of the resource: {error.message}"
            context.update_facts(adoption=replace(asked, problem=text))
            return
        context.reload_spec()
    adopted = replace(asked, adopted=True)
    also = adoption_conditions(adopted, (), another=owner not in (None, meta.uid))
    context.update_facts(
        managed=True,
        arn=arn,
        adoption=adopted,
        can_drift=True,
        feature_conditions={**context.facts.feature_conditions, **also},
    )
    context.observe(observed)


async def _create(context: Context) -> None:
    try:
        request = create_request(
            context.kind, context.obj, context.spec, tag_templates=context.services.settings.resource_tags
        )
    except SpecError as error:
        context.update_facts(problems=(str(error),), observed=context.facts.observed or ABSENT)
        return
    uid = context.obj.metadata.uid
    never_sent = context.facts.claimed or uid in context.memory.unsent
    context.memory.unsent.discard(uid)
    answer = await context.call(context.kind.create, request)
    if never_sent and context.facts.error is not None and not context.facts.error.sent:
        context.memory.unsent.add(uid)
    if answer is not None:
        # The tags were sent with the create: nothing to compare. Until a Describe, its answer is all that is known.
        context.update_facts(
            mutation=Mutation.CREATED,
            arn=answer[context.kind.arn_member],
            observed=None if context.facts.deleting else accepted(context.kind, request, answer),
            tagging=UNTAGGED,
        )
    elif context.facts.error is not None and context.facts.error.category is ErrorCategory.EXISTS:
        context.update_facts(error=None, already_exists=context.facts.error, observed=None)


async def _confirm(context: Context) -> None:
    """The ARN must be recorded whatever the outcome of this call, so its errors are ignored."""
    answer = await _read(context, context.kind.describe, context.identifiers())
    context.update_facts(create_confirmed=False)
    if answer is None:
        return
    observation = Observation(answer)
    # A former resource of this name may still be described for a moment.
    if (
        answer.get(context.kind.arn_member) == context.facts.arn
        and observation.state(context.kind) is not StatusClass.GONE
    ):
        context.update_facts(create_confirmed=True)
        context.observe(observation)


async def _read(context: Context, operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """One read after a change, with a short timeout. None: it failed, which is not an error of the object."""
    answer = None
    try:
        async with asyncio.timeout(_READ_SECONDS):
            answer = await context.call(operation, params)
    except (OperatorError, TimeoutError) as error:
        context.log.debug("Read after a change failed", operation=operation, err=type(error).__name__)
    context.update_facts(error=None)
    return answer


async def _observe(context: Context) -> None:
    answer = await context.call(context.kind.describe, context.identifiers())
    if answer is not None:
        context.observe(Observation(answer))
    elif context.facts.error is not None and context.facts.error.category is ErrorCategory.NOT_FOUND:
        context.update_facts(error=None)
        context.observe(ABSENT)


async def _identify(context: Context) -> None:
    observed = context.facts.observed
    assert observed is not None  # noqa: S101  the plan identifies only an observed resource
    arn = observed.data[context.kind.arn_member]
    ours = await _is_ours(context, arn)
    if ours is not None:
        context.update_facts(owner=Owner.OURS if ours else Owner.FOREIGN, arn=arn if ours else None)


async def _is_ours(context: Context, arn: str) -> bool | None:
    """Whether the resource has our UID as a tag. None: its tags could not be read."""
    owner = await _owner(context, arn)
    return None if context.facts.error is not None else owner == context.obj.metadata.uid


async def _owner(context: Context, arn: str) -> str | None:
    """The UID of the object that the resource was created for, by its tags."""
    return (await _tags(context, arn) or {}).get(UID_TAG)


async def _tags(context: Context, arn: str) -> dict[str, str] | None:
    """All of a resource's tags, or None if they could not be read."""
    found: dict[str, str] = {}
    params = {"ResourceArn": arn, "MaxResults": 100}
    while (answer := await context.call("ListTags", params)) is not None:
        found |= {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
        if "NextToken" not in answer:
            return found
        params["NextToken"] = answer["NextToken"]
    return None


async def _find(context: Context) -> None:
    """Search the whole List, because AWS generates the identifier: by the display name, and by our tag."""
    listing = context.kind.listing
    assert listing is not None  # noqa: S101  the catalogue's tests check it for such kinds
    wanted = desired_input(context.kind, context.spec).get(context.kind.name_member)
    params: dict[str, Any] = {"MaxResults": 100}
    while (answer := await context.call(listing.operation, params)) is not None:
        for summary in answer.get(listing.result, ()):
            if summary.get(context.kind.name_member) == wanted and await _is_ours(
                context, summary[context.kind.arn_member]
            ):
                context.update_facts(owner=Owner.OURS, arn=summary[context.kind.arn_member])
                return
        if "NextToken" not in answer:
            context.update_facts(observed=ABSENT)
            return
        params["NextToken"] = answer["NextToken"]


async def _update(context: Context, verdict: Verdict) -> None:
    uid = context.obj.metadata.uid
    request = verdict.request or {}
    recorded = {name: value for name, value in verdict.status.items() if value not in (None, context.stored.get(name))}
    if verdict.operation is not None and recorded:
        # Written first: after a crash following the call, status must record that this stopped notebook is to be started.
        lock = {"uid": context.obj.metadata.uid, "resourceVersion": context.obj.metadata.resource_version}
        await context.write({"metadata": lock, "status": recorded}, subresource="status")
    if await context.call(verdict.operation or context.kind.update, request) is None:
        return
    accepted = Accepted(request, context.obj.metadata.generation, context.facts.update_repeats + 1)
    context.memory.accepted_updates.setdefault(uid, {})[verdict.operation] = accepted
    before = context.facts.observed
    context.update_facts(mutation=Mutation.UPDATED, observed=_updating(context, verdict))
    if verdict.annotations:
        await context.write({"metadata": {"annotations": dict(verdict.annotations)}}, subresource=None)
    if before is not None and (advised := await _advised(context, before, request)):
        context.update_facts(feature_conditions={**context.facts.feature_conditions, **advised})


async def _advised(context: Context, before: Observation, request: Mapping[str, Any]) -> dict[str, ConditionValue]:
    """An advisory about the update that was just accepted. At most one read, whose failure is ignored."""
    advice = context.kind.hooks.advice
    desired = desired_input(context.kind, context.spec)
    params = advice.params(desired, request) if advice is not None else None
    if advice is None or params is None:
        return {}
    answer = await _read(context, advice.operation, params)
    text = advice.text(desired, before.data, answer) if answer is not None else None
    return {ADVISORY: ("True", advice.reason, text)} if text else {}


def _updating(context: Context, verdict: Verdict) -> Observation | None:
    """What was observed before the update, with the status that the update leads to, as ACK reports it."""
    observed, status = context.facts.observed, context.kind.updating_status
    if observed is None or status is None or context.kind.status_member is None or verdict.operation is not None:
        return observed
    return replace(observed, data={**observed.data, context.kind.status_member: status})


async def _fill(context: Context) -> None:
    """Locked on the resource version, so that it does not overwrite a field that the user set meanwhile."""
    facts, meta = context.facts, context.obj.metadata
    assert facts.late is not None  # noqa: S101  the plan fills only after an observation
    assert facts.observed is not None  # noqa: S101
    late_initialized = late_init_conditions(facts.late)
    conditions = context.stored.get("conditions") or ()
    if not any((c.get("type"), c.get("status")) == (LATE_INITIALIZED, "False") for c in conditions):
        # The CRD allows an immutable field to be filled only while the condition LateInitialized is False.
        wanted = with_conditions(
            conditions, late_initialized, generation=meta.generation, now=rfc3339(context.services.clock())
        )
        lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        await context.write({"metadata": lock, "status": {"conditions": wanted}}, subresource="status")
        context.reload_status()
    lock = {"resourceVersion": context.obj.metadata.resource_version}
    try:
        await context.write({"metadata": lock, "spec": facts.late.patch}, subresource=None)
    except Invalid as error:
        refused = replace(facts.late, refused=error.message)
        context.memory.refused_fills[meta.uid] = refused
        context.update_facts(late=refused)
        return
    context.reload_spec()
    context.update_facts(late=late_init(context.kind, context.spec, facts.observed.data))


async def _read_tags(context: Context) -> None:
    facts = context.facts
    assert facts.arn is not None  # noqa: S101  the plan reads only what exists
    context.memory.retag.add(context.obj.metadata.uid)
    actual = await _tags(context, facts.arn)
    if actual is None:
        _ignore_tag_error(context)
        return
    managed, templates = context.stored.get("managedTagKeys"), context.services.settings.resource_tags
    found = tags.compare(facts.tagging, actual, managed, templates)
    context.update_facts(tagging=found)
    if not found.differs:
        context.memory.retag.discard(context.obj.metadata.uid)


async def _retag(context: Context) -> None:
    wanted = context.facts.tagging
    request: dict[str, Any] = {"ResourceArn": context.facts.arn}
    if wanted.remove:
        operation, request["TagKeys"], left = "DeleteTags", list(wanted.remove), replace(wanted, remove=())
    else:
        added = [{"Key": key, "Value": value} for key, value in wanted.add.items()]
        operation, request["Tags"], left = "AddTags", added, replace(wanted, add={})
    if await context.call(operation, request) is None:
        _ignore_tag_error(context)
        return
    context.update_facts(tagging=left, mutation=Mutation.RETAGGED)


def _ignore_tag_error(context: Context) -> None:
    """Tag errors must not block the rest of the reconcile: they become an advisory."""
    error = context.facts.error
    if error is not None and error.category in _IGNORED_TAG_ERRORS:
        text = tags.refused(error)
        also = {**context.facts.feature_conditions, ADVISORY: ("True", "TagsNotManaged", text)}
        context.update_facts(error=None, tagging=replace(context.facts.tagging, trouble=text), feature_conditions=also)


async def _stop_or_delete(context: Context, action: Stop | Delete) -> None:
    stopping = isinstance(action, Stop)
    answer = await context.call(context.kind.stop if stopping else context.kind.delete, context.identifiers())
    if answer is not None:
        context.update_facts(mutation=Mutation.STOPPED if stopping else Mutation.DELETED)
        return
    error = context.facts.error
    if error is not None and error.category is ErrorCategory.NOT_FOUND:
        await _confirm_absence(context, error)
    elif error is not None and error.category is ErrorCategory.VALIDATION and context.facts.observed is None:
        # It has ended since it was last observed: a finished job refuses to be stopped.
        context.update_facts(error=None)
        await _observe(context)


async def _confirm_absence(context: Context, error: AwsError) -> None:
    """Describe the resource after a Stop or Delete answered "not found".

    That may be about something else (a role, a key); only a Describe proves that the resource does not exist, and that the
    finalizer may be removed. It costs one call, and only where another client had deleted the resource first.
    """
    context.update_facts(error=None)
    await _observe(context)
    observed = context.facts.observed
    if context.facts.error is None and observed is not None and observed.found:
        ending = (StatusClass.STOPPING, StatusClass.DELETING, StatusClass.GONE)
        if observed.state(context.kind) not in ending and not (
            context.kind.stop_on_delete and not observed.moving(context.kind)
        ):
            context.update_facts(error=error)
