"""Kubeconfig files as client-go reads them: parses the files, merges them, and resolves one context.

Guarantees:
- Several files are merged by client-go's rule: the first file that has an entry, or a current context, wins.
- null is absent. Relative paths start from the file that holds them.
- An error names the file, the field and what is expected, and never quotes a value: it may be a token.

Source: client-go's tools/clientcmd (loader.go, validation.go, client_config.go), compared with kubectl 1.32 in
tests/kube/test_kubeconfig_kubectl.py. Where kubectl falls back to localhost:8080 this is an error.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import msgspec
import yaml

from sagemaker_operator.errors import ConfigurationError


class Data:
    """Bytes, in the file as base64."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return "<Data>"


class _Redacted(msgspec.Struct, frozen=True):
    """An entry whose repr has no values: they must not appear in a log or traceback."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NamedExtension(_Redacted, frozen=True):
    name: str = ""
    extension: Any = None


class Cluster(_Redacted, rename="kebab", frozen=True):
    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: Data = Data(b"")
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[NamedExtension | None] = []


class EnvVar(_Redacted, frozen=True):
    name: str = ""
    value: str = ""


class Exec(_Redacted, rename="camel", frozen=True):
    command: str = ""
    args: list[str | None] = []
    env: list[EnvVar | None] = []
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class AuthProvider(_Redacted, frozen=True):
    name: str = ""
    config: dict[str, str] = {}


class User(_Redacted, rename="kebab", frozen=True):
    client_certificate: str = ""
    client_certificate_data: Data = Data(b"")
    client_key: str = ""
    client_key_data: Data = Data(b"")
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    impersonate: str = msgspec.field(name="as", default="")
    impersonate_uid: str = msgspec.field(name="as-uid", default="")
    impersonate_groups: list[str | None] = msgspec.field(name="as-groups", default_factory=list)
    impersonate_extra: dict[str, list[str | None]] = msgspec.field(name="as-user-extra", default_factory=dict)
    username: str = ""
    password: str = ""
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None
    extensions: list[NamedExtension | None] = []


class Context(_Redacted, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    extensions: list[NamedExtension | None] = []


class _NamedCluster(msgspec.Struct):
    name: str = ""
    cluster: Cluster = Cluster()


class _NamedUser(msgspec.Struct):
    name: str = ""
    user: User = User()


class _NamedContext(msgspec.Struct):
    name: str = ""
    context: Context = Context()


class _Preferences(msgspec.Struct):
    colors: bool = False
    extensions: list[NamedExtension | None] = []


class _File(msgspec.Struct, rename="kebab"):
    api_version: str = msgspec.field(name="apiVersion", default="")
    kind: str = ""
    preferences: _Preferences = msgspec.field(default_factory=_Preferences)
    clusters: list[_NamedCluster | None] = []
    users: list[_NamedUser | None] = []
    contexts: list[_NamedContext | None] = []
    current_context: str = ""
    extensions: list[NamedExtension | None] = []


_T = TypeVar("_T", Cluster, User, Context)


@dataclass(frozen=True, slots=True)
class Entry(Generic[_T]):
    """One entry and its position in the files."""

    value: _T
    file: str
    path: str
    """Of the entry in its file, such as `users[0].user`."""

    def problem(self, field: str, text: str) -> ConfigurationError:
        """`field` as the user writes it."""
        return problem(self.file, f"{self.path}.{field}" if field else self.path, text)


class Chosen(NamedTuple):
    """The cluster, user and namespace of one context."""

    cluster: Entry[Cluster]
    user: Entry[User]
    user_name: str
    namespace: str


class Kubeconfig:
    """The entries of one or several files."""

    def __init__(self, files: list[str]) -> None:
        """`files` in the order of precedence; those that do not exist are skipped. Raises ConfigurationError."""
        self._shown = os.pathsep.join(files)
        self._clusters: dict[str, Entry[Cluster]] = {}
        self._users: dict[str, Entry[User]] = {}
        self._contexts: dict[str, Entry[Context]] = {}
        self._current = ""
        found = False
        for file in files:
            try:
                content = Path(file).read_bytes()
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"kubeconfig {file}: cannot be read: {reason_of(error)}") from error
            found = True
            self._merge(file, content)
        if not found:
            raise ConfigurationError(
                f"kubeconfig {self._shown} does not exist: pass --kubeconfig or correct KUBECONFIG"
            )

    def _merge(self, file: str, content: bytes) -> None:
        read = _decode(file, content)
        directory = os.path.abspath(os.path.dirname(file))
        self._current = self._current or read.current_context
        clusters, users, contexts = (_unique(file, read, name) for name in ("clusters", "users", "contexts"))
        for index, (name, cluster) in clusters.items():
            entry = Entry(_resolved_cluster(cluster.cluster, directory), file, f"clusters[{index}].cluster")
            self._clusters.setdefault(name, entry)
        for index, (name, user) in users.items():
            self._users.setdefault(name, Entry(_resolved_user(user.user, directory), file, f"users[{index}].user"))
        for index, (name, context) in contexts.items():
            self._contexts.setdefault(name, Entry(context.context, file, f"contexts[{index}].context"))

    def choose(self, context: str | None) -> Chosen:
        """The entries of `context`, or else of the current context. Raises ConfigurationError if it cannot be used."""
        wanted = context or self._current
        chosen = self._contexts.get(wanted)
        if chosen is None:
            known = ", ".join(_printable(name) for name in self._contexts) or "none at all"
            if wanted:
                raise ConfigurationError(f"kubeconfig {self._shown} has no context {wanted!r}; it has {known}")
            raise ConfigurationError(f"kubeconfig {self._shown} has no current context: pass --context; it has {known}")
        cluster = self._clusters.get(chosen.value.cluster)
        if cluster is None:
            raise chosen.problem("cluster", "the kubeconfig has no cluster of this name")
        # As kubectl: a context without a user, or with one that is not there, has no credentials.
        user = self._users.get(chosen.value.user) or Entry(User(), chosen.file, chosen.path)
        _check_user(user)
        _check_cluster(cluster)
        return Chosen(cluster, user, chosen.value.user, chosen.value.namespace)


def problem(file: str, path: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"kubeconfig {file}: {path}: {text}")


def _printable(name: str) -> str:
    """A name as it is written, unless that is more than one line."""
    return name if name.isprintable() else repr(name)


def reason_of(error: Exception) -> str:
    """Only the system's reason: other parts of the error may quote a kubeconfig."""
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


# --- one file ----------------------------------------------------------------------------------------------------------


def _decode(file: str, content: bytes) -> _File:
    value = _yaml(file, content)
    if value is None:
        return _File()
    if not isinstance(value, dict):
        raise ConfigurationError(f"kubeconfig {file} is not a kubeconfig: see `kubectl config view`")
    try:
        read = msgspec.convert(plain(value), _File, dec_hook=_decode_data)
    except msgspec.ValidationError as error:
        path, text = explain(error)
        raise problem(file, path or "content", text) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"kubeconfig {file} is not a kubeconfig: see `kubectl config view`") from error
    if read.kind not in ("", "Config"):
        raise problem(file, "kind", "expected Config")
    if read.api_version not in ("", "v1"):
        raise problem(file, "apiVersion", "expected v1")
    return read


def _yaml(file: str, content: bytes) -> Any:
    try:
        return load_yaml(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        # Not chained: PyYAML's text shows the line itself.
        raise ConfigurationError(f"kubeconfig {file} is broken YAML{line}") from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ConfigurationError(f"kubeconfig {file} is broken YAML") from None


def load_yaml(content: bytes | str) -> Any:
    """The first document, with the types that go-yaml gives. Raises YAMLError, ValueError, RecursionError."""
    loader: Any = _GoYaml(content)
    try:
        return loader.get_data() if loader.check_data() else None
    finally:
        loader.dispose()


def plain(value: Any, *, keep_null: bool = False) -> Any:
    """`value` as JSON has it: keys are text, and members of mappings that are null are left out. Raises ValueError."""
    if isinstance(value, dict):
        return {
            _key(key): plain(member, keep_null=keep_null or key == "extension")
            for key, member in value.items()
            if member is not None or keep_null
        }
    if isinstance(value, list):
        return [plain(member, keep_null=keep_null) for member in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError("a key is not text")


def _decode_data(kind: type, value: Any) -> Data:
    if kind is not Data:
        raise TypeError("not a type of a kubeconfig")
    if not isinstance(value, str):
        raise ValueError("expected base64")
    try:
        return Data(base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("expected base64") from None


_EXPECTED = re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`")
_NAMES = {
    "str": "text",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path of the field and what is wrong with it, without any value."""
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    if message == "expected base64":
        return path, message
    match = _EXPECTED.fullmatch(message)
    if match is None:
        return path, "is not what kubectl accepts"
    expected = _NAMES.get(match[1].removesuffix(" | null"), match[1])
    hint = ": put it in quotes" if match[1].startswith("str") and match[2] in ("int", "float", "bool") else ""
    return path, f"expected {expected}, found {_NAMES.get(match[2], match[2])}{hint}"


def _unique(file: str, read: _File, kind: str) -> dict[int, tuple[str, Any]]:
    """Index to (name, entry). Two entries of one name are an error, as in kubectl."""
    names: set[str] = set()
    found: dict[int, tuple[str, Any]] = {}
    empty: dict[str, Any] = {"clusters": _NamedCluster, "users": _NamedUser, "contexts": _NamedContext}
    for index, entry in enumerate(getattr(read, kind)):
        entry = entry if entry is not None else empty[kind]()
        if entry.name in names:
            raise problem(file, f"{kind}[{index}].name", "there is another entry of this name")
        names.add(entry.name)
        found[index] = entry.name, entry
    return found


def _resolved_cluster(cluster: Cluster, directory: str) -> Cluster:
    return msgspec.structs.replace(cluster, certificate_authority=_resolved(cluster.certificate_authority, directory))


def _resolved_user(user: User, directory: str) -> User:
    plugin = user.exec
    if plugin is not None and os.sep in plugin.command:
        plugin = msgspec.structs.replace(plugin, command=_resolved(plugin.command, directory))
    return msgspec.structs.replace(
        user,
        client_certificate=_resolved(user.client_certificate, directory),
        client_key=_resolved(user.client_key, directory),
        token_file=_resolved(user.token_file, directory),
        exec=plugin,
    )


def _resolved(path: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, path)) if path else ""


# --- what client-go rejects -----------------------------------------------------------------------------------------------


def _check_cluster(cluster: Entry[Cluster]) -> None:
    value = cluster.value
    if not value.server:
        raise cluster.problem("server", "is missing: write https://HOST:PORT")
    if value.certificate_authority and value.certificate_authority_data.content:
        raise cluster.problem("certificate-authority", "is beside certificate-authority-data: keep one of them")
    if value.certificate_authority:
        _check_readable(cluster, "certificate-authority", value.certificate_authority)
    if value.insecure_skip_tls_verify and (value.certificate_authority or value.certificate_authority_data.content):
        raise cluster.problem("insecure-skip-tls-verify", "is beside a certificate authority: keep one of them")


def _check_user(user: Entry[User]) -> None:
    value = user.value
    if value.token and (value.username or value.password):
        raise user.problem("token", "is beside username and password: keep one of them")
    if value.token_file and value.username:
        raise user.problem("tokenFile", "is beside username and password: keep one of them")
    _check_certificate(user)
    if value.exec is not None:
        _check_exec(user, value.exec)
    if (value.impersonate_uid or value.impersonate_groups or value.impersonate_extra) and not value.impersonate:
        raise user.problem("as", "is missing beside as-uid, as-groups or as-user-extra")


def _check_certificate(user: Entry[User]) -> None:
    value = user.value
    if not value.client_certificate and not value.client_certificate_data.content:
        return
    if value.client_certificate and value.client_certificate_data.content:
        raise user.problem("client-certificate", "is beside client-certificate-data: keep one of them")
    if value.client_key and value.client_key_data.content:
        raise user.problem("client-key", "is beside client-key-data: keep one of them")
    if not value.client_key and not value.client_key_data.content:
        raise user.problem("client-key", "is missing beside a client certificate")
    for field, path in (("client-certificate", value.client_certificate), ("client-key", value.client_key)):
        if path:
            _check_readable(user, field, path)


EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def _check_exec(user: Entry[User], plugin: Exec) -> None:
    if user.value.auth_provider is not None:
        raise user.problem("auth-provider", "is beside exec: keep one of them")
    if not plugin.command:
        raise user.problem("exec.command", "is missing")
    if not plugin.api_version:
        raise user.problem("exec.apiVersion", f"is missing: write {EXEC_VERSIONS[0]}")
    for index, variable in enumerate(plugin.env):
        if variable is None or not variable.name:
            raise user.problem(f"exec.env[{index}].name", "is missing")
    modes = ("Never", "IfAvailable", "Always")
    if plugin.interactive_mode not in modes and (plugin.interactive_mode or plugin.api_version == EXEC_VERSIONS[0]):
        raise user.problem("exec.interactiveMode", f"expected one of {', '.join(modes)}")


def _check_readable(entry: Entry[Any], field: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        raise entry.problem(field, f"the file cannot be read: {reason_of(error)}") from None


# --- YAML as go-yaml reads it ----------------------------------------------------------------------------------------------


class _GoYaml(yaml.SafeLoader):
    """kubectl's YAML: a date or 1:30 is text, y and no are booleans, 1e5 is a number, an unknown tag is ignored."""


_GoYaml.yaml_implicit_resolvers = {}


def _scalar(loader: yaml.SafeLoader, node: Any) -> str:
    return str(loader.construct_scalar(node))


def _boolean(loader: yaml.SafeLoader, node: Any) -> bool:
    return _scalar(loader, node).lower() in ("y", "yes", "true", "on")


def _number(loader: yaml.SafeLoader, node: Any) -> float:
    text = _scalar(loader, node).replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")
    try:
        return int(text, 0)
    except ValueError:
        return float(text)


def _binary(loader: yaml.SafeLoader, node: Any) -> str:
    return base64.b64decode(_scalar(loader, node)).decode("utf-8")


def _any(loader: yaml.SafeLoader, _: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    text = _scalar(loader, node)
    # A lone surrogate can be written as an escape, and encoded nowhere; NUL fits into no path, argument or header.
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        _refuse(node)
    return text


def _refuse(node: Any) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, "not text", node.start_mark)


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("bool", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0[bB][01_]+|0[oO][0-7_]+|0[xX][0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _GoYaml.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), list(_first))
for _name, _construct in (
    ("bool", _boolean),
    ("int", _number),
    ("float", _number),
    ("binary", _binary),
    ("str", _text),
    ("timestamp", _text),
    ("merge", _text),
):
    _GoYaml.add_constructor(_TAG + _name, _construct)
_GoYaml.add_multi_constructor("!", _any)
