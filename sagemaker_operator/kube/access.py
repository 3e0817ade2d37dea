"""One API server and our credentials for it, as the transport needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from sagemaker_operator.kube.tls import TlsContext

REREAD_SECONDS = 60.0
"""The kubelet rewrites a projected token at 80 % of its lifetime; client-go rereads the file each minute, as we do."""


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
        """The namespace of our pod, or of the kubeconfig's context."""
        self.source = source
        """Where the configuration was read, for messages."""
        self.proxy = proxy
        self.server_name = server_name
        """The name to expect in the server's certificate, if it is not the URL's host."""
        self.impersonation: Sequence[tuple[str, str]] = ()
        """Headers of the identity to act as; a name may come several times."""
        self._tls = tls

    async def headers(self) -> Mapping[str, str]:
        """The current Authorization header, or no header.

        An expired token is sent all the same: the server answers 401. Raises ConfigurationError for a client certificate
        that has expired and cannot be renewed, because the server's answer would not show that.
        """
        return {}

    async def refresh(self) -> None:
        """Reads the credentials again, after a 401. Raises ConfigurationError if that fails."""

    async def renew(self) -> bool:
        """True if there is a new client certificate. Call it when a connection fails as with an expired one.

        Raises ConfigurationError if no certificate can be loaded.
        """
        return False

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the next connection; None where the URL is plain http."""
        return self._tls.current() if self._tls is not None else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server} from {self.source}>"
