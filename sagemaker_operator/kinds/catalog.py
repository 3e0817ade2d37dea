"""Kinds, derived from the service model: facts that follow from names are rules here, others are in `kinds/overrides`.

The rules hold for 66 of the 68 kinds that SageMaker can create and describe (`NOT_DERIVABLE` in tests/kinds/facts.py has the rest).
"""

from __future__ import annotations

import difflib
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.described import wrapper_of
from sagemaker_operator.kinds.descriptor import GROUP, Column, Hooks, Kind, ListFacts, Member, NotFound, StatusClass
from sagemaker_operator.kinds.late_init import LATE_INIT
from sagemaker_operator.kinds.model import (
    Shape,
    input_members,
    kebab_case,
    members,
    operation,
    operations,
    output_members,
    required_members,
)
from sagemaker_operator.kinds.naming import field_name, short_name
from sagemaker_operator.kinds.overrides import (
    ABSENT_BY_TEXT_CODES,
    NOT_FOUND_CODES,
    ORDERED,
    OVERRIDES,
    Override,
    not_found_pattern,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SHIPPED = (
    *("Action", "App", "Artifact", "CodeRepository", "CompilationJob", "Context", "DataQualityJobDefinition"),
    *("Domain", "Endpoint", "EndpointConfig", "FeatureGroup"),
    *("HyperParameterTuningJob", "InferenceComponent", "LabelingJob", "Model", "ModelBiasJobDefinition"),
    *("ModelExplainabilityJobDefinition", "ModelPackage", "ModelPackageGroup", "ModelQualityJobDefinition"),
    *("MonitoringSchedule", "NotebookInstance", "NotebookInstanceLifecycleConfig", "Pipeline", "PipelineExecution"),
    *("ProcessingJob", "Project", "Space", "TrainingJob", "TransformJob", "TrialComponent", "UserProfile"),
)
"""The kinds that this version installs and reconciles: those of the ACK controller, and more of SageMaker's."""

_CREATES = {"PipelineExecution": "StartPipelineExecution"}
"""The shipped kinds whose create operation is not Create and the kind."""

_CREATE_VERBS = ("Create", "Start", "Import", "Register", "Put")

# Statuses by their letters in lower case: SageMaker spells them InProgress, INPROGRESS, IN_PROGRESS and Update_Failed.
# Statuses that are not listed are in progress.
_CLASSES: Mapping[str, StatusClass] = {
    spelling: meaning
    for meaning, spellings in {
        StatusClass.STEADY: (
            "inservice active available created updated createcompleted updatecompleted started scheduled running"
            " maintenancecomplete completed"
        ),
        StatusClass.SUCCEEDED: "succeeded",
        StatusClass.FAILED: (
            "failed createfailed updatefailed createrollbackfailed updaterollbackfailed importfailed stopfailed"
            " startfailed maintenancefailed completedwithfailures outofservice"
        ),
        StatusClass.STOPPING: "stopping",
        StatusClass.STOPPED: "stopped expired cancelled",
        StatusClass.DELETING: "deleting deleteinprogress deletepending pendingdelete contentdeleted exportjobsdeleted",
        StatusClass.DELETE_FAILED: "deletefailed deleterollbackfailed deletionfailed",
        StatusClass.GONE: "deleted deletecompleted",
    }.items()
    for spelling in spellings.split()
}
# A job that was created, is scheduled or runs is on its way; for anything else these are the states to reach.
_JOB_CLASSES: Mapping[str, StatusClass] = {
    "completed": StatusClass.SUCCEEDED,
    "created": StatusClass.IN_PROGRESS,
    "scheduled": StatusClass.IN_PROGRESS,
    "running": StatusClass.IN_PROGRESS,
}
_READY = '.status.conditions[?(@.type=="Ready")].{}'


@cache
def catalog() -> Mapping[str, Kind]:
    """The shipped kinds by name."""
    return MappingProxyType({name: derive(_CREATES.get(name, f"Create{name}")) for name in SHIPPED})


@cache
def derive(create: str) -> Kind:
    """The kind that an operation such as ``CreateTrainingJob`` creates.

    Raises LookupError if `create` creates nothing that can be described.
    """
    name = kind_name(create)
    own = OVERRIDES.get(name, {})
    describe = own.get("describe", f"Describe{name}")
    wrapper = wrapper_of(describe)
    inputs, outputs = input_members(create), output_members(describe)
    if wrapper is not None:
        outputs = members(outputs[wrapper])
    reported = {member: shape for member, shape in outputs.items() if member not in inputs}
    identifiers = own.get("identifiers", required_members(operation(describe).input_shape))
    job = own.get("job", name.endswith("Job"))
    update = _existing(f"Update{name}")
    stop = own.get("stop", _existing(f"Stop{name}"))
    status = own.get("status_member", _first(reported, f"{name}Status", "Status"))
    failure = own.get("failure_member", _first(outputs, "FailureReason"))
    secondary = _first(outputs, "SecondaryStatus", f"{name}SecondaryStatus")
    token = next((member for member, shape in inputs.items() if shape.metadata.get("idempotencyToken")), None)
    update_names = own.get("update_names", {})
    updatable = input_members(update) if update else {}
    extra = own.get("extra_spec", ())
    shown = _shown(outputs, inputs, own, status, failure)
    return Kind(
        name=name,
        plural=plural(name),
        short_names=own.get("short_names", (short_name(name),)),
        create=create,
        describe=describe,
        wrapper=wrapper,
        paged_member=_paged_member(describe),
        update=update,
        delete=_existing(f"Delete{name}"),
        stop=stop,
        listing=_listing(
            own.get("listing", f"List{_plural(name)}"), outputs, identifiers, status, own.get("list_params", {})
        ),
        identifiers=tuple(Member(member, field_name(member)) for member in identifiers),
        optional_identifiers=own.get("optional_identifiers", ()),
        id_in_arn=any(member not in inputs and not member.endswith("Arn") for member in identifiers),
        name_member=own.get("name_member", _name_member(name, inputs, identifiers)),
        arn_member=own.get("arn_member") or _arn_member(name, create, outputs),
        resource_type=kebab_case(name),
        token_member=token,
        arn_path=tuple(tuple(part.split("|")) for part in own.get("arn_path", ())),
        tags_on_create=own.get("tags_on_create", "Tags" in inputs),
        status_member=status,
        secondary_member=secondary,
        failure_member=failure,
        created_member=_first(outputs, "CreationTime", "CreateDate", "RegistrationTime"),
        started_member=_time_ending(reported, "StartTime"),
        ended_member=_time_ending(reported, "EndTime", "CompletionTime"),
        classes=_classes(outputs[status], job=job) if status else {},
        stop_on_delete=own.get("stop_on_delete", job and stop is not None),
        stop_before_delete=own.get("stop_before_delete", ()),
        log_group=own.get("log_group"),
        not_found=NotFound(ABSENT_BY_TEXT_CODES if "not_found" in own else NOT_FOUND_CODES, not_found_pattern(name)),
        required=tuple(
            field_name(member) for member in required_members(operation(create).input_shape) if member != token
        ),
        status_members=tuple(Member(member, field_name(member)) for member in shown),
        columns=_columns(own, status, secondary, failure),
        mutable=(
            *(
                member
                for member in inputs
                if update_names.get(member, member) in updatable and member not in (*identifiers, "Tags", token)
            ),
            *(member for member in extra if member != token),
        ),
        update_names=MappingProxyType(update_names),
        update_lock=_update_lock(name, updatable, outputs),
        removed_by=_removed_by(inputs, updatable),
        late_init=LATE_INIT.get(name, ()),
        update_identifiers=own.get("update_identifiers", ()),
        described_by_arn=MappingProxyType(own.get("described_by_arn", {})),
        read_from=MappingProxyType(own.get("read_from", {})),
        extra_spec=tuple(Member(member, field_name(member)) for member in extra),
        own_status=tuple(Member("", field) for field in own.get("own_status", ())),
        # The user's tags are sent once, with ours beside them; the few kinds that describe theirs show both.
        ignored=("Tags", *own.get("ignored", ())),
        ordered=ORDERED,
        either_or=own.get("either_or", ()),
        log_lines_kind=own.get("log_lines_kind", "job" if job else "resource"),
        hooks=own.get("hooks", Hooks()),
        terminal_statuses=own.get("terminal_statuses", ()),
        updates_while_moving=own.get("updates_while_moving", False),
        recreated=own.get("recreated", True),
    )


def kind_name(create: str) -> str:
    """``CreateTrainingJob`` -> ``TrainingJob``. Raises LookupError for an operation that creates nothing."""
    for verb in _CREATE_VERBS:
        if create.startswith(verb):
            return create.removeprefix(verb)
    raise LookupError(f"{create} creates nothing")


def plural(kind: str) -> str:
    """The resource name of a kind in URLs, as ACK forms it: ``trainingjobs``, ``coderepositories``."""
    return _plural(kind).lower()


def _plural(name: str) -> str:
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}s"


def _existing(name: str) -> str | None:
    return name if name in operations() else None


def _paged_member(describe: str) -> str | None:
    if "NextToken" not in input_members(describe):
        return None
    return next(name for name, shape in output_members(describe).items() if shape.type_name == "list")


def _update_lock(name: str, updatable: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> Mapping[str, str]:
    version = f"{name}Version"
    return MappingProxyType({"TargetVersion": version} if "TargetVersion" in updatable and version in outputs else {})


def _removed_by(inputs: Mapping[str, Shape], updatable: Mapping[str, Shape]) -> Mapping[str, str]:
    found = {name: f"{name}ToRemove" for name, shape in inputs.items() if shape.type_name == "map"}
    return MappingProxyType({name: remove for name, remove in found.items() if remove in updatable})


def _first(found: Mapping[str, Shape], *candidates: str) -> str | None:
    return next((name for name in candidates if name in found), None)


def _time_ending(outputs: Mapping[str, Shape], *endings: str) -> str | None:
    times = (name for name, shape in outputs.items() if shape.type_name == "timestamp")
    return next((name for name in times if name.endswith(endings)), None)


def _name_member(kind: str, inputs: Mapping[str, Shape], identifiers: tuple[str, ...]) -> str:
    if f"{kind}Name" in inputs:
        return f"{kind}Name"
    named = [name for name in (*reversed(identifiers), *inputs) if name.endswith("Name")]
    return named[0] if named else identifiers[-1]


def _arn_member(kind: str, create: str, outputs: Mapping[str, Shape]) -> str:
    if f"{kind}Arn" in outputs:
        return f"{kind}Arn"
    # Create answers with little more than the ARN, under the name that Describe uses too.
    answered = [name for name in output_members(create) if name.endswith("Arn") and name in outputs]
    if not answered:
        raise LookupError(f"{create}: no member of the answer is the ARN")
    return answered[0]


def _classes(status: Shape, *, job: bool) -> Mapping[str, StatusClass]:
    table = {**_CLASSES, **(_JOB_CLASSES if job else {})}
    known = {
        value: table.get("".join(filter(str.isalpha, value)).lower(), StatusClass.IN_PROGRESS)
        for value in getattr(status, "enum", ())
    }
    return MappingProxyType(known)


def _shown(
    outputs: Mapping[str, Shape], inputs: Mapping[str, Shape], own: Override, status: str | None, failure: str | None
) -> tuple[str, ...]:
    """Status members: statuses, times, the failure, and those that the kind names; none that is also in spec."""
    by_rule = [
        name
        for name, shape in outputs.items()
        if name not in inputs
        and (name in (status, failure) or shape.type_name == "timestamp" or _is_status(name, shape))
    ]
    return tuple(name for name in outputs if name in by_rule or name in own.get("shown", ()))


def _is_status(name: str, shape: Shape) -> bool:
    return shape.type_name == "string" and name.endswith("Status")


def _columns(own: Override, status: str | None, secondary: str | None, failure: str | None) -> tuple[Column, ...]:
    columns = list(own.get("columns", ()))
    if failure:
        columns.append(Column("FAILURE-REASON", f".status.{field_name(failure)}", priority=1))
    if secondary:
        columns.append(Column("SECONDARY-STATUS", f".status.{field_name(secondary)}"))
    if status:
        columns.append(Column("STATUS", f".status.{field_name(status)}"))
    if not columns:
        # SageMaker has no status for it: show whether it exists, and if not, why.
        columns = [Column("READY", _READY.format("status")), Column("MESSAGE", _READY.format("message"), priority=1)]
    # kubectl drops its own AGE as soon as a CRD has columns.
    return (*columns, Column("AGE", ".metadata.creationTimestamp", "date"))


def _listing(
    name: str, outputs: Mapping[str, Shape], identifiers: tuple[str, ...], status: str | None, fixed: Mapping[str, Any]
) -> ListFacts | None:
    if name not in operations():
        return None
    lists = {member: shape for member, shape in output_members(name).items() if shape.type_name == "list"}
    if not lists:
        return None
    result, summaries = next(iter(lists.items()))
    fields, inputs = members(summaries.member), input_members(name)
    return ListFacts(
        operation=name,
        result=result,
        identifiers=tuple((member, member) for member in identifiers if member in fields),
        observed=tuple(
            member for member, shape in fields.items() if member in outputs and outputs[member].name == shape.name
        ),
        has_status=status in fields and all(member in fields for member in identifiers),
        created_after=_first(inputs, "CreationTimeAfter", "CreatedAfter"),
        modified_after=_first(inputs, "LastModifiedTimeAfter", "ModifiedTimeAfter"),
        required=required_members(operation(name).input_shape),
        fixed=MappingProxyType(dict(fixed)),
    )


def no_such_kind(kind: str, known: Collection[str]) -> str:
    """The message for a kind that is not among the `known` ones, with the nearest name."""
    near = difflib.get_close_matches(kind, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; the kinds are {', '.join(known)}"
    return f"{GROUP} has no kind {kind!r}{hint}"
