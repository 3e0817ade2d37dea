from __future__ import annotations

import random

import pytest

from sagemaker_operator.errors import Unavailable
from sagemaker_operator.kube.client import LineSplitter


def test_lines_are_the_same_wherever_the_stream_is_cut() -> None:
    stream = b'{"a":1}\n{"b":"\xc3\xa9"}\n\n{"c":3}\n{"half'
    for seed in range(50):
        rng = random.Random(seed)
        cuts = sorted(rng.randrange(len(stream)) for _ in range(rng.randrange(12)))
        splitter = LineSplitter("WATCH /x")
        lines = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            lines += splitter.feed(stream[start:end])
        assert lines == [b'{"a":1}', b'{"b":"\xc3\xa9"}', b'{"c":3}']


def test_a_line_without_an_end_is_given_up_at_8_mib() -> None:
    splitter = LineSplitter("WATCH /x")
    for _ in range(128):
        assert splitter.feed(b"x" * 65536) == []
    with pytest.raises(Unavailable, match="8 MiB"):
        splitter.feed(b"x")


def test_the_guard_counts_one_line_and_not_the_stream() -> None:
    splitter = LineSplitter("WATCH /x")
    line = b"x" * (3 * 1024 * 1024)
    for _ in range(4):
        assert splitter.feed(line[:100]) == []
        assert splitter.feed(line[100:] + b"\n") == [line]
