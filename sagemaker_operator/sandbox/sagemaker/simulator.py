"""SageMaker and STS in one object: the real protocol in, the real protocol out, no sockets, no background work."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.sandbox.sagemaker import protocol, sts
from sagemaker_operator.sandbox.sagemaker.calls import Call, CallLog
from sagemaker_operator.sandbox.sagemaker.engine import Engine, operation_model
from sagemaker_operator.sandbox.sagemaker.faults import Fault, FaultKind, Faults, RateLimits
from sagemaker_operator.sandbox.sagemaker.protocol import Answer, ConnectionCut, Request, Scope, ServiceError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.sandbox.sagemaker.records import Record

ACCOUNT = "123456789012"


class SageMakerSimulator:
    """Amazon SageMaker as far as an operator can observe it.

    Accounts and regions are kept apart: the account is the one in the access key (`AKIA` or `ASIA` followed by
    twelve digits, as AssumeRole hands them out), else `account`; the region is that of the SigV4 credential scope.

    Time: a simulated second lasts 1/`speed` seconds of `clock`; all times that SageMaker reports are simulated and
    begin at the clock's time. Rate limits, slow answers and the expiry of credentials keep the caller's time.
    State is computed from timestamps at each request, so that virtual clocks work and an idle simulator costs nothing.

    Not checked: signatures, permissions, and whether images and data exist; `faults` simulates such errors. Any caller
    may assume any role unless `tokens.roles` lists the roles; their credentials expire.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rng: random.Random,
        account: str = ACCOUNT,
        speed: float = 1.0,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        """`kinds`: None means all."""
        self.account = account
        self.speed = speed
        self.faults = Faults()
        self.limits = RateLimits()
        self.calls = CallLog()
        self._clock = clock
        self._rng = rng
        self._epoch = clock()
        self._advanced = 0.0
        self._engine = Engine(catalog() if kinds is None else kinds, rng=rng)
        self.quotas = self._engine.quotas
        self.tokens = sts.SecurityTokens(clock=clock, rng=rng)

    def __repr__(self) -> str:
        return f"<SageMakerSimulator account={self.account} speed={self.speed} {self._engine.store!r} {self.calls!r}>"

    def now(self) -> float:
        """Simulated seconds since the epoch."""
        return self._epoch + (self._clock() - self._epoch) * self.speed + self._advanced

    def advance(self, seconds: float) -> None:
        """Jump ahead in simulated time."""
        self._advanced += seconds

    def resources(self) -> list[Record]:
        """Everything that exists in any account and region, in order of creation. To be read, not changed."""
        return self._engine.store.records(self.now())

    @property
    def made(self) -> Mapping[str, int]:
        """How many resources of each kind were ever created; a create with a known idempotency token does not count."""
        return self._engine.store.made

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one HTTP request. Raises ConnectionCut when a fault cuts the connection."""
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        operation = protocol.target(headers)
        form = {} if operation else sts.form(body)
        try:
            credential = protocol.credential(headers)
            account = protocol.account_of(credential.access_key, self.account)
            request = Request(
                operation or form.get("Action", f"{method} {path}"),
                Scope(account, credential.region),
                credential.access_key,
                protocol.decode(body) if operation else form,
            )
        except ServiceError as error:
            return self._failure(error, operation, request_id)
        hitting = self.faults.hitting(request)
        try:
            answer = self._answer(request, form, hitting, request_id)
        except (ServiceError, ConnectionCut) as error:
            applied = isinstance(error, ConnectionCut) and error.applied
            self._record(request, getattr(error, "code", type(error).__name__), applied=applied)
            if isinstance(error, ConnectionCut):
                raise
            return self._failure(error, operation, request_id)
        await _sleep(hitting)
        return answer

    def _answer(self, request: Request, form: dict[str, str], hitting: list[Fault], request_id: str) -> Answer:
        if not self.limits.admit(request, at=self._clock()):
            raise ServiceError("ThrottlingException", "Rate exceeded")
        _refuse(request, hitting)
        self.tokens.caller(request.scope, request.access_key)
        if form:
            answer = self.tokens.call(form, scope=request.scope, access_key=request.access_key, request_id=request_id)
        else:
            blind = self.faults.blind_seconds(request)
            output = self._engine.call(request, now=self.now(), blind_seconds=blind)
            answer = protocol.success(output, request_id=request_id)
        kinds = {fault.kind: fault for fault in hitting}
        if FaultKind.LOST_REPLY in kinds:
            raise ConnectionCut(applied=True)
        if (late := kinds.get(FaultKind.ERROR_AFTER)) is not None:
            error = late.error(request)
            self._record(request, error.code, applied=True)
            return self._failure(error, "" if form else request.operation, request_id)
        self._record(request, "", applied=True)
        return answer

    def _record(self, request: Request, code: str, *, applied: bool) -> None:
        self.calls.add(
            Call(
                operation=request.operation,
                account=request.scope.account,
                region=request.scope.region,
                name=self._engine.resource_name(request),
                at=self._clock(),
                code=code,
                mutating=self._engine.mutating(request.operation),
                applied=applied,
                caller=self.tokens.arn_of(request.scope, request.access_key),
            )
        )

    def _failure(self, error: ServiceError, operation: str, request_id: str) -> Answer:
        if not operation:
            return sts.failure(error, request_id=request_id)
        model = operation_model(operation)
        modelled = model is not None and any(shape.name == error.code for shape in model.error_shapes)
        return protocol.failure(error, request_id=request_id, modelled=modelled)


def _refuse(request: Request, hitting: list[Fault]) -> None:
    """Raise the error of the first fault that keeps the call from being carried out."""
    fault = next((fault for fault in hitting if fault.kind.before), None)
    if fault is None:
        return
    if fault.kind is FaultKind.REFUSED_BEFORE:
        raise ConnectionCut(applied=False)
    raise fault.error(request)


async def _sleep(hitting: list[Fault]) -> None:
    seconds = sum(fault.seconds for fault in hitting if fault.kind is FaultKind.SLOW)
    if seconds:
        await asyncio.sleep(seconds)
