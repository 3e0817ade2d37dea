"""The auth-provider `oidc` of kubeconfigs: its id-token, refreshed at the identity provider when it expires.

The calls are kubernetes_asyncio's, with our TLS context: by itself it verifies no certificates unless the kubeconfig names a
CA, and fails if it does. Importing it takes 33 MB and 0.4 s, so it is imported only when a token must be refreshed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sagemaker_operator.kube.kubeconfig import reason_of
from sagemaker_operator.kube.tls import PemError, TlsContext

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock
    from sagemaker_operator.kube.kubeconfig import AuthProvider, Entry, User

# client-go's: a token that expires on its way to the server is refreshed before it is sent.
_EXPIRY_MARGIN = 10.0


class OidcTokens:
    """Keeps the tokens that a provider issued: a refresh token is often valid for one use only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    async def token(self, user: Entry[User], user_name: str, *, limit: float) -> tuple[str, float]:
        """An id-token and its expiry, in seconds since the epoch. Raises ConfigurationError."""
        provider = user.value.auth_provider
        if provider is None:
            raise user.problem("auth-provider", "is missing")
        _check(user, provider)
        given = tuple(sorted(provider.config.items()))
        config = self._issued.get(given, dict(provider.config))
        id_token = config.get("id-token", "")
        expires = _expiry(id_token) if id_token else 0.0
        if id_token and expires is None:
            raise user.problem("auth-provider.config.id-token", "is not a JSON web token with an expiry")
        if not id_token or expires is None or self._clock() > expires - _EXPIRY_MARGIN:
            config = await _refreshed(user, config, limit)
            self._issued[given] = config
            _persist(user.file, user_name, config)
            id_token, expires = config["id-token"], _expiry(config["id-token"])
            if expires is None:
                raise user.problem("auth-provider", "the identity provider's id_token is not a JSON web token")
        return id_token, expires


def _check(user: Entry[User], provider: AuthProvider) -> None:
    if provider.name != "oidc":
        raise user.problem(
            "auth-provider.name",
            "expected oidc: as in kubectl, others are credential plug-ins today (exec), such as gke-gcloud-auth-plugin",
        )
    for name in ("idp-issuer-url", "client-id"):
        if not provider.config.get(name):
            raise user.problem(f"auth-provider.config.{name}", "is missing")


async def _refreshed(user: Entry[User], config: Mapping[str, str], limit: float) -> dict[str, str]:
    if not config.get("refresh-token"):
        raise user.problem("auth-provider.config.refresh-token", "is missing, and there is no valid id-token")
    context = _tls(user, config)
    try:
        async with asyncio.timeout(limit):
            answer = await _requestor(config, context).refresh_token(config["refresh-token"])
    except TimeoutError:
        raise user.problem("auth-provider", f"the identity provider gave no answer in {limit:g} s") from None
    except Exception as error:
        # The library does not catch errors of aiohttp and json, whose texts may quote the answer.
        raise user.problem("auth-provider", f"the identity provider gave no token ({type(error).__name__})") from None
    id_token = answer.get("id_token") if isinstance(answer, dict) else None
    if not isinstance(id_token, str) or not id_token:
        raise user.problem("auth-provider", "the identity provider's answer has no id_token")
    refresh = answer.get("refresh_token")
    kept = refresh if isinstance(refresh, str) and refresh else config["refresh-token"]
    return {**config, "id-token": id_token, "refresh-token": kept}


def _requestor(config: Mapping[str, str], context: ssl.SSLContext) -> Any:
    import aiohttp
    from kubernetes_asyncio.config.openid import OpenIDRequestor

    client, secret = config["client-id"], config.get("client-secret", "")

    class Verifying(OpenIDRequestor):
        def _client_session(self) -> aiohttp.ClientSession:
            basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
            return aiohttp.ClientSession(
                headers={**self._default_headers, "Authorization": f"Basic {basic}"},
                connector=aiohttp.TCPConnector(ssl=context),
                raise_for_status=True,
                trust_env=True,
            )

    return Verifying(client, secret, config["idp-issuer-url"])


def _tls(user: Entry[User], config: Mapping[str, str]) -> ssl.SSLContext:
    field, data = "idp-certificate-authority-data", config.get("idp-certificate-authority-data", "")
    path = ""
    if not data and config.get("idp-certificate-authority"):
        field = "idp-certificate-authority"
        path = os.path.join(os.path.abspath(os.path.dirname(user.file)), config[field])
    try:
        pem = base64.b64decode(data) if data else None
        return TlsContext(ca_file=path or None, ca_data=pem).current()
    except OSError as error:
        raise user.problem(f"auth-provider.config.{field}", f"cannot be read: {reason_of(error)}") from None
    except PemError as error:
        raise user.problem(f"auth-provider.config.{field}", error.reason) from None
    except ValueError:
        raise user.problem(f"auth-provider.config.{field}", "expected base64") from None


def _expiry(id_token: str) -> float | None:
    """The expiry of a JSON web token; None if the text is not one."""
    parts = id_token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _persist(file: str, user_name: str, config: Mapping[str, str]) -> None:
    """Writes the new tokens into the kubeconfig, as kubectl does; one that cannot be written is left unchanged."""
    with contextlib.suppress(OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        path = Path(os.path.realpath(file))
        content = yaml.safe_load(path.read_bytes())
        (entry,) = (entry for entry in content["users"] if entry["name"] == user_name)
        entry["user"]["auth-provider"]["config"].update({name: config[name] for name in ("id-token", "refresh-token")})
        text = yaml.safe_dump(content, default_flow_style=False, sort_keys=False)
        mode = path.stat().st_mode & 0o777
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as new:
                new.write(text)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
