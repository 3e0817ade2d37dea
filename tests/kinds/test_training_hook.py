from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.kinds.hooks.training import changes_when_settled, pending, plan_update

KEEP_ALIVE = "ResourceConfig.KeepAlivePeriodInSeconds"
NAME = "job"
CONFIG = {"S3OutputPath": "s3://bucket/profile", "ProfilingIntervalInMilliseconds": 500}
RULE = {"RuleConfigurationName": "one", "RuleEvaluatorImage": "image", "InstanceType": "ml.m5.large"}
OTHER = RULE | {"RuleConfigurationName": "two"}
RUNNING = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
PROFILED = RUNNING | {"ProfilingStatus": "Enabled", "ProfilerConfig": CONFIG, "ProfilerRuleConfigurations": [RULE]}
WARM = {"ResourceConfig": {"KeepAlivePeriodInSeconds": 60}}


def plan(desired: dict[str, Any], observed: dict[str, Any], *differing: str, edited: bool = True) -> Verdict:
    return plan_update(Edit({"TrainingJobName": NAME} | desired, observed, differing, edited))


def test_no_difference_is_no_update() -> None:
    assert plan({}, RUNNING) == Verdict()


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Failed"])
@pytest.mark.parametrize(
    ("paths", "tail"),
    [
        (("HyperParameters.secret_key",), "spec.hyperParameters differs"),
        (("HyperParameters.a", "HyperParameters.b"), "spec.hyperParameters differs"),
        (("RoleArn", "InputDataConfig"), "spec.roleARN, spec.inputDataConfig differ"),
        (("ResourceConfig.InstanceCount",), "spec.resourceConfig.instanceCount differs"),
        (("RoleArn", KEEP_ALIVE), "spec.roleARN differs"),
    ],
)
def test_only_warm_pool_and_profiler_can_be_changed(status: str, paths: tuple[str, ...], tail: str) -> None:
    verdict = plan(WARM, RUNNING | {"TrainingJobStatus": status}, *paths)
    assert verdict == Verdict(reject=f"only Warm Pool or Profiler can be updated: {tail}")


def test_warm_pool_and_profiler_do_not_change_together() -> None:
    verdict = plan(WARM | {"ProfilerConfig": CONFIG}, PROFILED, KEEP_ALIVE, "ProfilerConfig.S3OutputPath")
    assert verdict == Verdict(reject="cannot update Warm pool and Profiler at the same time", fleeting=True)


DEBUG = {"RemoteDebugConfig": {"EnableRemoteDebug": True}}


@pytest.mark.parametrize("secondary", ["Downloading", "Training"])
def test_remote_debugging_is_switched_while_the_job_runs(secondary: str) -> None:
    verdict = plan(DEBUG, RUNNING | {"SecondaryStatus": secondary}, "RemoteDebugConfig.EnableRemoteDebug")
    assert verdict == Verdict(request={"TrainingJobName": NAME, **DEBUG})


def test_remote_debugging_waits_for_the_start_and_is_refused_after_the_end() -> None:
    early = plan(DEBUG, RUNNING | {"SecondaryStatus": "Uploading"}, "RemoteDebugConfig.EnableRemoteDebug")
    assert early.wait is not None
    late = plan(DEBUG, RUNNING | {"TrainingJobStatus": "Completed"}, "RemoteDebugConfig.EnableRemoteDebug")
    assert str(late.reject).startswith("spec.remoteDebugConfig")


def test_remote_debugging_is_switched_alone() -> None:
    verdict = plan(WARM | DEBUG, RUNNING, KEEP_ALIVE, "RemoteDebugConfig.EnableRemoteDebug")
    assert "cannot be updated together" in str(verdict.reject)


def test_nothing_is_updated_while_the_job_starts() -> None:
    verdict = plan(
        {"ProfilerConfig": CONFIG}, PROFILED | {"SecondaryStatus": "Starting"}, "ProfilerConfig.S3OutputPath"
    )
    assert verdict.wait is not None
    assert verdict.request is None


def warm(status: str, pool: str | None = None) -> dict[str, Any]:
    observed = {"TrainingJobStatus": status, "ResourceConfig": {"KeepAlivePeriodInSeconds": 600}}
    return observed | ({"WarmPoolStatus": {"Status": pool}} if pool else {})


def test_a_warm_pool_cannot_be_added_later() -> None:
    verdict = plan(WARM, {"TrainingJobStatus": "Completed", "ResourceConfig": {"InstanceCount": 1}}, KEEP_ALIVE)
    assert verdict == Verdict(reject="warm pool does not exist and can only be configured at creation time")


def test_a_warm_pool_waits_for_the_end_of_the_job() -> None:
    text = "warm pool cannot be updated while TrainingJob status is InProgress, requeuing until TrainingJob completes."
    assert plan(WARM, warm("InProgress"), KEEP_ALIVE) == Verdict(wait=text)


@pytest.mark.parametrize("pool", ["Available", "InUse"])
def test_only_the_period_of_an_active_warm_pool_is_updated(pool: str) -> None:
    desired = {"ResourceConfig": {"KeepAlivePeriodInSeconds": 60, "InstanceCount": 1, "InstanceType": "ml.m5.large"}}
    expected = {"TrainingJobName": NAME, "ResourceConfig": {"KeepAlivePeriodInSeconds": 60}}
    assert plan(desired, warm("Completed", pool), KEEP_ALIVE) == Verdict(request=expected)


@pytest.mark.parametrize("pool", ["Terminated", "Reused"])
def test_a_warm_pool_that_ended_is_not_updated(pool: str) -> None:
    verdict = plan(WARM, warm("Completed", pool), KEEP_ALIVE)
    assert verdict == Verdict(reject="warm pool cannot be updated if has been terminated or reused")


def test_a_warm_pool_that_is_not_reported_yet_is_waited_for() -> None:
    assert plan(WARM, warm("Completed"), KEEP_ALIVE).wait is not None


@pytest.mark.parametrize("status", ["Failed", "Stopping", "Stopped"])
def test_a_job_that_did_not_complete_has_no_warm_pool_to_update(status: str) -> None:
    reject = plan(WARM, warm(status), KEEP_ALIVE).reject
    assert reject is not None
    assert "spec.resourceConfig.keepAlivePeriodInSeconds" in reject
    assert status in reject


def test_a_changed_profiler_configuration_is_sent_whole_and_without_rules() -> None:
    desired = {
        "ProfilerConfig": CONFIG | {"ProfilingIntervalInMilliseconds": 1000},
        "ProfilerRuleConfigurations": [RULE],
    }
    verdict = plan(desired, PROFILED, "ProfilerConfig.ProfilingIntervalInMilliseconds")
    assert verdict == Verdict(request={"TrainingJobName": NAME, "ProfilerConfig": desired["ProfilerConfig"]})


def test_only_the_rule_that_is_new_is_sent() -> None:
    desired = {"ProfilerConfig": CONFIG, "ProfilerRuleConfigurations": [OTHER, RULE]}
    verdict = plan(desired, PROFILED, "ProfilerRuleConfigurations")
    assert verdict == Verdict(request={"TrainingJobName": NAME, "ProfilerRuleConfigurations": [OTHER]})


def test_configuration_and_new_rule_go_together() -> None:
    desired = {"ProfilerConfig": CONFIG | {"S3OutputPath": "s3://new"}, "ProfilerRuleConfigurations": [RULE, OTHER]}
    verdict = plan(desired, PROFILED, "ProfilerConfig.S3OutputPath", "ProfilerRuleConfigurations")
    assert verdict.request is not None
    assert set(verdict.request) == {"TrainingJobName", "ProfilerConfig", "ProfilerRuleConfigurations"}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([OTHER], id="replaced"),
        pytest.param([RULE, RULE], id="doubled"),
        pytest.param([RULE | {"InstanceType": "ml.m5.xlarge"}], id="modified"),
        pytest.param([RULE | {"InstanceType": "ml.m5.xlarge"}, OTHER], id="modified beside a new one"),
        pytest.param([OTHER, OTHER | {"RuleConfigurationName": "three"}], id="removed beside new ones"),
    ],
)
def test_existing_rules_stay_as_they_are(rules: list[dict[str, Any]]) -> None:
    verdict = plan(
        {"ProfilerConfig": CONFIG, "ProfilerRuleConfigurations": rules}, PROFILED, "ProfilerRuleConfigurations"
    )
    assert verdict == Verdict(reject="cannot remove/modify existing profiler rules.")


def test_a_rule_with_a_zero_that_sagemaker_leaves_out_is_unchanged() -> None:
    rules = [RULE | {"VolumeSizeInGB": 0}, OTHER]
    verdict = plan(
        {"ProfilerConfig": CONFIG, "ProfilerRuleConfigurations": rules}, PROFILED, "ProfilerRuleConfigurations"
    )
    assert verdict == Verdict(request={"TrainingJobName": NAME, "ProfilerRuleConfigurations": [OTHER]})


@pytest.mark.parametrize(
    "desired", [{}, {"ProfilerConfig": CONFIG}, {"ProfilerRuleConfigurations": [RULE]}], ids=["both", "rules", "config"]
)
def test_taking_the_profiler_out_of_the_spec_switches_it_off(desired: dict[str, Any]) -> None:
    expected = {"TrainingJobName": NAME, "ProfilerConfig": {"DisableProfiler": True}}
    assert plan(desired, PROFILED, edited=True) == Verdict(request=expected, fleeting=True)


def test_a_profiler_that_the_user_never_mentioned_is_left_alone() -> None:
    assert plan({}, PROFILED, edited=False) == Verdict()


@pytest.mark.parametrize("desired", [{}, {"ProfilerConfig": CONFIG}, {"ProfilerRuleConfigurations": [RULE]}])
def test_other_fields_of_a_disabled_profiler_are_not_compared(desired: dict[str, Any]) -> None:
    off = PROFILED | {"ProfilingStatus": "Disabled", "ProfilerConfig": {"DisableProfiler": True}}
    paths = [f"{name}.X" if name == "ProfilerConfig" else name for name in desired]
    assert plan(desired, off, *paths, edited=True) == Verdict()


def test_a_profiler_that_the_user_disabled_is_settled_once_it_is_off() -> None:
    off = PROFILED | {"ProfilingStatus": "Disabled", "ProfilerConfig": {}}
    desired = {"ProfilerConfig": {"DisableProfiler": True}, "ProfilerRuleConfigurations": [RULE]}
    assert plan(desired, off, "ProfilerConfig.DisableProfiler") == Verdict()


def test_a_profiler_that_is_off_can_be_switched_on_again() -> None:
    off = RUNNING | {"ProfilingStatus": "Disabled"}
    desired = {"ProfilerConfig": CONFIG, "ProfilerRuleConfigurations": [RULE]}
    verdict = plan(desired, off, "ProfilerConfig.S3OutputPath", "ProfilerRuleConfigurations")
    assert verdict == Verdict(request={"TrainingJobName": NAME, **desired})


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopping", "Stopped"])
def test_the_profiler_of_a_job_that_ends_is_not_updated(status: str) -> None:
    observed = PROFILED | {"TrainingJobStatus": status}
    reject = plan({"ProfilerConfig": CONFIG}, observed, "ProfilerConfig.S3OutputPath").reject
    assert reject is not None
    assert "spec.profilerConfig" in reject
    assert status in reject


def rules(kind: str, *statuses: str) -> dict[str, Any]:
    return {f"{kind}RuleEvaluationStatuses": [{"RuleEvaluationStatus": status} for status in statuses]}


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_finished_job_is_pending_while_its_debug_rules_run(status: str) -> None:
    observed = {"TrainingJobStatus": "Completed", **rules("Debug", "NoIssuesFound", status)}
    assert pending(observed) == f"DebugRule is in {status} status."


def test_a_finished_job_is_pending_while_its_profiler_rules_run() -> None:
    observed = {"TrainingJobStatus": "Completed", "ProfilingStatus": "Enabled", **rules("Profiler", "InProgress")}
    assert pending(observed) == "ProfilerRule is in InProgress status."


@pytest.mark.parametrize(
    "observed",
    [
        {"TrainingJobStatus": "Completed"},
        {"TrainingJobStatus": "Completed", **rules("Debug", "NoIssuesFound", "Stopped", "Error", "IssuesFound")},
        {"TrainingJobStatus": "Completed", **rules("Profiler", "InProgress")},
        {"TrainingJobStatus": "Completed", "ProfilingStatus": "Disabled", **rules("Profiler", "InProgress")},
        {"TrainingJobStatus": "InProgress", **rules("Debug", "InProgress")},
    ],
    ids=["no rules", "rules ended", "no profiling", "profiling off", "the job itself runs"],
)
def test_nothing_else_keeps_a_job_pending(observed: dict[str, Any]) -> None:
    assert pending(observed) is None


@pytest.mark.parametrize(
    ("status", "pool", "expected"),
    [
        ("Completed", "Available", True),
        ("Completed", "InUse", True),
        ("Completed", "Terminated", False),
        ("Completed", "Reused", False),
        ("Completed", None, False),
        ("InProgress", "Available", False),
    ],
)
def test_a_job_is_polled_until_its_warm_pool_ends(status: str, pool: str | None, expected: bool) -> None:
    assert changes_when_settled(warm(status, pool)) is expected
