from __future__ import annotations

import json
from typing import Any

import pytest

from sagemaker_operator.control.spec.update import compare
from sagemaker_operator.kinds.catalog import derive
from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.kinds.hooks.hosting import LAST_CONFIG, LAST_SPEC

ENDPOINT = derive("CreateEndpoint")
COMPONENT = derive("CreateInferenceComponent")
LIVE = {"EndpointName": "churn", "EndpointConfigName": "good", "EndpointStatus": "InService"}
BLOCKED = (
    "api error EndpointUpdateError: unable to update endpoint. check FailureReason. latest EndpointConfigName is good"
)
DEPLOYMENT = {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 60}}


def endpoint(desired: dict[str, Any], observed: dict[str, Any], tried: str | None = None) -> Verdict:
    wanted = {"EndpointName": "churn", "EndpointConfigName": "good"} | desired
    notes = {LAST_CONFIG: tried} if tried else {}
    return compare(ENDPOINT, Edit(wanted, LIVE | observed, (), True, notes), identity={"EndpointName": "churn"})[1]


def test_a_new_configuration_keeps_the_variants_and_is_remembered() -> None:
    request = {"EndpointName": "churn", "EndpointConfigName": "new", "RetainAllVariantProperties": True}
    assert endpoint({"EndpointConfigName": "new"}, {}) == Verdict(request=request, annotations={LAST_CONFIG: "new"})


def test_the_spec_says_how_a_configuration_is_rolled_out() -> None:
    rollout = {"RetainAllVariantProperties": False, "DeploymentConfig": DEPLOYMENT, "RetainDeploymentConfig": False}
    request = endpoint({"EndpointConfigName": "new", **rollout}, {}).request
    assert request == {"EndpointName": "churn", "EndpointConfigName": "new", **rollout}


def test_an_endpoint_in_the_desired_state_is_not_updated() -> None:
    assert endpoint({"RetainAllVariantProperties": False}, {"FailureReason": "bad"}, "bad") == Verdict()


@pytest.mark.parametrize(
    ("observed", "tried", "blocked"),
    [
        ({"EndpointStatus": "Failed"}, None, True),
        ({"FailureReason": "The image does not exist"}, "new", True),
        ({"FailureReason": "The image does not exist"}, "bad", False),
        ({"FailureReason": "The image does not exist"}, None, False),
        ({"FailureReason": "Request to service failed. Try again."}, "new", False),
        ({}, "new", False),
        ({"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "No capacity"}, "new", True),
        ({"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "Request to service failed."}, "new", True),
        ({"EndpointStatus": "UpdateRollbackFailed"}, "new", True),
        ({"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "No capacity"}, "bad", False),
        ({"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "No capacity"}, None, False),
        ({"EndpointStatus": "OutOfService", "FailureReason": "No capacity"}, "new", True),
    ],
)
def test_an_update_that_failed_is_not_sent_again(observed: dict[str, Any], tried: str | None, blocked: bool) -> None:
    verdict = endpoint({"EndpointConfigName": "new"}, observed, tried)
    assert (verdict.reject or "").startswith(BLOCKED) == blocked
    assert (verdict.reject is None) != blocked
    assert (verdict.request is None) == blocked


def test_the_failure_of_the_last_update_does_not_fail_the_one_in_flight() -> None:
    observed = {"EndpointStatus": "Updating", "FailureReason": "The image does not exist"}
    assert endpoint({"EndpointConfigName": "new"}, observed, "new").reject is None


def test_after_a_failed_rollback_the_old_configuration_can_be_deployed_again() -> None:
    mixed = {"EndpointStatus": "UpdateRollbackFailed", "FailureReason": "No capacity"}
    verdict = endpoint({}, mixed, "new")
    request = {"EndpointName": "churn", "EndpointConfigName": "good", "RetainAllVariantProperties": True}
    assert verdict == Verdict(request=request, annotations={LAST_CONFIG: "good"})
    assert endpoint({}, mixed, "good") == Verdict(), "that failed too"
    assert endpoint({}, mixed) == Verdict(), "the failed update was not this spec's"
    assert endpoint({}, {"FailureReason": "No capacity"}, "new") == Verdict(), "SageMaker went back by itself"
    first = endpoint({"DeploymentConfig": DEPLOYMENT}, mixed, "new").request
    assert first == {**request, "DeploymentConfig": DEPLOYMENT}
    assert "spec.endpointName" in str(endpoint({"EndpointName": "other"}, mixed, "new").reject)


def test_a_deployment_configuration_is_compared_only_after_a_deployment() -> None:
    wanted = {"DeploymentConfig": DEPLOYMENT}
    assert endpoint(wanted, {}) == Verdict()
    assert endpoint(wanted, {"LastDeploymentConfig": DEPLOYMENT}) == Verdict()
    other = {"LastDeploymentConfig": {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 5}}}
    request = endpoint(wanted, other).request
    assert request is not None
    assert request["DeploymentConfig"] == DEPLOYMENT


def test_an_endpoint_cannot_be_renamed() -> None:
    assert "spec.endpointName" in str(endpoint({"EndpointName": "other"}, {}).reject)


SPEC: dict[str, Any] = {
    "InferenceComponentName": "llm",
    "EndpointName": "churn",
    "VariantName": "all",
    "Specification": {
        "Container": {"Image": "image:1"},
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
    },
    "RuntimeConfig": {"CopyCount": 1},
}
WRITTEN: dict[str, Any] = {
    "inferenceComponentName": "llm",
    "endpointName": "churn",
    "variantName": "all",
    "specification": {
        "container": {"image": "image:1"},
        "computeResourceRequirements": {"minMemoryRequiredInMb": 1024},
    },
    "runtimeConfig": {"copyCount": 1},
}
DESCRIBED: dict[str, Any] = SPEC | {
    "InferenceComponentStatus": "InService",
    "Specification": {
        "Container": {"DeployedImage": {"SpecifiedImage": "image:1", "ResolvedImage": "image@sha256:1"}},
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
    },
    "RuntimeConfig": {"DesiredCopyCount": 1, "CurrentCopyCount": 1},
}


def component(desired: dict[str, Any], observed: dict[str, Any], tried: Any = None) -> Verdict:
    notes = {LAST_SPEC: tried if isinstance(tried, str) else json.dumps(tried)} if tried else {}
    edit = Edit(SPEC | desired, DESCRIBED | observed, (), True, notes)
    return compare(COMPONENT, edit, identity={"InferenceComponentName": "llm"})[1]


def test_a_component_in_the_desired_state_is_not_updated_though_describe_spells_it_differently() -> None:
    assert component({}, {}) == Verdict()


def test_a_component_with_several_specifications_in_the_desired_state_is_not_updated() -> None:
    parts = [{"InstanceType": "ml.g5.xlarge", **SPEC["Specification"]}]
    there = [{"InstanceType": "ml.g5.xlarge", **DESCRIBED["Specification"]}]
    assert component({"Specifications": parts}, {"Specifications": there}) == Verdict()
    there[0]["Container"] = {"DeployedImage": {"SpecifiedImage": "image:0"}}
    assert component({"Specifications": parts}, {"Specifications": there}).request is not None


def test_a_variable_taken_out_of_a_components_environment_is_an_edit() -> None:
    def container(environment: dict[str, str], **image: Any) -> dict[str, Any]:
        return {"Specification": {"Container": {"Environment": environment, **image}}}

    there = container({"A": "1", "B": "2"}, DeployedImage={"SpecifiedImage": "image:1"})
    for kept in ({"A": "1"}, {}):
        wanted = container(kept, Image="image:1")
        assert component(wanted, there).request == {"InferenceComponentName": "llm", **wanted}
    assert component(container({"A": "1", "B": "2"}, Image="image:1"), there) == Verdict()
    assert component({"Specification": {"Container": {"Image": "image:1"}}}, there) == Verdict(), (
        "never set, not compared"
    )


def test_only_changed_members_of_a_component_are_sent_and_the_spec_is_recorded_without_tags() -> None:
    verdict = component({"RuntimeConfig": {"CopyCount": 2}, "Tags": [{"Key": "a", "Value": "b"}]}, {})
    assert verdict.request == {"InferenceComponentName": "llm", "RuntimeConfig": {"CopyCount": 2}}
    assert json.loads(verdict.annotations[LAST_SPEC]) == WRITTEN | {"runtimeConfig": {"copyCount": 2}}


ROLLOUT: dict[str, Any] = {
    "DeploymentConfig": {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 60,
        }
    }
}


def test_the_spec_says_how_a_component_is_rolled_out_and_a_retry_with_another_rollout_is_another_update() -> None:
    verdict = component({"RuntimeConfig": {"CopyCount": 2}, **ROLLOUT}, {})
    assert verdict.request == {"InferenceComponentName": "llm", "RuntimeConfig": {"CopyCount": 2}, **ROLLOUT}
    remembered = json.loads(verdict.annotations[LAST_SPEC])
    policy = {"maximumBatchSize": {"type_": "COPY_COUNT", "value": 1}, "waitIntervalInSeconds": 60}
    assert remembered["deploymentConfig"] == {"rollingUpdatePolicy": policy}
    tried = WRITTEN | {"deploymentConfig": remembered["deploymentConfig"]}
    assert component(ROLLOUT, OTHER_IMAGE | FAILURE, WRITTEN).request is not None
    assert component(ROLLOUT, OTHER_IMAGE | FAILURE, tried).request is None


def test_a_components_deployment_configuration_is_compared_only_after_a_deployment() -> None:
    assert component(ROLLOUT, {}) == Verdict()
    assert component(ROLLOUT, {"LastDeploymentConfig": ROLLOUT["DeploymentConfig"]}) == Verdict()
    other = {"LastDeploymentConfig": {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 5}}}
    assert component(ROLLOUT, other).request == {"InferenceComponentName": "llm", **ROLLOUT}
    assert component({}, other) == Verdict(), "not sent unless set, as with ACK"


OTHER_IMAGE = {
    "Specification": {**DESCRIBED["Specification"], "Container": {"DeployedImage": {"SpecifiedImage": "image:0"}}}
}
FAILURE = {"FailureReason": "out of memory"}


@pytest.mark.parametrize(
    ("observed", "tried", "blocked"),
    [
        ({"InferenceComponentStatus": "Failed"}, None, True),
        (FAILURE, WRITTEN, True),
        (FAILURE, dict(reversed(WRITTEN.items())), True),
        (FAILURE, WRITTEN | {"runtimeConfig": {"copyCount": 2}}, False),
        (FAILURE, "no json", False),
        ({}, WRITTEN, False),
        (FAILURE | {"InferenceComponentStatus": "Updating"}, WRITTEN, False),
    ],
)
def test_a_component_update_that_failed_is_not_sent_again(observed: dict[str, Any], tried: Any, blocked: bool) -> None:
    verdict = component({}, OTHER_IMAGE | observed, tried)
    text = "api error InferenceComponentUpdateError: Unable to update inference component. Check FailureReason."
    assert (verdict.reject or "").startswith(text.rstrip(".")) == blocked
    assert (verdict.reject is None) != blocked
    assert (verdict.request is None) == blocked
