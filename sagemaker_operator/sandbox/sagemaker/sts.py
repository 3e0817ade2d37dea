"""The two STS calls that an operator makes (query protocol, XML): GetCallerIdentity and AssumeRole."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from sagemaker_operator.clock import Clock, rfc3339
from sagemaker_operator.sandbox.sagemaker.protocol import Answer, Scope, ServiceError

if TYPE_CHECKING:
    import random

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_ROLE = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(?:.*/)?(?P<name>[\w+=,.@-]{1,64})")
_ONE_HOUR = 3600
"""AssumeRole's default DurationSeconds."""


def form(body: bytes) -> dict[str, str]:
    """The parameters of a query-protocol request; `Action` is the operation."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


class SecurityTokens:
    """The owners of access keys. Keys of assumed roles contain their account, so that the account needs no look-up."""

    def __init__(self, *, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._sessions: dict[str, tuple[str, float | None]] = {}
        """ARN and expiry by access key."""
        self.roles: dict[str, str | None] | None = None
        """ARNs of the roles that may be assumed, each with the external id it asks for; None: any role."""

    def __repr__(self) -> str:
        return f"<SecurityTokens sessions={len(self._sessions)}>"

    def caller(self, scope: Scope, access_key: str) -> str:
        """The ARN that signs with this key. Raises ServiceError if the key's session is over."""
        _, expiry = self._sessions.get(access_key, ("", None))
        if expiry is not None and self._clock() >= expiry:
            raise ServiceError("ExpiredTokenException", "The security token included in the request is expired")
        return self.arn_of(scope, access_key)

    def arn_of(self, scope: Scope, access_key: str) -> str:
        arn, _ = self._sessions.get(access_key, (f"arn:{scope.partition}:iam::{scope.account}:user/sandbox", None))
        return arn

    def call(self, parameters: dict[str, str], *, scope: Scope, access_key: str, request_id: str) -> Answer:
        """Raises ServiceError for an unknown action or a wrong parameter."""
        action = parameters.get("Action", "")
        if action == "GetCallerIdentity":
            result = self._identity(scope, access_key)
        elif action == "AssumeRole":
            result = self._assume_role(parameters, caller=self.caller(scope, access_key))
        else:
            raise ServiceError("InvalidAction", f"Could not find operation {action or '(none)'} for version 2011-06-15")
        body = (
            f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result>'
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
        )
        return Answer(200, {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}, body.encode())

    def _identity(self, scope: Scope, access_key: str) -> str:
        arn = self.caller(scope, access_key)
        return f"<Arn>{escape(arn)}</Arn><UserId>{escape(access_key)}</UserId><Account>{scope.account}</Account>"

    def _assume_role(self, parameters: dict[str, str], *, caller: str) -> str:
        role = _ROLE.fullmatch(parameters.get("RoleArn", ""))
        session = parameters.get("RoleSessionName", "")
        if role is None or not session:
            raise ServiceError("ValidationError", "RoleArn and RoleSessionName are required and must be well formed")
        if self.roles is not None:
            wanted = self.roles.get(parameters["RoleArn"])
            if parameters["RoleArn"] not in self.roles or (
                wanted is not None and parameters.get("ExternalId") != wanted
            ):
                text = (
                    f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {parameters['RoleArn']}"
                )
                raise ServiceError("AccessDenied", text, status=403)
        duration = parameters.get("DurationSeconds", str(_ONE_HOUR))
        if not duration.isdigit():
            raise ServiceError("ValidationError", "DurationSeconds must be a number of seconds")
        key = f"ASIA{role['account']}{self._token(4)}"
        arn = f"arn:{role['partition']}:sts::{role['account']}:assumed-role/{role['name']}/{session}"
        # Credentials expire in the caller's time, not in the scaled time of the jobs: the caller's clock decides.
        expiry = self._clock() + int(duration)
        self._sessions[key] = arn, expiry
        expiration = rfc3339(expiry)
        return (
            f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{self._token(40)}</SecretAccessKey>"
            f"<SessionToken>{self._token(80)}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
            f"<AssumedRoleUser><AssumedRoleId>AROA{role['account']}:{escape(session)}</AssumedRoleId>"
            f"<Arn>{escape(arn)}</Arn></AssumedRoleUser>"
        )

    def _token(self, length: int) -> str:
        return "".join(self._rng.choices(string.ascii_uppercase + "234567", k=length))


def failure(error: ServiceError, *, request_id: str) -> Answer:
    """An error in the query protocol's XML."""
    kind = "Sender" if error.status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(error.status, {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}, body.encode())
