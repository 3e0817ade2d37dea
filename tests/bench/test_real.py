"""The benchmarks with real sockets, small: they measure the work that they claim to measure. No times are asserted."""

from __future__ import annotations

from tests.bench import real


def test_throughput_is_of_reconciles_that_describe_and_write_nothing() -> None:
    figures = real.throughput(objects=20, seconds=1.0, warmup=1.0)
    assert figures["reconcilesPerCpuSecond"] > 0
    assert figures["writes"] == 0


def test_a_cold_start_reads_every_object_and_changes_nothing() -> None:
    figures = real.coldstart(objects=50, after=0.1)
    assert figures["cached"] == 50
    assert figures["calls"] == {"describes": 0, "lists": 0, "mutations": 0, "writes": 0}
