from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube.client import KubeClient
from sagemaker_operator.kube.events import EventRecorder

from .scripted import MemoryTransport, response, status_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_operator.kube.transport import Response

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

ROOT = "/apis/events.k8s.io/v1/namespaces/ml/events"


class Sink:
    """Stores Events as the API server does; `answers` scripts the outcome of the next requests instead."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Response | Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, method: str, path: str, body: dict[str, Any]) -> Response:
        await self.gate.wait()
        self.requests.append((method, path))
        if self.answers:
            scripted = self.answers.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        if method == "POST":
            name = body["metadata"]["name"]
            assert body.get("series", {"count": 2})["count"] >= 2
            if name in self.events:
                return response(status_body(409, "AlreadyExists"), 409)
            self.events[name] = body
            return response(body)
        name = path.rpartition("/")[2]
        if name not in self.events:
            return response(status_body(404, "NotFound", name=path.rpartition("/")[2]), 404)
        self.events[name] = self.events[name] | body
        return response(self.events[name])


def about(name: str = "xgb", uid: str = "u1") -> dict[str, str]:
    kind = {"apiVersion": "sagemaker.services.k8s.aws/v1alpha1", "kind": "TrainingJob"}
    return kind | {"namespace": "ml", "name": name, "uid": uid}


def say(recorder: EventRecorder, note: str, *, name: str = "xgb", uid: str = "u1") -> None:
    recorder.record(about(name, uid), type="Normal", reason="Completed", note=note, action="Observe")


@asynccontextmanager
async def recording(*, run: bool = True) -> AsyncIterator[tuple[EventRecorder, Sink]]:
    sink = Sink()
    recorder = EventRecorder(
        KubeClient(MemoryTransport(sink)),
        component="sagemaker-operator",
        instance="pod-1",
        clock=lambda: 1_800_000_000.0 + asyncio.get_running_loop().time(),
        rng=random.Random(1),
    )
    task = asyncio.create_task(recorder.run()) if run else None
    try:
        yield recorder, sink
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_event_has_all_that_the_api_demands() -> None:
    async with recording() as (recorder, sink):
        recorder.record(about(), type="Warning", reason="Failed", note="no role", action="Create")
        assert await recorder.flush(1)
        assert sink.requests == [("POST", ROOT)]
        (name, event), *_ = sink.events.items()
        assert name.startswith("xgb.")
        assert len(name) == len("xgb.") + 16
        assert event == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "ml"},
            "eventTime": "2027-01-15T08:00:00.000000Z",
            "type": "Warning",
            "reason": "Failed",
            "action": "Create",
            "note": "no role",
            "regarding": about(),
            "reportingController": "sagemaker-operator",
            "reportingInstance": "pod-1",
        }


async def test_a_long_note_and_name_are_cut_to_what_is_accepted() -> None:
    async with recording() as (recorder, sink):
        say(recorder, "é" * 2000, name="n" * 253)
        assert await recorder.flush(1)
        (name, event), *_ = sink.events.items()
        assert len(name) == 253
        assert event["note"] == "é" * 510 + "…"
        assert len(event["note"].encode()) <= 1024


async def test_an_event_about_a_cluster_scoped_object_goes_to_default() -> None:
    async with recording() as (recorder, sink):
        regarding = {"apiVersion": "v1", "kind": "Namespace", "name": "ml"}
        recorder.record(regarding, type="Normal", reason="R", note="n", action="A")
        assert await recorder.flush(1)
        assert sink.requests == [("POST", "/apis/events.k8s.io/v1/namespaces/default/events")]


async def test_identical_events_become_one_series() -> None:
    async with recording() as (recorder, sink):
        for _ in range(3):
            say(recorder, "same")
            assert await recorder.flush(1)
            await asyncio.sleep(500)
        say(recorder, "other")
        assert await recorder.flush(1)
        same, other = sink.events.values()
        assert same["series"] == {"count": 3, "lastObservedTime": "2027-01-15T08:16:40.000000Z"}
        assert "series" not in other
        assert [method for method, _ in sink.requests] == ["POST", "PATCH", "PATCH", "POST"]


async def test_a_series_ends_after_ten_quiet_minutes() -> None:
    async with recording() as (recorder, sink):
        say(recorder, "same")
        await asyncio.sleep(601)
        say(recorder, "same")
        assert await recorder.flush(1)
        assert len(sink.events) == 2


async def test_the_same_note_about_another_object_is_another_event() -> None:
    async with recording() as (recorder, sink):
        say(recorder, "same", uid="u1")
        say(recorder, "same", uid="u2")
        assert await recorder.flush(1)
        assert len(sink.events) == 2


async def test_repetitions_that_wait_are_written_once() -> None:
    async with recording() as (recorder, sink):
        for _ in range(50):
            say(recorder, "same")
        assert await recorder.flush(1)
        assert [method for method, _ in sink.requests] == ["POST"]
        (event,) = sink.events.values()
        assert event["series"]["count"] == 50


async def test_a_repetition_during_its_own_write_is_counted() -> None:
    async with recording() as (recorder, sink):
        sink.gate.clear()
        say(recorder, "same")
        await asyncio.sleep(1)
        say(recorder, "same")
        sink.gate.set()
        assert await recorder.flush(1)
        (event,) = sink.events.values()
        assert event["series"]["count"] == 2


async def test_one_object_writes_25_events_at_once_and_then_one_each_five_minutes() -> None:
    async with recording() as (recorder, sink):
        for number in range(100):
            say(recorder, f"note {number}")
        say(recorder, "quiet object", uid="u2")
        assert await recorder.flush(1)
        assert len(sink.events) == 26
        for number in range(3010):
            await asyncio.sleep(1)
            say(recorder, f"later {number}")
        assert await recorder.flush(1)
        assert len(sink.events) == 26 + 10


async def test_events_held_back_by_the_limit_are_counted() -> None:
    async with recording() as (recorder, sink):
        for number in range(25):
            say(recorder, f"note {number}")
        for _ in range(5):
            say(recorder, "held back")
        await asyncio.sleep(301)
        say(recorder, "held back")
        assert await recorder.flush(1)
        (event,) = [one for one in sink.events.values() if one["note"] == "held back"]
        assert event["series"]["count"] == 6


async def test_a_full_queue_drops_the_oldest() -> None:
    async with recording(run=False) as (recorder, sink):
        for number in range(1005):
            say(recorder, f"note {number}", uid=f"u{number}")
        assert recorder.dropped == 5
        assert not await recorder.flush(1)
        task = asyncio.create_task(recorder.run())
        assert await recorder.flush(1)
        notes = [event["note"] for event in sink.events.values()]
        assert notes == [f"note {number}" for number in range(5, 1005)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("failure", [Unavailable("no"), response(status_body(429, "TooManyRequests"), 429)])
async def test_a_write_is_tried_twice_and_then_dropped(failure: Response | Exception) -> None:
    async with recording() as (recorder, sink):
        sink.answers = [failure]
        say(recorder, "one")
        assert await recorder.flush(10)
        assert len(sink.events) == 1
        sink.answers = [failure, failure]
        say(recorder, "two")
        say(recorder, "three")
        assert await recorder.flush(10)
        assert [event["note"] for event in sink.events.values()] == ["one", "three"]
        assert recorder.dropped == 1
        say(recorder, "two")
        assert await recorder.flush(10)
        assert [event["note"] for event in sink.events.values()] == ["one", "three", "two"]


@pytest.mark.parametrize("code", [400, 403, 422])
async def test_a_refusal_is_final(code: int) -> None:
    async with recording() as (recorder, sink):
        sink.answers = [response(status_body(code, "x"), code)]
        say(recorder, "one")
        assert await recorder.flush(1)
        assert len(sink.requests) == 1
        assert recorder.dropped == 1


async def test_an_event_whose_answer_was_lost_is_not_written_twice() -> None:
    async with recording() as (recorder, sink):
        handle = sink.__call__
        lost: list[Response] = []

        async def lose_the_first(method: str, path: str, body: dict[str, Any]) -> Response:
            answer = await handle(method, path, body)
            if not lost:
                lost.append(answer)
                raise Unavailable("the answer was lost")
            return answer

        recorder._client = KubeClient(MemoryTransport(lose_the_first))
        say(recorder, "one")
        assert await recorder.flush(10)
        assert [method for method, _ in sink.requests] == ["POST", "POST"]
        assert len(sink.events) == 1
        assert recorder.dropped == 0


async def test_a_series_whose_event_has_expired_is_written_as_a_new_event() -> None:
    async with recording() as (recorder, sink):
        say(recorder, "one")
        assert await recorder.flush(1)
        sink.events.clear()
        say(recorder, "one")
        assert await recorder.flush(1)
        assert [method for method, _ in sink.requests] == ["POST", "PATCH", "POST"]
        (event,) = sink.events.values()
        assert event["series"]["count"] == 2


async def test_flush_gives_up_at_its_timeout() -> None:
    async with recording() as (recorder, sink):
        assert await recorder.flush(1)
        sink.gate.clear()
        say(recorder, "one")
        started = asyncio.get_running_loop().time()
        assert not await recorder.flush(2)
        assert asyncio.get_running_loop().time() - started == 2
        assert "waiting=0" in repr(recorder)


async def test_memory_is_bounded_whatever_is_recorded() -> None:
    async with recording(run=False) as (recorder, _):
        for number in range(6000):
            say(recorder, "note", uid=f"u{number}")
        assert "waiting=1000 series=4096" in repr(recorder)
        assert len(recorder._buckets) == 4096
