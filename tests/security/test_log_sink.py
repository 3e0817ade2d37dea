"""A log line that cannot be formatted or written is dropped and counted, without other effects."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sagemaker_operator.logs import Event, configure, dropped_lines, emit, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO


def say(stream: TextIO | None, **fields: Any) -> int:
    """Emits one line; how many were dropped."""
    before = dropped_lines()
    configure(level="info", format_="json", clock=lambda: 1_790_000_000.0, stream=stream)
    emit(get_logger("test"), Event.JOB_SUBMITTED, **fields)
    return dropped_lines() - before


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


class Stubborn:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("make", [closed, Full])
def test_a_line_for_a_stream_that_cannot_be_written_is_counted(make: Callable[[], TextIO]) -> None:
    assert say(make(), name="x") == 1


def test_a_value_that_has_no_text_is_counted() -> None:
    assert say(io.StringIO(), name=Stubborn()) == 1


def test_a_lone_surrogate_is_escaped() -> None:
    out = io.StringIO()
    assert say(out, name="a\ud800b") == 0
    assert r"a\ud800b" in out.getvalue()


def test_an_ascii_stream_gets_escapes() -> None:
    raw = io.BytesIO()
    assert say(io.TextIOWrapper(raw, encoding="ascii"), name="Zürich") == 0
    assert rb"Z\xfcrich" in raw.getvalue()


def test_standard_output_is_utf8_whatever_the_locale_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert say(None, name="Zürich") == 0
    assert json.loads(path.read_text(encoding="utf-8"))["name"] == "Zürich"


def test_a_standard_output_that_is_closed_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert say(None, name="x") == 1


def test_a_closed_pipe_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert say(None, name="x") == 1


def test_an_exception_is_logged_without_its_text() -> None:
    out = io.StringIO()
    configure(level="info", format_="json", clock=lambda: 1_790_000_000.0, stream=out)
    try:
        raise KeyError("hunter2")
    except KeyError:
        get_logger("test").exception("It failed")
    line = json.loads(out.getvalue())
    assert line["exception"].endswith("KeyError")
    assert "in test_an_exception_is_logged_without_its_text" in line["exception"]
    assert line["exception"].count("hunter2") == 1  # the source line of this test, not a value
