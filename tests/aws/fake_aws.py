"""A scripted loopback AWS: SageMaker's JSON 1.1 and STS's query protocol. It counts every request that it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    import asyncio

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass
class Request:
    operation: str
    body: dict[str, Any]
    access_key: str
    host: str


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeAws:
    """`script(operation)` is a queue of answers; when it is empty, the operation succeeds with `{}`."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    scripts: dict[str, list[Answer]] = field(default_factory=dict)
    expires_at: float = 4102444800.0
    """When the credentials of AssumeRole expire: 2100 by default."""

    def script(self, operation: str, *answers: Answer) -> None:
        self.scripts.setdefault(operation, []).extend(answers)

    def count(self, operation: str) -> int:
        return sum(1 for request in self.requests if request.operation == operation)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        authorization = request.headers.get("Authorization", "")
        access_key = authorization.partition("Credential=")[2].partition("/")[0]
        target = request.headers.get("X-Amz-Target")
        if target is not None:
            operation = target.partition(".")[2]
            body = msgspec.json.decode(text)
        else:
            form = {name: values[0] for name, values in parse_qs(text).items()}
            operation, body = form["Action"], form
        self.requests.append(Request(operation, body, access_key, request.host))
        queue = self.scripts.get(operation)
        if queue:
            return await queue.pop(0)(request)
        if target is not None:
            return await ok({})(request)
        return self._sts(operation)

    def _sts(self, operation: str) -> web.Response:
        if operation in ("AssumeRole", "AssumeRoleWithWebIdentity"):
            moment = datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            number = self.count(operation)
            result = (
                f"<Credentials><AccessKeyId>ASSUMED{number}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                f"<SessionToken>t</SessionToken><Expiration>{moment}</Expiration></Credentials>"
                "<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/r/s</Arn>"
                "<AssumedRoleId>r:s</AssumedRoleId></AssumedRoleUser>"
            )
        else:
            result = (
                "<Arn>arn:aws-cn:sts::111122223333:assumed-role/op/x</Arn><UserId>u</UserId>"
                "<Account>111122223333</Account>"
            )
        return xml(
            f'<{operation}Response xmlns="{STS_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
            f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
        )


def xml(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, content_type="text/xml")


def ok(body: dict[str, Any]) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=msgspec.json.encode(body), content_type="application/x-amz-json-1.1")

    return answer


def raw(body: bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type="application/x-amz-json-1.1")

    return answer


def error(code: str, message: str = "", *, status: int = 400, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            body=msgspec.json.encode({"__type": code, "message": message}),
            status=status,
            headers={"x-amzn-RequestId": "11111111-2222-3333-4444-555555555555", **(headers or {})},
            content_type="application/x-amz-json-1.1",
        )

    return answer


def sts_error(code: str, message: str, *, status: int = 403) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return xml(
            f'<ErrorResponse xmlns="{STS_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
            f"<Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>",
            status,
        )

    return answer


def html(status: int) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Not implemented</html>", status=status, content_type="text/html")

    return answer


async def cut(request: web.Request) -> web.StreamResponse:
    """The request was read; the connection ends without a reply."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def hang(release: asyncio.Event, arrived: asyncio.Event | None = None) -> Answer:
    """No reply before `release`; `arrived` is set when the request has been read."""

    async def answer(_: web.Request) -> web.StreamResponse:
        if arrived is not None:
            arrived.set()
        await release.wait()
        return web.Response(body=b"{}", content_type="application/x-amz-json-1.1")

    return answer


@asynccontextmanager
async def serve() -> AsyncIterator[FakeAws]:
    aws = FakeAws()
    app = web.Application()
    app.router.add_post("/", aws.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    aws.url = f"http://{host}:{port}"
    try:
        yield aws
    finally:
        await runner.cleanup()
