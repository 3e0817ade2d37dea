"""Values that are JSON documents: SageMaker may return one spelt otherwise than it was sent."""

from __future__ import annotations

import json
from typing import Any


def canonical(value: Any) -> Any:
    """One spelling for all spellings of a document, `1.0` for `1` included; text that is not JSON stays as it is."""
    try:
        return json.dumps(json.loads(value, parse_float=_number), sort_keys=True)
    except (TypeError, ValueError):
        return value


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
