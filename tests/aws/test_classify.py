"""The error table, row by row: each answer of AWS (and moto), and its category."""

from __future__ import annotations

import re

import pytest

from sagemaker_operator.aws.classify import classify, is_read
from sagemaker_operator.errors import ErrorCategory
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import Kind, Member, NotFound

C = ErrorCategory
ARN = "arn:aws:sagemaker:us-east-1:111122223333:thing/x"


def kind(name: str, pattern: str | None = None, *codes: str, create: str | None = None) -> Kind:
    return Kind(
        name=name,
        plural=name.lower() + "s",
        create=create or f"Create{name}",
        describe=f"Describe{name}",
        stop=f"Stop{name}",
        delete=f"Delete{name}",
        identifiers=(Member(f"{name}Name", "name"),),
        name_member=f"{name}Name",
        arn_member=f"{name}Arn",
        resource_type=name.lower(),
        not_found=NotFound(codes or ("ResourceNotFound",), re.compile(pattern) if pattern else None),
    )


# Kinds whose Describe says "there is none" by ValidationException: the kind's own pattern and an example of AWS's text.
BY_TEXT = [
    ("App", "RecordNotFound", "RecordNotFound"),
    ("DeviceFleet", "No devicefleet with name", "No devicefleet with name fleet"),
    ("Device", "No device", "No device with name d"),
    ("Endpoint", "^Could not find endpoint", f'Could not find endpoint "{ARN}".'),
    ("EndpointConfig", "^Could not find endpoint configuration", f'Could not find endpoint configuration "{ARN}".'),
    ("InferenceComponent", "^Could not find inference component", f'Could not find inference component "{ARN}".'),
    ("Model", "^Could not find model", f'Could not find model "{ARN}".'),
    ("ModelPackage", r"does not exist\.$", f"ModelPackage {ARN} does not exist."),
    ("ModelPackageGroup", r"does not exist\.$", f"ModelPackageGroup {ARN} does not exist."),
    ("NotebookInstance", "RecordNotFound", "RecordNotFound"),
    (
        "NotebookInstanceLifecycleConfig",
        "^Unable to describe Notebook Instance Lifecycle Config",
        f"Unable to describe Notebook Instance Lifecycle Config '{ARN}'. (Details: it was not created.)",
    ),
    ("ProcessingJob", "^Could not find requested job", "Could not find requested job with name: x"),
    ("Project", "does not exist", "Project x does not exist"),
    ("Space", "RecordNotFound", "RecordNotFound"),
    ("TrainingJob", "^Requested resource not found", "Requested resource not found."),
    ("TransformJob", "^Could not find requested job with name", "Could not find requested job with name: x"),
    ("Workforce", "No workforce", "No workforce found in this account"),
    ("Workteam", "The work team", f"The work team {ARN} is not there"),
    ("Algorithm", None, "Algorithm x does not exist."),
    ("CodeRepository", None, f"Cannot find CodeRepository: {ARN}"),
    ("AppImageConfig", "does not exist", f"AppImageConfig {ARN} does not exist."),
    ("Image", "does not exist", "Image x does not exist"),
    ("ImageVersion", "does not exist", "ImageVersion x does not exist"),
    ("Pipeline", r"does not exist\.$", f"Pipeline '{ARN}' does not exist."),
    ("PipelineExecution", r"does not exist$", f"Pipeline execution {ARN} does not exist"),
]

# moto's texts, as it sends them with ValidationException.
MOTO = [
    ("TrainingJob", "^Requested resource not found", f"Could not find training job '{ARN}'."),
    ("ProcessingJob", "^Could not find requested job", f"Could not find processing job '{ARN}'."),
    ("TransformJob", "^Could not find requested job with name", f"Could not find transform job '{ARN}'."),
    ("Endpoint", "^Could not find endpoint", f"Could not find endpoint '{ARN}'."),
    ("EndpointConfig", "^Could not find endpoint configuration", f"Could not find endpoint_config '{ARN}'."),
    ("Model", "^Could not find model", f"Could not find model '{ARN}'."),
    ("Domain", None, "Could not find domain 'd-1'."),
    ("Cluster", None, "Could not find cluster 'c'."),
    ("Pipeline", r"does not exist\.$", "Could not find pipeline with PipelineName x."),
    (
        "PipelineExecution",
        r"does not exist$",
        f"Could not find pipeline execution with PipelineExecutionArn {ARN}.",
    ),
    ("ModelPackage", r"does not exist\.$", f"Model package {ARN} not found"),
    ("ModelPackageGroup", r"does not exist\.$", f"Model package group {ARN} not found"),
    ("NotebookInstance", "RecordNotFound", "RecordNotFound"),
    (
        "NotebookInstanceLifecycleConfig",
        "^Unable to describe Notebook Instance Lifecycle Config",
        f"Unable to describe Notebook Instance Lifecycle Config '{ARN}'. (Details: it does not exist.)",
    ),
    ("Experiment", None, f"Could not find experiment configuration '{ARN}'."),
    ("Trial", None, f"Could not find trial '{ARN}'."),
]


@pytest.mark.parametrize(("name", "pattern", "text"), BY_TEXT, ids=[row[0] for row in BY_TEXT])
@pytest.mark.parametrize("verb", ["Describe", "Stop", "Delete"])
def test_a_text_of_absence_about_the_resource_itself_means_not_found(
    name: str, pattern: str | None, text: str, verb: str
) -> None:
    subject = kind(name, pattern, "ResourceNotFound", "ValidationException")
    assert classify(verb + name, "ValidationException", text, 400, subject) is ErrorCategory.NOT_FOUND


@pytest.mark.parametrize("code", ["ResourceNotFound", "ResourceNotFoundException"])
def test_the_code_resource_not_found_needs_no_text(code: str) -> None:
    assert classify("DescribeDomain", code, "", 400, kind("Domain", "never this")) is ErrorCategory.NOT_FOUND


@pytest.mark.parametrize(("name", "pattern", "text"), MOTO, ids=[row[0] for row in MOTO])
def test_motos_texts_mean_not_found_too(name: str, pattern: str | None, text: str) -> None:
    subject = kind(name, pattern, "ResourceNotFound", "ValidationException")
    assert classify(f"Describe{name}", "ValidationException", text, 400, subject) is ErrorCategory.NOT_FOUND


def test_the_catalogs_kinds_recognise_every_known_text_of_absence() -> None:
    kinds = catalog()
    checked = 0
    for name, _, text in (*BY_TEXT, *MOTO):
        if name in kinds:
            checked += 1
            assert classify(kinds[name].describe, "ValidationException", text, 400, kinds[name]) is C.NOT_FOUND, name
    for subject in kinds.values():
        checked += 1
        assert classify(subject.describe, "ResourceNotFound", "", 400, subject) is C.NOT_FOUND, subject.name
        assert classify(subject.describe, "ValidationException", "odd", 400, subject) is C.VALIDATION, subject.name
        assert classify(subject.create, "ResourceInUse", "", 400, subject) is C.EXISTS, subject.name
    assert checked > len(kinds) > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 validation error detected: Value 'x' at 'trainingJobName' failed to satisfy constraint: not found pattern",
        "The request was rejected",
        "Invalid ARN",
    ],
)
def test_an_unknown_validation_error_on_describe_is_not_absence(text: str) -> None:
    subject = kind("TrainingJob", "^Requested resource not found", "ResourceNotFound", "ValidationException")
    assert classify("DescribeTrainingJob", "ValidationException", text, 400, subject) is ErrorCategory.VALIDATION


def test_a_refusal_that_mentions_absence_is_not_absence() -> None:
    text = "User is not authorized to describe this resource, or it does not exist"
    assert (
        classify("DescribeModel", "ValidationException", text, 400, kind("Model", "^Could not find model"))
        is ErrorCategory.ACCESS_DENIED
    )


def test_a_kind_without_a_text_takes_its_code_for_absence_unless_the_request_was_malformed() -> None:
    labeling = kind("LabelingJob", None, "ValidationException")
    assert classify("DescribeLabelingJob", "ValidationException", "whatever", 400, labeling) is ErrorCategory.NOT_FOUND
    malformed = "1 validation error detected: Value '' at 'labelingJobName' failed to satisfy constraint"
    assert classify("DescribeLabelingJob", "ValidationException", malformed, 400, labeling) is ErrorCategory.VALIDATION


def test_another_kinds_text_of_absence_does_not_hide_an_access_problem() -> None:
    assert (
        classify("DescribeModel", "AccessDeniedException", "Could not find model", 400) is ErrorCategory.ACCESS_DENIED
    )


ROWS = [
    # A create that finds the name taken.
    ("CreateTrainingJob", "ResourceInUse", "Job name must be unique within an AWS account and region", C.EXISTS),
    ("CreatePipeline", "ConflictException", "", C.EXISTS),
    ("CreateModel", "ValidationException", f'Cannot create already existing model "{ARN}".', C.EXISTS),
    ("CreateEndpoint", "ValidationException", f'Cannot create already existing endpoint "{ARN}".', C.EXISTS),
    ("CreateNotebookInstance", "ValidationException", f"Cannot create a duplicate Notebook Instance ({ARN})", C.EXISTS),
    ("CreatePipeline", "ValidationException", "Pipeline with name (x) already exists.", C.EXISTS),
    ("CreateTrainingJob", "ValidationException", "Duplicate channel name 'train' in InputDataConfig.", C.VALIDATION),
    ("CreateModelPackageGroup", "ValidationException", "Model Package Group already exists: x", C.EXISTS),
    # A create: what the request names is not there, or may not be used yet
    (
        "CreateTrainingJob",
        "ValidationException",
        "Could not assume role arn:aws:iam::1:role/x. Please ...",
        C.DEPENDENCY,
    ),
    (
        "CreateTrainingJob",
        "ValidationException",
        "User: arn:aws:sts::1:assumed-role/op is not authorized to perform: iam:PassRole on resource: r",
        C.DEPENDENCY,
    ),
    (
        "CreateTrainingJob",
        "ValidationException",
        'No S3 objects found under S3 URL "s3://b/p" given in input data source. Please ensure that ...',
        C.DEPENDENCY,
    ),
    (
        "CreateModel",
        "ValidationException",
        "Requested image 1.dkr.ecr.us-east-1.amazonaws.com/x:1 not found.",
        C.DEPENDENCY,
    ),
    (
        "CreateModel",
        "ValidationException",
        'Using ECR image "x:1" with Vpc repository access mode failed',
        C.DEPENDENCY,
    ),
    (
        "CreateModel",
        "ValidationException",
        "Could not access model data at s3://b/m.tar.gz. Please ensure that the role exists and that its trust policy",
        C.DEPENDENCY,
    ),
    ("CreateEndpoint", "ValidationException", f'Could not find endpoint configuration "{ARN}".', C.DEPENDENCY),
    ("CreateEndpointConfig", "ValidationException", f'Could not find model "{ARN}".', C.DEPENDENCY),
    ("CreateApp", "ResourceNotFound", "Domain d-1 does not exist", C.DEPENDENCY),
    ("CreateInferenceComponent", "ValidationException", "Endpoint x is not InService", C.DEPENDENCY),
    ("StartPipelineExecution", "ResourceNotFound", "Pipeline does not exist", C.DEPENDENCY),
    # ...or a role that IAM has not propagated yet, with the text of each create.
    ("CreateFeatureGroup", "ValidationException", "The execution role ARN is invalid.", C.DEPENDENCY),
    ("CreateFeatureGroup", "ValidationException", "Invalid S3Uri provided", C.DEPENDENCY),
    ("CreateNotebookInstance", "ValidationException", "The role arn:aws:iam::1:role/x is not valid.", C.DEPENDENCY),
    ("CreateDomain", "ValidationException", "Invalid execution role: it must be assumable by SageMaker", C.DEPENDENCY),
    ("CreateModel", "ValidationException", "Role arn:aws:iam::1:role/x cannot be assumed by SageMaker", C.DEPENDENCY),
    (
        "CreateFlowDefinition",
        "ValidationException",
        "The provided role does not have the required permissions for the output path",
        C.DEPENDENCY,
    ),
    # A create that can never work.
    (
        "CreateFeatureGroup",
        "ValidationException",
        "1 validation error detected: Value at 'roleArn' failed to satisfy constraint: it is not valid",
        C.VALIDATION,
    ),
    ("CreateTrainingJob", "ValidationException", "Invalid instance type", C.VALIDATION),
    ("CreateTrainingJob", "ValidationException", "1 validation error detected: already exists", C.VALIDATION),
    ("CreateModel", "SerializationException", "", C.VALIDATION),
    # updates
    ("UpdateEndpoint", "ValidationException", f'Could not find endpoint configuration "{ARN}".', C.DEPENDENCY),
    ("UpdateEndpoint", "ValidationException", f'Cannot update in-progress endpoint "{ARN}".', C.IN_USE),
    ("UpdatePipeline", "ResourceNotFound", "Pipeline does not exist.", C.NOT_FOUND),
    ("UpdateDomain", "ResourceInUse", "", C.IN_USE),
    ("UpdateComputeQuota", "ConflictException", "", C.IN_USE),
    ("UpdateTrainingJob", "ValidationException", "KeepAlivePeriodInSeconds is too long", C.VALIDATION),
    # stops and deletes
    ("DeleteDomain", "ResourceInUse", "Unable to delete Domain: UserProfile(s) are still associated", C.IN_USE),
    ("DeleteModelPackage", "ConflictException", "", C.IN_USE),
    (
        "DeleteNotebookInstance",
        "ValidationException",
        "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Deleting) for Notebook Instance (x)",
        C.IN_USE,
    ),
    ("DeleteEndpoint", "ValidationException", "Cannot delete endpoint because its status is Updating", C.IN_USE),
    (
        "StopTransformJob",
        "ValidationException",
        "The request was rejected because the transform job is in status Completed.",
        C.IN_USE,
    ),
    ("DeleteModel", "ValidationException", "Bad things", C.VALIDATION),
    # whatever the operation
    ("ListTrainingJobs", "ThrottlingException", "Rate exceeded", C.THROTTLED),
    ("CreateTrainingJob", "ValidationException", "Rate exceeded", C.THROTTLED),
    ("CreateTrainingJob", "TooManyRequestsException", "", C.THROTTLED),
    ("DescribeModel", "RequestLimitExceeded", "", C.THROTTLED),
    ("CreateTrainingJob", "ResourceLimitExceeded", "The account-level service limit 'ml.p4d' is 0", C.QUOTA),
    ("CreateEndpoint", "ServiceQuotaExceededException", "", C.QUOTA),
    ("CreateEndpoint", "ValidationException", "The account-level service limit 'x' is 2 Instances", C.QUOTA),
    (
        "DescribeModel",
        "AccessDeniedException",
        "User is not authorized to perform: sagemaker:DescribeModel",
        C.ACCESS_DENIED,
    ),
    ("CreateModel", "OptInRequired", "", C.ACCESS_DENIED),
    ("DescribeModel", "ExpiredTokenException", "The security token included in the request is expired", C.CREDENTIALS),
    ("DescribeModel", "ExpiredToken", "", C.CREDENTIALS),
    ("DescribeModel", "UnrecognizedClientException", "The security token included is invalid.", C.CREDENTIALS),
    ("DescribeModel", "InvalidSignatureException", "Signature expired", C.CREDENTIALS),
    ("CreateModel", "InternalFailure", "", C.TRANSIENT),
    ("CreateModel", "ServiceUnavailable", "", C.TRANSIENT),
    ("ListTags", "ResourceNotFound", "", C.NOT_FOUND),
    ("ListPipelineExecutions", "ResourceNotFound", "Pipeline does not exist", C.NOT_FOUND),
    ("ListModels", "ValidationException", "The token does not exist", C.VALIDATION),
    ("DeleteScalingPolicy", "ObjectNotFoundException", "", C.NOT_FOUND),
    ("CreateModel", "SomethingNew", "never seen", C.UNKNOWN),
]


@pytest.mark.parametrize(("operation", "code", "text", "expected"), ROWS)
def test_codes_map_to_error_classes(operation: str, code: str, text: str, expected: ErrorCategory) -> None:
    assert classify(operation, code, text, 400) is expected


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_transient_whatever_its_code(status: int) -> None:
    assert classify("CreateModel", str(status), "<html>", status) is ErrorCategory.TRANSIENT


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, C.THROTTLED), (401, C.CREDENTIALS), (403, C.ACCESS_DENIED), (400, C.UNKNOWN), (404, C.UNKNOWN)],
)
def test_without_a_known_code_the_http_status_decides(status: int, expected: ErrorCategory) -> None:
    assert classify("CreateModel", str(status), "", status) is expected


def test_a_create_that_is_not_called_create_is_known_by_its_kind() -> None:
    subject = kind("Thing", create="BeginThing")
    assert classify("BeginThing", "ResourceInUse", "", 400, subject) is ErrorCategory.EXISTS
    assert classify("BeginThing", "ResourceInUse", "", 400) is ErrorCategory.IN_USE


def test_only_operations_that_change_nothing_are_reads() -> None:
    assert all(map(is_read, ["DescribeModel", "ListModels", "GetModelPackageGroupPolicy", "Search", "QueryLineage"]))
    assert not any(map(is_read, ["CreateModel", "StopTrainingJob", "AddTags", "BatchDeleteClusterNodes", "RenderX"]))
