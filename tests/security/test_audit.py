"""The audit succeeds without its service and reports that nothing was checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests import audit

if TYPE_CHECKING:
    import pytest


def test_without_the_advisory_service_it_says_so_and_succeeds(
    unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(f"http://127.0.0.1:{unused_tcp_port}") == 0
    assert "cannot be reached; nothing is known" in capsys.readouterr().out


def test_the_result_is_that_of_pip_audit(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Any HTTP server shows that the service is there; what is asked of it is pip-audit's business.
    for code in (0, 1):
        monkeypatch.setattr(
            audit, "command", lambda code=code: [audit.sys.executable, "-c", f"raise SystemExit({code})"]
        )
        assert audit.main(moto_url) == code


def test_every_dependency_is_pinned_to_one_version() -> None:
    lines = (audit.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.+]+(; .+)?", pin)] == []


def test_the_audit_asks_no_registry_and_resolves_nothing() -> None:
    assert {"--no-deps", "--disable-pip", "osv"} <= set(audit.command())
