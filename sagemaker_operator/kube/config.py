"""API server and credentials: from the service account in a pod, from a kubeconfig elsewhere."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_operator.clock import wall_clock
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.kube.access import REREAD_SECONDS, ClusterAccess
from sagemaker_operator.kube.tls import PemError, Stamp, TlsContext, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.clock import Clock

__all__ = ["ClusterAccess", "InClusterAccess", "load_config"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class InClusterAccess(ClusterAccess):
    """The service account of the pod we run in."""

    def __init__(self, *, server: str, directory: Path) -> None:
        self._token_file = directory / "token"
        ca_file = directory / "ca.crt"
        try:
            tls = TlsContext(ca_file=str(ca_file))
        except (OSError, PemError) as error:
            raise ConfigurationError(f"cannot use the cluster's CA certificate {ca_file}: {_reason(error)}") from error
        super().__init__(
            server=server,
            namespace=_read_stripped(directory / "namespace"),
            source=f"the service account in {directory}",
            tls=tls,
        )
        self._headers: Mapping[str, str] = {}
        self._stamp: Stamp | None = None
        self._read_at = 0.0
        self._read_token()

    async def headers(self) -> Mapping[str, str]:
        now = asyncio.get_running_loop().time()
        if now >= self._read_at + REREAD_SECONDS or stamp(self._token_file) != self._stamp:
            try:
                self._read_token()
            except ConfigurationError:
                # The volume is being swapped: the token we have is valid for at least another 20 % of its lifetime.
                return self._headers
        return self._headers

    async def refresh(self) -> None:
        self._read_token()

    def _read_token(self) -> None:
        self._stamp = stamp(self._token_file)
        self._read_at = asyncio.get_running_loop().time()
        token = _read_stripped(self._token_file)
        if not token:
            raise ConfigurationError(
                f"no service account token in {self._token_file}: set automountServiceAccountToken: true on the pod"
            )
        self._headers = {"Authorization": f"Bearer {token}"}


async def load_config(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    home: Path | None = None,
    clock: Clock = wall_clock,
) -> ClusterAccess:
    """Access from `kubeconfig`, else $KUBECONFIG, else the pod's service account, else ~/.kube/config.

    `context` names a kubeconfig's context; with it the service account is not used. Raises ConfigurationError, whose
    one-line text names what is missing.
    """
    files = [kubeconfig] if kubeconfig else _listed(environ.get("KUBECONFIG", ""))
    if not files and not context:
        host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if host:
            bracketed = f"[{host}]" if ":" in host else host
            return InClusterAccess(server=f"https://{bracketed}:{port}", directory=service_account)
        if _exists(service_account / "token"):
            # Pods with enableServiceLinks off still resolve this name.
            return InClusterAccess(server="https://kubernetes.default.svc", directory=service_account)
    if not files:
        default = (home if home is not None else _home()) / ".kube" / "config"
        if not _exists(default):
            raise ConfigurationError(
                f"no cluster found: not in a pod, KUBECONFIG is not set and {default} does not exist; pass --kubeconfig"
            )
        files = [str(default)]
    # Imported here because a pod does not need it.
    from sagemaker_operator.kube.kubeconfig_access import KubeconfigAccess

    return await KubeconfigAccess.open(files=files, context=context, clock=clock)


def _listed(variable: str) -> list[str]:
    """The files of $KUBECONFIG; empty names are skipped, as in client-go."""
    return [os.path.expanduser(file) for file in dict.fromkeys(variable.split(os.pathsep)) if file]


def _home() -> Path:
    """`~` where the process has no HOME and its user no entry in /etc/passwd: a name that does not exist."""
    return Path(os.path.expanduser("~"))


def _exists(path: Path) -> bool:
    # Unlike Path.exists it raises nothing in a directory that must not be read.
    return os.path.exists(path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return str(error) if isinstance(error, PemError) else type(error).__name__


def _read_stripped(path: Path) -> str:
    """The file's text, or "" if there is none. A newline at the end of a token would break the header."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
