"""How each step of the plan is carried out: a call or a write, and what was learned from it."""

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
    Adopt,
    Claim,
    Confirm,
    Create,
    Delete,
    Disown,
    Fill,
    Find,
    Identify,
    Mutation,
    Observe,
    Owner,
    ReadTags,
    Retag,
    Settle,
    Step,
    Stop,
    Update,
)
from sagemaker_operator.control.reconcile.facts import Accepted
from sagemaker_operator.control.spec import tags
from sagemaker_operator.control.spec.adoption import adoption_patch, told_of_adoption
from sagemaker_operator.control.spec.create_input import create_request, desired_input
from sagemaker_operator.control.spec.late_init import late_init, told_of_late_init
from sagemaker_operator.control.spec.tags import UNTAGGED
from sagemaker_operator.errors import ErrorCategory, Invalid, OperatorError
from sagemaker_operator.kinds.descriptor import StatusClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.conditions import Told
    from sagemaker_operator.control.reconcile.context import Pass
    from sagemaker_operator.errors import AwsError
    from sagemaker_operator.kinds.descriptor import Verdict

_TAGS_ONLY = (ErrorCategory.ACCESS_DENIED, ErrorCategory.VALIDATION, ErrorCategory.QUOTA, ErrorCategory.NOT_FOUND)

# A Describe takes 0.1 s. One that waits for longer is refused, throttled or without an answer, and the poller makes the next.
_READ_SECONDS = 3.0

_OF_THE_OBJECT = frozenset({"conditions", "lastHandledReconcileAt"})
"""What status says of the object itself. All else it says of the resource."""


async def carry_out(p: Pass, step: Step) -> None:
    """One step that is not the last. Raises KubeError if Kubernetes refused a write; an AWS error is a fact."""
    match step:
        case Claim():
            await p.claim()
            p.learn(managed=True, claimed=True)
        case Disown():
            await _disown(p)
        case Adopt():
            await _adopt(p)
        case Create():
            await _create(p)
        case Confirm():
            await _confirm(p)
        case Observe():
            await _observe(p)
        case Find():
            await _find(p)
        case Identify():
            await _identify(p)
        case Update(verdict):
            await _update(p, verdict)
        case Fill():
            await _fill(p)
        case ReadTags():
            await _read_tags(p)
        case Retag():
            await _retag(p)
        case Stop() | Delete():
            await _end(p, step)
        case Settle():
            raise AssertionError("a pass ends with it")


async def _disown(p: Pass) -> None:
    """Before the finalizer: beside that a recorded ARN is ours, to be updated and deleted."""
    meta = p.obj.metadata
    lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
    gone = {name: None for name in p.stored if name not in _OF_THE_OBJECT}
    await p.write({"metadata": lock, "status": gone}, subresource="status")
    p.begin()


async def _adopt(p: Pass) -> None:
    """One write: a crash leaves the object either as it was, or with all that the adoption writes into it."""
    observed, meta, asked = p.facts.observed, p.obj.metadata, p.facts.adoption
    assert observed is not None  # noqa: S101  the plan adopts only what it has seen
    arn = observed.data[p.kind.arn_member]
    owner = None if p.facts.deleting else await _owner(p, arn)
    if p.facts.error is not None:
        return
    patch = {} if p.facts.deleting else adoption_patch(p.kind, p.obj, asked, observed.data)
    if patch:
        patch["metadata"] = {"resourceVersion": meta.resource_version, **patch.get("metadata", {})}
        try:
            await p.write(patch, subresource=None)
        except Invalid as error:
            text = f"The object cannot take the spec of the resource: {error.message}"
            p.learn(adoption=replace(asked, problem=text))
            return
        p.reread()
    adopted = replace(asked, adopted=True)
    also = told_of_adoption(adopted, (), another=owner not in (None, meta.uid))
    p.learn(managed=True, arn=arn, adoption=adopted, drifts=True, also={**p.facts.also, **also})
    p.see(observed)


async def _create(p: Pass) -> None:
    try:
        request = create_request(p.kind, p.obj, p.spec, tag_templates=p.world.settings.resource_tags)
    except SpecError as error:
        p.learn(problems=(str(error),), observed=p.facts.observed or ABSENT)
        return
    uid = p.obj.metadata.uid
    none_left = p.facts.claimed or uid in p.memory.unsent
    p.memory.unsent.discard(uid)
    answer = await p.call(p.kind.create, request)
    if none_left and p.facts.error is not None and not p.facts.error.sent:
        p.memory.unsent.add(uid)
    if answer is not None:
        # The tags were sent with it: there is nothing to compare. What it says is all that is known until it is described.
        p.learn(
            mutation=Mutation.CREATED,
            arn=answer[p.kind.arn_member],
            observed=None if p.facts.deleting else accepted(p.kind, request, answer),
            tagging=UNTAGGED,
        )
    elif p.facts.error is not None and p.facts.error.category is ErrorCategory.EXISTS:
        p.learn(error=None, taken=p.facts.error, observed=None)


async def _confirm(p: Pass) -> None:
    """The ARN is to be recorded whatever this call comes to, so none of its errors is the object's."""
    answer = await _read(p, p.kind.describe, p.identifiers())
    p.learn(shown=False)
    if answer is None:
        return
    observation = Observation(answer)
    # A former resource of this name may still be described for a moment.
    if answer.get(p.kind.arn_member) == p.facts.arn and observation.state(p.kind) is not StatusClass.GONE:
        p.learn(shown=True)
        p.see(observation)


async def _read(p: Pass, operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """One read after a change, within seconds; None: it failed, which is no fault of the object's."""
    answer = None
    try:
        async with asyncio.timeout(_READ_SECONDS):
            answer = await p.call(operation, params)
    except (OperatorError, TimeoutError) as error:
        p.log.debug("Read after a change failed", operation=operation, err=type(error).__name__)
    p.learn(error=None)
    return answer


async def _observe(p: Pass) -> None:
    answer = await p.call(p.kind.describe, p.identifiers())
    if answer is not None:
        p.see(Observation(answer))
    elif p.facts.error is not None and p.facts.error.category is ErrorCategory.NOT_FOUND:
        p.learn(error=None)
        p.see(ABSENT)


async def _identify(p: Pass) -> None:
    observed = p.facts.observed
    assert observed is not None  # noqa: S101  the plan identifies only what it has seen
    arn = observed.data[p.kind.arn_member]
    ours = await _is_ours(p, arn)
    if ours is not None:
        p.learn(owner=Owner.OURS if ours else Owner.FOREIGN, arn=arn if ours else None)


async def _is_ours(p: Pass, arn: str) -> bool | None:
    """Whether its tags bear our UID. None: they could not be had."""
    owner = await _owner(p, arn)
    return None if p.facts.error is not None else owner == p.obj.metadata.uid


async def _owner(p: Pass, arn: str) -> str | None:
    """The UID of the object that it was created for, by its tags."""
    return (await _tags(p, arn) or {}).get(UID_TAG)


async def _tags(p: Pass, arn: str) -> dict[str, str] | None:
    """All of a resource's tags, or None if they could not be had."""
    found: dict[str, str] = {}
    params = {"ResourceArn": arn, "MaxResults": 100}
    while (answer := await p.call("ListTags", params)) is not None:
        found |= {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
        if "NextToken" not in answer:
            return found
        params["NextToken"] = answer["NextToken"]
    return None


async def _find(p: Pass) -> None:
    """Whose name AWS makes can only be found among all: by the name that people call it, and our tag."""
    listing = p.kind.listing
    assert listing is not None  # noqa: S101  a descriptor's promise for such kinds
    wanted = desired_input(p.kind, p.spec).get(p.kind.name_member)
    params: dict[str, Any] = {"MaxResults": 100}
    while (answer := await p.call(listing.operation, params)) is not None:
        for summary in answer.get(listing.result, ()):
            if summary.get(p.kind.name_member) == wanted and await _is_ours(p, summary[p.kind.arn_member]):
                p.learn(owner=Owner.OURS, arn=summary[p.kind.arn_member])
                return
        if "NextToken" not in answer:
            p.learn(observed=ABSENT)
            return
        params["NextToken"] = answer["NextToken"]


async def _update(p: Pass, verdict: Verdict) -> None:
    uid = p.obj.metadata.uid
    request = verdict.request or {}
    memory = {name: value for name, value in verdict.status.items() if value not in (None, p.stored.get(name))}
    if verdict.operation is not None and memory:
        # Written first: a crash after the call must not leave a notebook stopped that nobody knows to start again.
        lock = {"uid": p.obj.metadata.uid, "resourceVersion": p.obj.metadata.resource_version}
        await p.write({"metadata": lock, "status": memory}, subresource="status")
    if await p.call(verdict.operation or p.kind.update, request) is None:
        return
    accepted = Accepted(request, p.obj.metadata.generation, p.facts.repeated + 1)
    p.memory.accepted_updates.setdefault(uid, {})[verdict.operation] = accepted
    before = p.facts.observed
    p.learn(mutation=Mutation.UPDATED, observed=_updating(p, verdict))
    if verdict.annotations:
        await p.write({"metadata": {"annotations": dict(verdict.annotations)}}, subresource=None)
    if before is not None and (advised := await _advised(p, before, request)):
        p.learn(also={**p.facts.also, **advised})


async def _advised(p: Pass, before: Observation, request: Mapping[str, Any]) -> dict[str, Told]:
    """An advisory on the update that was just accepted. It costs at most one read, and never the update's record."""
    advice = p.kind.hooks.advice
    desired = desired_input(p.kind, p.spec)
    params = advice.params(desired, request) if advice is not None else None
    if advice is None or params is None:
        return {}
    answer = await _read(p, advice.operation, params)
    text = advice.text(desired, before.data, answer) if answer is not None else None
    return {ADVISORY: ("True", advice.reason, text)} if text else {}


def _updating(p: Pass, verdict: Verdict) -> Observation | None:
    """What was observed before the update, in the status that the update puts it in, as ACK shows it."""
    observed, status = p.facts.observed, p.kind.updating_status
    if observed is None or status is None or p.kind.status_member is None or verdict.operation is not None:
        return observed
    return replace(observed, data={**observed.data, p.kind.status_member: status})


async def _fill(p: Pass) -> None:
    """Locked on the resource version: a field that the user set meanwhile is the user's."""
    facts, meta = p.facts, p.obj.metadata
    assert facts.late is not None  # noqa: S101  the plan fills only what is known
    assert facts.observed is not None  # noqa: S101
    told = told_of_late_init(facts.late)
    conditions = p.stored.get("conditions") or ()
    if not any((c.get("type"), c.get("status")) == (LATE_INITIALIZED, "False") for c in conditions):
        # The CRD lets a field that no update can change be filled only while the status says that some are not.
        wanted = with_conditions(conditions, told, generation=meta.generation, now=rfc3339(p.world.clock()))
        lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        await p.write({"metadata": lock, "status": {"conditions": wanted}}, subresource="status")
        p.stored = p.obj.decode_status()
    lock = {"resourceVersion": p.obj.metadata.resource_version}
    try:
        await p.write({"metadata": lock, "spec": facts.late.patch}, subresource=None)
    except Invalid as error:
        refused = replace(facts.late, refused=error.message)
        p.memory.refused_fills[meta.uid] = refused
        p.learn(late=refused)
        return
    p.reread()
    p.learn(late=late_init(p.kind, p.spec, facts.observed.data))


async def _read_tags(p: Pass) -> None:
    facts = p.facts
    assert facts.arn is not None  # noqa: S101  the plan reads only what exists
    p.memory.retag.add(p.obj.metadata.uid)
    actual = await _tags(p, facts.arn)
    if actual is None:
        _forgive_tags(p)
        return
    managed, templates = p.stored.get("managedTagKeys"), p.world.settings.resource_tags
    found = tags.compared(facts.tagging, actual, managed, templates)
    p.learn(tagging=found)
    if not found.differs:
        p.memory.retag.discard(p.obj.metadata.uid)


async def _retag(p: Pass) -> None:
    wanted = p.facts.tagging
    request: dict[str, Any] = {"ResourceArn": p.facts.arn}
    if wanted.remove:
        operation, request["TagKeys"], left = "DeleteTags", list(wanted.remove), replace(wanted, remove=())
    else:
        added = [{"Key": key, "Value": value} for key, value in wanted.add.items()]
        operation, request["Tags"], left = "AddTags", added, replace(wanted, add={})
    if await p.call(operation, request) is None:
        _forgive_tags(p)
        return
    p.learn(tagging=left, mutation=Mutation.RETAGGED)


def _forgive_tags(p: Pass) -> None:
    """What is said of the tags alone keeps nothing else from being done."""
    error = p.facts.error
    if error is not None and error.category in _TAGS_ONLY:
        text = tags.refused(error)
        told = {**p.facts.also, ADVISORY: ("True", "TagsNotManaged", text)}
        p.learn(error=None, tagging=replace(p.facts.tagging, trouble=text), also=told)


async def _end(p: Pass, step: Stop | Delete) -> None:
    if isinstance(step, Stop):
        await _mutate(p, p.kind.stop, Mutation.STOPPED)
    else:
        await _mutate(p, p.kind.delete, Mutation.DELETED)


async def _mutate(p: Pass, operation: str | None, mutation: Mutation) -> None:
    answer = await p.call(operation, p.identifiers())
    if answer is not None:
        p.learn(mutation=mutation)
        return
    error = p.facts.error
    if error is not None and error.category is ErrorCategory.NOT_FOUND:
        await _confirm_absence(p, error)
    elif error is not None and error.category is ErrorCategory.VALIDATION and p.facts.observed is None:
        # It ended since we last looked: a finished job refuses to be stopped.
        p.learn(error=None)
        await _observe(p)


async def _confirm_absence(p: Pass, error: AwsError) -> None:
    """A Stop or Delete says "not found" in words that may be about another thing (a role, a key): only a Describe says that the
    resource is gone, and the finalizer may come off. One call more, where something else had deleted it first."""
    p.learn(error=None)
    await _observe(p)
    observed = p.facts.observed
    if p.facts.error is None and observed is not None and observed.found:
        ending = (StatusClass.STOPPING, StatusClass.DELETING, StatusClass.GONE)
        if observed.state(p.kind) not in ending and not (p.kind.stop_on_delete and not observed.moving(p.kind)):
            p.learn(error=error)
