"""One run: a scenario, a fault, as many processes as needed, and a record of it."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import looptime
import structlog

from sagemaker_operator.conditions import TERMINAL
from sagemaker_operator.kube.events import EVENTS
from sagemaker_operator.logs import configure
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from tests.e2e.harness import build, operator
from tests.e2e.kinds import Stage
from tests.e2e.order import Order
from tests.e2e.wire import Mode, Wire
from tests.faults.scenarios import SCENARIOS, Trail, comparable, plant_secrets
from tests.faults.troubles import NONE, Budget, Trouble, trouble

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sagemaker_operator.manager import Manager

# The Deployment's grace period: a process that has not ended then is killed.
_GRACE_SECONDS = 45.0
_LIFETIMES = 20
_DAY = 86_400.0
_END = 2_000_000.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What makes a run, entirely: the same case is the same run. Its text is the arguments that repeat it."""

    kind: str
    scenario: str = "life"
    mode: str = NONE
    at: int = 0
    seed: int = 1
    order: Order = Order.EVENT_FIRST

    def __str__(self) -> str:
        at = f" --at {self.at}" if self.at else ""
        order = f" --order {self.order}" if self.order is not Order.EVENT_FIRST else ""
        return f"--kind {self.kind} --scenario {self.scenario} --mode {self.mode}{at} --seed {self.seed}{order}"


@dataclass(kw_only=True)
class Run:
    """The record of a run."""

    case: Case
    budget: Budget
    calls: list[str]
    processes: int
    troubles: list[str]
    """What went wrong with the run itself: the user waited in vain, a process crashed or would not end."""
    stops: dict[str, Any]
    objects: list[str]
    """Left in Kubernetes."""
    resources: list[Any]
    """Left in SageMaker, a day later."""
    made: dict[str, int]
    applied: Counter[str]
    """Mutating calls that took effect, by operation."""
    terminal: list[str] = field(default_factory=list)
    """Terminal conditions that the user could see."""
    logs: list[str] = field(default_factory=list)
    reported: str = ""
    """Everything that people can read of it in Kubernetes: statuses and events."""


def in_virtual_time(coroutine: Coroutine[Any, Any, Any], *, end: float = _END) -> Any:
    """Runs it on a loop of its own, where waiting takes no time. What lasts beyond `end`, in seconds, waits in vain."""
    loop = looptime.make_event_loop_class(asyncio.SelectorEventLoop)()
    # Nothing comes from outside, so two idle turns of the loop say as much as looptime's 42.
    loop.setup_looptime(end=end, noop_cycles=2, _enabled=True)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(coroutine)


def run(case: Case) -> Run:
    try:
        found: Run = in_virtual_time(_run(case))
        return found
    finally:
        structlog.reset_defaults()


@cache
def undisturbed(kind: str, scenario: str, order: Order) -> Run:
    return run(Case(kind=kind, scenario=scenario, order=order))


async def _run(case: Case) -> Run:
    stage, trail, out = Stage(case.kind), Trail(), io.StringIO()
    cloud = stage.cloud
    plant_secrets(stage.manifest)
    configure(level="debug", format_="json", clock=cloud.clock, stream=out)
    async with operator(cloud, leader_election=False, order=case.order):
        await stage.prepare()
        await stage.supply(stage.story.also)
    cloud.forget()
    made = Counter(cloud.sagemaker.made)
    calls: list[str] = []
    async with cloud.watching(case.kind) as states:
        planned = trouble(case.mode, at=case.at, seed=case.seed, cloud=cloud)
        user = asyncio.create_task(SCENARIOS[case.scenario].live(stage, trail))
        processes, troubles = await _operated(case, stage, planned, calls, user)
    cloud.sagemaker.faults.clear()
    cloud.sagemaker.advance(_DAY)
    now = cloud.sagemaker.now()
    return Run(
        case=case,
        budget=planned.budget,
        calls=calls,
        processes=processes,
        troubles=troubles,
        stops=trail.stops,
        objects=[f"{obj['metadata']['name']} {obj['metadata'].get('finalizers')}" for obj in _left(stage)],
        resources=[
            # A job that is deleted while it runs may be over before anybody hears of it.
            (
                r.kind.name,
                comparable(r.name),
                "over" if r.finished(now) and case.scenario == "hasty" else r.status(now),
                comparable(r.input),
            )
            for r in cloud.sagemaker.resources()
        ],
        made=dict(Counter(cloud.sagemaker.made) - made),
        applied=Counter(call.operation for call in cloud.sagemaker.calls.mutating() if call.applied),
        terminal=[
            str(condition["message"])
            for state in states
            for condition in state["status"].get("conditions", ())
            if condition["type"] == TERMINAL and condition["status"] == "True"
        ],
        logs=out.getvalue().splitlines(),
        reported=json.dumps([[state["status"] for state in states], cloud.kubernetes.list(EVENTS)], default=str),
    )


def _left(stage: Stage) -> list[dict[str, Any]]:
    return stage.cloud.kubernetes.list(stage.kind.resource)


async def _operated(
    case: Case, stage: Stage, planned: Trouble, calls: list[str], user: asyncio.Task[None]
) -> tuple[int, list[str]]:
    """Processes, one after the other, until the user is done. How many, and what went wrong."""
    troubles: list[str] = []
    for number in itertools.count(1):
        wire = Wire(script=planned.script, calls=calls)
        async with AsyncExitStack() as stack:
            manager = build(
                stage.cloud,
                stack,
                wire=wire,
                seed=case.seed + number,
                identity=f"process-{number}",
                transport=planned.around(InMemoryTransport(stage.cloud.kubernetes)),
                # Without a lease the next process begins at once, which is harder than half a minute later.
                leader_election=False,
                order=case.order,
            )
            process = asyncio.create_task(manager.run())
            ended = asyncio.create_task(wire.ended.wait())
            await asyncio.wait({user, process, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            done = user.done()
            troubles += await _end(process, manager, Mode.TERM if done else wire.ending)
        if done:
            break
        if number == _LIFETIMES:
            user.cancel()
            troubles.append(f"{number} processes were not enough")
            break
    await asyncio.gather(user, return_exceptions=True)
    failure = None if user.cancelled() else user.exception()
    if failure is not None:
        troubles.append(f"the user waited in vain: {type(failure).__name__}: {failure}")
    return number, troubles


async def _end(process: asyncio.Task[None], manager: Manager, how: Mode | None) -> list[str]:
    if how is Mode.TERM:
        manager.stop()
        await asyncio.wait({process}, timeout=_GRACE_SECONDS)
        if not process.done():
            process.cancel()
            await asyncio.gather(process, return_exceptions=True)
            return [f"the process did not end within {_GRACE_SECONDS:g} s of SIGTERM"]
    elif how is not None:
        process.cancel()
    result = (await asyncio.gather(process, return_exceptions=True))[0]
    crashed = isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError)
    return [f"the process crashed: {result!r}"] if crashed else []
