"""Projects: Describe wraps a template provider otherwise than Create does, and has a failure's reason in the product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def normalise(path: str, value: Any) -> Any:
    """A provider as Create has it."""
    if path == "TemplateProviders[]" and isinstance(value, Mapping) and "CfnTemplateProviderDetail" in value:
        return {"CfnTemplateProvider": value["CfnTemplateProviderDetail"]}
    return value


def failure(observed: Mapping[str, Any]) -> str:
    """What Service Catalog reports of the provisioned product."""
    product = observed.get("ServiceCatalogProvisionedProductDetails") or {}
    return str(product.get("ProvisionedProductStatusMessage") or "")
