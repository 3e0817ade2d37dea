"""All SageMaker calls of the operator: `Aws.call`.

The steps of a call: rate limit, client, lease fence (mutations only), the request with a deadline, error translation.

Guarantees:
- Every failure is an `AwsError` (or `NotLeader`), whose text quotes no value of the request.
- A read is retried on transient failures: at most `READ_ATTEMPTS` attempts, none after `READ_PATIENCE` seconds.
- A mutation is sent once, because it may have taken effect although its reply was lost; the next reconcile describes first.
  Exception: if AWS refused the credentials nothing was done, and it is sent once more with fresh ones.
- No mutation starts unless the lease covers its deadline (`fence`).

Assumption: operations that do not begin with one of `classify.READ_VERBS` are mutations.

Caveat: waiting for the rate limit is not part of the deadline; it takes 10 s at most (`Limiter.acquire`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import tenacity
from botocore import xform_name

from sagemaker_operator.aws.classify import is_read
from sagemaker_operator.aws.expiry import Expiry
from sagemaker_operator.aws.failures import translate_error
from sagemaker_operator.backoff import LONGEST_RETRY_AFTER, Backoff
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory, OperatorError
from sagemaker_operator.kinds.described import unwrapped
from sagemaker_operator.logs import Event, emit, get_logger

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from aiobotocore.client import AioBaseClient

    from sagemaker_operator.aws.limiter import BucketState, Limiter
    from sagemaker_operator.aws.sessions import Sessions
    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.kinds.descriptor import Kind

SERVICE = "sagemaker"
READ_DEADLINE = 25.0
"""Seconds per attempt: the 20 s socket timeout, the connection and a credential refresh."""
MUTATION_DEADLINE = 10.0
"""Seconds. A lease with a renew deadline of 20 s that is renewed every 4.8 s at most has 15 s left when a renewal is due."""
READ_ATTEMPTS = 3
READ_PATIENCE = 8.0
"""Seconds after which no further attempt of a read begins. The work queue retries after that."""
READ_BACKOFF = Backoff(base=0.2, cap=3.0)


class NotLeader(OperatorError):
    """The lease fence refused a mutating call: this process does not lead, or not for long enough."""


class Outcome(msgspec.Struct, frozen=True):
    """One finished call, for metrics and logs."""

    operation: str
    target: Target
    category: ErrorCategory | None
    """None: it succeeded."""
    seconds: float
    """Spent waiting for AWS, over all attempts; without our own rate limit and backoff."""
    attempts: int
    """Requests sent; 0 if the rate limit refused or the client could not be created."""
    http_status: int
    """Of the last answer; 0: no answer."""
    failures: tuple[AwsError, ...] = ()
    """The error of each failed attempt, in order."""


class _Tally:
    """Counts for `Outcome`, over the attempts of one call."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.attempts = 0
        self.http_status = 0
        self.failures: list[AwsError] = []


class _Call(msgspec.Struct, frozen=True):
    """One call, as passed through the methods of `Aws`."""

    target: Target
    operation: str
    params: Mapping[str, Any]
    kind: Kind | None
    caller: str
    tally: _Tally

    @property
    def is_read(self) -> bool:
        return is_read(self.operation)

    def failed(self, exc: Exception, *, endpoint: str = "") -> AwsError:
        """The translated error, as it is raised to the caller."""
        return translate_error(exc, operation=self.operation, kind=self.kind, endpoint=endpoint)


class Aws:
    """SageMaker's API with rate limits, credentials, deadlines and retries. See the module for guarantees.

    `observe` is called after every call. `fence(seconds)` returns whether this process leads for that long from now on;
    None: it always does (single process, tests).
    """

    def __init__(
        self,
        sessions: Sessions,
        limiter: Limiter,
        *,
        rng: random.Random,
        observe: Callable[[Outcome], None] | None = None,
        fence: Callable[[float], bool] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sessions = sessions
        self._limiter = limiter
        self._rng = rng
        self._observe = observe
        self._fence = fence
        self._sleep = sleep
        self._log = get_logger("aws")
        self._not_logged_until: dict[str, float] = {}
        """Per operation: until when a Retry-After that is too long is not logged again."""
        self.expiry = Expiry()

    def rates(self) -> list[BucketState]:
        """The state of the rate limit of every operation that was ever called, by account and region."""
        return self._limiter.snapshot()

    async def call(
        self,
        target: Target,
        operation: str,
        params: Mapping[str, Any],
        *,
        kind: Kind | None = None,
        caller: str = "",
    ) -> dict[str, Any]:
        """Call `operation` ("DescribeTrainingJob") with API-named `params`; returns the answer without metadata.

        `kind`: the kind that the call is about. Its "not found" texts then apply, and all pages of a paged Describe are
        read into the answer. `caller`: the namespace for which the call is made; waiting callers take turns at the rate
        limit. Raises AwsError and, for mutations, NotLeader.
        """
        call = _Call(target, operation, params, kind, caller, _Tally())
        answer = await self._page(call)
        if kind is None or operation != kind.describe:
            return answer
        answer = unwrapped(kind, answer)
        if kind.paged_member is None:
            return answer
        tokens: set[str] = set()
        # A repeated token would never end: then it stays in the answer, as the sign of an incomplete one.
        while (token := answer.get("NextToken")) and token not in tokens:
            tokens.add(token)
            following = msgspec.structs.replace(call, params={**params, "NextToken": token}, tally=_Tally())
            more = await self._page(following)
            answer = {**more, kind.paged_member: [*answer[kind.paged_member], *more.get(kind.paged_member, ())]}
        return answer

    async def _page(self, call: _Call) -> dict[str, Any]:
        attempt = self._with_retries if call.is_read else self._with_fresh_credentials
        try:
            answer = await attempt(call)
        except AwsError as exc:
            self._report(call, exc.category)
            self.expiry.note_failure(exc, call.target)
            raise
        self._report(call, None)
        return answer

    def _report(self, call: _Call, category: ErrorCategory | None) -> None:
        if self._observe is not None:
            tally = call.tally
            self._observe(
                Outcome(
                    call.operation,
                    call.target,
                    category,
                    tally.seconds,
                    tally.attempts,
                    tally.http_status,
                    tuple(tally.failures),
                )
            )

    async def _with_retries(self, call: _Call) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            # Nearly every read succeeds at once: tenacity, 6 % of a reconcile's CPU, is used only after a failure.
            return await self._with_fresh_credentials(call)
        except AwsError as exc:
            if not _is_transient(exc) or loop.time() - started >= READ_PATIENCE:
                raise
        await self._sleep(READ_BACKOFF.delay(0, self._rng))

        def stop(state: tenacity.RetryCallState) -> bool:
            # tenacity's own stop_after_delay reads the system clock, which virtual time does not move.
            return state.attempt_number >= READ_ATTEMPTS - 1 or loop.time() - started >= READ_PATIENCE

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_transient),
            stop=stop,
            wait=lambda state: READ_BACKOFF.delay(state.attempt_number, self._rng),
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(self._with_fresh_credentials, call)

    async def _with_fresh_credentials(self, call: _Call) -> dict[str, Any]:
        try:
            return await self._once(call)
        except AwsError as exc:
            # `sent` here means that AWS refused the credentials: it did nothing, so that even a mutation may be repeated
            # with fresh ones. If it was not sent there were no credentials, and there are no others to try.
            if exc.category is not ErrorCategory.CREDENTIALS or not exc.sent:
                raise
        return await self._once(call)

    async def _once(self, call: _Call) -> dict[str, Any]:
        target = call.target
        await self._limiter.acquire(target.account, target.region, call.operation, caller=call.caller)
        try:
            async with self._sessions.client(SERVICE, target) as client:
                return await self._send(client, call)
        except OperatorError as exc:
            if isinstance(exc, ConfigurationError):  # a region that does not exist
                raise call.failed(exc) from exc
            raise
        except Exception as exc:  # the client could not be created
            raise call.failed(exc) from exc

    async def _send(self, client: AioBaseClient, call: _Call) -> dict[str, Any]:
        method = getattr(client, xform_name(call.operation))
        deadline = READ_DEADLINE if call.is_read else MUTATION_DEADLINE
        # Directly before the request: everything else that takes time (token, client) is done.
        if not call.is_read and self._fence is not None and not self._fence(deadline):
            raise NotLeader(f"{call.operation}: the lease does not cover the next {deadline:g} s")
        tally = call.tally
        loop = asyncio.get_running_loop()
        started = loop.time()
        tally.attempts += 1
        tally.http_status = 0
        try:
            async with asyncio.timeout(deadline):
                answer: dict[str, Any] = await method(**call.params)
        except Exception as exc:
            error = call.failed(exc, endpoint=client.meta.endpoint_url)
            tally.http_status = error.http_status
            tally.failures.append(error)
            await self._handle_failure(error, client, call)
            if error is exc:
                raise
            raise error from exc
        finally:
            tally.seconds += loop.time() - started
        tally.http_status = int(answer.pop("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return answer

    async def _handle_failure(self, error: AwsError, client: AioBaseClient, call: _Call) -> None:
        target = call.target
        if error.asked_to_wait is not None:
            self._report_long_wait(error, client.meta.endpoint_url)
        if error.category is ErrorCategory.THROTTLED and error.sent:
            error.retry_after = self._limiter.throttled(
                target.account, target.region, call.operation, retry_after=error.retry_after
            )
        elif error.category is ErrorCategory.CREDENTIALS:
            await self._sessions.drop(target, stale=client)

    def _report_long_wait(self, error: AwsError, endpoint: str) -> None:
        """Log once per operation and longest wait: a proxy in maintenance answers every call like this."""
        now = asyncio.get_running_loop().time()
        if now < self._not_logged_until.get(error.operation, now):
            return
        self._not_logged_until[error.operation] = now + LONGEST_RETRY_AFTER
        emit(
            self._log,
            Event.AWS_THROTTLED,
            operation=error.operation,
            errorCode=error.code,
            err=f"{endpoint} asks to wait {error.asked_to_wait:.0f} s (Retry-After); the operator tries again after "
            f"{LONGEST_RETRY_AFTER:.0f} s",
        )


def _is_transient(exc: BaseException) -> bool:
    return isinstance(exc, AwsError) and exc.category is ErrorCategory.TRANSIENT
