"""The watch event of an own write arrives before its answer, or after it, or a proxy answers instead."""

from __future__ import annotations

import pytest

from sagemaker_operator.annotations import RECONCILE_REQUESTED
from sagemaker_operator.kube.transport import Response
from sagemaker_operator.sandbox.kubernetes.memory import InMemoryTransport
from tests.e2e.harness import Cloud, operator, sample
from tests.e2e.kinds import VIRTUAL, Stage
from tests.e2e.order import Order
from tests.transports import ForwardingTransport, Request

pytestmark = VIRTUAL


class Proxy(ForwardingTransport):
    """Answers the first request that matches, instead of the API server, and does not carry it out."""

    def __init__(self, inner: InMemoryTransport, method: str, suffix: str, answer: Response) -> None:
        super().__init__(inner)
        self._matches = (method, suffix)
        self._answer = answer
        self.answered = 0

    async def answer(self, request: Request) -> Response:
        method, suffix = self._matches
        if not self.answered and request.method == method and request.path.endswith(suffix):
            self.answered += 1
            return self._answer
        return await super().answer(request)


@pytest.mark.parametrize(
    "answer",
    [
        Response(404, {}, b"404 page not found\n"),
        Response(404, {}, b'{"kind": "Status", "reason": "NotFound", "code": 404, "details": {}}'),
        Response(200, {}, b"<html>please log in</html>"),
        Response(200, {}, b""),
        Response(200, {}, b"{}"),
        Response(502, {}, b"<html>bad gateway</html>"),
    ],
    ids=["plain 404", "a Status that names nothing", "log-in page", "empty", "another object", "502"],
)
@pytest.mark.parametrize("order", Order)
async def test_a_job_is_followed_although_a_proxy_answered_its_first_status(answer: Response, order: Order) -> None:
    cloud = Cloud(kinds=["TrainingJob"])
    proxy = Proxy(InMemoryTransport(cloud.kubernetes), "PATCH", "/status", answer)
    async with operator(cloud, transport=proxy, order=order):
        await cloud.apply(sample())
        await cloud.until_status("xgboost-churn", "Completed")
    assert proxy.answered == 1
    assert cloud.creates() == 1


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", ["TrainingJob", "Model", "Endpoint"])
async def test_nothing_is_kept_of_a_deleted_object(kind: str, order: Order) -> None:
    """The answer that removes the last finalizer is the end of an object as much as the watch's event is."""
    stage = Stage(kind)
    async with operator(stage.cloud, order=order) as manager:
        await stage.prepare()
        await stage.apply()
        await stage.settled()
        await stage.cloud.annotate(stage.name, {RECONCILE_REQUESTED: "now"}, kind=kind)
        await stage.cloud.pass_time(60)
        before = manager.controllers[kind].explain()
        await stage.delete()
        await stage.cloud.pass_time(60)
        after = manager.controllers[kind].explain()
    assert before["remembered"] > 0
    assert after == {"cached": 0, "queued": 0, "failing": 0, "remembered": 0}
