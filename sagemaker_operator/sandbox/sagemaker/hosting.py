"""Hosting: models, endpoint configurations, endpoints and inference components.

An update of the last two shows when it is over; one that fails leaves everything as it was, and a FailureReason.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import StatusClass
from sagemaker_operator.sandbox.sagemaker.behaviour import Behaviour, declared_errors
from sagemaker_operator.sandbox.sagemaker.lifecycle import fails
from sagemaker_operator.sandbox.sagemaker.protocol import ServiceError, invalid
from sagemaker_operator.sandbox.sagemaker.rewriting import deployed_image, fill, overlay
from sagemaker_operator.sandbox.sagemaker.texts import in_use, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sagemaker_operator.sandbox.sagemaker.protocol import Scope
    from sagemaker_operator.sandbox.sagemaker.records import Record

_ROLLED_BACK = "The deployment did not reach InService and was rolled back, as the sandbox was asked to do."
_STUCK = "The deployment did not reach InService and its rollback failed, as the sandbox was asked to do."
_VARIANTS = ("ProductionVariants", "ShadowProductionVariants")
_FROM_CONFIG = ("AsyncInferenceConfig", "ExplainerConfig", "MetricsConfig")


class Models(Behaviour):
    """A model has no status; the resources that it names must exist."""

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        if "PrimaryContainer" in given and "Containers" in given:
            invalid("Only one of PrimaryContainer and Containers can be set.")
        for container in _containers(given):
            if "ModelPackageName" in container:
                self.resources.need("ModelPackage", scope, container["ModelPackageName"], now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = fill(super().with_defaults(given), EnableNetworkIsolation=False)
        for container in _containers(echoed):
            fill(container, Mode="SingleModel", Environment={})
            if "ModelDataUrl" in container:
                source = {"S3Uri": container["ModelDataUrl"], "S3DataType": "S3Object", "CompressionType": "Gzip"}
                fill(container, ModelDataSource={"S3DataSource": source})
        return echoed


def _containers(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "PrimaryContainer" in given:
        yield given["PrimaryContainer"]
    yield from given.get("Containers", ())


class EndpointConfigs(Behaviour):
    """Every model that a configuration names must exist."""

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        for variant in _variants(given):
            if "ModelName" in variant:
                self.resources.need("Model", scope, variant["ModelName"], now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = fill(super().with_defaults(given), EnableNetworkIsolation=False)
        for variant in _variants(echoed):
            fill(variant, InitialVariantWeight=1.0)
            if "ServerlessConfig" in variant:
                # SageMaker sets a volume even where there is no instance to mount it.
                fill(variant, VolumeSizeInGB=1)
        return echoed


def _variants(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for member in _VARIANTS:
        yield from config.get(member, ())


class Hosted(Behaviour):
    """What both endpoints and inference components do."""

    def busy(self, record: Record, operation: str | None, now: float) -> ServiceError:
        verb = "delete" if operation == self.kind.delete else "update"
        text = f'Cannot {verb} in-progress {words(self.kind)} "{record.arn}".'
        return in_use(text, declared=declared_errors(operation))

    def check_update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        super().check_update(record, change, now)
        retried = {step.status for step in self.life.rollback_failed[-1:]}
        if record.status_class(now) is StatusClass.FAILED and record.status(now) not in retried:
            invalid(f'Cannot update failed {words(self.kind)} "{record.arn}".')

    def deploy(self, record: Record, now: float, *, names: Iterable[str], change: dict[str, Any], **notes: Any) -> None:
        """`names`: what is deployed; if one of them fails, the update fails."""
        scenario = record.scenario
        failing = scenario.update_fails or any(fails(name) for name in names)
        stuck = failing and scenario.rollback_fails and bool(self.life.rollback_failed)
        failure = _STUCK if stuck else _ROLLED_BACK if failing else ""
        self.defer(record, now, change=change, failure=failure, **notes)
        if stuck:
            # Once: the next update succeeds.
            record.scenario = replace(scenario, update_fails=False, rollback_fails=False)


class Endpoints(Hosted):
    """`notes`: `variants`, the live variants as Describe shows them; `config`, the configuration they come from."""

    actions = ("UpdateEndpointWeightsAndCapacities",)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        self.resources.need("EndpointConfig", scope, given["EndpointConfigName"], now=now)

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        echoed = super().with_defaults(given)
        if "DeploymentConfig" in echoed:
            echoed["LastDeploymentConfig"] = echoed.pop("DeploymentConfig")
        return echoed

    def begin(self, record: Record) -> None:
        if fails(record.input["EndpointConfigName"]):
            self.force_failure(record)
        super().begin(record)
        record.notes.update(self._deployment(record, record.input["EndpointConfigName"], record.created))

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        self.check_update(record, change, now)
        name = change["EndpointConfigName"]
        self.resources.need("EndpointConfig", record.scope, name, now=now)
        notes = self._deployment(record, name, now)
        if change.get("RetainAllVariantProperties"):
            excluded = [entry["VariantPropertyType"] for entry in change.get("ExcludeRetainedVariantProperties", ())]
            _retain(record.notes["variants"], notes["variants"], excluded)
        if not change.get("RetainDeploymentConfig"):
            record.input.pop("LastDeploymentConfig", None)
        record.input.update(
            self.with_defaults({"DeploymentConfig": change["DeploymentConfig"]} if "DeploymentConfig" in change else {})
        )
        self.deploy(record, now, names=[name], change={"EndpointConfigName": name}, **notes)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        self.check_update(record, given, now)
        variants = copy.deepcopy(record.notes["variants"])
        known = {variant["VariantName"]: variant for variant in variants}
        for wanted in given["DesiredWeightsAndCapacities"]:
            variant = known.get(wanted["VariantName"])
            if variant is None:
                invalid(f'Variant {wanted["VariantName"]} does not exist on endpoint "{record.arn}".')
            for desired, current in (
                ("DesiredWeight", "CurrentWeight"),
                ("DesiredInstanceCount", "CurrentInstanceCount"),
            ):
                if desired in wanted:
                    variant[desired] = variant[current] = wanted[desired]
        self.deploy(record, now, names=(), change={}, variants=variants)

    def check_delete(self, record: Record, now: float) -> None:
        super().check_delete(record, now)
        for component in self.resources.all("InferenceComponent", record.scope, now=now):
            if component.input["EndpointName"] == record.name:
                invalid(f'Cannot delete endpoint "{record.arn}": inference components are still attached.')

    def details(self, record: Record, now: float) -> dict[str, Any]:
        config = record.notes["config"]
        found: dict[str, Any] = {name: config[name] for name in _FROM_CONFIG if name in config}
        if "DataCaptureConfig" in config:
            found["DataCaptureConfig"] = _capture(config["DataCaptureConfig"])
        if record.pending is not None:
            changed = record.pending.input.get("EndpointConfigName", record.input["EndpointConfigName"])
            found["PendingDeploymentSummary"] = {
                "EndpointConfigName": changed,
                "ProductionVariants": record.pending.notes["variants"],
                "StartTime": record.timeline.at(now).start,
            }
        creating = record.timeline.phases[0] is record.timeline.at(now)
        if not creating and record.status_class(now) is not StatusClass.FAILED:
            wanted = {v["VariantName"]: v for v in record.pending.notes["variants"]} if record.pending else {}
            found["ProductionVariants"] = [
                {**variant, **_desired(wanted.get(variant["VariantName"], {}))} for variant in record.notes["variants"]
            ]
        return found

    def _deployment(self, record: Record, config_name: str, now: float) -> dict[str, Any]:
        config = self.resources.find("EndpointConfig", record.scope, config_name, now=now)
        given = config.input if config else {}
        return {
            "config": given,
            "variants": [self._variant(record, v, now) for v in given.get("ProductionVariants", ())],
        }

    def _variant(self, record: Record, variant: Mapping[str, Any], now: float) -> dict[str, Any]:
        weight = variant["InitialVariantWeight"]
        shown: dict[str, Any] = {
            "VariantName": variant["VariantName"],
            "CurrentWeight": weight,
            "DesiredWeight": weight,
        }
        if "ServerlessConfig" in variant:
            shown["CurrentServerlessConfig"] = shown["DesiredServerlessConfig"] = variant["ServerlessConfig"]
            shown["CurrentInstanceCount"] = 0
        elif (count := variant.get("InitialInstanceCount")) is not None:
            shown["CurrentInstanceCount"] = shown["DesiredInstanceCount"] = count
        for member in ("ManagedInstanceScaling", "RoutingConfig"):
            if member in variant:
                shown[member] = variant[member]
        model = self.resources.find("Model", record.scope, variant.get("ModelName", ""), now=now)
        images = [container["Image"] for container in _containers(model.input if model else {}) if "Image" in container]
        if images:
            shown["DeployedImages"] = [deployed_image(image, now) for image in images]
        return shown


def _retain(live: list[dict[str, Any]], wanted: list[dict[str, Any]], excluded: list[str]) -> None:
    """Carry instance counts and weights over to variants of the same name, in place."""
    known = {variant["VariantName"]: variant for variant in live}
    for variant in wanted:
        old = known.get(variant["VariantName"], {})
        for property_, current in (
            ("DesiredInstanceCount", "CurrentInstanceCount"),
            ("DesiredWeight", "CurrentWeight"),
        ):
            if property_ not in excluded and property_ in old and property_ in variant:
                variant[property_] = variant[current] = old[property_]


def _desired(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {name: variant[name] for name in ("DesiredWeight", "DesiredInstanceCount") if name in variant}


def _capture(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "EnableCapture": config.get("EnableCapture", False),
        "CaptureStatus": "Started" if config.get("EnableCapture") else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


class InferenceComponents(Hosted):
    """Models that share an endpoint's instances."""

    actions = ("UpdateInferenceComponentRuntimeConfig",)

    def check(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        self.resources.need("Endpoint", scope, given["EndpointName"], now=now)
        self._check_named(given, scope, now)

    def begin(self, record: Record) -> None:
        if any(fails(name) for name in _deployed(record.input)):
            self.force_failure(record)
        super().begin(record)

    def update(self, record: Record, change: Mapping[str, Any], now: float) -> None:
        self.check_update(record, change, now)
        self._check_named(change, record.scope, now)
        effect = {
            n: overlay({}, change)[n] for n in ("Specification", "Specifications", "RuntimeConfig") if n in change
        }
        if "DeploymentConfig" in change:
            record.input["LastDeploymentConfig"] = copy.deepcopy(change["DeploymentConfig"])
        self.deploy(record, now, names=_deployed(change), change=effect)

    def act(self, operation: str, record: Record, given: Mapping[str, Any], now: float) -> None:
        self.check_update(record, given, now)
        config = {"CopyCount": given["DesiredRuntimeConfig"]["CopyCount"]}
        self.deploy(record, now, names=(), change={"RuntimeConfig": config})

    def details(self, record: Record, now: float) -> dict[str, Any]:
        given = record.input
        creating = record.timeline.phases[0] is record.timeline.at(now)
        found: dict[str, Any] = {"EndpointArn": record.scope.arn(f"endpoint/{given['EndpointName']}")}
        if "RuntimeConfig" in given:
            count = given["RuntimeConfig"]["CopyCount"]
            pending = record.pending.input if record.pending else {}
            wanted = pending.get("RuntimeConfig", given["RuntimeConfig"])["CopyCount"]
            up = 0 if creating or record.status_class(now) is StatusClass.FAILED else count
            found["RuntimeConfig"] = {"DesiredCopyCount": wanted, "CurrentCopyCount": up}
        if "Specification" in given:
            found["Specification"] = _shown(given["Specification"], record.created)
        if "Specifications" in given:
            found["Specifications"] = [_shown(one, record.created) for one in given["Specifications"]]
        return found

    def _check_named(self, given: Mapping[str, Any], scope: Scope, now: float) -> None:
        for one in _specifications(given):
            if "ModelName" in one:
                self.resources.need("Model", scope, one["ModelName"], now=now)
            if "BaseInferenceComponentName" in one:
                self.resources.need("InferenceComponent", scope, one["BaseInferenceComponentName"], now=now)


def _specifications(given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "Specification" in given:
        yield given["Specification"]
    yield from given.get("Specifications", ())


def _deployed(given: Mapping[str, Any]) -> list[str]:
    """The names that decide whether the deployment fails: models, and images without their tag."""
    found = []
    for one in _specifications(given):
        image = one.get("Container", {}).get("Image", "")
        found += [one.get("ModelName", ""), image.rpartition("/")[2].partition(":")[0]]
    return found


def _shown(specification: Mapping[str, Any], resolved: float) -> dict[str, Any]:
    """A specification as Describe returns it: the specified image is in DeployedImage."""
    shown = copy.deepcopy(dict(specification))
    container = shown.get("Container", {})
    if "Image" in container:
        container["DeployedImage"] = deployed_image(container.pop("Image"), resolved)
    if "Container" in shown:
        fill(container, Environment={})
    return shown
