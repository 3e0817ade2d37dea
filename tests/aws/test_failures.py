"""Exceptions and messages: whether the request may have taken effect, and what a message must not show."""

from __future__ import annotations

import socket

import aiohttp
import botocore.exceptions as boto
import botocore.session
import pytest
from botocore.parsers import ResponseParserError
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_operator.aws.failures import MAX_MESSAGE, clean_message, translate_error
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory

UUID = "11111111-2222-3333-4444-555555555555"


def answered(code: str, message: str = "", status: int = 400, headers: dict[str, str] | None = None) -> AwsError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": UUID, "HTTPHeaders": headers or {}},
    }
    return translate_error(boto.ClientError(response, "CreateModel"), operation="CreateModel")


def connector_error() -> aiohttp.ClientConnectorError:
    key = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(111, "refused"))


def test_an_answer_keeps_its_code_status_and_request_id_apart_from_the_text() -> None:
    error = answered("ResourceLimitExceeded", "The limit is 0")
    assert (error.category, error.code, error.http_status) == (ErrorCategory.QUOTA, "ResourceLimitExceeded", 400)
    assert error.request_id == UUID
    assert str(error) == "CreateModel: ResourceLimitExceeded: The limit is 0"
    assert error.sent


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            "has yet to be enabled",
        ),
        ("InvalidClientTokenId", "The security token included in the request is invalid", "has yet to be enabled"),
        (
            "InvalidSignatureException",
            "Signature expired: 20260101T000000Z is now earlier than ...",
            "the clock of the node",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature not yet current: 20260101T000000Z is still later",
            "the clock of the node",
        ),
        ("ExpiredTokenException", "The security token included in the request is expired", "renew what the operator"),
        (
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match",
            "give the operator AWS credentials",
        ),
    ],
)
def test_credentials_that_are_refused_say_what_may_be_the_cause(code: str, text: str, says: str) -> None:
    error = answered(code, text)
    assert error.category is ErrorCategory.CREDENTIALS
    assert error.message.startswith(text.split(":")[0].rstrip("."))
    assert "20260101T000000Z" not in error.message, "another one at each attempt: a condition must not change"
    assert says in error.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"x-amz-retry-after": "1500"}, 1.5), ({"retry-after": "7"}, 7.0), ({"retry-after": "soon"}, None), ({}, None)],
)
def test_the_services_retry_after_is_used(headers: dict[str, str], seconds: float | None) -> None:
    assert answered("ThrottlingException", headers=headers).retry_after == seconds


def test_an_html_error_page_is_transient_and_not_shown() -> None:
    error = answered("500", "<html>secret stack trace</html>", 500)
    assert error.category is ErrorCategory.TRANSIENT
    assert error.message == "HTTP 500 without an AWS error code from AWS"
    assert error.code == ""


NOT_SENT = [
    boto.EndpointConnectionError(endpoint_url="u", error=connector_error()),
    boto.EndpointConnectionError(endpoint_url="u", error=socket.gaierror(-2, "Name or service not known")),
    boto.ConnectTimeoutError(endpoint_url="u", error=aiohttp.ConnectionTimeoutError()),
    boto.SSLError(endpoint_url="u", error="certificate"),
    boto.ProxyConnectionError(proxy_url="u"),
    connector_error(),
]
PERHAPS_SENT = [
    # aiobotocore says EndpointConnectionError for a connection reset in the middle of the exchange as well.
    boto.EndpointConnectionError(endpoint_url="u", error=aiohttp.ClientOSError(104, "reset by peer")),
    boto.EndpointConnectionError(endpoint_url="u", error=aiohttp.ClientConnectionResetError("closing transport")),
    boto.ConnectionClosedError(endpoint_url="u", error=aiohttp.ServerDisconnectedError()),
    boto.ReadTimeoutError(endpoint_url="u", error=TimeoutError()),
    boto.HTTPClientError(error=RuntimeError("odd")),
    boto.ResponseStreamingError(error="odd"),
    ResponseParserError("not JSON"),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientOSError(104, "reset"),
    TimeoutError(),
    ConnectionResetError(),
]


@pytest.mark.parametrize("exc", NOT_SENT, ids=lambda exc: f"{type(exc).__name__}")
def test_a_failure_to_connect_is_transient_and_not_sent(exc: Exception) -> None:
    error = translate_error(exc, operation="CreateModel")
    assert (error.category, error.sent) == (ErrorCategory.TRANSIENT, False)


@pytest.mark.parametrize("exc", PERHAPS_SENT, ids=lambda exc: f"{type(exc).__name__}")
def test_a_failure_after_connecting_may_have_taken_effect(exc: Exception) -> None:
    error = translate_error(exc, operation="CreateModel")
    assert (error.category, error.sent) == (ErrorCategory.TRANSIENT, True)


@pytest.mark.parametrize(
    "exc",
    [
        boto.NoCredentialsError(),
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        boto.CredentialRetrievalError(provider="process", error_msg="printed a secret"),
        boto.TokenRetrievalError(provider="sso", error_msg="printed a secret"),
        boto.ProfileNotFound(profile="p"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_missing_credentials_say_what_to_do_and_not_what_the_helper_printed(exc: Exception) -> None:
    error = translate_error(exc, operation="CreateModel")
    assert (error.category, error.sent) == (ErrorCategory.CREDENTIALS, False)
    assert "IRSA" in error.message
    assert "secret" not in error.message.replace("AWS_SECRET_ACCESS_KEY", "")


@pytest.mark.parametrize(
    "exc",
    [
        ConfigurationError("AWS region 'x' does not exist"),
        boto.NoRegionError(),
        boto.InvalidRegionError(region_name="a b"),
        boto.EndpointResolutionError(msg="Invalid Configuration: FIPS"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_endpoint_that_cannot_be_found_is_a_mistake_in_the_request(exc: Exception) -> None:
    error = translate_error(exc, operation="CreateModel")
    assert (error.category, error.sent) == (ErrorCategory.VALIDATION, False)


def test_an_unexpected_exception_shows_its_type_only() -> None:
    error = translate_error(KeyError("s3cret"), operation="CreateModel")
    assert error.category is ErrorCategory.UNKNOWN
    assert "s3cret" not in str(error)


def test_a_translated_error_stays_what_it_is() -> None:
    error = answered("ValidationException")
    assert translate_error(error, operation="Other") is error


def report(params: dict[str, object]) -> AwsError:
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    )
    text = ParamValidator().validate(params, shape).generate_report()
    return translate_error(boto.ParamValidationError(report=text), operation="CreateTrainingJob")


def test_botocores_report_is_rebuilt_with_names_only() -> None:
    error = report(
        {
            "TrainingJobName": 12345,
            "Environment": {"PASSWORD": ["s3cret\nUnknown parameter"]},
            "HyperParameters": {"key": 987654},
            "AlgorithmSpecification": {},
            "ResourceConfig": {"InstanceCount": "s3cret"},
            "StoppingCondition": {"MaxRuntimeInSeconds": -424242},
            "OutputDataConfig": {"S3OutputPath": "s3://b", "Bogus": "s3cret"},
        }
    )
    assert (error.category, error.sent) == (ErrorCategory.VALIDATION, False)
    for part in (
        "RoleArn is required",
        "AlgorithmSpecification.TrainingInputMode is required",
        "TrainingJobName has the wrong type",
        "Environment.PASSWORD has the wrong type",
        "HyperParameters.key has the wrong type",
        "ResourceConfig.InstanceCount has the wrong type",
        "StoppingCondition.MaxRuntimeInSeconds is below its minimum",
        "OutputDataConfig.Bogus is not a known member",
    ):
        assert part in error.message
    for value in ("12345", "s3cret", "987654", "424242"):
        assert value not in error.message


@given(value=st.one_of(st.text(min_size=12), st.binary(min_size=12), st.lists(st.text(min_size=12), min_size=1)))
def test_no_value_is_in_an_error_text(value: object) -> None:
    error = translate_error(
        boto.ParamValidationError(
            report=f"Invalid type for parameter Environment.TOKEN, value: {value}, type: {type(value)}, valid types: x"
        ),
        operation="CreateTrainingJob",
    )
    assert error.message == "Environment.TOKEN has the wrong type"


def test_request_ids_are_removed_so_that_a_condition_stays_the_same() -> None:
    for text in (
        f"It failed (Request ID: {UUID})",
        f"It failed. RequestId: {UUID}",
        f"It failed, request id {UUID}",
        f"It failed (Service: AmazonECR; Status Code: 400; Error Code: X; Request ID: {UUID}; Proxy: null)",
        "It failed Encoded authorization failure message: aBcDeF0123_-",
    ):
        assert clean_message(text).rstrip(".,") == "It failed"


def test_the_words_request_id_in_prose_are_left_alone() -> None:
    assert clean_message("The request id is missing") == "The request id is missing"


def test_an_echoed_value_is_removed_and_its_path_kept() -> None:
    text = (
        "2 validation errors detected: Value '{TOKEN=s3cret, X=it's}' at 'environment' failed to satisfy constraint: "
        "Map value must satisfy; Value 'bad name!' at 'trainingJobName' failed to satisfy constraint: pattern"
    )
    cleaned = clean_message(text)
    assert "s3cret" not in cleaned
    assert "bad name" not in cleaned
    assert "Value at 'environment' failed to satisfy" in cleaned
    assert "Value at 'trainingJobName' failed to satisfy" in cleaned


def test_a_long_text_is_cut_and_a_broken_one_is_one_line() -> None:
    assert clean_message("a\n  b\tc ") == "a b c"
    cut = clean_message("x" * 5000)
    assert len(cut) == MAX_MESSAGE
    assert cut.endswith("…")
