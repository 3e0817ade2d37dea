"""Decides whether a run has passed."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

from tests.faults.scenarios import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.runner import Run

# STS, and a list of each kind, at the start of every process.
_START_CALLS = 8


def problems(run: Run, reference: Run) -> list[str]:
    """What the run must not have done, compared with the undisturbed one; empty: it passed."""
    return [
        *_of_the_run(run),
        *_of_the_end(run, reference),
        *_of_the_way(run, reference),
        *leaks(run.logs, run.reported),
    ]


def _of_the_run(run: Run) -> Iterator[str]:
    yield from run.troubles
    for message in dict.fromkeys(run.terminal):
        yield f"false Terminal: {message}"


def _of_the_end(run: Run, reference: Run) -> Iterator[str]:
    if run.objects:
        yield f"objects left in Kubernetes: {run.objects}"
    for name, stop in reference.stops.items():
        if run.stops.get(name) != stop:
            yield f"another state when {name}: {run.stops.get(name)} instead of {stop}"
    if run.resources != reference.resources:
        extra = [one for one in run.resources if one not in reference.resources]
        missing = [one for one in reference.resources if one not in run.resources]
        yield f"SageMaker ends otherwise: has {extra}, lacks {missing}"


def _of_the_way(run: Run, reference: Run) -> Iterator[str]:
    if run.made != reference.made:
        yield f"created {run.made} instead of {reference.made}"
    for operation, count in run.applied.items():
        most = reference.applied[operation] + run.budget.mutations
        if count > most:
            yield f"{operation} took effect {count} times (at most {most})"
    most = len(reference.calls) + run.budget.calls + (run.processes - 1) * _START_CALLS
    if len(run.calls) > most:
        yield f"{len(run.calls)} calls (at most {most})"


def leaks(logs: Iterable[str], reported: str) -> Iterator[str]:
    """Text that must not appear in the log, or (`reported`) in conditions and Events."""
    validator = _log_schema()
    for line in logs:
        if SECRET in line:
            yield f"a secret in the log: {line}"
        decoded = json.loads(line)
        for error in validator.iter_errors(decoded):
            yield f"log line against the schema: {error.json_path}: {error.message}: {line}"
        if "exception" in decoded:
            yield f"a traceback in the log: {line}"
    if SECRET in reported:
        yield "a secret in a condition or an event"


@cache
def _log_schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads((resources.files("sagemaker_operator") / "log_schema_v1.json").read_text()))
