"""Where the API server is and who we are to it: the service account in a pod, a kubeconfig anywhere else.

kubernetes_asyncio reads kubeconfigs here and does nothing else for us. Importing it costs 33 MB and 0.4 s, so only who
uses a kubeconfig pays for it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# The kubelet rewrites a projected token at 80 % of its life; client-go reads the file again each minute, as we do.
_REREAD_SECONDS = 60.0
# A request sent with a token must be answered before the token expires; no request takes longer than 60 s.
_EXPIRY_MARGIN = 60.0
# `aws eks get-token` takes about 1 s of CPU: a burst of 401s must not start one process per request.
_RELOAD_FLOOR = 5.0
# A plug-in that asks its user to log in gets a minute; the library itself would wait for ever.
_LOAD_TIMEOUT = 60.0


class TlsContext:
    """An `ssl.SSLContext` that follows its files: a rotated CA or certificate takes effect at the next request."""

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        verify: bool = True,
    ) -> None:
        self._ca_file = ca_file
        self._cert_file = cert_file
        self._key_file = key_file
        self._verify = verify
        self._stamps = self._stat()
        self._context = self._build()

    def current(self) -> ssl.SSLContext:
        """The context for the next connection. A file caught half-written keeps the previous one in use."""
        stamps = self._stat()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._context = self._build()
            except OSError:
                return self._context
        return self._context

    def _stat(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._ca_file, self._cert_file, self._key_file))

    def _build(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca_file)
        # Python 3.13 turned this on; many clusters' own CAs lack the key identifiers that it demands.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._cert_file:
            context.load_cert_chain(self._cert_file, self._key_file)
        return context


class ClusterAccess:
    """One API server and our credentials for it. This base class has none: it fits a server that asks for none."""

    def __init__(
        self,
        *,
        server: str,
        namespace: str = "default",
        source: str = "",
        proxy: str | None = None,
        server_name: str | None = None,
        tls: TlsContext | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        """Base URL, perhaps with a path."""
        self.namespace = namespace or "default"
        """The namespace we live in (in a pod) or work in (kubeconfig)."""
        self.source = source
        """Where all this was read, for people."""
        self.proxy = proxy
        self.server_name = server_name
        """The name to expect in the server's certificate, if it is not the URL's host."""
        self._tls = tls

    async def headers(self) -> Mapping[str, str]:
        """The Authorization header as it is now, or nothing. Never raises: the server refuses what is stale."""
        return {}

    async def refresh(self) -> None:
        """Reads the credentials again, after a 401. Raises ConfigurationError if there are none to be had."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the next connection; None where the URL is plain http."""
        return self._tls.current() if self._tls is not None else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server} from {self.source}>"


class InClusterAccess(ClusterAccess):
    """The service account of the pod we run in."""

    def __init__(self, *, server: str, directory: Path) -> None:
        self._token_file = directory / "token"
        ca_file = directory / "ca.crt"
        try:
            tls = TlsContext(ca_file=str(ca_file))
        except OSError as error:
            raise ConfigurationError(f"cannot use the cluster's CA certificate {ca_file}: {_reason(error)}") from error
        super().__init__(
            server=server,
            namespace=_read_stripped(directory / "namespace"),
            source=f"the service account in {directory}",
            tls=tls,
        )
        self._headers: Mapping[str, str] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._read_at = 0.0
        self._read_token()

    async def headers(self) -> Mapping[str, str]:
        now = asyncio.get_running_loop().time()
        if now >= self._read_at + _REREAD_SECONDS or _stamp(self._token_file) != self._stamp:
            try:
                self._read_token()
            except ConfigurationError:
                # The volume is being swapped: the token we have is good for at least another 20 % of its life.
                return self._headers
        return self._headers

    async def refresh(self) -> None:
        self._read_token()

    def _read_token(self) -> None:
        self._stamp = _stamp(self._token_file)
        self._read_at = asyncio.get_running_loop().time()
        token = _read_stripped(self._token_file)
        if not token:
            raise ConfigurationError(
                f"no service account token in {self._token_file}: set automountServiceAccountToken: true on the pod"
            )
        self._headers = {"Authorization": f"Bearer {token}"}


class KubeconfigAccess(ClusterAccess):
    """One context of a kubeconfig. Made by `open`; its credentials are loaded again before they expire and on a 401."""

    def __init__(self, *, paths: str, context: str | None, clock: Clock) -> None:
        super().__init__(server="", source=f"kubeconfig {paths}")
        self._paths = paths
        self._context = context
        self._clock = clock
        self._headers: Mapping[str, str] = {}
        self._expires: float | None = None
        self._reads_token_file = False
        self._tried_at = 0.0
        self._failure: ConfigurationError | None = None
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, *, paths: str, context: str | None, clock: Clock) -> KubeconfigAccess:
        access = cls(paths=paths, context=context, clock=clock)
        await access._load()
        return access

    async def headers(self) -> Mapping[str, str]:
        if self._due():
            try:
                await self.refresh()
            except ConfigurationError:
                # What we have may still be good for a minute; once it is not, the 401 brings this error to light.
                return self._headers
        return self._headers

    def _due(self) -> bool:
        if self._reads_token_file and asyncio.get_running_loop().time() >= self._tried_at + _REREAD_SECONDS:
            return True
        return self._expires is not None and self._clock() >= self._expires - _EXPIRY_MARGIN

    async def refresh(self) -> None:
        async with self._lock:
            # Also what makes it one refresh for all who wait for the lock.
            if asyncio.get_running_loop().time() >= self._tried_at + _RELOAD_FLOOR:
                try:
                    await self._load()
                except ConfigurationError as error:
                    self._failure = error
            if self._failure is not None:
                raise self._failure

    async def _load(self) -> None:
        self._tried_at = asyncio.get_running_loop().time()
        loader, user = _loader(self._paths, self._context)
        found = _Loaded()
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT):
                await loader.load_and_set(found)
            if found.host.startswith("https://"):
                self._tls = TlsContext(
                    ca_file=found.ssl_ca_cert,
                    cert_file=found.cert_file,
                    key_file=found.key_file,
                    verify=found.verify_ssl,
                )
        except Exception as error:
            raise ConfigurationError(f"{self.source}: {_trouble(error, user)}") from error
        if not found.host.startswith(("https://", "http://")):
            raise ConfigurationError(
                f"{self.source}: the cluster's server {found.host!r} is no URL: write https://host:port"
            )
        if found.proxy and not found.proxy.startswith(("http://", "https://")):
            raise ConfigurationError(f"{self.source}: proxy-url must be an http:// or https:// proxy")
        self.server = found.host
        self.namespace = loader.current_context["context"].get("namespace") or "default"
        self.proxy = found.proxy
        self.server_name = found.tls_server_name
        authorization = found.api_key.get("BearerToken", "").strip()
        self._headers = {"Authorization": authorization} if authorization else {}
        expiry = getattr(loader, "exec_plugin_expiry", None)
        self._expires = expiry.timestamp() if expiry is not None else None
        self._reads_token_file = "tokenFile" in user and "token" not in user
        self._failure = None


class _Loaded:
    """What kubernetes_asyncio's loader fills in, in place of its own Configuration."""

    def __init__(self) -> None:
        self.api_key: dict[str, str] = {}
        self.host = ""
        self.ssl_ca_cert: str | None = None
        self.cert_file: str | None = None
        self.key_file: str | None = None
        self.verify_ssl = True
        self.tls_server_name: str | None = None
        self.proxy: str | None = None


async def load_config(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    home: Path | None = None,
    clock: Clock = wall_clock,
) -> ClusterAccess:
    """Finds the cluster: `kubeconfig`, else $KUBECONFIG, else the pod's service account, else ~/.kube/config.

    `context` names a kubeconfig's context, and so rules out the service account. Raises ConfigurationError with one
    line that says what is missing.
    """
    paths = kubeconfig or environ.get("KUBECONFIG")
    if not paths and not context:
        host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if host:
            bracketed = f"[{host}]" if ":" in host else host
            return InClusterAccess(server=f"https://{bracketed}:{port}", directory=service_account)
        if (service_account / "token").exists():
            # Pods with enableServiceLinks off still resolve this name.
            return InClusterAccess(server="https://kubernetes.default.svc", directory=service_account)
    if not paths:
        default = (home if home is not None else Path.home()) / ".kube" / "config"
        if not default.exists():
            raise ConfigurationError(
                f"no cluster found: not in a pod, KUBECONFIG is not set and {default} does not exist; pass --kubeconfig"
            )
        paths = str(default)
    return await KubeconfigAccess.open(paths=paths, context=context, clock=clock)


def _loader(paths: str, context: str | None) -> tuple[Any, Mapping[str, Any]]:
    """kubernetes_asyncio's loader for one context, and that context's user entry. Raises ConfigurationError."""
    from kubernetes_asyncio.config import kube_config

    # It logs a plug-in's complaint beside raising it; the error is ours to tell, once.
    kube_config.logger.disabled = True
    if not any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path):
        raise ConfigurationError(f"kubeconfig {paths} does not exist: pass --kubeconfig or correct KUBECONFIG")
    try:
        merger = kube_config.KubeConfigMerger(paths)
        config: Any = merger.config
        content = config.value
        contexts = [entry["name"] for entry in content["contexts"]]
        chosen = context or content.get("current-context")
        if chosen in contexts:
            loader: Any = kube_config.KubeConfigLoader(
                config_dict=config,
                active_context=chosen,
                config_base_path=None,
                config_persister=merger.save_changes,
            )
            name = loader.current_context["context"].get("user")
            entry = config["users"].get_with_name(name, safe=True) if content["users"] else None
            return loader, dict(entry.value["user"]) if entry is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"kubeconfig {paths} is broken YAML{line}") from error
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"kubeconfig {paths} is no kubeconfig: see `kubectl config view`") from error
    except Exception as error:
        raise ConfigurationError(f"kubeconfig {paths}: {_reason(error)}") from error
    known = ", ".join(contexts) or "none at all"
    if chosen:
        raise ConfigurationError(f"kubeconfig {paths} has no context {chosen!r}; it has {known}")
    raise ConfigurationError(f"kubeconfig {paths} has no current context: pass --context; it has {known}")


def _trouble(error: Exception, user: Mapping[str, Any]) -> str:
    """Why loading a kubeconfig's credentials failed, for people."""
    if "exec" in user:
        command = (user["exec"] or {}).get("command", "")
        match error:
            case FileNotFoundError(filename=name) if name == command:
                return f"the credential plug-in {command!r} is not installed: install it or put it on PATH"
            case PermissionError(filename=name) if name == command:
                return f"the credential plug-in {command!r} is not executable"
            case TimeoutError():
                return f"the credential plug-in {command!r} gave no answer in {_LOAD_TIMEOUT:.0f} s"
        if str(error).startswith("exec:"):
            return f"the credential plug-in {command!r} failed: {_reason(error)}"
    if isinstance(error, TimeoutError):
        return f"the identity provider gave no answer in {_LOAD_TIMEOUT:.0f} s"
    if isinstance(error, ssl.SSLError):
        return f"a certificate or key of this context is no valid PEM: {_reason(error)}"
    return _reason(error)


def _reason(error: Exception) -> str:
    """One line of at most 200 characters."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _stamp(path: str | Path | None) -> tuple[int, int, int] | None:
    """What changes whenever the file does: a mounted volume is swapped by a symlink, which gives a new inode."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read_stripped(path: Path) -> str:
    """The file's text, or "" if there is none. A newline at the end of a token would break the header."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
