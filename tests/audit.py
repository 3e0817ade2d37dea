"""Known vulnerabilities of what constraints.txt pins: `python -m tests.audit`, `tox -e audit`.

pip-audit queries OSV, not a package registry. If OSV cannot be reached nothing is known, which is reported and not a
failure: a mirror-only CI must not go red for it. Exit code 1 means a vulnerability was found, or that pip-audit broke.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVICE = "https://api.osv.dev"
# Answers come within a second; behind a firewall that drops packets there is no answer at all.
_REACH_SECONDS = 5.0
# 130 packages take about 20 s.
_AUDIT_SECONDS = 180.0


def reachable(service: str = SERVICE) -> bool:
    """Whether the advisory service answers, with whatever status."""
    try:
        urllib.request.urlopen(f"{service}/v1/vulns/PYSEC-2014-8", timeout=_REACH_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def command() -> list[str]:
    """Every package is pinned, so that nothing has to be resolved or downloaded."""
    pinned = str(ROOT / "constraints.txt")
    options = ["--no-deps", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off"]
    return [sys.executable, "-m", "pip_audit", "--requirement", pinned, *options]


def main(service: str = SERVICE) -> int:
    if not reachable(service):
        print(f"audit: {service} cannot be reached; nothing is known about {ROOT.name}'s dependencies")
        return 0
    try:
        return subprocess.run(command(), timeout=_AUDIT_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"audit: {service} was too slow; nothing is known")
        return 0


if __name__ == "__main__":
    sys.exit(main())
