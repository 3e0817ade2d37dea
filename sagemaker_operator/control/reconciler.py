"""One pass over one object: gather facts, carry out the plan's steps, write what changed. The only writer of objects.

Order of a create, and why a crash anywhere ends in the same place: finalizer (a create may follow), create (tagged with the
object's UID), status with the ARN. A pass that finds the finalizer and no ARN looks in SageMaker before it does anything.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from sagemaker_operator.annotations import RECONCILE_REQUESTED, UID_TAG
from sagemaker_operator.aws.translate import SpecError
from sagemaker_operator.clock import rfc3339
from sagemaker_operator.conditions import ADVISORY, LATE_INITIALIZED, with_conditions
from sagemaker_operator.control import tags
from sagemaker_operator.control.adoption import adoption_patch, told_of_adoption
from sagemaker_operator.control.edit import judge
from sagemaker_operator.control.gather import Memory, created_at, gather, rereferenced
from sagemaker_operator.control.lateinit import late_init, told_of_late_init
from sagemaker_operator.control.observation import ABSENT, Observation
from sagemaker_operator.control.placement import place
from sagemaker_operator.control.plan import UPDATING, next_step
from sagemaker_operator.control.ports import Handle, Result, World
from sagemaker_operator.control.references import resolve
from sagemaker_operator.control.request import (
    create_request,
    desired_input,
    identifiers,
    in_the_users_words,
)
from sagemaker_operator.control.status import status_patch
from sagemaker_operator.control.steps import (
    Adopt,
    Claim,
    Create,
    Delete,
    Fill,
    Find,
    Follow,
    Identify,
    Mutation,
    Observe,
    Owner,
    ReadTags,
    Retag,
    Settle,
    Stop,
    Update,
)
from sagemaker_operator.control.transition import Transition, released, transitions
from sagemaker_operator.errors import AwsError, ErrorCategory, Invalid
from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.logs import Event, Logger, emit, get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.control.references import Resolution
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject, ObjectKey

_TAGS_ONLY = (ErrorCategory.ACCESS_DENIED, ErrorCategory.VALIDATION, ErrorCategory.QUOTA, ErrorCategory.NOT_FOUND)
_PARK_SECONDS = (1800.0, 3600.0)


class Reconciler:
    """Reconciles all objects of one kind."""

    def __init__(self, kind: Kind, world: World) -> None:
        self._kind = kind
        self._world = world
        self._memory = Memory()
        self._log = get_logger(kind.name.lower())

    async def reconcile(self, key: ObjectKey, failures: int) -> Result:
        """One pass. Raises KubeError if Kubernetes refused a write; every AWS error ends in the object's status."""
        obj = self._world.cache.get(key)
        if obj is None:
            self._world.tracker.untrack(key)
            return Result()
        with structlog.contextvars.bound_contextvars(
            controller=self._kind.name.lower(),
            kind=self._kind.name,
            namespace=key.namespace,
            name=key.name,
            uid=obj.metadata.uid,
            generation=obj.metadata.generation,
            reconcileID=uuid.UUID(int=self._world.rng.getrandbits(128), version=4).hex,
        ):
            return await _Pass(self._kind, self._world, self._memory, self._log, key, obj, failures).run()

    def forget(self, obj: KubeObject) -> None:
        """The object is gone; drop what was remembered of it."""
        self._memory.forget(obj.metadata.uid)


class _Pass:
    """The state of one pass: the object as last written, and the facts."""

    def __init__(
        self,
        kind: Kind,
        world: World,
        memory: Memory,
        log: Logger,
        key: ObjectKey,
        obj: KubeObject,
        failures: int,
    ) -> None:
        self._kind = kind
        self._world = world
        self._memory = memory
        self._log = log
        self._key = key
        self._obj = obj
        self._stored = obj.decode_status()
        self._resolution = self._resolve()
        self._spec = self._resolution.spec
        around = world.surroundings.of(key.namespace)
        self._placement = place(kind, obj, self._stored, around, world.settings, world.identity)
        self._facts = gather(
            kind, world, memory, obj, self._resolution, self._stored, self._placement, failures=failures
        )
        polled = world.tracker.take(key)
        if polled is not None:
            self._see(polled)

    def _resolve(self) -> Resolution:
        return resolve(
            self._kind,
            self._obj,
            self._obj.decode_spec(),
            find=self._world.neighbours,
            recorded=self._stored.get("resolvedReferences") or {},
            cross_namespace=self._world.settings.enable_cross_namespace,
        )

    async def run(self) -> Result:
        while True:
            step = next_step(self._facts)
            match step:
                case Claim():
                    await self._write_finalizers((*self._obj.metadata.finalizers, self._kind.finalizer))
                    self._learn(managed=True, claimed=True)
                case Adopt():
                    await self._adopt()
                case Create():
                    await self._create()
                case Observe():
                    await self._observe()
                case Find():
                    await self._find()
                case Identify():
                    await self._identify()
                case Update(verdict):
                    await self._update(verdict)
                case Fill():
                    await self._fill()
                case ReadTags():
                    await self._read_tags()
                case Retag():
                    await self._retag()
                case Stop():
                    await self._mutate(self._kind.stop, Mutation.STOPPED)
                case Delete():
                    await self._mutate(self._kind.delete, Mutation.DELETED)
                case Settle():
                    return await self._settle(step)

    def _learn(self, **facts: Any) -> None:
        self._facts = replace(self._facts, **facts)

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def _call(self, operation: str | None, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer, or None if it failed: then the error is among the facts."""
        assert operation is not None, f"{self._kind.name} has no such operation"  # noqa: S101  a descriptor's promise
        target = self._placement.target
        assert target is not None, "the plan calls nobody without a place"  # noqa: S101
        try:
            return await self._world.aws.call(target, operation, params, kind=self._kind, caller=self._key.namespace)
        except AwsError as error:
            error.message = in_the_users_words(self._kind, error.message)
            self._learn(error=error)
            return None

    async def _adopt(self) -> None:
        """One write: a crash leaves the object either as it was, or with all that the adoption writes into it."""
        observed, meta, asked = self._facts.observed, self._obj.metadata, self._facts.adoption
        assert observed is not None  # noqa: S101  the plan adopts only what it has seen
        arn = observed.data[self._kind.arn_member]
        owner = None if self._facts.deleting else await self._owner(arn)
        if self._facts.error is not None:
            return
        patch = {} if self._facts.deleting else adoption_patch(self._kind, self._obj, asked, observed.data)
        if patch:
            patch["metadata"] = {"resourceVersion": meta.resource_version, **patch.get("metadata", {})}
            try:
                await self._write(patch, subresource=None)
            except Invalid as error:
                text = f"The object cannot take the spec of the resource: {error.message}"
                self._learn(adoption=replace(asked, problem=text))
                return
            self._resolution = self._resolve()
            self._spec = self._resolution.spec
        adopted = replace(asked, adopted=True)
        also = told_of_adoption(adopted, (), another=owner not in (None, meta.uid))
        self._learn(managed=True, arn=arn, adoption=adopted, drifts=True, also={**self._facts.also, **also})
        self._see(observed)

    async def _create(self) -> None:
        try:
            request = create_request(
                self._kind, self._obj, self._spec, tag_templates=self._world.settings.resource_tags
            )
        except SpecError as error:
            self._learn(problems=(str(error),), observed=self._facts.observed or ABSENT)
            return
        answer = await self._call(self._kind.create, request)
        if answer is not None:
            self._learn(mutation=Mutation.CREATED, arn=answer[self._kind.arn_member], observed=None)
        elif self._facts.error is not None and self._facts.error.category is ErrorCategory.EXISTS:
            self._learn(error=None, taken=True, observed=None)

    async def _observe(self) -> None:
        answer = await self._call(self._kind.describe, self._identifiers())
        if answer is not None:
            self._see(Observation(answer))
        elif self._facts.error is not None and self._facts.error.category is ErrorCategory.NOT_FOUND:
            self._learn(error=None)
            self._see(ABSENT)

    def _see(self, observation: Observation) -> None:
        self._learn(observed=observation)
        if self._facts.adoption.read_only and observation.found:
            self._learn(arn=observation.data.get(self._kind.arn_member, self._facts.arn))
        self._memory.looked[self._obj.metadata.uid] = asyncio.get_running_loop().time()
        if self._facts.late is not None and observation.complete:
            late = late_init(self._kind, self._spec, observation.data)
            refused = self._memory.refused_fills.get(self._obj.metadata.uid)
            self._learn(late=refused if refused is not None and refused.patch == late.patch else late)
        comparable = observation.found and observation.complete and self._facts.arn and self._facts.drifts
        if not comparable or self._facts.deleting:
            return
        meta = self._obj.metadata
        try:
            desired = desired_input(self._kind, self._spec)
        except SpecError as error:
            self._learn(differing=(error.path,), verdict=Verdict(reject=str(error)))
            return
        edit = Edit(desired, observation.data, (), self._facts.edited, meta.annotations, self._stored)
        identity = self._identifiers() | {self._kind.arn_member: self._facts.arn}
        fields, verdict = judge(self._kind, edit, identity=identity)
        if self._facts.adoption.read_only:
            self._learn(differing=fields)
            return
        last, times = self._memory.accepted_updates.get(meta.uid, {}).get(verdict.operation, ({}, 0))
        self._learn(differing=fields, verdict=verdict, repeated=times if verdict.request == last else 0)
        if verdict.request is None and verdict.wait is None:
            self._memory.accepted_updates.pop(meta.uid, None)

    async def _identify(self) -> None:
        observed = self._facts.observed
        assert observed is not None  # noqa: S101  the plan identifies only what it has seen
        arn = observed.data[self._kind.arn_member]
        ours = await self._is_ours(arn)
        if ours is not None:
            self._learn(owner=Owner.OURS if ours else Owner.FOREIGN, arn=arn if ours else None)

    async def _is_ours(self, arn: str) -> bool | None:
        """Whether its tags bear our UID. None: they could not be had."""
        owner = await self._owner(arn)
        return None if self._facts.error is not None else owner == self._obj.metadata.uid

    async def _owner(self, arn: str) -> str | None:
        """The UID of the object that it was created for, by its tags."""
        return (await self._tags(arn) or {}).get(UID_TAG)

    async def _tags(self, arn: str) -> dict[str, str] | None:
        """All of a resource's tags, or None if they could not be had."""
        found: dict[str, str] = {}
        params = {"ResourceArn": arn, "MaxResults": 100}
        while (answer := await self._call("ListTags", params)) is not None:
            found |= {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
            if "NextToken" not in answer:
                return found
            params["NextToken"] = answer["NextToken"]
        return None

    async def _find(self) -> None:
        """Whose name AWS makes can only be found among all: by the name that people call it, and our tag."""
        listing = self._kind.listing
        assert listing is not None  # noqa: S101  a descriptor's promise for such kinds
        wanted = desired_input(self._kind, self._spec).get(self._kind.name_member)
        params: dict[str, Any] = {"MaxResults": 100}
        while (answer := await self._call(listing.operation, params)) is not None:
            for summary in answer.get(listing.result, ()):
                if summary.get(self._kind.name_member) == wanted and await self._is_ours(
                    summary[self._kind.arn_member]
                ):
                    self._learn(owner=Owner.OURS, arn=summary[self._kind.arn_member])
                    return
            if "NextToken" not in answer:
                self._learn(observed=ABSENT)
                return
            params["NextToken"] = answer["NextToken"]

    async def _update(self, verdict: Verdict) -> None:
        uid = self._obj.metadata.uid
        request = verdict.request or {}
        memory = {name: value for name, value in verdict.status.items() if value not in (None, self._stored.get(name))}
        if verdict.operation is not None and memory:
            # Written first: a crash after the call must not leave a notebook stopped that nobody knows to start again.
            lock = {"uid": self._obj.metadata.uid, "resourceVersion": self._obj.metadata.resource_version}
            await self._write({"metadata": lock, "status": memory}, subresource="status")
        if await self._call(verdict.operation or self._kind.update, request) is None:
            return
        self._memory.accepted_updates.setdefault(uid, {})[verdict.operation] = (request, self._facts.repeated + 1)
        self._learn(mutation=Mutation.UPDATED)
        if verdict.annotations:
            await self._write({"metadata": {"annotations": dict(verdict.annotations)}}, subresource=None)

    async def _fill(self) -> None:
        """Locked on the resource version: a field that the user set meanwhile is the user's."""
        facts, meta = self._facts, self._obj.metadata
        assert facts.late is not None  # noqa: S101  the plan fills only what is known
        assert facts.observed is not None  # noqa: S101
        told = told_of_late_init(facts.late)
        conditions = self._stored.get("conditions") or ()
        if not any((c.get("type"), c.get("status")) == (LATE_INITIALIZED, "False") for c in conditions):
            # The CRD lets a field that no update can change be filled only while the status says that some are not.
            wanted = with_conditions(conditions, told, generation=meta.generation, now=rfc3339(self._world.clock()))
            lock = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            await self._write({"metadata": lock, "status": {"conditions": wanted}}, subresource="status")
            self._stored = self._obj.decode_status()
        lock = {"resourceVersion": self._obj.metadata.resource_version}
        try:
            await self._write({"metadata": lock, "spec": facts.late.patch}, subresource=None)
        except Invalid as error:
            refused = replace(facts.late, refused=error.message)
            self._memory.refused_fills[meta.uid] = refused
            self._learn(late=refused)
            return
        self._resolution = self._resolve()
        self._spec = self._resolution.spec
        self._learn(late=late_init(self._kind, self._spec, facts.observed.data))

    async def _read_tags(self) -> None:
        facts = self._facts
        assert facts.arn is not None  # noqa: S101  the plan reads only what exists
        self._memory.retag.add(self._obj.metadata.uid)
        actual = await self._tags(facts.arn)
        if actual is None:
            self._forgive_tags()
            return
        managed, templates = self._stored.get("managedTagKeys"), self._world.settings.resource_tags
        found = tags.compared(facts.tagging, actual, managed, templates)
        self._learn(tagging=found)
        if not found.differs:
            self._memory.retag.discard(self._obj.metadata.uid)

    async def _retag(self) -> None:
        wanted = self._facts.tagging
        request: dict[str, Any] = {"ResourceArn": self._facts.arn}
        if wanted.remove:
            operation, request["TagKeys"], left = "DeleteTags", list(wanted.remove), replace(wanted, remove=())
        else:
            added = [{"Key": key, "Value": value} for key, value in wanted.add.items()]
            operation, request["Tags"], left = "AddTags", added, replace(wanted, add={})
        if await self._call(operation, request) is None:
            self._forgive_tags()
            return
        self._learn(tagging=left, mutation=Mutation.RETAGGED)

    def _forgive_tags(self) -> None:
        """What is said of the tags alone keeps nothing else from being done."""
        error = self._facts.error
        if error is not None and error.category in _TAGS_ONLY:
            text = tags.refused(error)
            told = {**self._facts.also, ADVISORY: ("True", "TagsNotManaged", text)}
            self._learn(error=None, tagging=replace(self._facts.tagging, trouble=text), also=told)

    async def _mutate(self, operation: str | None, mutation: Mutation) -> None:
        answer = await self._call(operation, self._identifiers())
        if answer is not None:
            self._learn(mutation=mutation)
            return
        error = self._facts.error
        if error is not None and error.category is ErrorCategory.NOT_FOUND:
            self._learn(error=None, observed=ABSENT)
        elif error is not None and error.category is ErrorCategory.VALIDATION and self._facts.observed is None:
            # It ended since we last looked: a finished job refuses to be stopped.
            self._learn(error=None)
            await self._observe()

    def _identifiers(self) -> dict[str, Any]:
        if self._facts.managed and self._facts.arn is not None:
            return identifiers(self._kind, self._spec, self._facts.arn)
        asked = self._facts.adoption
        return identifiers(self._kind, {**self._spec, **asked.fields}, asked.arn)

    # --- the end of a pass -------------------------------------------------------------------------------------------

    async def _settle(self, step: Settle) -> Result:
        meta, facts = self._obj.metadata, self._facts
        if step.findings is not None:
            await self._write_status(step)
        for transition in self._transitions(step):
            self._tell(transition)
        if step.release and facts.managed:
            kept = tuple(name for name in meta.finalizers if name != self._kind.finalizer)
            await self._write_finalizers(kept)
            if facts.deleting:
                self._tell(released(facts))
        return self._follow(step)

    def _transitions(self, step: Settle) -> list[Transition]:
        facts = self._facts
        return list(
            transitions(
                self._kind,
                name=str(self._identifiers().get(self._kind.name_member, self._key.name)),
                arn=facts.arn,
                target=self._placement.target,
                before=facts.recalled,
                after=facts.observed,
                mutation=facts.mutation,
                recovered=facts.owner is Owner.OURS and not facts.deleting,
                findings=step.findings,
                told=self._stored.get("conditions") or (),
                now=self._world.clock(),
            )
        )

    def _tell(self, transition: Transition) -> None:
        emit(self._log, transition.event, **transition.fields)
        self._world.told(transition.event, terminal=transition.event is Event.RESOURCE_TERMINAL)
        if transition.note is not None:
            note = transition.note
            self._world.recorder.record(
                {
                    "apiVersion": self._kind.resource.api_version,
                    "kind": self._kind.name,
                    "namespace": self._key.namespace,
                    "name": self._key.name,
                    "uid": self._obj.metadata.uid,
                },
                type="Warning" if note.warning else "Normal",
                reason=note.reason,
                note=note.text,
                action=note.action,
            )

    def _follow(self, step: Settle) -> Result:
        self._watch(step)
        if step.after is not None:
            return Result(after=step.after * self._world.rng.uniform(1.0, 1.25))
        match step.follow:
            case Follow.POLL:
                return Result()
            case Follow.RETRY:
                return Result(failed=True)
            case Follow.SLOW:
                return Result(failed=True, slow=True)
            case Follow.PARK:
                return Result(after=self._world.rng.uniform(*_PARK_SECONDS))
        if self._kind.stop_on_delete or not (self._facts.managed or self._facts.adoption.read_only):
            return Result()
        interval = self._world.settings.resync(self._kind.name)
        looked = self._memory.looked.get(self._obj.metadata.uid, 0.0)
        rest = looked + interval * self._world.rng.uniform(0.9, 1.1) - asyncio.get_running_loop().time()
        return Result(after=max(1.0, rest))

    def _watch(self, step: Settle) -> None:
        """Whatever the state of its spec, what moves in SageMaker is followed."""
        facts = self._facts
        last = facts.observed if facts.observed is not None and facts.observed.found else facts.recalled
        moves = last is not None and (last.moving(self._kind) or last.lingers(self._kind))
        target = self._placement.target
        if facts.arn is None or step.release or target is None or not (moves or step.follow is Follow.POLL):
            self._world.tracker.untrack(self._key)
            return
        if facts.mutation is not None or (facts.observed is None and facts.waiting == UPDATING):
            # Whatever comes next is news, even if it looks as before: it is what says that the change has settled.
            last = None
        handle = Handle(
            self._kind,
            target,
            self._identifiers(),
            created_at(self._kind, self._obj, self._stored, self._world.clock),
            last,
        )
        self._world.tracker.track(self._key, handle)

    # --- writes ------------------------------------------------------------------------------------------------------

    async def _write_finalizers(self, finalizers: tuple[str, ...]) -> None:
        """Locked on the resource version: a list that somebody else changed in between must not be overwritten."""
        meta = self._obj.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": list(finalizers)}}
        await self._write(patch, subresource=None)

    async def _write_status(self, step: Settle) -> None:
        meta, facts = self._obj.metadata, self._facts
        assert step.findings is not None  # noqa: S101
        recorded = (self._stored.get("ackResourceMetadata") or {}).get("arn")
        # An edit that could not be compared with the resource is still to be made when AWS answers again.
        unread = facts.edited and facts.arn is not None and facts.error is not None and step.findings.terminal is None
        # A kill between two calls on the tags must not end the edit.
        unread = unread or (facts.edited and facts.mutation is Mutation.RETAGGED)
        patch = status_patch(
            self._kind,
            self._stored,
            findings=replace(step.findings, also={**facts.also, **step.findings.also}),
            observed=facts.observed if facts.arn else None,
            arn=facts.arn if facts.managed or facts.adoption.read_only else None,
            target=self._placement.target,
            partition=self._placement.partition,
            generation=self._stored["observedGeneration"] if unread else meta.generation,
            now=rfc3339(self._world.clock()),
        )
        if facts.mutation is Mutation.UPDATED or facts.verdict.request is None:
            own = {name: value for name, value in facts.verdict.status.items() if self._stored.get(name) != value}
            patch = {**(patch or {}), **own} or None
        if facts.arn and rereferenced(self._resolution, self._stored):
            patch = {**(patch or {}), "resolvedReferences": dict(self._resolution.values)}
        if managed := self._managed_tags(recorded):
            patch = {**(patch or {}), **managed}
        if facts.requested and facts.error is None:
            patch = {**(patch or {}), **self._handled_request()}
        if patch is None:
            return
        # The write that records the ARN must land whatever else was edited meanwhile; the UID alone keeps it from
        # reaching a namesake. All others give way to a newer version and run again.
        lock = (
            {"uid": meta.uid} if facts.arn != recorded else {"uid": meta.uid, "resourceVersion": meta.resource_version}
        )
        await self._write({"metadata": lock, "status": patch}, subresource="status")

    def _managed_tags(self, recorded: str | None) -> dict[str, Any]:
        """The keys that are ours from now on, if they are others than before."""
        facts = self._facts
        known = facts.tagging
        if facts.arn is not None and facts.arn != recorded and facts.managed and not facts.adoption.read_only:
            known = tags.tagging(self._kind, self._spec, None, due=True)
        elif not known.compared:
            return {}
        keys = known.managed_keys or None
        return {"managedTagKeys": keys} if keys != self._stored.get("managedTagKeys") else {}

    def _handled_request(self) -> dict[str, Any]:
        meta = self._obj.metadata
        handled = meta.annotations[RECONCILE_REQUESTED]
        self._memory.requests[meta.uid] = handled
        now = {"observedAt": rfc3339(self._world.clock())} if self._facts.observed is not None else {}
        return {"lastHandledReconcileAt": handled, **now}

    async def _write(self, patch: Mapping[str, Any], *, subresource: str | None) -> None:
        obj = await self._world.kube.merge_patch(
            self._kind.resource, self._key.namespace, self._key.name, patch, subresource=subresource
        )
        self._obj = obj
        self._world.cache.apply_own_write(obj)
