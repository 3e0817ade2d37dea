"""The steps of a pipeline execution: read from its definition, run one after another in equal shares of its time.

What a step would start (a training job, say) is named and not made: the sandbox follows the execution alone.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sagemaker_operator.sandbox.sagemaker.lifecycle import Phase
    from sagemaker_operator.sandbox.sagemaker.protocol import Scope

RUNNING = "Executing"
SUCCEEDED = "Succeeded"

_STARTED: Mapping[str, tuple[str, str]] = {
    "AutoML": ("AutoMLJob", "automl-job"),
    "Model": ("Model", "model"),
    "Processing": ("ProcessingJob", "processing-job"),
    "RegisterModel": ("RegisterModel", "model-package"),
    "Training": ("TrainingJob", "training-job"),
    "Transform": ("TransformJob", "transform-job"),
    "Tuning": ("TuningJob", "hyper-parameter-tuning-job"),
}
"""Type of a step -> the member of its metadata, and the resource type in the ARN there."""


def _parsed(definition: str) -> dict[str, Any]:
    """A pipeline's definition; empty if it is not a JSON object."""
    try:
        found = json.loads(definition)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def planned(definition: str) -> list[dict[str, Any]]:
    """The steps in the order of the definition. Conditions are true: the steps of IfSteps follow, those of ElseSteps never."""
    return list(_flat(_parsed(definition).get("Steps", ())))


def parameters(definition: str) -> dict[str, str]:
    """The parameters of a definition that have a default, in its order. Lists and structures as JSON."""
    found = _parsed(definition).get("Parameters", ())
    return {
        one["Name"]: one["DefaultValue"] if isinstance(one["DefaultValue"], str) else json.dumps(one["DefaultValue"])
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and isinstance(one.get("Name"), str) and "DefaultValue" in one
    }


def _flat(steps: Any) -> Iterator[dict[str, Any]]:
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and isinstance(step.get("Name"), str):
            yield step
            arguments = step.get("Arguments")
            if step.get("Type") == "Condition" and isinstance(arguments, dict):
                yield from _flat(arguments.get("IfSteps"))


def callback_token(execution_arn: str, step: str) -> str:
    """Ten characters, as the model requires."""
    return hashlib.sha256(f"{execution_arn}/{step}".encode()).hexdigest()[:10]


def run(
    steps: Sequence[Mapping[str, Any]], phases: Sequence[Phase], *, seconds: float, now: float
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """(step, its status and times) of those that have begun. `phases`: the execution's, from the start of this run on."""
    if not steps:
        return
    start = phases[0].start
    ended = phases[1] if len(phases) > 1 and phases[1].start <= now else None
    until = now if ended is None else ended.start
    failing = ended is not None and phases[-1].step.status == "Failed"
    bounds = [start + seconds * (index / len(steps)) for index in range(len(steps) + 1)]
    for step, (begin, end) in zip(steps, pairwise(bounds), strict=True):
        if begin > until or (begin == until and ended is not None):
            return
        entry: dict[str, Any] = {"StartTime": begin}
        if end < until or (end == until and not failing):
            entry |= {"StepStatus": SUCCEEDED, "EndTime": end}
        elif ended is None:
            entry["StepStatus"] = RUNNING
        else:
            last = next(phase for phase in reversed(phases) if phase.start <= now)
            entry["StepStatus"] = last.step.status
            if last is phases[-1]:
                entry["EndTime"] = last.start
        yield step, entry


def metadata(step: Mapping[str, Any], execution_arn: str, scope: Scope, answers: Mapping[str, Any]) -> dict[str, Any]:
    """The Metadata member of a step. `answers`: output parameters of callback steps, by token."""
    name, type_ = step["Name"], str(step.get("Type"))
    token = callback_token(execution_arn, name)
    if type_ == "Condition":
        return {"Condition": {"Outcome": "True"}}
    if type_ == "Callback":
        queue = {"SqsQueueUrl": step["SqsQueueUrl"]} if isinstance(step.get("SqsQueueUrl"), str) else {}
        return {"Callback": {"CallbackToken": token, **queue, "OutputParameters": answers.get(token, [])}}
    if type_ not in _STARTED:
        return {}
    member, resource = _STARTED[type_]
    execution = execution_arn.rpartition("/")[2]
    return {member: {"Arn": scope.arn(f"{resource}/{f'pipelines-{execution}-{name}'[:52]}-{token}")}}
