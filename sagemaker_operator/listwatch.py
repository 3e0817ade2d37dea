"""The results of lists and watches as data: produced by `kube/`, used by `runtime/`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sagemaker_operator.objects import KubeObject


class EventType(StrEnum):
    """The `type` of a watch event. ERROR is not among them: an in-stream error is raised as its `KubeError`."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class ListPage(NamedTuple):
    """One page of a list. Every page of one list carries the same `resource_version`."""

    items: list[KubeObject]
    resource_version: str
    continue_: str | None = None
    """Token of the next page; None or empty on the last one."""


class WatchEvent(NamedTuple):
    """One event of a watch. A bookmark's object has only a resourceVersion."""

    type: EventType
    object: KubeObject
