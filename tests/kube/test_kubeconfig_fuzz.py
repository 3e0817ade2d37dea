"""Every field of a kubeconfig null, of a wrong type or missing: accepted, or one line that names file and field.

What a value holds is never in an error, a log or a repr, whatever its type and wherever it stands.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
import random
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.config import load_config
from sagemaker_operator.kube.kubeconfig import Kubeconfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLANTED = "planted"
Where = tuple[str | int, ...]


def full(directory: Path, auth: str) -> dict[str, Any]:
    """A kubeconfig with every field that there is, as far as they go together; each value holds the planted word."""
    ca = trustme.CA()
    issued = ca.issue_cert("me@example.org")
    (directory / "ca.pem").write_bytes(ca.cert_pem.bytes())
    (directory / "planted-token").write_text("planted-token-of-a-file")
    plugin = directory / "plug-in"
    plugin.write_text('#!/bin/sh\necho "$@ $SECRET" >&2\nexit 1\n')
    plugin.chmod(0o700)
    users: dict[str, dict[str, Any]] = {
        "token": {"token": "planted-token", "tokenFile": "planted-token"},
        "basic": {"username": "planted-user", "password": "planted-password"},
        "certificate": {
            "client-certificate-data": b64(issued.cert_chain_pems[0].bytes()),
            "client-key-data": b64(issued.private_key_pem.bytes()),
        },
        "exec": {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "./plug-in",
                "args": ["planted-argument"],
                "env": [{"name": "SECRET", "value": "planted-variable"}],
                "installHint": "install it",
                "interactiveMode": "Never",
                "provideClusterInfo": True,
            }
        },
        "oidc": {
            "auth-provider": {
                "name": "oidc",
                "config": {
                    "idp-issuer-url": "http://127.0.0.1:9/planted-issuer",
                    "client-id": "planted-client",
                    "client-secret": "planted-secret",
                    "id-token": "e30.eyJleHAiOjF9.planted",
                    "refresh-token": "planted-refresh",
                    "idp-certificate-authority-data": b64(ca.cert_pem.bytes()),
                },
            }
        },
    }
    impersonation = {"as": "planted-as", "as-uid": "planted-uid", "as-groups": ["planted-group"]}
    extra = {"as-user-extra": {"planted-key": ["planted-value"]}}
    extensions = [{"name": "client.authentication.k8s.io/exec", "extension": {"planted": ["planted"]}}]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {"colors": True, "extensions": extensions},
        "extensions": extensions,
        "current-context": "x",
        "contexts": [
            {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ml", "extensions": extensions}}
        ],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": "https://planted:planted@127.0.0.1:9",
                    "certificate-authority": "ca.pem",
                    "tls-server-name": "planted.example",
                    "proxy-url": "http://planted:planted@127.0.0.1:9",
                    "disable-compression": True,
                    "extensions": extensions,
                },
            }
        ],
        "users": [{"name": "u", "user": {**users[auth], **impersonation, **extra, "extensions": extensions}}],
    }


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


WRONG: dict[str, Any] = {
    "null": None,
    "text": "planted-text",
    "text of two lines": "planted\ntext",
    "number": 424242424242,
    "true": True,
    "list": ["planted-member"],
    "list of null": [None],
    "list of mappings": [{"planted-key": "planted-value"}],
    "mapping": {"planted-key": "planted-value"},
    "nested": {"name": {"planted": "planted"}, "token": ["planted"], "user": "planted", "cluster": ["planted"]},
    "empty text": "",
    "empty list": [],
    "empty mapping": {},
}


def places(value: Any, where: Where = ()) -> Iterator[Where]:
    """Every member of the document, from the outside in."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*where, key)
        yield from places(member, (*where, key))


def changed(content: Any, where: Where, value: Any, *, remove: bool = False) -> Any:
    result = copy.deepcopy(content)
    parent = result
    for key in where[:-1]:
        parent = parent[key]
    if remove:
        del parent[where[-1]]
    else:
        parent[where[-1]] = value
    return result


async def check(path: Path, content: Any, what: str, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the file is accepted; otherwise the error must be fit for people and hold nothing of the file's values."""
    path.write_text(json.dumps(content))  # noqa: ASYNC240
    access: Any = None
    reported = ""
    try:
        access = await load_config(kubeconfig=str(path), environ={})
    except ConfigurationError as error:
        reported = str(error)
        assert reported.startswith(f"kubeconfig {path}"), what
        assert len(reported.splitlines()) == 1, what
        reported += "".join(traceback.format_exception(error))
    reported = (reported + repr(access) + caplog.text + (f"{access.server} {access.source}" if access else "")).replace(
        str(path), ""
    )
    # The host of an accepted server is not a secret, and every error message needs it.
    reported = reported.replace("http://planted-text", "")
    for line in reported.splitlines():
        # The names of contexts, and the user's own name for a plug-in, are shown as kubectl shows them.
        if "has no context" not in line and "the credential plug-in" not in line:
            assert PLANTED not in line, f"{what}: {line}"
            assert "424242424242" not in line, f"{what}: {line}"
    return access is not None


# 5 CPU seconds each.
_SLOW = [pytest.param(auth, marks=pytest.mark.slow) for auth in ("basic", "certificate", "exec", "oidc")]


@pytest.mark.parametrize("auth", ["token", *_SLOW])
async def test_no_field_ends_in_a_traceback_or_shows_its_value(
    auth: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    content = full(tmp_path, auth)
    path = tmp_path / "config"
    assert await check(path, content, "unchanged", caplog) == (auth not in ("exec", "oidc")), "those two have no server"
    for where in places(content):
        await check(path, changed(content, where, None, remove=True), f"{where} removed", caplog)
        for name, value in WRONG.items():
            await check(path, changed(content, where, value), f"{where} is {name}", caplog)


async def test_a_wrong_type_is_named_with_file_field_and_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "config"
    content = full(tmp_path, "token")
    for where, value, says in (
        (("users", 0, "user", "token"), 1, "users[0].user.token: expected text, found a number: put it in quotes"),
        (("users", 0, "user"), [], "users[0].user: expected a mapping, found a list"),
        (("clusters",), {}, "clusters: expected a list, found a mapping"),
        (("users", 0, "user", "as-groups"), "a", "users[0].user.as-groups: expected a list, found text"),
        (("contexts", 0, "context", "user"), True, "contexts[0].context.user: expected text, found true or false"),
        (("clusters", 0, "cluster", "server"), "", "clusters[0].cluster.server: is missing: write https://HOST:PORT"),
    ):
        path.write_text(json.dumps(changed(content, where, value)))
        with pytest.raises(ConfigurationError) as caught:
            await load_config(kubeconfig=str(path), environ={})
        assert str(caught.value).startswith(f"kubeconfig {path}: {says}")


async def test_random_bytes_and_cuts_of_a_kubeconfig_are_an_error_or_a_kubeconfig(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "config"
    text = json.dumps(full(tmp_path, "token"), indent=1).encode()
    for _ in range(300):
        broken = bytearray(text)
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randint(0, 20)] = rng.randbytes(rng.randint(0, 3))
        path.write_bytes(bytes(broken))
        assert PLANTED not in outcome(path).replace(str(path), "")


def outcome(path: Path) -> str:
    try:
        Kubeconfig([str(path)]).choose(None)
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text", ["[" * 5000, "{a: " * 5000, "a: &a [*a]", "users: &a [*a]", "- " * 5000, "a: " + "1" * 9000]
)
async def test_deep_or_endless_yaml_is_an_error_and_no_traceback(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        await load_config(kubeconfig=str(path), environ={})
