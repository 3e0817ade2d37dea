from __future__ import annotations

import re

import pytest

from sagemaker_operator.kinds.catalog import SHIPPED, catalog, derive, kind_name
from sagemaker_operator.kinds.described import described_members, described_shape
from sagemaker_operator.kinds.descriptor import Kind, ListFacts, StatusClass
from sagemaker_operator.kinds.model import Shape, input_members, members, operation
from sagemaker_operator.kinds.overrides import ORDERED, OVERRIDES
from tests.kinds.facts import ACK_KINDS, NOT_DERIVABLE, OPERATIONS
from tests.stories import STORIES


def kind_of(name: str) -> Kind:
    return derive(OPERATIONS[name]["create"])


def listing_of(name: str) -> ListFacts:
    listing = kind_of(name).listing
    assert listing is not None
    return listing


def test_the_catalog_has_what_is_shipped() -> None:
    assert tuple(catalog()) == SHIPPED
    assert set(ACK_KINDS) <= set(SHIPPED)
    assert set(STORIES) == set(SHIPPED)
    assert catalog()["TrainingJob"] is derive("CreateTrainingJob")


@pytest.mark.parametrize("name", sorted(NOT_DERIVABLE))
def test_what_the_rules_do_not_cover_is_refused(name: str) -> None:
    with pytest.raises(LookupError):
        derive(OPERATIONS[name]["create"])


def test_an_operation_that_creates_nothing_makes_no_kind() -> None:
    with pytest.raises(LookupError, match="StopTrainingJob creates nothing"):
        derive("StopTrainingJob")
    with pytest.raises(LookupError):
        derive("CreatePresignedDomainUrl")


def test_every_override_is_about_a_kind_that_is_shipped() -> None:
    assert set(OVERRIDES) <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_operations_are_found(name: str) -> None:
    kind, facts = kind_of(name), OPERATIONS[name]
    assert kind_name(kind.create) == kind.name == name
    assert (kind.describe, kind.delete, kind.stop) == (facts["describe"], facts["delete"], facts["stop"])
    # Several kinds have further updates, of a part of theirs.
    assert kind.update is None if not facts["update"] else kind.update in facts["update"]


USERS_OWN_STATUS = {"Action", "TrialComponent"}
"""What SageMaker calls their status is a member of Create, which it keeps and never changes."""


@pytest.mark.parametrize("name", SHIPPED)
def test_members_are_found(name: str) -> None:
    kind, facts = kind_of(name), OPERATIONS[name]
    identifiers = [member.api for member in kind.identifiers]
    # An App belongs to a user profile or to a space, and the model requires neither.
    assert identifiers == facts["identifiers"] + (["UserProfileName", "SpaceName"] if name == "App" else [])
    assert (kind.arn_member, kind.token_member) == (facts["arn"], facts["token"])
    # A package in a group takes no tags.
    assert kind.tags_on_create == (facts["tags"] and name != "ModelPackage")
    # Details of a status are a structure, and a failure is a text.
    failure = None if (facts["failure"] or "").endswith("Details") else facts["failure"]
    assert kind.failure_member == failure
    assert kind.status_member == (None if name in USERS_OWN_STATUS else facts["status"])
    accepted = {kind.update_names.get(member, member) for member in kind.mutable}
    assert set(facts["update_members"]) - {"Tags", kind.token_member} - set(identifiers) <= accepted
    # An endpoint's configuration must be named in every update, and is what an update is about.
    beside = set(kind.update_names.values()) | {member.api for member in kind.extra_spec}
    known = {*facts["update_members"], *facts["update_required"], *beside}
    assert accepted <= known - {"Tags", kind.token_member, *identifiers}


def test_what_a_kind_can_change_is_in_the_input_of_its_update() -> None:
    for kind in catalog().values():
        taken = input_members(kind.update) if kind.update else {}
        for member in kind.mutable:
            assert kind.update_names.get(member, member) in taken, (kind.name, member)
        assert {member.api for member in kind.extra_spec} <= set(taken)


NOT_A_FIELD = {
    ("Action", "PropertiesToRemove"): "what spec lacks of what is there",
    ("Artifact", "PropertiesToRemove"): "what spec lacks of what is there",
    ("Context", "PropertiesToRemove"): "what spec lacks of what is there",
    ("ModelPackage", "ClientToken"): "made of the object's UID",
    ("ModelPackage", "CustomerMetadataPropertiesToRemove"): "what spec lacks of what is there",
    ("NotebookInstance", "DisassociateLifecycleConfig"): "what spec no longer has (hooks/notebooks)",
    ("NotebookInstance", "DisassociateAcceleratorTypes"): "what spec no longer has (hooks/notebooks)",
    ("NotebookInstance", "DisassociateDefaultCodeRepository"): "what spec no longer has (hooks/notebooks)",
    ("NotebookInstance", "DisassociateAdditionalCodeRepositories"): "what spec no longer has (hooks/notebooks)",
    ("TrialComponent", "ParametersToRemove"): "what spec lacks of what is there",
    ("TrialComponent", "InputArtifactsToRemove"): "what spec lacks of what is there",
    ("TrialComponent", "OutputArtifactsToRemove"): "what spec lacks of what is there",
    ("Project", "Tags"): "by AddTags and DeleteTags, as for every kind",
}


def test_every_member_of_an_update_is_in_the_spec_or_excepted() -> None:
    """Every member of every update input, however deep, is a field of spec or is filled for a reason."""
    missing = {(kind.name, path) for kind in catalog().values() for path in _out_of_reach(kind)}
    assert missing == set(NOT_A_FIELD)


def _out_of_reach(kind: Kind) -> list[str]:
    if kind.update is None:
        return []
    named = {*kind.update_identifiers, *(member.api for member in kind.identifiers)}
    created = input_members(kind.create)
    called = {kind.update_names.get(member, member): member for member in kind.mutable}
    extra = {member.api for member in kind.extra_spec}
    found = []
    for name, shape in input_members(kind.update).items():
        if name in called and name not in extra:
            found += _lacking(kind, shape, created[called[name]], called[name])
        elif name not in {*called, *named}:
            found.append(name)
    return found


def _lacking(kind: Kind, updated: Shape, created: Shape, above: str) -> list[str]:
    """Paths, under Create's names, that the update has a place for and the Create input has not."""
    if updated.type_name == "list":
        return _lacking(kind, updated.member, created.member, above)
    if updated.type_name != "structure" or updated.name == created.name:
        return []
    known = members(created)
    called = {kind.update_names.get(f"{above}.{name}", name): name for name in known}
    found = []
    for name, shape in members(updated).items():
        path = f"{above}.{called.get(name, name)}"
        found += _lacking(kind, shape, known[called[name]], path) if name in called else [path]
    return found


def test_a_member_that_describe_renames_exists_under_that_name() -> None:
    pairs = [(kind, *pair) for kind in catalog().values() for pair in kind.read_from.items()]
    assert len(pairs) == 7
    for kind, wanted, there in pairs:
        extra = wanted in {member.api for member in kind.extra_spec}
        # What only an update takes is in no Create input.
        given = operation(kind.update if extra and kind.update else kind.create).input_shape
        assert _leads_somewhere(given, wanted), wanted
        assert _leads_somewhere(described_shape(kind), there), there
        assert not _leads_somewhere(described_shape(kind), wanted), wanted


def _leads_somewhere(shape: Shape | None, path: str) -> bool:
    for name in path.split("."):
        shape = members(shape).get(name)
    return shape is not None


def test_every_member_of_a_spec_is_compared_or_known_never_to_come_back() -> None:
    silent = {
        (kind.name, name)
        for kind in catalog().values()
        for name in input_members(kind.create)
        if name not in described_members(kind) and name not in kind.read_from and name != kind.token_member
    } - {(name, "Tags") for name in catalog()}
    assert silent == {
        ("Pipeline", "PipelineDefinitionS3Location"),
        ("PipelineExecution", "PipelineName"),
        ("PipelineExecution", "PipelineParameters"),
        ("PipelineExecution", "MlflowExperimentName"),
        ("TrainingJob", "SessionChainingConfig"),
    }


def test_a_list_whose_order_counts_is_a_list_of_a_shipped_kind() -> None:
    lists = {name for kind in catalog().values() for name in _lists(operation(kind.create).input_shape, frozenset())}
    assert lists >= ORDERED
    assert all(kind.ordered == ORDERED for kind in catalog().values())


def _lists(shape: Shape, above: frozenset[str]) -> set[str]:
    if shape.type_name == "list":
        return _lists(shape.member, above)
    if shape.type_name != "structure" or shape.name in above:
        return set()
    found = {name for name, inner in members(shape).items() if inner.type_name == "list"}
    return found.union(*(_lists(inner, above | {shape.name}) for inner in members(shape).values()))


def test_short_names_are_taken_once() -> None:
    kinds = list(catalog().values())
    names = [name for kind in kinds for name in kind.short_names]
    assert len(names) == len(set(names)) == len(kinds)
    taken = {kind.plural for kind in kinds} | {kind.name.lower() for kind in kinds}
    assert all(name.startswith("sm") and name not in taken for name in names)


def test_a_kind_without_a_name_in_its_spec_is_found_by_token_or_tag() -> None:
    for kind in catalog().values():
        inputs = input_members(kind.create)
        if all(member.api in inputs for member in kind.identifiers):
            continue
        assert kind.token_member or (kind.tags_on_create and kind.listing is not None), kind.name


def test_lifecycle_details_that_differ_by_kind() -> None:
    kinds = catalog()
    assert kinds["App"].optional_identifiers == ("UserProfileName", "SpaceName")
    assert [name for name, kind in kinds.items() if kind.id_in_arn] == ["Domain"]
    assert {name: kind.stop_before_delete for name, kind in kinds.items() if kind.stop_before_delete} == {
        "NotebookInstance": ("InService",)
    }
    assert [name for name, kind in kinds.items() if kind.updates_while_moving] == ["PipelineExecution", "TrainingJob"]
    assert {name: kind.paged_member for name, kind in kinds.items() if kind.paged_member} == {
        "FeatureGroup": "FeatureDefinitions"
    }
    assert kinds["ModelPackage"].update_identifiers == ("ModelPackageArn",)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_meaning_of_a_status_depends_on_the_kind(name: str) -> None:
    kind, facts = kind_of(name), OPERATIONS[name]
    job = facts["job"]
    good = StatusClass.SUCCEEDED if job else StatusClass.STEADY
    meanings = {"Good": good, "Running": StatusClass.IN_PROGRESS if job else StatusClass.STEADY}
    if kind.status_member is not None:
        for value, meaning in facts["statuses"].items():
            reported = meanings.get(meaning, meaning) if value != "OutOfService" else StatusClass.FAILED
            assert kind.classify(value) == reported, value
    assert kind.log_lines_kind == "job" if job else kind.log_lines_kind in ("resource", "endpoint")


def test_the_same_status_means_different_things_by_kind() -> None:
    assert kind_of("TrainingJob").classify("Completed") is StatusClass.SUCCEEDED
    assert kind_of("ModelPackage").classify("Completed") is StatusClass.STEADY
    assert kind_of("FeatureGroup").classify("Created") is StatusClass.STEADY


def test_an_endpoint_that_is_out_of_service_is_not_settled_unlike_a_stopped_notebook() -> None:
    assert kind_of("NotebookInstance").classify("Stopped") is StatusClass.STOPPED
    assert kind_of("Endpoint").classify("OutOfService") is StatusClass.FAILED


def test_an_unknown_status_is_in_progress_and_no_status_is_steady() -> None:
    assert kind_of("TrainingJob").classify("Levitating") is StatusClass.IN_PROGRESS
    assert kind_of("Model").classify(None) is StatusClass.STEADY


@pytest.mark.parametrize("name", SHIPPED)
def test_the_list_operation_is_understood(name: str) -> None:
    facts = OPERATIONS[name]["list"]
    if facts is None:
        assert kind_of(name).listing is None
        return
    listing = listing_of(name)
    assert (listing.operation, listing.result) == (facts["operation"], facts["result"])
    assert list(listing.required) == facts["required"]
    assert (listing.modified_after is not None) == facts["modified_after"]
    if listing.has_status:
        assert [member for _, member in listing.identifiers] == OPERATIONS[name]["identifiers"] + (
            ["UserProfileName", "SpaceName"] if name == "App" else []
        )


def test_a_list_that_cannot_distinguish_resources_is_not_polled() -> None:
    # Summaries of image versions name neither the image nor what describes them.
    listing = listing_of("ImageVersion")
    assert listing.identifiers == ()
    assert not listing.has_status


def test_a_sweep_of_training_jobs_reports_their_progress() -> None:
    listing = listing_of("TrainingJob")
    assert listing.has_status
    assert listing.created_after == "CreationTimeAfter"
    assert {"TrainingJobStatus", "SecondaryStatus", "WarmPoolStatus", "TrainingEndTime"} <= set(listing.observed)


READY = {
    'READY=.status.conditions[?(@.type=="Ready")].status(string,0)',
    'MESSAGE=.status.conditions[?(@.type=="Ready")].message(string,1)',
}


@pytest.mark.parametrize("name", ACK_KINDS)
def test_the_crd_of_an_ack_kind_has_acks_names_and_columns(name: str) -> None:
    kind, ack = kind_of(name), OPERATIONS[name]["ack"]
    assert kind.plural == ack["plural"]
    assert set(kind.required) <= set(ack["required"])
    controllers_own = {"stoppedByControllerMetadata"}
    assert set(ack["status"]) - controllers_own <= {member.field for member in kind.status_members}
    columns = [f"{column.name}={column.path}({column.type},{column.priority})" for column in kind.columns]
    assert columns.pop() == "AGE=.metadata.creationTimestamp(date,0)"
    assert [column for column in columns if column in ack["columns"]] == list(dict.fromkeys(ack["columns"]))
    # ACK forgot the failure of some kinds, and for those without a status it has no column at all.
    ours = {"FAILURE-REASON=.status.failureReason(string,1)"} if ack["columns"] else READY
    assert set(columns) - set(ack["columns"]) <= ours
    assert columns, "what a user sees is more than the age"


@pytest.mark.parametrize("name", SHIPPED)
def test_members_that_only_describe_returns_are_in_status(name: str) -> None:
    kind = kind_of(name)
    elsewhere = {*input_members(kind.create), *(member.api for member in kind.extra_spec), kind.arn_member}
    elsewhere |= {path.partition(".")[0] for path in kind.read_from.values()} | set(kind.described_by_arn.values())
    # Who did it is in CloudTrail.
    elsewhere |= {"CreatedBy", "LastModifiedBy"}
    shown = {member.api for member in kind.status_members}
    assert set(described_members(kind)) - elsewhere - shown == set(STORIES[name].not_in_status)


def test_deleting_the_object_of_a_job_stops_the_job_and_keeps_its_record() -> None:
    stopped = {name for name in ACK_KINDS if kind_of(name).stop_on_delete}
    jobs = {"HyperParameterTuningJob", "LabelingJob", "ProcessingJob", "TrainingJob", "TransformJob"}
    assert stopped == {*jobs, "PipelineExecution"}


@pytest.mark.parametrize("name", SHIPPED)
def test_absence_is_recognised_by_code_or_text(name: str) -> None:
    absent = kind_of(name).not_found
    if not OPERATIONS[name]["not_found"].startswith("ValidationException"):
        assert "ResourceNotFound" in absent.codes
        assert absent.pattern is None
        return
    assert absent.codes == ("ValidationException",)
    assert isinstance(absent.pattern, re.Pattern)
    assert absent.pattern.search(STORIES[name].absent)
    assert not absent.pattern.search("1 validation error detected: Value 'a b' failed to satisfy constraint")


def test_the_training_job_has_its_documented_properties() -> None:
    kind = kind_of("TrainingJob")
    assert kind.crd_name == "trainingjobs.sagemaker.services.k8s.aws"
    assert kind.finalizer == "finalizers.sagemaker.services.k8s.aws/TrainingJob"
    assert kind.required == ("trainingJobName", "roleARN", "outputDataConfig")
    assert kind.short_names == ("smtj",)
    assert kind.resource_type == "training-job"
    assert kind.log_group == "/aws/sagemaker/TrainingJobs"
    assert (kind.created_member, kind.started_member, kind.ended_member) == (
        "CreationTime",
        "TrainingStartTime",
        "TrainingEndTime",
    )
    assert set(kind.mutable) == {"ProfilerConfig", "ProfilerRuleConfigurations", "RemoteDebugConfig", "ResourceConfig"}
    missed_in_ack = {
        *("trainingStartTime", "trainingEndTime", "trainingTimeInSeconds", "billableTimeInSeconds", "progressInfo"),
        *("secondaryStatusTransitions", "finalMetricDataList", "billableTokenCount", "mlflowDetails"),
        "outputModelPackageARN",
    }
    shown = {member.field for member in kind.status_members}
    assert shown == set(OPERATIONS["TrainingJob"]["ack"]["status"]) | missed_in_ack
