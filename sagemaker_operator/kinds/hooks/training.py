"""Training jobs: the edits that SageMaker can make to an existing one, and when it is settled.

The rules and the texts without a colon are ACK's, verbatim: people and tools know them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.kinds.model import operation
from sagemaker_operator.kinds.naming import field_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_KEEP_ALIVE = "ResourceConfig.KeepAlivePeriodInSeconds"
_CONFIG = "ProfilerConfig"
_RULES = "ProfilerRuleConfigurations"
_PROFILER = (_CONFIG, _RULES)
_DEBUG = "RemoteDebugConfig"

_RULE_RUNS = frozenset({"InProgress", "Stopping"})
_POOL_KEPT = frozenset({"Available", "InUse"})
_DEBUGGABLE = frozenset({"Downloading", "Training"})
_ENDING = frozenset({"Completed", "Failed", "Stopping", "Stopped", "Deleting"})


def pending(observed: Mapping[str, Any]) -> str | None:
    """Debugger's and Profiler's rules are evaluated by jobs of their own, which may outlive the training job."""
    if observed.get("TrainingJobStatus") == "InProgress":
        return None
    if running := _running(observed.get("DebugRuleEvaluationStatuses")):
        return f"DebugRule is in {running} status."
    profiling = observed.get("ProfilingStatus", "Disabled") != "Disabled"
    if profiling and (running := _running(observed.get("ProfilerRuleEvaluationStatuses"))):
        return f"ProfilerRule is in {running} status."
    return None


def changes_when_settled(observed: Mapping[str, Any]) -> bool:
    """A warm pool outlives its job by up to six hours, and its end changes the job's record once more."""
    return _pool(observed) in _POOL_KEPT and observed.get("TrainingJobStatus") != "InProgress"


def plan_update(edit: Edit) -> Verdict:
    """SageMaker changes three things of a training job, one at a time: how long its warm pool is kept, its profiler, and
    remote debugging (which ACK sends only by accident).

    `edit.edited` decides what an absent profiler means: in an edited spec that the user took it out, otherwise that the
    user never cared and SageMaker put it there.
    """
    removed = edit.edited and _profiler_removed(edit.desired, edit.observed)
    return replace(_planned(edit, removed=removed), fleeting=removed)


def _planned(edit: Edit, *, removed: bool) -> Verdict:
    desired, observed = edit.desired, edit.observed
    paths = [path for path in edit.differing if not (_top(path) in _PROFILER and _settled_without(desired, observed))]
    warm_pool = _KEEP_ALIVE in paths
    profiler = removed or any(_top(path) in _PROFILER for path in paths)
    debug = any(_top(path) == _DEBUG for path in paths)
    others = [path for path in paths if path != _KEEP_ALIVE and _top(path) not in (*_PROFILER, _DEBUG)]
    if others:
        return Verdict(reject=f"only Warm Pool or Profiler can be updated: {_differs(others)}")
    if warm_pool and profiler:
        return Verdict(reject="cannot update Warm pool and Profiler at the same time")
    if debug and (warm_pool or profiler):
        return Verdict(reject=f"{_field(_DEBUG)} cannot be updated together with Warm pool or Profiler")
    if not (warm_pool or profiler or debug):
        return Verdict()
    if observed.get("SecondaryStatus") == "Starting":
        return Verdict(wait="TrainingJob cannot be updated while its secondary status is Starting.")
    if debug:
        verdict = _remote_debug(desired, observed)
    elif warm_pool:
        verdict = _warm_pool(desired, observed)
    else:
        verdict = _profiler(desired, observed, paths, removed=removed)
    if verdict.request is None:
        return verdict
    return Verdict(request={"TrainingJobName": desired["TrainingJobName"], **verdict.request})


def _warm_pool(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Verdict:
    if observed.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds") is None:
        return Verdict(reject="warm pool does not exist and can only be configured at creation time")
    status = observed.get("TrainingJobStatus")
    if status == "InProgress":
        return Verdict(
            wait="warm pool cannot be updated while TrainingJob status is InProgress, "
            "requeuing until TrainingJob completes."
        )
    if status != "Completed":
        return Verdict(reject=f"{_field(_KEEP_ALIVE)}: warm pool cannot be updated, TrainingJob is in {status} status.")
    pool = _pool(observed)
    if pool is None:
        return Verdict(wait="warm pool cannot be updated before SageMaker reports its status.")
    if pool not in _POOL_KEPT:
        return Verdict(reject="warm pool cannot be updated if has been terminated or reused")
    period = desired["ResourceConfig"]["KeepAlivePeriodInSeconds"]
    return Verdict(request={"ResourceConfig": {"KeepAlivePeriodInSeconds": period}})


def _remote_debug(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Verdict:
    status = observed.get("TrainingJobStatus")
    if status in _ENDING:
        return Verdict(reject=f"{_field(_DEBUG)}: cannot be updated, TrainingJob is in {status} status.")
    secondary = observed.get("SecondaryStatus")
    if secondary not in _DEBUGGABLE:
        return Verdict(wait=f"TrainingJob's remote debugging cannot be updated in secondary status {secondary}.")
    return Verdict(request={_DEBUG: desired[_DEBUG]})


def _profiler(
    desired: Mapping[str, Any], observed: Mapping[str, Any], paths: Sequence[str], *, removed: bool
) -> Verdict:
    status = observed.get("TrainingJobStatus")
    if status in _ENDING:
        fields = ", ".join(_field(name) for name in _PROFILER)
        return Verdict(reject=f"{fields}: profiler cannot be updated, TrainingJob is in {status} status.")
    if removed:
        return Verdict(request={_CONFIG: {"DisableProfiler": True}})
    request: dict[str, Any] = {}
    if any(_top(path) == _CONFIG for path in paths):
        request[_CONFIG] = desired[_CONFIG]
    if any(_top(path) == _RULES for path in paths):
        kept = {rule["RuleConfigurationName"]: rule for rule in observed.get(_RULES, ())}
        wanted = {rule["RuleConfigurationName"]: rule for rule in desired[_RULES]}
        added = [rule for name, rule in wanted.items() if name not in kept]
        same = all(name in wanted and _unchanged(wanted[name], rule) for name, rule in kept.items())
        if not added or not same:
            return Verdict(reject="cannot remove/modify existing profiler rules.")
        request[_RULES] = added
    return Verdict(request=request)


def _profiler_removed(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """Taking out either block switches the profiler off: SageMaker has no way to take out only one."""
    if observed.get("ProfilingStatus") != "Enabled":
        return False
    return any(observed.get(name) and not desired.get(name) for name in _PROFILER)


def _settled_without(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """The profiler is off, and the spec does not ask for it in full: what is left of it there is no difference."""
    if observed.get("ProfilingStatus") != "Disabled":
        return False
    wants_it_off = bool((desired.get(_CONFIG) or {}).get("DisableProfiler"))
    return wants_it_off or not all(desired.get(name) for name in _PROFILER)


def _unchanged(wanted: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Of what the user set; SageMaker leaves out what is at its zero value."""
    return all(rule.get(name) == value or not (value or rule.get(name)) for name, value in wanted.items())


def _running(evaluations: Iterable[Mapping[str, Any]] | None) -> str | None:
    statuses = (evaluation.get("RuleEvaluationStatus") for evaluation in evaluations or ())
    return next((status for status in statuses if status in _RULE_RUNS), None)


def _pool(observed: Mapping[str, Any]) -> str | None:
    return (observed.get("WarmPoolStatus") or {}).get("Status")


def _top(path: str) -> str:
    return path.split(".", 1)[0].removesuffix("[]")


def _field(path: str) -> str:
    return field_path(operation("CreateTrainingJob").input_shape, path)


def _differs(paths: Iterable[str]) -> str:
    fields = list(dict.fromkeys(_field(path) for path in paths))
    return f"{', '.join(fields)} {'differs' if len(fields) == 1 else 'differ'}"
