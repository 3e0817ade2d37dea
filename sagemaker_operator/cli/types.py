"""The types of flag values, in ACK's syntax (pflag and Go); each error is one line with an example."""

from __future__ import annotations

import csv
import difflib
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from sagemaker_operator.settings import FeatureGates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ms|s|m|h)")
_VERB = re.compile("[A-Z][a-z]+")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
GATES = {
    "ResourceAdoption": "resource_adoption",
    "ReadOnlyResources": "read_only_resources",
    "TeamLevelCARM": "team_level_carm",
    "ServiceLevelCARM": "service_level_carm",
    "IAMRoleSelector": "iam_role_selector",
}


T = TypeVar("T")


class _List(click.ParamType[tuple[T, ...], Any], Generic[T]):
    """Items with commas between them; one that has a comma itself is put into double quotes, as for pflag."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[T, ...]:
        if isinstance(value, tuple):
            return value
        items = (item.strip() for line in csv.reader([str(value)], skipinitialspace=True) for item in line)
        return tuple(self.item(item, param, ctx) for item in items if item)

    def item(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> T:
        raise NotImplementedError

    def split_envvar_value(self, rv: str) -> list[str]:
        """A variable is written as the flag is: click would split it at spaces, and tags have some."""
        return [rv]


class Csv(_List[str]):
    """A comma-separated list."""

    name = "A,B,..."

    def item(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return text


class Numbers(_List[tuple[str, float]]):
    """NAME=NUMBER,..."""

    def __init__(
        self, key: str, example: str, pattern: str, *, known: Callable[[], Collection[str]] | None = None
    ) -> None:
        """`known`: the allowed NAMEs; None: they are validated elsewhere."""
        self.name = f"{key}=N,..."
        self._key, self._example, self._pattern, self._known = key, example, pattern, known

    def item(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        key, _, number = text.partition("=")
        if not key or not re.fullmatch(self._pattern, number):
            self.fail(f"{text!r} is not {self._key}=NUMBER, for example {self._example}", param, ctx)
        if self._known is not None and key not in (known := self._known()):
            self.fail(f"there is no {self._key.lower()} {key!r}{meant(key, known)}", param, ctx)
        return key, float(number)


def workers() -> Numbers:
    return Numbers("KIND", "TrainingJob=10", r"0*[1-9]\d{0,2}")


def seconds() -> Numbers:
    return Numbers("KIND", "Endpoint=600", r"0*[1-9]\d*")


def rates() -> Numbers:
    return Numbers("OPERATION", "ListTrainingJobs=1.5", r"(?=.*[1-9])\d+(\.\d+)?", known=_operations)


def quotas() -> Numbers:
    return Numbers("TYPE", "ml.m5.xlarge=2", r"\d{1,6}", known=_instance_types)


def _operations() -> frozenset[str]:
    """Operations, and their verbs."""
    from sagemaker_operator.kinds.model import operations

    return operations() | {word[0] for name in operations() if (word := _VERB.match(name))} | {"AssumeRole"}


def _instance_types() -> frozenset[str]:
    from sagemaker_operator.sandbox.sagemaker.quotas import instance_types

    return instance_types()


def meant(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """` (did you mean X?)`, or `otherwise` if no name is similar."""
    spelt = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelt, n=1)
    return f" (did you mean {spelt[near[0]]}?)" if near else otherwise


class Duration(click.ParamType[float, Any]):
    """A Go duration in seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        parts = _DURATION.findall(str(value))
        if not parts or "".join(parts) != str(value):
            self.fail(f"{value!r} is not a duration; write for example 60s or 1m30s", param, ctx)
        seconds = 0.0
        for part in parts:
            unit = part.lstrip("0123456789.")
            seconds += float(part.removesuffix(unit)) * _UNITS[unit]
        if seconds <= 0:
            self.fail(f"{value!r}: a call needs time, for example 60s", param, ctx)
        return seconds


class Gates(click.ParamType[FeatureGates, Any]):
    """NAME=true|false,..."""

    name = "GATE=BOOL,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> FeatureGates:
        if isinstance(value, FeatureGates):
            return value
        chosen: dict[str, bool] = {}
        for part in filter(None, (item.strip() for item in str(value).split(","))):
            gate, _, state = part.partition("=")
            if gate not in GATES:
                self.fail(f"there is no gate {gate!r}{meant(gate, GATES)}; known: {', '.join(GATES)}", param, ctx)
            if state.lower() not in ("true", "false"):
                self.fail(f"{part!r} is not GATE=true or GATE=false", param, ctx)
            chosen[GATES[gate]] = state.lower() == "true"
        return FeatureGates(**chosen)
