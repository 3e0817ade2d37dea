"""A kind as data: the facts with which the generic code creates, observes, updates and deletes a SageMaker resource.

Descriptors are derived from botocore's service model by `kinds/catalog`; `kinds/overrides` holds the few lines a kind
needs of its own, and `kinds/hooks` the behaviour that no table can express.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator.kinds.services import SAGEMAKER, Service
from sagemaker_operator.objects import Resource

if TYPE_CHECKING:
    import re

GROUP = SAGEMAKER.group
VERSION = "v1alpha1"


class StatusClass(StrEnum):
    """The meaning of a status value, common to all kinds. An unknown value is IN_PROGRESS, never an error."""

    IN_PROGRESS = "InProgress"
    STEADY = "Steady"
    """Up and serving, or simply existing (Endpoint InService, Model). May change again."""
    SUCCEEDED = "Succeeded"
    """A job that completed."""
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    DELETING = "Deleting"
    DELETE_FAILED = "DeleteFailed"
    GONE = "Gone"
    """The record is still described, but the resource is no more (App `Deleted`)."""

    @property
    def in_transition(self) -> bool:
        """SageMaker is still working on it: poll, and Synced is False."""
        return self in (StatusClass.IN_PROGRESS, StatusClass.STOPPING, StatusClass.DELETING)


@dataclass(frozen=True, slots=True)
class NotFound:
    """How a Describe reports absence. The model's declared errors are not reliable, so both code and text matter."""

    codes: tuple[str, ...]
    pattern: re.Pattern[str] | None = None
    """None: only the code decides."""


@dataclass(frozen=True, slots=True)
class Member:
    """One API member and its name in the CRD."""

    api: str
    field: str


@dataclass(frozen=True, slots=True)
class LateField:
    """A field of spec that ACK fills with SageMaker's value if the user left it empty."""

    path: str
    """Members of the Create input (`OutputDataConfig.CompressionType`)."""
    optional: bool = False
    """SageMaker may have no value for it."""


@dataclass(frozen=True, slots=True)
class ListFacts:
    """Facts about the List operation, for batched polling."""

    operation: str
    result: str
    """The output member that holds the summaries."""
    identifiers: tuple[tuple[str, str], ...]
    """(summary member, identifier member of the Describe input) pairs that identify the resource of a summary."""
    observed: tuple[str, ...]
    """Summary members that Describe has too under the same name: what a sweep may update in status."""
    has_status: bool
    created_after: str | None
    """Input member of the lower bound on creation time, if there is one."""
    modified_after: str | None
    required: tuple[str, ...] = ()
    """Input members that a List call must name (a parent resource)."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Input members that always have one value: without them the List leaves resources out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of the CRD."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """A hook's decision about an edit. At most one of `request`, `reject` and `wait` is set; all None: nothing to do."""

    request: Mapping[str, Any] | None = None
    """Input of the update operation, with API member names."""
    reject: str | None = None
    """Why SageMaker cannot make this edit: the text of ACK.Terminal."""
    reason: str = "ImmutableField"
    """The reason of that condition."""
    hint: str = ""
    """What to do about `reject`: shown in Ready, where the text of ACK.Terminal must be ACK's."""
    wait: str | None = None
    """Why the edit cannot be made yet: the text of ACK.Recoverable; retried after the next observation."""
    operation: str | None = None
    """The operation that `request` is for, if it is not the kind's update (a notebook is stopped and started)."""
    fleeting: bool = False
    """The request follows from the edit and not from a difference, so the edit must not count as observed before it is done."""
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Annotations to write to the object once `request` was accepted; the keys are ACK's."""
    status: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Status fields of the operator's own, by CRD name; None removes one. Written with the reconcile's status, if `request` was
    accepted or there is none."""


NOTHING_TO_DO = Verdict()


class Edit(msgspec.Struct, frozen=True):
    """The input of a hook: the difference between spec and resource."""

    desired: Mapping[str, Any]
    """The Create input of the spec, with API names."""
    observed: Mapping[str, Any]
    """The Describe output, with members that it calls otherwise under their Create names too (`Kind.read_from`)."""
    differing: tuple[str, ...]
    """Paths of `desired` that `observed` does not match."""
    edited: bool
    """The spec was changed since it was last observed: only then does an absent field mean that it was removed."""
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    status: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The stored status, CRD names."""
    proposal: Verdict = NOTHING_TO_DO
    """The verdict of the generic rules, for hooks that only restrict or extend it."""
    met: Callable[[str, Any, Any], bool] = lambda _, wanted, there: bool(wanted == there)
    """(path, wanted, there) -> whether the desired value is met, by the rules of the whole comparison."""


PlanUpdate = Callable[[Edit], Verdict]

Normalise = Callable[[str, Any], Any]
"""(path, value) -> a form in which equal values are equal: a JSON document parsed, a list of sets."""

PendingReason = Callable[[Mapping[str, Any]], str | None]
"""Describe output -> why the resource is not settled although its status is (debug rules still running), or None."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A check for an accepted update whose effect differs from its spec: one more read, and an ACK.Advisory."""

    reason: str
    operation: str
    params: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any] | None]
    """(desired, the update's request) -> the input of the read; None: there is nothing to advise."""
    text: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], str | None]
    """(desired, Describe output before the update, the read's answer) -> the message; None: nothing to advise."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Behaviour of a kind that data cannot express: pure functions, without calls of AWS or writes."""

    plan_update: PlanUpdate | None = None
    normalise: Normalise | None = None
    """Applied to both sides at every path before they are compared."""
    failure: Callable[[Mapping[str, Any]], str] | None = None
    """Describe output -> SageMaker's reason for a failure, for kinds without a member for it."""
    pending: PendingReason | None = None
    advice: Advice | None = None
    changes_when_settled: Callable[[Mapping[str, Any]], bool] | None = None
    """Describe output -> settled, yet its record changes once more by itself (a warm pool that will end)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One kind. Operation names are the API's ("CreateTrainingJob"); member names are the API's unless called `field`."""

    name: str
    service: Service = SAGEMAKER
    plural: str
    short_names: tuple[str, ...] = ()

    create: str
    describe: str
    wrapper: str | None = None
    """The structure that the Describe output wraps all of its members in (`Workforce`)."""
    paged_member: str | None = None
    """The list of the Describe output that comes in pages, if one does (a feature group's features)."""
    update: str | None = None
    delete: str | None = None
    stop: str | None = None
    listing: ListFacts | None = None

    identifiers: tuple[Member, ...]
    """Members of the Describe input. Their values come from spec, or from the ARN for kinds that AWS names itself."""
    optional_identifiers: tuple[str, ...] = ()
    """Identifiers that a resource may lack (an app belongs to a user or to a space)."""
    name_member: str
    """The member with the resource's name (`TrainingJobName`)."""
    arn_member: str
    resource_type: str
    """The resource's type in ARNs and logs: training-job."""
    token_member: str | None = None
    """Idempotency token of Create, filled from the UID."""
    id_in_arn: bool = False
    """For identifiers that AWS generates: the identifier is the ARN's last part (a domain's) and not the whole ARN."""
    arn_path: tuple[tuple[str, ...], ...] = ()
    """What the parts of the ARN after the resource type are, where they are more than the name: the member, or the members of
    which one is set (an app's user profile or space)."""
    tags_on_create: bool = True

    status_member: str | None = None
    secondary_member: str | None = None
    failure_member: str | None = None
    created_member: str | None = None
    started_member: str | None = None
    ended_member: str | None = None
    classes: Mapping[str, StatusClass] = field(default_factory=dict)
    stop_on_delete: bool = False
    """Deleting the object stops the job and keeps SageMaker's record, as ACK does."""
    stop_before_delete: tuple[str, ...] = ()
    """Statuses in which it must be stopped before it can be deleted (a running notebook)."""
    terminal_statuses: tuple[str, ...] = ()
    """Failures that ACK.Terminal reports, as ACK has it for some kinds."""
    log_group: str | None = None
    """CloudWatch log group of the resource's containers."""

    not_found: NotFound

    required: tuple[str, ...] = ()
    """CRD fields of spec.required."""
    status_members: tuple[Member, ...] = ()
    """Describe output members shown in the object's status, beside ackResourceMetadata and conditions."""
    columns: tuple[Column, ...] = ()
    mutable: tuple[str, ...] = ()
    """Top-level Create members that the update operation accepts."""
    update_names: Mapping[str, str] = field(default_factory=dict)
    """Path of a Create member -> what the update operation calls that member."""
    update_identifiers: tuple[str, ...] = ()
    """Members that name the resource in the update input, where they are not the Describe input's."""
    update_lock: Mapping[str, str] = field(default_factory=dict)
    """Member of the update input -> Describe member that it must repeat: SageMaker refuses an update of another version."""
    removed_by: Mapping[str, str] = field(default_factory=dict)
    """Create member, a map that SageMaker merges -> member of the update input that takes the keys to remove."""
    recreated: bool = True
    """A resource deleted in SageMaker is created again; False (users close apps there): only after an edit or a request."""
    updates_while_moving: bool = False
    """An update is accepted while it is in transition (a running job's); otherwise an edit waits for it to settle."""
    described_by_arn: Mapping[str, str] = field(default_factory=dict)
    """Create members that take a name or an ARN, whose ARN Describe returns under another name: that name."""
    read_from: Mapping[str, str] = field(default_factory=dict)
    """Path of a Create member -> path where Describe returns it, if that is elsewhere."""
    own_status: tuple[Member, ...] = ()
    """Status fields of ACK's that are not Describe members (`api` is empty)."""
    extra_spec: tuple[Member, ...] = ()
    """Spec fields that are not Create members but members of the update input (`approvalDescription`)."""
    ignored: tuple[str, ...] = ()
    """Paths (API names, `A.B`, `A[].B`) never compared: SageMaker rewrites them or never returns them."""
    ordered: frozenset[str] = frozenset()
    """Members whose list has a meaningful order: a change of order is an edit. All other lists are sets."""
    either_or: tuple[tuple[str, ...], ...] = ()
    """CRD paths below spec of which exactly one must be set (a rule that AWS states in prose only)."""
    late_init: tuple[LateField, ...] = ()
    """The fields that `--write-late-init` writes into spec."""
    log_lines_kind: str = "job"
    """The family of this kind's log events: job, endpoint or resource."""
    hooks: Hooks = Hooks()

    @property
    def group(self) -> str:
        """The API group of its CRD."""
        return self.service.group

    @property
    def resource(self) -> Resource:
        return Resource(self.group, VERSION, self.plural, self.name)

    @property
    def is_job(self) -> bool:
        """It runs to an end, and its log lines are those of a job."""
        return self.log_lines_kind == "job"

    @property
    def finalizer(self) -> str:
        return f"finalizers.{self.group}/{self.name}"

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{self.group}"

    @property
    def first_status(self) -> str | None:
        """The status value of a resource that was just created; None: the kind has no status."""
        values = [(state, value) for value, state in self.classes.items()]
        return next(
            (
                value
                for wanted in (StatusClass.IN_PROGRESS, StatusClass.STEADY)
                for state, value in values
                if state is wanted
            ),
            None,
        )

    @property
    def updating_status(self) -> str | None:
        """The status value while an update is carried out; None: no status shows it."""
        moving = (value for value, state in self.classes.items() if state is StatusClass.IN_PROGRESS)
        return next((value for value in moving if value in ("Updating", "UpdateInProgress")), None)

    def classify(self, status: str | None) -> StatusClass:
        """The class of a status value; a kind without a status member is steady as soon as it exists."""
        if self.status_member is None:
            return StatusClass.STEADY
        return self.classes.get(status or "", StatusClass.IN_PROGRESS)
