"""Projects: Describe wraps a template provider otherwise than Create does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def normalise(path: str, value: Any) -> Any:
    """A provider as Create has it."""
    if path == "TemplateProviders[]" and isinstance(value, Mapping) and "CfnTemplateProviderDetail" in value:
        return {"CfnTemplateProvider": value["CfnTemplateProviderDetail"]}
    return value
