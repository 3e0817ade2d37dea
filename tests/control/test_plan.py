"""The plan is a pure function: one row per situation."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from msgspec.structs import replace

from sagemaker_operator.conditions import Progress
from sagemaker_operator.control.observation import ABSENT, Observation
from sagemaker_operator.control.plan.actions import (
    Adopt,
    Claim,
    Confirm,
    Create,
    Delete,
    Disown,
    Facts,
    Find,
    Finish,
    Identify,
    Mutation,
    Observe,
    Owner,
    Retag,
    Stop,
    Update,
)
from sagemaker_operator.control.plan.next_action import next_action
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.control.spec.adoption import Adoption, Policy
from sagemaker_operator.control.spec.tags import UNTAGGED, Tagging
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import Verdict

KIND = catalog()["TrainingJob"]
ARN = "arn:aws:sagemaker:us-west-2:123456789012:training-job/xgb"


def described(status: str, *, complete: bool = True, **data: object) -> Observation:
    return Observation({"TrainingJobStatus": status, "TrainingJobArn": ARN, **data}, complete=complete)


def failed(category: ErrorCategory, operation: str = "CreateTrainingJob", **kwargs: object) -> AwsError:
    return AwsError("no", category=category, operation=operation, code="Code", **kwargs)  # type: ignore[arg-type]


new = Facts(kind=KIND)
claimed = replace(new, managed=True, claimed=True)
found_again = replace(new, managed=True)
running = replace(new, managed=True, arn=ARN, recalled=described("InProgress", complete=False), can_drift=False)
finished = replace(running, recalled=described("Completed", complete=False))
deleting = replace(running, deleting=True)


def test_a_new_object_gets_the_finalizer_before_anything_else() -> None:
    assert next_action(new) == Claim()


def test_a_create_follows_the_finalizer_without_a_describe() -> None:
    """Nothing of ours can exist yet, and a name that is taken makes CreateTrainingJob fail: a Describe would be wasted."""
    assert next_action(claimed) == Create()


def test_a_finalizer_without_an_arn_describes_before_creating() -> None:
    assert next_action(found_again) == Observe()
    assert next_action(replace(found_again, observed=ABSENT)) == Create()


def test_ownership_of_a_found_resource_is_verified_before_use() -> None:
    facts = replace(found_again, observed=described("InProgress"))
    assert next_action(facts) == Identify()
    ours = next_action(replace(facts, owner=Owner.OURS, arn=ARN))
    assert isinstance(ours, Finish)
    assert ours.requeue == Requeue.POLL
    assert not ours.release


def test_a_foreign_resource_is_terminal_and_removes_the_finalizer() -> None:
    step = next_action(replace(found_again, observed=described("InProgress"), owner=Owner.FOREIGN))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert str(step.findings.terminal).startswith("Resource already exists")
    assert step.release


def test_a_name_that_exists_is_described() -> None:
    taken = replace(claimed, already_exists=failed(ErrorCategory.EXISTS))
    assert next_action(taken) == Observe()
    step = next_action(replace(taken, observed=ABSENT))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert str(step.findings.recoverable).startswith("CreateTrainingJob: Code: no. SageMaker cannot describe")


def test_an_object_with_a_recorded_arn_and_no_finalizer_is_described_before_a_create() -> None:
    """ACK writes the ARN of a foreign resource into the status of the object that collides with it."""
    assert next_action(replace(new, arn=ARN)) == Observe()


@pytest.mark.parametrize(
    ("kind", "observed"),
    [
        ("TrainingJob", ABSENT),
        ("Project", Observation({"ProjectStatus": "DeleteCompleted", "ProjectArn": ARN})),
    ],
)
def test_a_foreign_recorded_arn_is_removed_before_the_finalizer_is_added(kind: str, observed: Observation) -> None:
    """Beside the finalizer it would be believed, and somebody else's resource be updated and deleted."""
    assert next_action(replace(new, kind=catalog()[kind], arn=ARN, observed=observed)) == Disown()


def test_a_job_that_lost_its_finalizer_and_then_its_record_is_not_run_again() -> None:
    ran = replace(new, arn=ARN, recalled=described("Completed"), observed=ABSENT)
    step = next_action(ran)
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert "not run a second time" in str(step.findings.terminal)
    assert next_action(replace(ran, terminal_reason="Vanished")) == step
    for was_not_ours in ({"terminal_reason": ""}, {"edited": True}, {"recalled": None}):
        assert next_action(replace(ran, **was_not_ours)) == Disown()


def test_an_adopted_resource_replaces_one_that_was_only_observed() -> None:
    facts = replace(new, observed=described("Completed"), adoption=Adoption(Policy.ADOPT, {"trainingJobName": "xgb"}))
    assert next_action(replace(facts, arn=ARN)) == Adopt()
    assert next_action(replace(facts, arn=f"{ARN}-other")) == Disown()


def test_a_wrong_spec_makes_no_call_and_names_the_field() -> None:
    step = next_action(replace(new, problems=("spec.roleARN: required",)))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.findings.terminal == "spec.roleARN: required"
    assert not step.release


created = replace(claimed, mutation=Mutation.CREATED, arn=ARN, observed=described("InProgress"))


def test_a_create_is_described_once_before_the_first_status() -> None:
    assert next_action(created) == Confirm()
    for shown, reason in ((True, "InProgress"), (False, "Created")):
        step = next_action(replace(created, create_confirmed=shown))
        assert isinstance(step, Finish)
        assert step.requeue == Requeue.POLL
        assert step.findings is not None
        assert (step.findings.progress, step.findings.reason) == (Progress.MOVING, reason)


def test_a_create_is_followed_by_no_other_change_in_the_same_reconcile() -> None:
    """What was created differs from spec already: the ARN is recorded before the update is sent."""
    verdict = Verdict(request={"EndpointName": "x"})
    facts = replace(
        created,
        kind=ENDPOINT,
        create_confirmed=True,
        observed=endpoint("InService"),
        verdict=verdict,
        tagging=Tagging(due=True),
    )
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.requeue == Requeue.POLL
    assert step.findings is not None
    assert step.findings.progress is Progress.MOVING, "not Ready: something is still to be changed"


def test_a_kind_that_is_settled_after_its_create_is_ready_at_once() -> None:
    facts = replace(created, kind=catalog()["Model"], create_confirmed=True, observed=Observation({"ModelArn": ARN}))
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert (step.findings.progress, step.requeue) == (Progress.SETTLED, Requeue.SETTLED)


def test_a_running_job_without_changes_is_only_polled() -> None:
    assert next_action(running) == Finish(None, Requeue.POLL)


def test_a_finished_job_costs_nothing() -> None:
    assert next_action(finished) == Finish(None, Requeue.SETTLED)


def test_an_object_that_ack_wrote_is_described_once() -> None:
    assert next_action(replace(finished, never_observed=True)) == Observe()


def test_a_summary_is_enough_while_it_runs_and_not_at_its_end() -> None:
    still = next_action(replace(running, observed=described("InProgress", complete=False)))
    assert isinstance(still, Finish)
    assert next_action(replace(running, observed=described("Failed", complete=False))) == Observe()


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("Completed", Progress.COMPLETE),
        ("Failed", Progress.FAILED),
        ("Stopped", Progress.STOPPED),
        ("InProgress", Progress.MOVING),
        ("Stopping", Progress.MOVING),
        ("SomethingNew", Progress.MOVING),
    ],
)
def test_every_status_has_a_meaning(status: str, progress: Progress) -> None:
    step = next_action(replace(running, observed=described(status)))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.findings.progress is progress
    assert step.findings.message == f"TrainingJob is in {status} status."


def test_debug_rules_keep_a_completed_job_in_progress() -> None:
    rules = [{"RuleConfigurationName": "r", "RuleEvaluationStatus": "InProgress"}]
    step = next_action(replace(running, observed=described("Completed", DebugRuleEvaluationStatuses=rules)))
    assert isinstance(step, Finish)
    assert step.requeue == Requeue.POLL
    assert step.findings is not None
    assert step.findings.message == "DebugRule is in InProgress status."


def test_a_job_that_vanished_is_not_run_again() -> None:
    step = next_action(replace(running, observed=ABSENT))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert "not run a second time" in str(step.findings.terminal)


def test_a_job_that_is_not_visible_yet_has_not_vanished() -> None:
    assert next_action(replace(running, observed=ABSENT, recently_created=True)) == Finish(None, Requeue.POLL)


def test_a_job_that_waited_long_for_its_create_has_not_vanished_either() -> None:
    """The object is old, and the job was accepted a second ago."""
    accepted = replace(running, recalled=None)
    assert next_action(replace(accepted, observed=ABSENT)) == Finish(None, Requeue.BACKOFF)
    assert next_action(replace(accepted, failures=1)) == Observe()
    step = next_action(replace(accepted, observed=ABSENT, failures=7))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert "not run a second time" in str(step.findings.terminal)


def test_an_unanswered_create_without_a_name_or_a_token_is_searched_for_before_the_next() -> None:
    """Two domains may have the same name: nothing would refuse the second."""
    unanswered = Facts(kind=catalog()["Domain"], managed=True, generated_id=True, failures=1)
    assert next_action(unanswered) == Find()
    assert next_action(replace(unanswered, observed=ABSENT)) == Finish(None, Requeue.BACKOFF)
    assert next_action(replace(unanswered, observed=ABSENT, failures=7)) == Create()


def test_an_updatable_edit_is_sent_and_waited_for() -> None:
    facts = replace(running, edited=True, can_drift=True, observed=described("InProgress"))
    verdict = Verdict(request={"TrainingJobName": "xgb"})
    assert next_action(replace(facts, verdict=verdict)) == Update(verdict)
    after = next_action(replace(facts, verdict=verdict, mutation=Mutation.UPDATED))
    assert isinstance(after, Finish)
    assert after.requeue == Requeue.POLL


def test_an_update_without_effect_ends_with_the_fields_name() -> None:
    facts = replace(
        running, can_drift=True, observed=described("InProgress"), differing=("spec.profilerConfig",), update_repeats=2
    )
    step = next_action(replace(facts, verdict=Verdict(request={"TrainingJobName": "xgb"})))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert "spec.profilerConfig" in str(step.findings.terminal)


def test_a_rejected_edit_never_stops_the_polling() -> None:
    step = next_action(
        replace(running, edited=True, observed=described("InProgress"), verdict=Verdict(reject="spec.x no"))
    )
    assert isinstance(step, Finish)
    assert step.requeue == Requeue.POLL
    assert step.findings is not None
    assert step.findings.progress is Progress.MOVING


# --- deletion


def test_a_running_job_is_stopped() -> None:
    assert next_action(deleting) == Stop()


def test_a_stopping_job_is_waited_for() -> None:
    step = next_action(replace(deleting, observed=described("Stopping", complete=False)))
    assert isinstance(step, Finish)
    assert (step.requeue, step.release) == (Requeue.POLL, False)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_the_finalizer_of_a_finished_job_is_removed_without_a_call(status: str) -> None:
    assert next_action(replace(deleting, recalled=described(status, complete=False))) == Finish(
        None, Requeue.SETTLED, release=True
    )


def test_an_object_without_our_finalizer_is_not_ours_to_delete() -> None:
    assert next_action(replace(deleting, managed=False)) == Finish(None, Requeue.SETTLED)


def test_retain_removes_the_finalizer_without_a_call() -> None:
    assert next_action(replace(deleting, retain=True)) == Finish(None, Requeue.SETTLED, release=True)


def test_a_create_that_may_have_taken_effect_is_searched_for_before_the_object_goes() -> None:
    facts = replace(found_again, deleting=True)
    assert next_action(facts) == Observe()
    assert next_action(replace(facts, observed=ABSENT)) == Finish(None, Requeue.BACKOFF)
    assert next_action(replace(facts, observed=ABSENT, failures=7)) == Finish(None, Requeue.SETTLED, release=True)
    assert next_action(replace(facts, observed=described("InProgress"))) == Identify()
    foreign = replace(facts, observed=described("InProgress"), owner=Owner.FOREIGN)
    assert next_action(foreign) == Finish(None, Requeue.SETTLED, release=True)
    assert next_action(replace(facts, observed=described("InProgress"), owner=Owner.OURS, arn=ARN)) == Stop()


# --- errors


def test_throttling_changes_no_condition_and_retries_at_its_slot() -> None:
    step = next_action(replace(claimed, error=failed(ErrorCategory.THROTTLED, retry_after=7.0)))
    assert step == Finish(None, Requeue.after(7.0))


def test_lasting_throttling_is_reported_where_a_change_is_pending() -> None:
    error = failed(ErrorCategory.THROTTLED, retry_after=7.0)
    edited = replace(finished, edited=True, observed=described("Completed"))
    for facts, progress in ((claimed, Progress.UNKNOWN), (edited, Progress.COMPLETE)):
        step = next_action(replace(facts, error=error, throttled=120.0))
        assert isinstance(step, Finish)
        assert step.findings is not None
        assert (step.findings.progress, step.findings.reason) == (progress, "Throttled")
        assert "throttles" in (step.findings.recoverable or "")
        assert (step.release, step.requeue) == (False, Requeue.after(7.0))
    at_rest = replace(finished, error=error, throttled=86_400.0)
    assert next_action(at_rest) == Finish(None, Requeue.after(7.0))


def test_an_unanswered_create_keeps_the_finalizer_and_changes_no_condition() -> None:
    assert next_action(replace(claimed, error=failed(ErrorCategory.TRANSIENT))) == Finish(None, Requeue.BACKOFF)
    reported = next_action(replace(claimed, error=failed(ErrorCategory.TRANSIENT), failures=2))
    assert isinstance(reported, Finish)
    assert reported.findings is not None
    assert not reported.release


@pytest.mark.parametrize(
    ("category", "requeue"),
    [
        (ErrorCategory.VALIDATION, Requeue.PARKED),
        (ErrorCategory.QUOTA, Requeue.SLOW_BACKOFF),
        (ErrorCategory.ACCESS_DENIED, Requeue.SLOW_BACKOFF),
        (ErrorCategory.CREDENTIALS, Requeue.SLOW_BACKOFF),
        (ErrorCategory.DEPENDENCY, Requeue.BACKOFF),
    ],
)
def test_a_refused_create_leaves_no_finalizer_and_says_why(category: ErrorCategory, requeue: Requeue) -> None:
    step = next_action(replace(claimed, error=failed(category)))
    assert isinstance(step, Finish)
    assert (step.requeue, step.release) == (requeue, True)
    assert step.findings is not None
    text = step.findings.terminal or step.findings.recoverable or ""
    assert text.startswith("CreateTrainingJob: Code: no")


def test_an_error_without_a_message_is_reported_by_its_code() -> None:
    error = AwsError(
        "", category=ErrorCategory.UNKNOWN, operation="CreateTrainingJob", code="UnknownOperationException"
    )
    step = next_action(replace(claimed, error=error, failures=2))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.findings.recoverable == "CreateTrainingJob: UnknownOperationException. It is tried again."


def test_a_refused_update_keeps_the_finalizer() -> None:
    step = next_action(
        replace(running, error=failed(ErrorCategory.VALIDATION, "UpdateTrainingJob"), observed=described("InProgress"))
    )
    assert isinstance(step, Finish)
    assert not step.release
    assert step.findings is not None
    assert step.findings.progress is Progress.MOVING


def test_a_deletion_that_aws_refuses_is_retried_and_keeps_the_finalizer() -> None:
    for category in ErrorCategory:
        step = next_action(replace(deleting, error=failed(category, "StopTrainingJob")))
        assert isinstance(step, Finish)
        assert not step.release
        assert step.requeue != Requeue.PARKED


MUTATING = (Create, Update, Stop, Delete, Retag)


def possible(facts: Facts) -> bool:
    """Whether the mutation is possible in a reconcile with the other facts."""
    observed = facts.observed
    compared = observed is not None and observed.found and observed.complete
    ours = facts.managed and facts.arn is not None
    match facts.mutation:
        case Mutation.CREATED:
            return ours and compared and facts.create_confirmed is not None
        case Mutation.UPDATED | Mutation.RETAGGED:
            return ours and compared and not facts.deleting
        case Mutation.STOPPED | Mutation.DELETED:
            return facts.managed and facts.deleting
    return True


@pytest.mark.parametrize("name", ["TrainingJob", "Endpoint", "Model", "NotebookInstance", "PipelineExecution"])
def test_every_combination_of_facts_has_a_step(name: str) -> None:
    """Total: no combination raises, and none in which a mutation was made does anything but settle."""
    kind = catalog()[name]
    moving, resting = ("InProgress", "Completed") if kind.is_job else ("Updating", "InService")

    def with_status(status: str, *, complete: bool = True) -> Observation:
        return Observation({kind.status_member or "": status, kind.arn_member: ARN}, complete=complete)

    observations = (None, ABSENT, with_status(moving), with_status(moving, complete=False), with_status(resting))
    errors = (None, failed(ErrorCategory.TRANSIENT), failed(ErrorCategory.VALIDATION))
    verdicts = (Verdict(), Verdict(request={"Name": "x"}))
    taggings = (
        UNTAGGED,
        Tagging({"team": "a"}, due=True),
        Tagging({"team": "a"}, due=True, compared=True, add={"team": "a"}),
    )
    settled: Counter[Mutation] = Counter()
    mutated: Counter[type] = Counter()
    for deleting_, managed, arn, observed, recalled, owner, mutation, error, verdict, tagging in itertools.product(
        (False, True),
        (False, True),
        (None, ARN),
        observations,
        (None, with_status(moving, complete=False), with_status(resting, complete=False)),
        Owner,
        (None, *Mutation),
        errors,
        verdicts,
        taggings,
    ):
        facts = Facts(
            kind=kind,
            deleting=deleting_,
            managed=managed,
            arn=arn,
            observed=observed,
            recalled=recalled,
            owner=owner,
            mutation=mutation,
            create_confirmed=observed is not None if mutation is Mutation.CREATED else None,
            error=error,
            verdict=verdict,
            tagging=tagging,
        )
        step = next_action(facts)
        if mutation is None:
            mutated[type(step)] += isinstance(step, MUTATING)
        elif possible(facts):
            assert isinstance(step, Finish), facts
            settled[mutation] += 1
    assert set(settled) == set(Mutation)
    ends = {Stop} if kind.stop_on_delete or resting in kind.stop_before_delete else {Delete}
    assert {Create, Update, Retag} | ends <= {step for step, times in mutated.items() if times}


ENDPOINT = catalog()["Endpoint"]
UPDATE = Verdict(request={"EndpointConfigName": "new"})


def endpoint(status: str) -> Observation:
    return Observation({"EndpointStatus": status})


def test_an_endpoint_that_changes_by_the_operators_update_is_not_reported_busy() -> None:
    facts = Facts(kind=ENDPOINT, managed=True, arn=ARN, observed=endpoint("Updating"), verdict=UPDATE)
    for repeated, text in (
        (1, None),
        (0, "Endpoint in Updating state cannot be modified or deleted."),
    ):
        step = next_action(replace(facts, update_repeats=repeated))
        assert isinstance(step, Finish)
        assert step.findings is not None
        assert (step.findings.recoverable, step.requeue) == (text, Requeue.POLL)


def test_an_update_that_is_not_visible_yet_is_still_polled_without_an_observation() -> None:
    facts = Facts(kind=ENDPOINT, managed=True, arn=ARN, recalled=endpoint("InService"))
    assert next_action(facts) == Finish(None, Requeue.SETTLED)
    assert next_action(replace(facts, unconfirmed=True)) == Finish(None, Requeue.POLL)


def test_a_wait_of_a_hook_is_polled_though_no_status_shows_it() -> None:
    facts = Facts(kind=ENDPOINT, managed=True, arn=ARN, observed=endpoint("InService"), verdict=Verdict(wait="Wait."))
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.requeue == Requeue.poll_and_after(30.0)
    later = replace(facts, observed=None, verdict=Verdict(), recalled=endpoint("InService"), recoverable_reason="Busy")
    assert next_action(later) == Observe()
    assert next_action(replace(later, recalled=endpoint("Updating"))) == Finish(None, Requeue.POLL)


@pytest.mark.parametrize("reason", ["Transient", "Throttled", "Busy"])
def test_a_settled_object_with_a_pending_wait_is_described_when_due(reason: str) -> None:
    """Or the retry of a Describe that failed would find nothing to do, and be the last one until the resync."""
    assert next_action(replace(finished, recoverable_reason=reason)) == Observe()


def test_a_resource_that_the_poller_could_not_observe_is_described_by_the_reconcile() -> None:
    assert next_action(replace(running, recoverable_reason="Transient")) == Observe()
    assert next_action(replace(running, recoverable_reason="Busy")) == Finish(None, Requeue.POLL)


@pytest.mark.parametrize("reason", ["ValidationFailed", "NotConverging"])
def test_a_terminal_error_from_sagemaker_is_described_again(reason: str) -> None:
    facts = Facts(kind=ENDPOINT, managed=True, arn=ARN, recalled=endpoint("InService"))
    assert next_action(replace(facts, terminal_reason=reason)) == Observe()
    assert next_action(replace(facts, terminal_reason="ImmutableField")) == Finish(None, Requeue.SETTLED)


def test_an_update_without_effect_is_parked_and_not_settled() -> None:
    facts = Facts(
        kind=ENDPOINT, managed=True, arn=ARN, observed=endpoint("InService"), verdict=UPDATE, update_repeats=2
    )
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.requeue == Requeue.PARKED


def test_a_deleted_resource_that_is_still_described_does_not_block_a_create() -> None:
    gone = Observation({"ProjectStatus": "DeleteCompleted", "ProjectArn": "arn:aws:sagemaker:us-west-2:1:project/p"})
    facts = Facts(kind=catalog()["Project"], managed=True, observed=gone, owner=Owner.FOREIGN)
    assert next_action(facts) == Create()


def test_a_resource_that_was_never_observed_is_not_gone_after_one_describe() -> None:
    created = replace(running, recalled=None, deleting=True, observed=ABSENT)
    assert next_action(created) == Finish(None, Requeue.BACKOFF)
    assert next_action(replace(created, failures=7)) == Finish(None, Requeue.SETTLED, release=True)
    assert next_action(replace(created, recoverable_reason="Deleting")) == Finish(None, Requeue.SETTLED, release=True)


def test_a_create_by_token_during_deletion_does_not_count_as_an_accepted_delete() -> None:
    made = replace(found_again, kind=catalog()["Pipeline"], deleting=True, arn=ARN, mutation=Mutation.CREATED)
    step = next_action(made)
    assert isinstance(step, Finish)
    assert step.findings is not None
    unseen = replace(made, mutation=None, recoverable_reason=step.findings.reason, observed=ABSENT)
    assert next_action(unseen) == Finish(None, Requeue.BACKOFF)


def test_a_deletion_checks_who_owns_the_name_if_the_token_finds_nothing() -> None:
    taken = replace(
        found_again,
        kind=catalog()["Pipeline"],
        deleting=True,
        already_exists=failed(ErrorCategory.EXISTS, "CreatePipeline"),
    )
    assert next_action(taken) == Observe()
    assert next_action(replace(taken, generated_id=True)) == Finish(None, Requeue.BACKOFF)


displaced = replace(found_again, displaced=True)
FREE = Finish(None, Requeue.after(1.0), release=True)


def test_a_create_sent_elsewhere_is_searched_for_there_and_not_repeated_there() -> None:
    assert next_action(displaced) == Observe()
    there = replace(displaced, observed=described("InProgress"))
    assert next_action(there) == Identify()
    assert next_action(replace(there, owner=Owner.FOREIGN)) == FREE, "and reports nothing of it"
    absent = replace(displaced, observed=ABSENT)
    assert next_action(absent) == Finish(None, Requeue.BACKOFF), "SageMaker's reads lag behind its creates"
    assert next_action(replace(absent, failures=7)) == FREE


def test_a_create_that_was_not_sent_is_not_searched_for() -> None:
    assert next_action(replace(displaced, create_unsent=True)) == FREE


@pytest.mark.parametrize("recorded", [True, False])
def test_an_app_that_was_closed_is_created_again_only_when_its_user_asks_for_it(recorded: bool) -> None:
    """SageMaker describes it as deleted for a day, and then no longer."""
    app = catalog()["App"]
    deleted = Observation({"Status": "Deleted", "AppArn": ARN})
    lived = Observation({"Status": "InService"}, complete=False)
    facts = Facts(kind=app, managed=True, arn=ARN, recalled=lived, observed=deleted if recorded else ABSENT)
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert (step.findings.reason, step.requeue) == ("Vanished", Requeue.SETTLED)
    assert next_action(replace(facts, requested=True)) == step, "it was not reported yet"
    assert next_action(replace(facts, edited=True)) == Create()
    assert next_action(replace(facts, terminal_reason="Vanished", requested=True)) == Create()
    assert next_action(replace(facts, terminal_reason="Vanished")) == step
    assert next_action(replace(facts, terminal_reason="Vanished", observed=None)) == Finish(None, Requeue.SETTLED)


def test_a_job_that_failed_and_then_lost_its_finalizer_and_its_record_is_not_run_again() -> None:
    """The Terminal of a failed job is about its end, not about another's resource."""
    facts = replace(
        finished, recalled=described("Failed", complete=False), terminal_reason="Failed", managed=False, observed=ABSENT
    )
    step = next_action(facts)
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.findings.reason == "Vanished"
    assert next_action(replace(facts, terminal_reason="AlreadyExists")) == Disown()
