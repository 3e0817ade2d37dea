"""Explains errors of the AWS configuration of this process: which variable or file is wrong, and why.

botocore reads variables, files and a credentials agent during a call; most of its errors, and all of Python's, name neither.

Guarantee: no text made here contains a key, a token or the output of a helper program; values of variables that are not secret
(a path, a profile, a number) are quoted.
"""

from __future__ import annotations

import errno
import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING

import botocore.exceptions as boto
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.session import Session

from sagemaker_operator.errors import AwsError, ErrorCategory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botocore.credentials import ReadOnlyCredentials

_FILES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
_FILE_ERRORS = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EPERM)
_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105  the name of a variable
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105
_AGENT = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_ECS = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"

# Their texts contain names of profiles, sections and settings, never a key or a helper's output.
_SAFE_TEXTS = (
    boto.InvalidConfigError,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.UnknownCredentialError,
    boto.InfiniteLoopConfigError,
    boto.InvalidDefaultsMode,
    boto.InvalidIMDSEndpointError,
    boto.InvalidIMDSEndpointModeError,
    boto.InvalidRetryConfigurationError,
    boto.InvalidRetryModeError,
    boto.InvalidSTSRegionalEndpointsConfigError,
)


def configuration_error(message: str, *, may_recover: bool = False) -> AwsError:
    """The error of a call that could not be signed. `may_recover`: without a restart (a file, an agent)."""
    category = ErrorCategory.TRANSIENT if may_recover else ErrorCategory.CREDENTIALS
    return AwsError(message, category=category, operation="GetCredentials", sent=False)


def explain(exc: BaseException, environ: Mapping[str, str] = os.environ) -> AwsError | None:
    """The error for an exception while a client was created or its credentials were loaded; None: `exc` is another one."""
    if isinstance(exc, boto.ProfileNotFound):
        return configuration_error(_profile_text(exc, environ))
    if isinstance(exc, boto.PartialCredentialsError):
        missing, provider = exc.kwargs["cred_var"], exc.kwargs["provider"]
        return configuration_error(
            f"half a pair of AWS keys: {missing} is missing ({provider}, PartialCredentialsError)"
        )
    if isinstance(exc, _SAFE_TEXTS):
        return configuration_error(f"AWS configuration: {' '.join(str(exc).split())}")
    if isinstance(exc, boto.CredentialRetrievalError) and exc.kwargs.get("provider") == "container-role":
        return _agent_error(exc, environ)
    if isinstance(exc, OSError) and exc.errno in _FILE_ERRORS:
        # The errors of Python's ssl do not name the file.
        text = ca_bundle_problem(environ) if exc.filename is None else _file_text(exc, environ)
        return configuration_error(text, may_recover=True) if text else None
    if isinstance(exc, boto.ParamValidationError):
        return _web_identity_error(exc, environ)
    if isinstance(exc, ValueError):
        return _value_error(exc, environ)
    return None


def _web_identity_error(exc: boto.ParamValidationError, environ: Mapping[str, str]) -> AwsError | None:
    """A request to STS that botocore rejects; its own report quotes the token."""
    report = str(exc.kwargs.get("report", ""))
    if "parameter WebIdentityToken" in report:
        path = environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
        return configuration_error(f"AWS_WEB_IDENTITY_TOKEN_FILE names {path}: no token in it", may_recover=True)
    if "parameter RoleArn" in report:
        return configuration_error(f"AWS_ROLE_ARN={environ.get('AWS_ROLE_ARN', '')!r} is not the ARN of a role")
    return None


def _profile_text(exc: boto.ProfileNotFound, environ: Mapping[str, str]) -> str:
    profile = exc.kwargs.get("profile", "")
    # botocore's order.
    variable = next((name for name in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE") if environ.get(name) == profile), None)
    if not profile:
        return f"{variable or 'AWS_PROFILE'} is empty: unset it, or name a profile"
    config = environ.get("AWS_CONFIG_FILE", "~/.aws/config")
    keys = environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    return (
        f"{variable or 'the AWS configuration'} names profile {profile!r}, which is neither in {config} nor in {keys}"
    )


def _agent_error(exc: boto.CredentialRetrievalError, environ: Mapping[str, str]) -> AwsError:
    name = _ECS if _ECS in environ else _AGENT
    text = " ".join(str(exc.kwargs.get("error_msg", "")).split())[:300]
    return configuration_error(
        f"no AWS credentials from {name} {environ.get(name, '')}: {text}; is the EKS Pod Identity agent running on this node?",
        may_recover=True,
    )


def _file_text(exc: OSError, environ: Mapping[str, str]) -> str:
    path = str(exc.filename)
    variable = next((name for name in _FILES if environ.get(name) == path), "the AWS configuration")
    return f"{variable} names {path}: {exc.strerror or type(exc).__name__}"


def _value_error(exc: ValueError, environ: Mapping[str, str]) -> AwsError | None:
    if text := _unreadable_variable(environ):
        return configuration_error(text)
    if "Auth token value" in str(exc):
        name = _TOKEN_FILE if _TOKEN_FILE in environ else _TOKEN
        where = f"{name} names {environ[name]}, whose content" if name == _TOKEN_FILE else name
        return configuration_error(f"{where} contains a line break", may_recover=name == _TOKEN_FILE)
    if "retrieve metadata" in str(exc):
        return configuration_error(
            f"{_AGENT} {environ.get(_AGENT, '')!r}: http:// is accepted only for a loopback address or an AWS agent's"
        )
    return None


def _unreadable_variable(environ: Mapping[str, str]) -> str | None:
    """The setting whose value botocore cannot convert (all converted settings are numbers)."""
    session = Session()
    for name, (in_file, variables, *_) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        try:
            session.get_config_variable(name)
        except (ValueError, TypeError):
            names = [variables] if isinstance(variables, str) else variables or []
            for variable in names:
                if variable in environ:
                    return f"{variable}={environ[variable]!r} is not a number"
            return f"{in_file} in {session.get_config_variable('config_file')} is not a number"
    return None


_VARIABLES = {"access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
_METHODS = {
    "container-role": f"the answer of {_AGENT}",
    "custom-process": "the output of credential_process",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS config file",
}


def require_plain_keys(keys: ReadOnlyCredentials, method: str) -> None:
    """Raises AwsError if one of them has white space in it, as a Secret made with `echo` has. Never shows a value."""
    for field, variable in _VARIABLES.items():
        value = getattr(keys, field) or ""
        if found := _white_space(value):
            name = variable if method == "env" else f"{variable.lower()} from {_METHODS.get(method, method)}"
            raise configuration_error(
                f"{name} contains {found}: no AWS key has one (a Secret made with `echo` ends with a line break; use `echo -n`)"
            )


def _white_space(value: Iterable[str]) -> str | None:
    found = {character for character in value if character.isspace() or not character.isprintable()}
    if not found:
        return None
    return "a line break" if found & {"\n", "\r"} else "white space or a control character"


def ca_bundle_problem(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why botocore's CA bundle is not a file with certificates; None: it is one, or none is configured."""
    path = Session().get_config_variable("ca_bundle")
    source = "AWS_CA_BUNDLE" if environ.get("AWS_CA_BUNDLE") else "ca_bundle of the AWS profile"
    if path is None:
        path, source = environ.get("REQUESTS_CA_BUNDLE"), "REQUESTS_CA_BUNDLE"
    if not path or not path.strip():  # botocore rejects an empty one with a text that names the variables
        return None
    try:
        stat = os.stat(path)
        sound = _has_certificates(path, stat.st_mtime_ns, stat.st_size)
    except OSError as exc:
        return f"{source} names {path}: {exc.strerror or type(exc).__name__}"
    return None if sound else f"{source} names {path}: no PEM certificates in it"


@lru_cache(maxsize=8)
def _has_certificates(path: str, modified: int, size: int) -> bool:
    """Raises OSError. Cached because a system's bundle takes 30 ms to parse."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True
