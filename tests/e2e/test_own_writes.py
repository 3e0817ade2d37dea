"""The answer to an own write contains another client's earlier write, while the watch is late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.e2e.harness import operator
from tests.e2e.kinds import VIRTUAL, Stage
from tests.e2e.wire import Mode, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sagemaker_operator.sandbox.kubernetes import Request

pytestmark = VIRTUAL


def meanwhile(stage: Stage, act: Callable[[], Awaitable[Any]]) -> Wire:
    """The write of the ARN is lost, and just before it is repeated the user changes the object; no watch event delivers it.

    That write succeeds on any version, and a kind without a lifecycle is not polled afterwards.
    """

    async def intercept(request: Request) -> None:
        if (request.verb, request.subresource, request.plural) == ("patch", "status", stage.kind.plural):
            stage.cloud.kubernetes.intercept = None
            stage.cloud.kubernetes.stall_watches(True)
            await act()

    stage.cloud.kubernetes.intercept = intercept
    path = stage.kind.resource.path("default", stage.name)
    return Wire(f"PATCH {path}/status", Mode.FAIL_BEFORE)


async def test_a_deletion_takes_effect_beside_an_own_write() -> None:
    stage = Stage("Model")
    wire = meanwhile(stage, lambda: stage.cloud.user.delete(stage.kind.resource, "default", stage.name))
    async with operator(stage.cloud, wire=wire):
        await stage.apply()
        await stage.cloud.until_gone(stage.name, kind="Model", seconds=30)
    assert stage.mutating() == ["CreateModel", "DeleteModel"]


async def test_an_edit_takes_effect_beside_an_own_write() -> None:
    stage = Stage("NotebookInstanceLifecycleConfig")
    edit = stage.story.edit
    assert edit is not None
    async with operator(stage.cloud, wire=meanwhile(stage, lambda: stage.edit(edit.spec))):
        await stage.apply()
        await stage.cloud.until(lambda: stage.mutating() == [stage.kind.create, *edit.calls], seconds=30)
