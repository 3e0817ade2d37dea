"""Messages for refused writes: the server's rule, and never the refused value."""

from __future__ import annotations

import json

import pytest

from sagemaker_operator.errors import Forbidden, Invalid, TooLarge, Unavailable
from sagemaker_operator.kube.refusals import Refusals
from sagemaker_operator.kube.status import error_of_answer
from sagemaker_operator.objects import Resource

from .scripted import status_body

JOBS = Resource("sagemaker.services.k8s.aws", "v1alpha1", "trainingjobs", "TrainingJob")


def refusal(field: str, cause: str, reason: str = "FieldValueInvalid") -> str:
    """The message for a 422 with this cause, after the name of the object."""
    causes = [{"field": field, "reason": reason, "message": cause}]
    body = status_body(422, "Invalid", f'TrainingJob "a" is invalid: {field}: {cause}', causes=causes)
    error = error_of_answer("PATCH /x", 422, {}, json.dumps(body).encode())
    assert isinstance(error, Invalid)
    return error.message.partition('"a" is invalid: ')[2]


@pytest.mark.parametrize(
    ("cause", "reported"),
    [
        ('Invalid value: "object": exactly one of a, b', "spec: exactly one of a, b"),
        ("Invalid value: exactly one of spec.a, spec.b must be set", "spec: exactly one of spec.a, spec.b must be set"),
        (
            'Unsupported value: "hunter2": supported values: "Pipe", "File"',
            'spec: Unsupported value: supported values: "Pipe", "File"',
        ),
        ("Invalid value: \"hunter2\": spec.x in body should match '^a$'", "spec: spec.x in body should match '^a$'"),
        ('Invalid value: "hun\\"ter2": must be short', "spec: must be short"),
        ("Invalid value: -5.5: should be greater than or equal to 1", "spec: should be greater than or equal to 1"),
        (
            'Invalid value: "hunter2": spec.x in body must be of type date-time: "hunter2"',
            "spec: spec.x in body must be of type date-time",
        ),
        ("Required value", "spec: Required value"),
        # Where the end of the value is not known, or the rule quotes it, the field alone is named.
        ('Invalid value: {"env":"hunter2"}: too many', "spec (FieldValueInvalid)"),
        ("Invalid value: map[env:hunter2]: too many", "spec (FieldValueInvalid)"),
        ('Invalid value: "hunter2": "hunter2" is taken', "spec (FieldValueInvalid)"),
        ('Duplicate value: "hunter2"', "spec (FieldValueInvalid)"),
    ],
)
def test_a_violated_rule_is_reported_with_the_servers_text_without_the_value(cause: str, reported: str) -> None:
    text = refusal("spec", cause) if "value: " in cause else refusal("spec", f'{cause}, Invalid value: "x"')
    assert "hunter2" not in text
    assert text == reported or cause == "Required value"


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (413, "Request entity too large: limit is 3145728", TooLarge),
        (500, "etcdserver: request is too large", TooLarge),
        (500, "rpc error: trying to send message larger than max (2100000 vs. 2097152)", TooLarge),
        (500, "etcdserver: leader changed", Unavailable),
    ],
)
def test_an_object_at_the_limit_of_etcd_is_an_error_of_its_own(code: int, message: str, error: type) -> None:
    body = json.dumps(status_body(code, "InternalError", message)).encode()
    assert type(error_of_answer("PATCH /x", code, {}, body)) is error


def denied(text: str) -> Forbidden:
    return Forbidden(f"PATCH /x: HTTP 403 Forbidden: {text}", status=403)


RBAC = denied('trainingjobs is forbidden: User "u" cannot patch resource "trainingjobs" in API group "g"')
WEBHOOK = denied('admission webhook "policy" denied the request: no')


class TestRefusals:
    def test_a_write_that_is_refused_counts_until_one_is_accepted(self) -> None:
        refusals = Refusals(lambda: 0.0)
        refusals.note("PATCH", JOBS, "ml", "status", RBAC)
        reported = refusals.current()
        assert reported == (
            "not allowed to patch trainingjobs/status in namespace ml: apply manifests/rbac.yaml for this identity"
        )
        refusals.note("PATCH", JOBS, "other", "status", None)
        assert refusals.current() == reported
        refusals.note("PATCH", JOBS, "ml", "status", None)
        assert refusals.current() is None

    def test_a_refusal_by_a_webhook_is_not_a_missing_permission(self) -> None:
        refusals = Refusals(lambda: 0.0)
        refusals.note("PATCH", JOBS, "ml", "", WEBHOOK)
        assert refusals.current() is None

    def test_refused_writes_to_users_objects_do_not_count(self) -> None:
        refusals = Refusals(lambda: 0.0)
        refusals.note("PATCH", Resource("", "v1", "secrets", "Secret"), "ml", "", RBAC)
        assert refusals.current() is None

    def test_a_write_that_is_never_tried_again_is_forgotten(self) -> None:
        now = 0.0
        refusals = Refusals(lambda: now)
        refusals.note("PATCH", JOBS, "ml", "", RBAC)
        now = 1801.0
        assert refusals.current() is None
