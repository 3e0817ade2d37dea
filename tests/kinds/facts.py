"""Facts read by hand from ACK's CRDs and the service model, independent of the rules under test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FIXTURES = Path(__file__).parent / "fixtures"

ACK_FIELDS: dict[str, Any] = json.loads((_FIXTURES / "ack_fields.json").read_text(encoding="utf-8"))
OPERATIONS: dict[str, dict[str, Any]] = json.loads((_FIXTURES / "operations.json").read_text(encoding="utf-8"))

NOT_DERIVABLE = {
    "Device": "RegisterDevices makes many at once",
    "ModelPackageGroupPolicy": "read by a Get, and without an ARN",
}
ACK_KINDS = sorted(kind for kind, facts in OPERATIONS.items() if "ack" in facts)
