"""How flags' values are written: ACK's forms (pflag and Go), each error in one line with an example."""

from __future__ import annotations

import difflib
import re
from typing import Any

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


class Rate(click.ParamType[tuple[str, float], Any]):
    """OPERATION=N."""

    name = "OPERATION=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        operation, _, number = str(value).partition("=")
        if not operation or not re.fullmatch(r"\d+(\.\d+)?", number) or float(number) <= 0:
            self.fail(f"{value!r} is not OPERATION=NUMBER, for example ListTrainingJobs=1.5", param, ctx)
        return operation, float(number)
