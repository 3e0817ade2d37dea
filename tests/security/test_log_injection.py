"""Text from users and from AWS cannot forge a log line or control the terminal that shows it."""

from __future__ import annotations

import io
import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_operator.logs import Event, configure, emit, get_logger

NASTY = [
    'x\n{"level":"info","msg":"Job completed","event":"job.completed"}',
    "x\r\n12:00:00 info    Job completed",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "x\u2028y\u2029z\x85w\x0b\x0c",
    "\u202egnp.exe",
    '"}\\',
]


def logged(format_: str, text: str) -> str:
    stream = io.StringIO()
    try:
        configure(level="info", format_=format_, clock=lambda: 1_790_000_000.0, stream=stream)
        emit(get_logger("reconciler"), Event.RESOURCE_TERMINAL, kind="TrainingJob", name="one", message=text)
    finally:
        structlog.reset_defaults()
    return stream.getvalue()


@pytest.mark.parametrize("text", NASTY)
def test_json_keeps_the_value_and_stays_one_line(text: str) -> None:
    out = logged("json", text)
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert json.loads(out)["message"] == text


@given(st.text(min_size=1))
def test_text_for_people_is_one_printable_line_whatever_it_holds(text: str) -> None:
    out = logged("text", text)
    assert out.endswith("\n")
    assert out[:-1].isprintable()


@pytest.mark.parametrize("text", NASTY)
def test_text_for_people_neutralises_known_tricks(text: str) -> None:
    assert logged("text", text)[:-1].isprintable()
