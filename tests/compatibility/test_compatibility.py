"""The page for users of ACK is true: every row names tests, and every named test exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.compatibility.document import SECTIONS, document

TESTS = Path(__file__).parents[1]


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


NAMED = sorted({test for rows in SECTIONS.values() for row in rows for test in row.tests})


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_is_named_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert (TESTS / file).exists(), file
    assert name in functions(file)


def test_every_row_is_shown_by_a_test() -> None:
    assert [row.subject for rows in SECTIONS.values() for row in rows if not row.tests] == []


def test_the_page_is_generated_from_this_table() -> None:
    page = TESTS.parent / "docs" / "ack-compatibility.md"
    assert page.read_text(encoding="utf-8") == document(), (
        "run: python -m tests.compatibility > docs/ack-compatibility.md"
    )
