"""docs/ack-compatibility.md from the tables: python -m tests.compatibility > docs/ack-compatibility.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compatibility.rows import ANNOTATIONS, CONDITIONS, EVENTS, FLAGS, METRICS, REQUEUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.compatibility.rows import Row

SECTIONS: dict[str, Sequence[Row]] = {
    "When an object is looked at again": REQUEUE,
    "Conditions": CONDITIONS,
    "Annotations and objects": ANNOTATIONS,
    "Flags": FLAGS,
    "Metrics": METRICS,
    "What happens when": EVENTS,
}

_INTRODUCTION = """\
# Coming from ACK

A cluster that runs the ACK SageMaker controller can switch: same API group, kinds, fields, conditions, annotations, finalizers,
flags and lease. Stop ACK's Deployment, apply `manifests/`, done; no stored object changes and SageMaker sees no mutating call.

Every row below is a behaviour of ACK's and what this operator does, **kept** or **improved**, with the tests that show it.
This page is generated from `tests/compatibility/rows.py`; a test fails if it is stale or names a test that does not exist.
"""


def document() -> str:
    parts = [_INTRODUCTION]
    for title, rows in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| what | ACK | | here | shown by |\n|---|---|---|---|---|\n")
        parts.extend(
            f"| {_cell(row.subject)} | {_cell(row.ack)} | {row.verdict} | {_cell(row.ours)} |"
            f" {', '.join(map(_link, row.tests))} |\n"
            for row in rows
        )
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{file})"
