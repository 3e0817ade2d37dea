"""One API server and our credentials for it, as the transport needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.kube.tls import TlsContext

REREAD_SECONDS = 60.0
"""The kubelet rewrites a projected token at 80 % of its life; client-go reads the file again each minute, as we do."""


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
        """Base URL, perhaps with a path, never with a password."""
        self.namespace = namespace or "default"
        """The namespace we live in (in a pod) or work in (kubeconfig)."""
        self.source = source
        """Where all this was read, for people."""
        self.proxy = proxy
        self.server_name = server_name
        """The name to expect in the server's certificate, if it is not the URL's host."""
        self.impersonation: Sequence[tuple[str, str]] = ()
        """Headers of the identity to act as; a name may come several times."""
        self._tls = tls

    async def headers(self) -> Mapping[str, str]:
        """The Authorization header as it is now, or nothing.

        What is stale is left for the server to refuse. Raises ConfigurationError where that could not be told from the
        server's answer: a client certificate that has expired and cannot be renewed.
        """
        return {}

    async def refresh(self) -> None:
        """Reads the credentials again, after a 401. Raises ConfigurationError if there are none to be had."""

    async def renew(self) -> bool:
        """After a connection that failed as one with an expired client certificate does: whether there is a new one.

        Raises ConfigurationError if there is none to be had.
        """
        return False

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the next connection; None where the URL is plain http."""
        return self._tls.current() if self._tls is not None else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server} from {self.source}>"
