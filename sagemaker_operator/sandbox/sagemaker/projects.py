"""Projects: provisioned from a template by Service Catalog or CloudFormation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import FAILURE, Behaviour
from sagemaker_operator.sandbox.sagemaker.protocol import invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import echo, overlay
from sagemaker_operator.sandbox.sagemaker.tags import to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record

_CATALOG = "ServiceCatalogProvisioningDetails"
_PROVIDERS = ("CfnTemplateProvider", "CfnTemplateProviderDetail")


class Projects(Behaviour):
    """`notes`: `ProjectId`. A project has no FailureReason; the product's message has the reason."""

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if (_CATALOG in given) == ("TemplateProviders" in given):
            invalid("Exactly one of ServiceCatalogProvisioningDetails and TemplateProviders must be given.")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = echo(given, without=("Tags", "TemplateProviders"))
        if "TemplateProviders" in given:
            echoed["TemplateProviderDetails"] = [_detail(provider) for provider in given["TemplateProviders"]]
        return echoed

    def begin(self, record: Record) -> None:
        super().begin(record)
        record.notes["ProjectId"] = f"p-{record.number:012x}"

    def apply(self, record: Record, change: Mapping[str, Any]) -> None:
        if "ProjectDescription" in change:
            record.input["ProjectDescription"] = change["ProjectDescription"]
        if details := change.get("ServiceCatalogProvisioningUpdateDetails"):
            record.input[_CATALOG] = overlay(record.input.get(_CATALOG, {}), details)
        if providers := change.get("TemplateProvidersToUpdate"):
            record.input["TemplateProviderDetails"] = _merged(
                record.input.get("TemplateProviderDetails", []), providers
            )
        record.tags = record.tags | to_dict(change.get("Tags", []))

    def details(self, record: Record, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {"ProjectId": record.notes["ProjectId"]}
        creating = record.timeline.phases[0] is record.timeline.at(now)
        if _CATALOG in record.input and not creating:
            product = {"ProvisionedProductId": f"pp-{record.number:013d}"}
            if record.status_class(now) is StatusClass.FAILED:
                product["ProvisionedProductStatusMessage"] = record.failure or FAILURE
            found["ServiceCatalogProvisionedProductDetails"] = product
        return found


def _detail(provider: Mapping[str, Any]) -> dict[str, Any]:
    given, shown = _PROVIDERS
    return {shown: dict(provider[given])}


def _merged(details: list[dict[str, Any]], updates: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The identity of a provider is the name of its template."""
    given, shown = _PROVIDERS
    by_name = {detail[shown]["TemplateName"]: detail[shown] for detail in details}
    for update in updates:
        name = update[given]["TemplateName"]
        by_name[name] = overlay(by_name.get(name, {}), update[given])
    return [{shown: detail} for detail in by_name.values()]
