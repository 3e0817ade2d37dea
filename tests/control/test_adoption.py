"""The meaning of adoption annotations and the resulting actions: pure tables."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sagemaker_operator.annotations import ADOPTED, ADOPTION_FIELDS, ADOPTION_POLICY, READ_ONLY
from sagemaker_operator.control.observation import ABSENT, Observation
from sagemaker_operator.control.plan.actions import (
    Action,
    Adopt,
    Claim,
    Create,
    Facts,
    Finish,
    Identify,
    Mutation,
    Observe,
    Owner,
)
from sagemaker_operator.control.plan.next_action import next_action
from sagemaker_operator.control.requeue import Requeue
from sagemaker_operator.control.spec.adoption import NO_ADOPTION, Adoption, Policy, adoption_keys, requested_adoption
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.settings import FeatureGates
from tests.kinds.facts import ACK_KINDS

# facts: ACK's generated PopulateResourceFromAnnotation of each kind; optional keys in brackets.
KEYS = {
    "App": "appName, appType, domainID, [spaceName], [userProfileName]",
    "DataQualityJobDefinition": "jobDefinitionName",
    "Domain": "domainID",
    "Endpoint": "endpointName",
    "EndpointConfig": "endpointConfigName",
    "FeatureGroup": "featureGroupName",
    "HyperParameterTuningJob": "hyperParameterTuningJobName",
    "InferenceComponent": "inferenceComponentName",
    "LabelingJob": "labelingJobName",
    "Model": "modelName",
    "ModelBiasJobDefinition": "jobDefinitionName",
    "ModelExplainabilityJobDefinition": "jobDefinitionName",
    "ModelPackage": "arn",
    "ModelPackageGroup": "modelPackageGroupName",
    "ModelQualityJobDefinition": "jobDefinitionName",
    "MonitoringSchedule": "monitoringScheduleName",
    "NotebookInstance": "notebookInstanceName",
    "NotebookInstanceLifecycleConfig": "notebookInstanceLifecycleConfigName",
    "Pipeline": "pipelineName",
    "PipelineExecution": "arn",
    "ProcessingJob": "processingJobName",
    "Project": "projectName",
    "Space": "domainID, spaceName",
    "TrainingJob": "trainingJobName",
    "TransformJob": "transformJobName",
    "UserProfile": "domainID, userProfileName",
}

MODEL = catalog()["Model"]
ARN = "arn:aws:sagemaker:us-west-2:123456789012:model/churn"
FOUND = Observation({"ModelName": "churn", "ModelArn": ARN})
NAMED = '{"modelName": "churn"}'


@pytest.mark.parametrize("kind", ACK_KINDS)
def test_the_keys_are_acks(kind: str) -> None:
    required, optional = adoption_keys(catalog()[kind])
    assert ", ".join((*sorted(required), *sorted(f"[{key}]" for key in optional))) == KEYS[kind]


@pytest.mark.parametrize(
    ("annotations", "meaning"),
    [
        ({}, Adoption()),
        ({ADOPTED: "true"}, Adoption(adopted=True)),
        ({READ_ONLY: "true"}, Adoption(read_only=True)),
        ({READ_ONLY: "False", ADOPTED: "false"}, Adoption()),
        ({ADOPTION_POLICY: "adopt-or-create"}, Adoption(Policy.ADOPT_OR_CREATE)),
        ({ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: NAMED}, Adoption(Policy.ADOPT, {"modelName": "churn"})),
    ],
)
def test_the_annotations_mean(annotations: dict[str, str], meaning: Adoption) -> None:
    assert requested_adoption(MODEL, annotations, {}, FeatureGates()) == meaning


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({ADOPTION_POLICY: ""}, "must be adopt or adopt-or-create, not ''"),
        ({ADOPTION_POLICY: "adopt"}, 'required: write {"modelName": "..."}'),
        ({ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: "["}, 'a JSON object of strings: write {"modelName": "..."}'),
        ({ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: '{"modelName": 1}'}, "a JSON object of strings"),
        ({ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: "{}"}, "modelName is missing"),
        ({ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: '{"arn": "x"}'}, "has no arn; its keys are modelName"),
        ({ADOPTION_POLICY: "adopt-or-create", ADOPTION_FIELDS: NAMED}, "spec.modelName is 'other'"),
        ({READ_ONLY: "true", ADOPTION_FIELDS: NAMED}, "spec.modelName is 'other'"),
        ({READ_ONLY: "yes"}, "must be true or false, not 'yes'"),
        ({ADOPTED: "1"}, "must be true or false, not '1'"),
    ],
)
def test_an_invalid_annotation_is_reported_with_what_to_write(annotations: dict[str, str], problem: str) -> None:
    meaning = requested_adoption(MODEL, annotations, {"modelName": "other"}, FeatureGates())
    assert problem in str(meaning.problem)
    step = next_action(Facts(kind=MODEL, adoption=meaning))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert step.findings.terminal == meaning.problem


def test_a_managed_object_stays_managed_whatever_its_annotation_says() -> None:
    """ACK took every word but true for no."""
    meaning = requested_adoption(MODEL, {READ_ONLY: "yes"}, {}, FeatureGates())
    managed = Facts(kind=MODEL, adoption=meaning, managed=True, arn=ARN, recalled=FOUND)
    assert next_action(managed) == next_action(replace(managed, adoption=NO_ADOPTION))


def test_a_disabled_gate_ignores_its_annotations() -> None:
    annotations = {ADOPTION_POLICY: "adopt", ADOPTION_FIELDS: "[", READ_ONLY: "yes"}
    gates = FeatureGates(resource_adoption=False, read_only_resources=False)
    assert requested_adoption(MODEL, annotations, {}, gates) == Adoption()


new = Facts(kind=MODEL)
adopt = replace(new, adoption=Adoption(Policy.ADOPT, {"modelName": "churn"}))
either = replace(new, adoption=Adoption(Policy.ADOPT_OR_CREATE))
by_user = replace(new, adoption=Adoption(adopted=True))
adopted = replace(new, managed=True, arn=ARN, adoption=Adoption(Policy.ADOPT_OR_CREATE, adopted=True))
read_only = replace(new, adoption=Adoption(read_only=True))


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (adopt, Observe()),
        (replace(adopt, observed=FOUND), Adopt()),
        (either, Observe()),
        (replace(either, observed=FOUND), Adopt()),
        (replace(either, observed=ABSENT), Claim()),
        (replace(either, observed=ABSENT, managed=True, claimed=True), Create()),
        # The create found the name taken, or its answer was lost: the tags show which.
        (replace(either, observed=FOUND, managed=True), Identify()),
        (replace(either, observed=FOUND, managed=True, owner=Owner.FOREIGN), Adopt()),
        (by_user, Observe()),
        (replace(by_user, observed=FOUND), Identify()),
        (read_only, Observe()),
    ],
)
def test_the_next_step(facts: Facts, step: Action) -> None:
    assert next_action(facts) == step


@pytest.mark.parametrize("facts", [adopt, by_user, adopted, read_only])
def test_adoption_never_creates_a_missing_resource(facts: Facts) -> None:
    step = next_action(replace(facts, observed=ABSENT))
    assert isinstance(step, Finish)
    assert step.findings is not None
    assert "no such Model" in str(step.findings.recoverable)
    assert (step.requeue, step.release) == (Requeue.SLOW_BACKOFF, False)


def test_a_read_only_object_never_changes_anything() -> None:
    for facts in (replace(read_only, observed=FOUND, differing=("spec.x",)), replace(read_only, managed=True, arn=ARN)):
        assert isinstance(next_action(facts), Finish | Observe)


def test_a_deleted_object_whose_adoption_was_cut_off_is_not_created_by_its_token() -> None:
    kind = catalog()["PipelineExecution"]
    cut = Facts(kind=kind, deleting=True, managed=True, adoption=Adoption(Policy.ADOPT, arn=ARN, adopted=True))
    assert next_action(cut) == Observe()
    assert next_action(replace(cut, observed=FOUND)) == Adopt()
    assert isinstance(next_action(replace(cut, observed=FOUND, arn=ARN, mutation=Mutation.STOPPED)), Finish)
