"""`Aws` against a scripted loopback SageMaker, which counts the requests that it receives."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog

from sagemaker_operator.aws import calls
from sagemaker_operator.aws.calls import Aws, NotLeader, Outcome
from sagemaker_operator.aws.limiter import Limiter
from sagemaker_operator.aws.sessions import Sessions
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ErrorCategory
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.descriptor import Kind, Member, NotFound
from sagemaker_operator.logs import configure
from tests.aws.fake_aws import Answer, FakeAws, cut, error, hang, html, ok, raw, sts_error
from tests.aws.models import models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROLE = "arn:aws:iam::222233334444:role/team"

NOTEBOOK = Kind(
    name="NotebookInstance",
    plural="notebookinstances",
    create="CreateNotebookInstance",
    describe="DescribeNotebookInstance",
    identifiers=(Member("NotebookInstanceName", "notebookInstanceName"),),
    name_member="NotebookInstanceName",
    arn_member="NotebookInstanceArn",
    resource_type="notebook-instance",
    not_found=NotFound(("ValidationException",), re.compile("^Strange words for nothing")),
)


class Door:
    """An `Aws` and all that it reported to its observers."""

    def __init__(self, fake: FakeAws, sessions: Sessions) -> None:
        self.fake = fake
        self.sessions = sessions
        self.outcomes: list[Outcome] = []
        self.slept: list[float] = []
        self.fenced: list[float] = []
        self.leads = True
        self.limiter = Limiter(rng=random.Random(1))
        self.aws = Aws(
            sessions,
            self.limiter,
            rng=random.Random(1),
            observe=self.outcomes.append,
            fence=self._fence,
            sleep=self._sleep,
        )
        self.target = Target("111122223333", "us-east-1", None, fake.url)

    def _fence(self, seconds: float) -> bool:
        self.fenced.append(seconds)
        return self.leads

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def describe(self) -> dict[str, object]:
        return await self.aws.call(self.target, "DescribeModel", {"ModelName": "m"})

    async def create(self) -> dict[str, object]:
        return await self.aws.call(self.target, "CreateModel", {"ModelName": "m"})


@pytest.fixture
async def door(fake: FakeAws) -> AsyncIterator[Door]:
    async with Sessions(
        clock=lambda: 1.8e9, credentials=("AKIDOWN", "secret"), sts_endpoint_url=fake.url, loader=models()
    ) as sessions:
        yield Door(fake, sessions)


async def failing(call: Callable[[], object]) -> AwsError:
    with pytest.raises(AwsError) as failed:
        await call()  # type: ignore[misc]
    return failed.value


async def test_an_answer_comes_back_without_metadata_and_with_float_times(door: Door) -> None:
    door.fake.script("DescribeModel", ok({"ModelName": "m", "CreationTime": 1700000000.5}))
    params = {"ModelName": "m"}
    answer = await door.aws.call(door.target, "DescribeModel", params)
    assert answer == {"ModelName": "m", "CreationTime": 1700000000.5}
    assert params == {"ModelName": "m"}
    assert door.fake.requests[0].body == {"ModelName": "m"}
    (outcome,) = door.outcomes
    assert (outcome.operation, outcome.target) == ("DescribeModel", door.target)
    assert (outcome.category, outcome.attempts, outcome.http_status) == (None, 1, 200)


READ_FAILURES = [cut, html(500), error("InternalFailure", status=500), error("ServiceUnavailable", status=503)]


@pytest.mark.parametrize("answer", READ_FAILURES, ids=["cut", "html", "500", "503"])
async def test_a_read_is_repeated_until_it_succeeds(door: Door, answer: Answer) -> None:
    door.fake.script("DescribeModel", answer, answer, ok({"ModelName": "m"}))
    assert await door.describe() == {"ModelName": "m"}
    assert door.fake.count("DescribeModel") == 3
    assert len(door.slept) == 2
    assert all(0 <= delay <= 0.4 for delay in door.slept)
    assert door.outcomes[0].attempts == 3
    assert [failure.category for failure in door.outcomes[0].failures] == [ErrorCategory.TRANSIENT] * 2


@pytest.mark.parametrize("answer", READ_FAILURES, ids=["cut", "html", "500", "503"])
async def test_a_read_is_given_up_after_three_attempts(door: Door, answer: Answer) -> None:
    door.fake.script("DescribeModel", *[answer] * 5)
    failure = await failing(door.describe)
    assert failure.category is ErrorCategory.TRANSIENT
    assert door.fake.count("DescribeModel") == 3
    assert door.outcomes[0].category is ErrorCategory.TRANSIENT


async def test_a_read_begins_no_attempt_after_eight_seconds(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "READ_PATIENCE", 0.0)
    door.fake.script("DescribeModel", cut, cut)
    await failing(door.describe)
    assert door.fake.count("DescribeModel") == 1


@pytest.mark.parametrize("answer", READ_FAILURES, ids=["cut", "html", "500", "503"])
async def test_a_mutation_is_never_repeated_and_may_have_taken_effect(door: Door, answer: Answer) -> None:
    door.fake.script("CreateModel", answer)
    failure = await failing(door.create)
    assert (failure.category, failure.sent) == (ErrorCategory.TRANSIENT, True)
    assert door.fake.count("CreateModel") == 1
    assert not door.slept


async def test_a_refused_connection_proves_that_nothing_was_sent(door: Door, unused_tcp_port: int) -> None:
    nowhere = door.target._replace(endpoint_url=f"http://127.0.0.1:{unused_tcp_port}")
    failure = await failing(lambda: door.aws.call(nowhere, "CreateModel", {"ModelName": "m"}))
    assert (failure.category, failure.sent) == (ErrorCategory.TRANSIENT, False)


async def test_cancelling_a_call_reports_nothing_and_leaves_the_client_usable(door: Door) -> None:
    release, arrived = asyncio.Event(), asyncio.Event()
    door.fake.script("CreateModel", hang(release, arrived))
    task = asyncio.create_task(door.create())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert not door.outcomes
    assert await door.describe() == {}


async def test_a_throttled_call_is_not_repeated_and_slows_its_operation_only(door: Door) -> None:
    door.fake.script("DescribeModel", error("ThrottlingException", "Rate exceeded"))
    failure = await failing(door.describe)
    assert failure.category is ErrorCategory.THROTTLED
    assert failure.sent
    assert failure.retry_after is not None
    assert failure.retry_after >= 0.5
    assert door.fake.count("DescribeModel") == 1
    await door.create()
    assert {s.operation: s.rate for s in door.limiter.snapshot()} == {"DescribeModel": 10.0, "CreateModel": 10.0}


async def test_the_services_own_pause_is_obeyed(door: Door) -> None:
    door.fake.script("DescribeModel", error("ThrottlingException", headers={"x-amz-retry-after": "30000"}))
    failure = await failing(door.describe)
    assert failure.retry_after is not None
    assert failure.retry_after >= 30.0


async def test_the_own_rate_limit_refuses_without_a_request(door: Door) -> None:
    door.limiter.throttled("111122223333", "us-east-1", "CreateModel", retry_after=60.0)
    failure = await failing(door.create)
    assert (failure.category, failure.sent) == (ErrorCategory.THROTTLED, False)
    assert not door.fake.requests
    assert (door.outcomes[0].attempts, door.outcomes[0].http_status) == (0, 0)
    assert door.limiter.snapshot()[0].throttled == 1


async def test_only_a_leader_mutates(door: Door) -> None:
    door.leads = False
    with pytest.raises(NotLeader, match="CreateModel"):
        await door.create()
    assert not door.fake.requests
    assert door.fenced == [calls.MUTATION_DEADLINE]


async def test_a_standby_reads_without_asking_the_fence(door: Door) -> None:
    door.leads = False
    assert await door.describe() == {}
    assert not door.fenced


async def test_the_fence_is_asked_after_the_wait_for_a_token(door: Door) -> None:
    fast = Limiter(rng=random.Random(1), ceilings={"": 50.0})
    door.aws = Aws(door.sessions, fast, rng=random.Random(1), fence=lambda _: door.leads)
    for _ in range(50):
        await fast.acquire("111122223333", "us-east-1", "CreateModel")
    creating = asyncio.create_task(door.create())
    await asyncio.sleep(0)
    (bucket,) = fast.snapshot()
    assert bucket.waiting == 1
    door.leads = False
    with pytest.raises(NotLeader):
        await creating
    assert not door.fake.requests


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"])
@pytest.mark.parametrize("operation", ["CreateModel", "DescribeModel"])
async def test_refused_credentials_are_reloaded_and_the_call_made_once_more(
    door: Door, code: str, operation: str
) -> None:
    role = door.target._replace(role_arn=ROLE)
    door.fake.script(operation, error(code), ok({}))
    await door.aws.call(role, operation, {"ModelName": "m"})
    assert [(r.operation, r.access_key) for r in door.fake.requests] == [
        ("AssumeRole", "AKIDOWN"),
        (operation, "ASSUMED1"),
        ("AssumeRole", "AKIDOWN"),
        (operation, "ASSUMED2"),
    ]
    assert door.outcomes[0].attempts == 2


@pytest.mark.parametrize("operation", ["CreateModel", "DescribeModel"])
async def test_credentials_that_stay_refused_are_not_tried_a_third_time(door: Door, operation: str) -> None:
    door.fake.script(operation, *[error("ExpiredTokenException")] * 5)
    failure = await failing(lambda: door.aws.call(door.target, operation, {"ModelName": "m"}))
    assert failure.category is ErrorCategory.CREDENTIALS
    assert door.fake.count(operation) == 2


async def test_fifty_calls_refused_together_reload_the_credentials_once(door: Door) -> None:
    role = door.target._replace(role_arn=ROLE)
    await door.aws.call(role, "DescribeModel", {"ModelName": "m"})
    door.fake.script("DescribeModel", *[error("ExpiredTokenException")] * 5)
    await asyncio.gather(*(door.aws.call(role, "DescribeModel", {"ModelName": "m"}) for _ in range(5)))
    assert door.fake.count("AssumeRole") == 2


async def test_a_role_that_cannot_be_assumed_sends_nothing_to_sagemaker(door: Door) -> None:
    door.fake.script("AssumeRole", sts_error("AccessDenied", "not authorized to perform: sts:AssumeRole"))
    role = door.target._replace(role_arn=ROLE)
    failure = await failing(lambda: door.aws.call(role, "CreateModel", {"ModelName": "m"}))
    assert (failure.category, failure.sent) == (ErrorCategory.ACCESS_DENIED, False)
    assert [request.operation for request in door.fake.requests] == ["AssumeRole"]


async def test_an_unreachable_sts_proves_that_a_create_was_not_sent(door: Door) -> None:
    door.fake.script("AssumeRole", cut)
    role = door.target._replace(role_arn=ROLE)
    failure = await failing(lambda: door.aws.call(role, "CreateModel", {"ModelName": "m"}))
    assert (failure.category, failure.sent) == (ErrorCategory.TRANSIENT, False)
    assert door.fake.count("CreateModel") == 0


async def test_the_kinds_own_not_found_text_is_recognised(door: Door) -> None:
    words = error("ValidationException", "Strange words for nothing here")
    door.fake.script("DescribeNotebookInstance", words, words)
    params = {"NotebookInstanceName": "n"}
    for kind, category in ((NOTEBOOK, ErrorCategory.NOT_FOUND), (None, ErrorCategory.VALIDATION)):
        failure = await failing(
            lambda kind=kind: door.aws.call(door.target, "DescribeNotebookInstance", params, kind=kind)
        )
        assert failure.category is category


async def test_a_region_that_does_not_exist_fails_the_call_without_a_request(door: Door) -> None:
    nowhere = Target("111122223333", "us-esat-1")
    failure = await failing(lambda: door.aws.call(nowhere, "CreateModel", {"ModelName": "m"}))
    assert (failure.category, failure.sent) == (ErrorCategory.VALIDATION, False)
    assert "did you mean us-east-1?" in failure.message


async def test_a_malformed_request_is_refused_here_without_its_values(door: Door) -> None:
    failure = await failing(lambda: door.aws.call(door.target, "CreateModel", {"ModelName": ["s3cret"]}))
    assert (failure.category, failure.sent) == (ErrorCategory.VALIDATION, False)
    assert failure.message == "ModelName has the wrong type"
    assert not door.fake.requests


def page(*names: str, token: str = "", **more: object) -> Answer:
    features = [{"FeatureName": name} for name in names]
    return ok({"FeatureGroupName": "g", "FeatureDefinitions": features, "NextToken": token, **more})


async def described(door: Door) -> dict[str, object]:
    params = {"FeatureGroupName": "g"}
    return await door.aws.call(door.target, "DescribeFeatureGroup", params, kind=catalog()["FeatureGroup"])


async def test_a_describe_in_pages_is_read_to_its_end(door: Door) -> None:
    """Each page passes the rate limit and is repeated by itself; what is beside the list is of the last one."""
    pages = (
        page("a", token="1"),
        error("InternalFailure", status=500),
        page("b", token="2"),
        page("c", FeatureGroupStatus="Created"),
    )
    door.fake.script("DescribeFeatureGroup", *pages)
    features = [{"FeatureName": name} for name in "abc"]
    expected = {
        "FeatureGroupName": "g",
        "FeatureDefinitions": features,
        "NextToken": "",
        "FeatureGroupStatus": "Created",
    }
    assert await described(door) == expected
    assert [request.body.get("NextToken") for request in door.fake.requests] == [None, "1", "1", "2"]
    assert [outcome.attempts for outcome in door.outcomes] == [1, 2, 1]


async def test_repeating_page_tokens_end_the_read_and_mark_the_answer_incomplete(door: Door) -> None:
    door.fake.script("DescribeFeatureGroup", page("a", token="1"), page("b", token="2"), page("c", token="1"))
    answer = await described(door)
    assert (answer["NextToken"], len(door.fake.requests)) == ("1", 3)


async def test_a_failed_page_fails_the_whole_describe(door: Door) -> None:
    door.fake.script("DescribeFeatureGroup", page("a", token="1"), error("AccessDeniedException"))
    assert (await failing(lambda: described(door))).category is ErrorCategory.ACCESS_DENIED


async def test_a_token_of_another_operation_is_only_reported(door: Door) -> None:
    door.fake.script("ListFeatureGroups", ok({"FeatureGroupSummaries": [], "NextToken": "more"}))
    answer = await door.aws.call(door.target, "ListFeatureGroups", {}, kind=catalog()["FeatureGroup"])
    assert (answer["NextToken"], len(door.fake.requests)) == ("more", 1)


async def test_unavailable_credentials_are_requested_once(door: Door) -> None:
    """Nothing was sent: the second attempt would only find the same, and ask STS again."""
    door.fake.script("AssumeRole", *[sts_error("InvalidClientTokenId", "no such key")] * 5)
    role = door.target._replace(role_arn=ROLE)
    failure = await failing(lambda: door.aws.call(role, "CreateModel", {"ModelName": "m"}))
    assert (failure.category, failure.sent) == (ErrorCategory.CREDENTIALS, False)
    assert [request.operation for request in door.fake.requests] == ["AssumeRole"]
    assert door.outcomes[0].attempts == 1


async def test_a_retry_after_of_a_day_is_cut_and_reported_once(door: Door) -> None:
    proxy = error("ServiceUnavailable", status=503, headers={"Retry-After": "86400"})
    door.fake.script("CreateModel", proxy, proxy)
    out = io.StringIO()
    configure(level="info", format_="json", clock=lambda: 0.0, stream=out)
    door = Door(door.fake, door.sessions)  # a logger is as configured when it is made
    try:
        for _ in range(2):
            failure = await failing(door.create)
            assert failure.retry_after == 300.0
            assert failure.asked_to_wait == 86400.0
            assert [error.asked_to_wait for error in door.outcomes[-1].failures] == [86400.0]
            assert "86400" not in failure.message, "it counts down, and a condition must not"
    finally:
        structlog.reset_defaults()
    (line,) = (json.loads(text) for text in out.getvalue().splitlines())
    assert (line["event"], line["operation"]) == ("aws.throttled", "CreateModel")
    assert line["err"] == (f"{door.fake.url} asks to wait 86400 s (Retry-After); the operator tries again after 300 s")


async def test_a_lone_surrogate_in_an_answer_is_replaced(door: Door) -> None:
    """A reason that was cut inside an emoji: no JSON encoder takes it, so that no status could be written any more."""
    texts = {
        rb"cut \ud83d": "cut \ufffd",
        rb"\udE00 late": "\ufffd late",
        rb"whole \ud83d\ude00": "whole \U0001f600",
        rb"a path C:\\ud83d": "a path C:\\ud83d",
        b"\xed\xa0\xbd raw": "\ufffd\ufffd\ufffd raw",
    }
    for sent, got in texts.items():
        door.fake.script("DescribeTrainingJob", raw(b'{"FailureReason": "' + sent + b'"}'))
        answer = await door.aws.call(door.target, "DescribeTrainingJob", {"TrainingJobName": "t"})
        assert answer == {"FailureReason": got}
        msgspec.json.encode(answer)
    door.fake.script("CreateModel", raw(rb'{"__type": "ValidationException", "message": "bad \ud83d"}', 400))
    assert (await failing(door.create)).message == "bad \ufffd"
