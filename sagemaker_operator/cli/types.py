"""How flags' values are written: ACK's forms (pflag and Go), each error in one line with an example."""

from __future__ import annotations

import csv
import difflib
import re
from typing import Any, Generic, TypeVar

import click

from sagemaker_operator.settings import FeatureGates

_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ms|s|m|h)")
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

    def __init__(self, key: str, example: str, pattern: str) -> None:
        self.name = f"{key}=N,..."
        self._key, self._example, self._pattern = key, example, pattern

    def item(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        key, _, number = text.partition("=")
        if not key or not re.fullmatch(self._pattern, number):
            self.fail(f"{text!r} is not {self._key}=NUMBER, for example {self._example}", param, ctx)
        return key, float(number)


def workers() -> Numbers:
    return Numbers("KIND", "TrainingJob=10", r"0*[1-9]\d{0,2}")


def seconds() -> Numbers:
    return Numbers("KIND", "Endpoint=600", r"0*[1-9]\d*")


def rates() -> Numbers:
    return Numbers("OPERATION", "ListTrainingJobs=1.5", r"(?=.*[1-9])\d+(\.\d+)?")


class Duration(click.ParamType[float, Any]):
    """A Go duration in seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        parts = _DURATION.findall(str(value))
        if not parts or "".join(parts) != str(value):
            self.fail(f"{value!r} is no duration, for example 60s or 1m30s", param, ctx)
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
                near = difflib.get_close_matches(gate, GATES, n=1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                self.fail(f"there is no gate {gate!r}{meant}; known: {', '.join(GATES)}", param, ctx)
            if state.lower() not in ("true", "false"):
                self.fail(f"{part!r} is not GATE=true or GATE=false", param, ctx)
            chosen[GATES[gate]] = state.lower() == "true"
        return FeatureGates(**chosen)
