"""docs/security.md names a test for each mitigation, and each of those tests exists."""

from __future__ import annotations

import re

import pytest

from tests.e2e.processes import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = PAGE.partition("## Mitigations")[2].partition("\n## ")[0].splitlines()
NAMED = re.findall(r"`(tests/[\w/.]+)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_test_that_is_named_exists(file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_mitigation_names_one() -> None:
    rows = [row for row in ROWS if row.startswith("| ") and not row.startswith("| threat")]
    assert len(rows) >= 15
    assert [row for row in rows if "::test_" not in row] == []


def test_the_reporting_channel_is_in_the_standard_place() -> None:
    assert "Report a vulnerability" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
