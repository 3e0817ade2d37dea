"""docs/ack-compatibility.md from the tables: python -m tests.compatibility > docs/ack-compatibility.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compatibility.rows import ANNOTATIONS, CONDITIONS, EVENTS, FLAGS, METRICS, REQUEUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.compatibility.rows import Row

SECTIONS: dict[str, Sequence[Row]] = {
    "When an object is reconciled again": REQUEUE,
    "Conditions": CONDITIONS,
    "Annotations and objects": ANNOTATIONS,
    "Flags": FLAGS,
    "Metrics": METRICS,
    "What happens when": EVENTS,
}

_INTRODUCTION = """\
# Coming from ACK

To switch, set image, region and AWS identity ([README](../README.md#deploy-it-in-a-cluster)), stop ACK's Deployment and run
`kubectl apply -k manifests`. The API group, kinds, fields, conditions, annotations,
finalizers, flags and the lease are the same; no stored object changes and no mutating call is sent to SageMaker.

For users of the ACK SageMaker controller who want to know what changes. Each row has a behaviour of ACK, whether it is **kept** or
**improved** here, and the tests that prove it.
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
