"""What a user does with one object, from apply to its removal: the scenarios that faults are injected into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.catalog import catalog
from tests.e2e.kinds import Stage, at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A watch that says nothing more is given up after ten minutes at the latest; then it may happen again.
_PATIENCE = 7200.0
SECRET = "s3cr3t-7f3a"
_SECRET_MAPS = ("environment", "hyperParameters", "staticHyperParameters")


class Trail:
    """What the user saw at each stop of a life, without what differs between two equal runs."""

    def __init__(self) -> None:
        self.stops: dict[str, Any] = {}

    async def stop(self, name: str, stage: Stage) -> None:
        stored = await stage.get()
        status = stored["status"]
        self.stops[name] = {
            "spec": comparable(stored["spec"]),
            "finalizers": stored["metadata"].get("finalizers"),
            "conditions": {found["type"]: found["status"] for found in status["conditions"]},
            "status": comparable({key: value for key, value in status.items() if key != "conditions"}),
        }
        edit = stage.story.edit
        if edit is not None and name == "edited":
            self.stops[name]["in SageMaker"] = at(await stage.describe(), edit.at)


async def life(stage: Stage, trail: Trail) -> None:
    """Created, settled, edited if it can be, settled, deleted."""
    await stage.apply()
    await stage.settled(seconds=_PATIENCE)
    await trail.stop("settled", stage)
    if stage.story.edit is not None:
        await stage.edit(stage.story.edit.spec)
        await stage.settled(seconds=_PATIENCE)
        await trail.stop("edited", stage)
    await stage.delete()


async def hasty(stage: Stage, trail: Trail) -> None:
    """Deleted as soon as SageMaker has it."""
    before = stage.cloud.sagemaker.made.get(stage.kind.name, 0)
    await stage.apply()
    await stage.cloud.until(lambda: stage.cloud.sagemaker.made.get(stage.kind.name, 0) > before)
    await stage.delete()


async def again(stage: Stage, trail: Trail) -> None:
    """Deleted, and at once created again under the same name."""
    await stage.apply()
    await stage.settled(seconds=_PATIENCE)
    await stage.cloud.user.delete(stage.kind.resource, "default", stage.name)
    await stage.cloud.until_gone(stage.name, kind=stage.kind.name, step=0.1)
    await stage.apply()
    await stage.settled(seconds=_PATIENCE)
    await trail.stop("again", stage)
    await stage.delete()


@dataclass(frozen=True)
class Scenario:
    live: Callable[[Stage, Trail], Awaitable[None]]
    fits: Callable[[str], bool] = lambda _: True
    """Whether a kind can lead this life."""


SCENARIOS = {
    "life": Scenario(life),
    "hasty": Scenario(hasty),
    # The name of a job is spent when it has run, and an app's for a day.
    "again": Scenario(again, lambda kind: not catalog()[kind].stop_on_delete and kind != "App"),
}


def plant_secrets(manifest: dict[str, Any]) -> None:
    """Values that must not surface, wherever the sample has a map that people keep secrets in."""

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if name in _SECRET_MAPS and isinstance(inner, dict):
                    inner["planted_token"] = SECRET
                else:
                    walk(inner)

    walk(manifest["spec"])


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# AWS's own identifiers: d-abc123..., p-abc123..., and ARNs that end in them.
_DRAWN = re.compile(r"[0-9a-z]{12,}|(?<=\bd-)[0-9a-z]+|(?<=\bp-)[0-9a-z]+")


def comparable(value: Any) -> Any:
    """Without times, drawn identifiers and measured figures."""
    if isinstance(value, dict):
        return {name: comparable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, float):
        return "<figure>"
    if isinstance(value, str):
        return _DRAWN.sub("<drawn>", _TIME.sub("<time>", value))
    return value
