"""AWS clients: one per (service, target), cached, closed only after their last call.

Measured costs: the first SageMaker client takes 0.14 s and 19 MB, nearly all of it the service model; a client of a second
session that loads the model again costs 17 MB more; one that shares the first session's loader costs 0.95 MB and 6 ms. So
there is one session per *identity* (the operator's own, and one per assumed role), all with one loader, and a bounded number
of clients.

Clients get credentials from their session's provider, which refreshes them.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
import os
import re
from collections import OrderedDict
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiobotocore.config import AioConfig
from aiobotocore.credentials import create_credential_resolver
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.loaders import create_loader
from botocore.utils import parse_timestamp

from sagemaker_operator.aws.configuration import ca_bundle_problem, configuration_error, explain
from sagemaker_operator.aws.credentials import (
    AssumedRole,
    IdentitySession,
    Provider,
    StaticCredentials,
    role_not_assumed,
)
from sagemaker_operator.aws.failures import translate_error
from sagemaker_operator.aws.target import Target
from sagemaker_operator.errors import AwsError, ConfigurationError, ErrorCategory, OperatorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from aiobotocore.client import AioBaseClient
    from botocore.credentials import ReadOnlyCredentials

    from sagemaker_operator.clock import Clock

MAX_CLIENTS = 100
"""0.95 MB each: under 100 MB for a hundred accounts; with more, clients are evicted and created again (6 ms)."""
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 20.0
"""Seconds. botocore's defaults are 60 and 60: one dead endpoint would hold a worker for two minutes."""
MAX_POOL_CONNECTIONS = 32
"""Four times the workers of a process. botocore's 10 would queue the rest silently."""
SESSION_NAME = "sagemaker-operator"
OTHER_ACCOUNT = "OtherAccount"
"""The code of the error for own credentials of another account. It is not an AWS code."""
STS_TIMEOUT = 10.0
"""Seconds for one STS call, connection included. It is part of the call that waits for the credentials."""


_STS_ANSWER = re.compile(rb"<(\w+Response)\b")

# Escaped backslashes and whole surrogate pairs match first, so that only a lone surrogate is in the group.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class Identity(NamedTuple):
    """The operator's identity at AWS."""

    account: str
    partition: str
    arn: str


class _Session(AioSession):  # type: ignore[misc]  # aiobotocore is untyped
    """A session all of whose clients have our timeouts and STS endpoint, including those that a credential provider creates
    for itself (web identity, a profile's role)."""

    def __init__(self, defaults: Callable[[], AioConfig], sts_endpoint_url: str | None) -> None:
        super().__init__()
        self._defaults = defaults
        self._sts_endpoint_url = sts_endpoint_url
        self.register("before-parse.sts", _require_sts_answer)
        self.register("before-parse.sagemaker", _repair_text)

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        config = kwargs.pop("config", None)
        if service_name == "sts" and kwargs.get("endpoint_url") is None:
            kwargs["endpoint_url"] = self._sts_endpoint_url
        defaults = self._defaults()
        return super().create_client(
            service_name, *args, config=defaults if config is None else defaults.merge(config), **kwargs
        )


class _Entry:
    """A cached client. `users` calls are using it; a `retired` one is closed by the last of them."""

    def __init__(self, client: AioBaseClient, stack: AsyncExitStack) -> None:
        self.client = client
        self.stack = stack
        self.users = 0
        self.retired = False


_Key = tuple[str, Target]


class Sessions:
    """Creates all AWS clients. An async context manager; leaving it closes every client.

    `credentials` (access key, secret key) replaces the default chain, for the sandbox.
    `external_id`, `session_tags` and `session_name` are sent with every AssumeRole; `sts_endpoint_url` replaces the
    regional STS endpoint for every STS call, a credential provider's own included.

    Guarantee: after the first `identity()`, nothing is signed with own credentials of another account.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        credentials: tuple[str, str] | None = None,
        external_id: str | None = None,
        session_tags: Mapping[str, str] | None = None,
        session_name: str = SESSION_NAME,
        sts_endpoint_url: str | None = None,
        user_agent: str = "sagemaker-operator",
        max_clients: int = MAX_CLIENTS,
        read_timeout: float = READ_TIMEOUT,
        http_session_cls: type[Any] | None = None,
        loader: Any = None,
    ) -> None:
        """`loader`: a warm botocore loader of models, to share with other Sessions of this process."""
        self._clock = clock
        self._credentials = credentials
        self._external_id = external_id
        self._session_tags = dict(session_tags or {})
        self._session_name = session_name
        self._sts_endpoint_url = sts_endpoint_url
        self._user_agent = user_agent
        self._max_clients = max_clients
        self._read_timeout = read_timeout
        self._http_session_cls = http_session_cls
        self._root = AioSession()
        """Owner of the shared loader. It has no credentials, so that dropping an identity never drops it."""
        self._identities: dict[str | None, IdentitySession] = {}
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._creating = asyncio.Lock()
        self._warm: set[str] = set()
        if loader is not None:
            self._warm |= {"sagemaker", "sts"}
        # Not the session's own loader: that requires the profile of the environment to exist.
        self._loader = loader or create_loader(os.environ.get("AWS_DATA_PATH"))
        self._root.register_component("data_loader", self._loader)
        self._account: str | None = None
        """Of the operator, from the first `identity()` on."""
        self._checked: tuple[str, str] | None = None
        """The last access key that STS identified, and its account."""
        self._bundle_checked = False
        self._regions: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        busy = sum(1 for entry in self._entries.values() if entry.users)
        return f"<Sessions {len(self._entries)}/{self._max_clients} clients, {busy} busy>"

    async def __aenter__(self) -> Sessions:
        return self

    async def __aexit__(self, *_: object) -> None:
        entries = list(self._entries.values())
        self._entries.clear()
        for entry in entries:
            entry.retired = True
            await entry.stack.aclose()

    @asynccontextmanager
    async def client(self, service: str, target: Target) -> AsyncIterator[AioBaseClient]:
        """Borrow the client of `service` ("sagemaker", "sts") for `target`; it stays open while it is borrowed.

        Raises ConfigurationError if the target's region does not exist.
        """
        entry = await self._entry((service, target))
        entry.users += 1  # without an await since it was found: it cannot be retired and closed in between
        try:
            await self._evict()
            yield entry.client
        finally:
            entry.users -= 1
            if entry.retired and not entry.users:
                await entry.stack.aclose()

    async def identity(self, region: str) -> Identity:
        """The operator's identity, from STS. Also the start-up check of region and credentials.

        Raises ConfigurationError (no such region, found without a call) and AwsError: CREDENTIALS if there are none, if AWS
        does not accept them, or if they are of another account than at first (`is_other_account`).
        """
        target = Target("", region, endpoint_url=self._sts_endpoint_url)
        self._require_region(target)
        try:
            session = self._session(target)
            credentials = await session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            keys = await credentials.get_frozen_credentials()
        except Exception as exc:
            raise self._explained(exc, target, operation="GetCallerIdentity") from exc
        found = await self._caller(keys, target)
        if self._account is None:
            self._account = found.account
        return found

    async def _caller(self, keys: ReadOnlyCredentials, target: Target) -> Identity:
        """GetCallerIdentity signed with these keys, not with the session's."""
        try:
            await self._warm_up("sts")
            async with (
                asyncio.timeout(STS_TIMEOUT),
                self._session(target).create_client(
                    "sts",
                    region_name=target.region,
                    aws_access_key_id=keys.access_key,
                    aws_secret_access_key=keys.secret_key,
                    aws_session_token=keys.token,
                ) as sts,
            ):
                answer = await sts.get_caller_identity()
        except Exception as exc:
            raise self._explained(exc, target, operation="GetCallerIdentity") from exc
        arn = str(answer["Arn"])
        found = Identity(account=str(answer["Account"]), partition=arn.split(":")[1], arn=arn)
        self._checked = (keys.access_key, found.account)
        return found

    async def _check_account(self, keys: ReadOnlyCredentials, target: Target) -> None:
        """Rejects the operator's own credentials if they are of another account than before: resources would be "not found"
        there, and be created a second time. One STS call for each new access key."""
        if self._account is None:
            return
        if self._checked is None or self._checked[0] != keys.access_key:
            await self._caller(keys, target)
        assert self._checked is not None  # noqa: S101  set by _caller
        found = self._checked[1]
        if found != self._account:
            raise AwsError(
                f"the operator's AWS credentials are of account {found} now and were of account {self._account} at the "
                f"start: nothing is asked of AWS until they are of {self._account} again (a restart works for {found})",
                category=ErrorCategory.CREDENTIALS,
                operation="GetCallerIdentity",
                code=OTHER_ACCOUNT,
                sent=False,
            )

    @staticmethod
    def _explained(exc: Exception, target: Target, *, operation: str) -> Exception:
        """The error for an exception while a client was created or used."""
        if isinstance(exc, OperatorError):
            return exc
        return explain(exc) or translate_error(exc, operation=operation, endpoint=target.endpoint_url or "")

    def region_problem(self, region: str) -> str | None:
        """Why a region's name is not valid; None: AWS has the region."""
        if not self._regions:
            partitions = self._loader.load_data("partitions")["partitions"]
            names = {name for partition in partitions for name in partition["regions"]}
            # Pseudo-regions of global services such as IAM.
            self._regions = frozenset(name for name in names if not name.endswith("-global"))
        if region in self._regions:
            return None
        nearest = _nearest(region, self._regions)
        hint = f" (did you mean {nearest}?)" if nearest else ""
        return f"AWS region {region!r} does not exist{hint}; for a region newer than this release set an endpoint URL"

    async def drop(self, target: Target, *, stale: AioBaseClient | None = None) -> None:
        """Drop the clients and the credentials of `target`, which AWS called expired. The next call loads new ones.

        `stale` is the client that was refused: if it is not cached any more, another call has dropped it already, so
        that fifty calls that fail together load once.
        """
        if stale is not None and all(entry.client is not stale for entry in self._entries.values()):
            return
        # An assumed role may be refused because our own credentials, which assumed it, have expired.
        dropped = {target.role_arn, None}
        for role_arn in dropped:
            self._identities.pop(role_arn, None)
        await self._retire([key for key in self._entries if key[1].role_arn in dropped])

    def seconds_to_expiry(self) -> float | None:
        """Seconds until the first of the loaded credentials expires (negative: it has); None if none of them does."""
        expiries = [at for identity in self._identities.values() if (at := identity.expires_at()) is not None]
        return min(expiries) - self._clock() if expiries else None

    async def _entry(self, key: _Key) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            # One lock for all: creating takes 6 ms, and two clients of one key would leave one unclosed.
            async with self._creating:
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._entries[key] = await self._create(*key)
        else:
            self._entries.move_to_end(key)
        return entry

    async def _evict(self) -> None:
        surplus = len(self._entries) - self._max_clients
        await self._retire(list(itertools.islice(self._entries, max(0, surplus))))

    async def _create(self, service: str, target: Target) -> _Entry:
        await self._warm_up(service)
        self._require_region(target)
        stack = AsyncExitStack()
        try:
            client = await stack.enter_async_context(
                self._session(target).create_client(
                    service, region_name=target.region, endpoint_url=target.endpoint_url
                )
            )
        except Exception as exc:
            if (known := explain(exc)) is not None:
                raise known from exc
            raise
        return _Entry(client, stack)

    def _require_region(self, target: Target) -> None:
        if target.endpoint_url is None and (problem := self.region_problem(target.region)):
            raise ConfigurationError(problem)

    def _config(self) -> AioConfig:
        transport = {} if self._http_session_cls is None else {"http_session_cls": self._http_session_cls}
        return AioConfig(
            # One attempt: retries are ours (aws/calls for reads, the work queue for the rest). The mode is named
            # because botocore's default changed in 1.44. A fresh dict each time: botocore writes into it.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=self._read_timeout,
            max_pool_connections=MAX_POOL_CONNECTIONS,
            user_agent_extra=self._user_agent,
            **transport,
        )

    async def _warm_up(self, service: str) -> None:
        if service in self._warm:
            return
        # Parsing the model takes 0.15 s; in a thread it leaves 12 ms of client building on the loop.
        await asyncio.to_thread(self._root.warm_up_loader_caches, service)
        self._warm.add(service)

    def _session(self, target: Target) -> AioSession:
        identity = self._identities.get(target.role_arn)
        if identity is None:
            if not self._bundle_checked and (problem := ca_bundle_problem()):
                raise configuration_error(problem, may_recover=True)
            self._bundle_checked = True
            session = _Session(self._config, self._sts_endpoint_url)
            session.register_component("data_loader", self._loader)
            session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
            own = Target("", target.region, endpoint_url=self._sts_endpoint_url)
            identity = IdentitySession(
                session,
                self._provider(session, target),
                # An assumed role's account is in its ARN.
                check=partial(self._check_account, target=own) if target.role_arn is None else None,
            )
            self._identities[target.role_arn] = identity
        return identity.session

    def _provider(self, session: AioSession, target: Target) -> Provider:
        if target.role_arn is not None:
            return AssumedRole(self._assume, target.role_arn, target.region, clock=self._clock)
        if self._credentials is not None:
            return StaticCredentials(*self._credentials)
        chain: Provider = create_credential_resolver(session, region_name=target.region)
        return chain

    async def _retire(self, keys: list[_Key]) -> None:
        # Remove all before closing the first: closing yields, and no call may find a client that is about to be closed.
        entries = [self._entries.pop(key) for key in keys]
        for entry in entries:
            entry.retired = True
        for entry in entries:
            if not entry.users:
                await entry.stack.aclose()

    async def _sts(self, target: Target, method: str, params: dict[str, Any], *, operation: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(STS_TIMEOUT), self.client("sts", target) as sts:
                answer: dict[str, Any] = await getattr(sts, method)(**params)
                return answer
        except ConfigurationError:
            raise
        except Exception as exc:
            raise translate_error(exc, operation=operation, endpoint=target.endpoint_url or "") from exc

    async def _assume(self, role_arn: str, region: str) -> dict[str, Any]:
        params: dict[str, Any] = {"RoleArn": role_arn, "RoleSessionName": self._session_name}
        if self._external_id is not None:
            params["ExternalId"] = self._external_id
        if self._session_tags:
            params["Tags"] = [{"Key": key, "Value": value} for key, value in self._session_tags.items()]
        target = Target("", region, endpoint_url=self._sts_endpoint_url)
        try:
            answer = await self._sts(target, "assume_role", params, operation="AssumeRole")
        except AwsError as exc:
            raise role_not_assumed(exc, role_arn) from exc
        granted: dict[str, Any] = answer["Credentials"]
        return granted


def _require_sts_answer(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """Raises ClientError with the HTTP status for an answer that is not STS's (a proxy's page): botocore's XML parser loses it."""
    if _STS_ANSWER.search(response_dict["body"][:1000]):
        return
    status = response_dict["status_code"]
    raise ClientError(
        {"Error": {"Code": str(status), "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},
        operation_model.name,
    )


def _repair_text(response_dict: dict[str, Any], **_: Any) -> None:
    """Replaces invalid text by U+FFFD: a reason that a service cut inside an emoji ends with half a surrogate pair, which can
    be stored in no status and written to no log."""
    body = response_dict["body"]
    if b"\\u" in body:
        body = _ESCAPES.sub(lambda found: b"\\ufffd" if found["alone"] else found[0], body)
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode(errors="replace").encode()
    response_dict["body"] = body


def _nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name closest to `word`; swapped letters (us-esat-1) before any other similarity."""
    letters = sorted(word)
    swapped = [name for name in known if sorted(name) == letters]
    close = difflib.get_close_matches(word, swapped or sorted(known), n=1)
    return close[0] if close else None


def _timestamp(value: Any) -> Any:
    """Epoch seconds stay a float: building datetimes is a third of the CPU of a Describe and two thirds of a List's 3.7 ms.

    Texts (STS and other XML answers, moto) become a datetime, as botocore's credential providers expect.
    """
    return float(value) if isinstance(value, (int, float)) else parse_timestamp(value)
