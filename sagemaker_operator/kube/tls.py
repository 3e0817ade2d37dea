"""TLS to the API server, with every certificate and key in memory.

Guarantee: on Linux nothing is written to a disk, so a read-only root works, a cleaner of /tmp breaks nothing, and SIGKILL
leaves no private key behind.

Caveat: Python's ssl reads client certificates from files only. They are passed in an anonymous file of the kernel (memfd);
without that (macOS, some sandboxes) in a directory of mode 0700 that is removed before the call returns.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Stamp = tuple[int, int, int]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class PemError(Exception):
    """A certificate or key cannot be used. The text never quotes it."""

    def __init__(self, part: Literal["ca", "client"], reason: str) -> None:
        super().__init__(reason)
        self.part = part
        self.reason = reason


class TlsContext:
    """An `ssl.SSLContext` that follows its files: a rotated CA or certificate takes effect at the next request."""

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        ca_data: bytes | None = None,
        cert_data: bytes | None = None,
        key_data: bytes | None = None,
        verify: bool = True,
    ) -> None:
        """`*_data` is PEM and replaces the file of the same name. Raises OSError and PemError."""
        self._ca = ca_data or ca_file
        self._cert = cert_data or cert_file
        self._key = key_data or key_file
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
            except (OSError, PemError):
                return self._context
        return self._context

    def _stat(self) -> tuple[Stamp | None, ...]:
        return tuple(stamp(path) if isinstance(path, str) else None for path in (self._ca, self._cert, self._key))

    def _build(self) -> ssl.SSLContext:
        ca = _content(self._ca)
        context = ssl.create_default_context(cadata=None if ca is None else _certificates(ca))
        # Python 3.13 turned this on; many clusters' own CAs lack the key identifiers that it demands.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        cert, key = _content(self._cert), _content(self._key)
        if cert is not None:
            _load_client_certificate(context, cert, key if key is not None else cert)
        return context


def _content(source: bytes | str | None) -> bytes | None:
    return Path(source).read_bytes() if isinstance(source, str) else source


def _certificates(pem: bytes) -> str:
    """The certificates in `pem` that can be read; as in Go, comments, keys and broken ones beside them do not matter."""
    readable = []
    for found in _CERTIFICATE.findall(pem):
        text = found.decode("ascii")
        with contextlib.suppress(ssl.SSLError, ValueError):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
            readable.append(text)
    if not readable:
        raise PemError("ca", "has no certificate in PEM form")
    return "\n".join(readable)


def _load_client_certificate(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    with _readable(cert) as cert_file, _readable(key) as key_file:
        try:
            # A password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise PemError("client", "certificate and key do not belong together") from error
            raise PemError("client", "certificate or key is not valid PEM, or the key has a password") from error


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """A path under which `content` can be read until the block ends."""
    descriptor = _memory_file()
    if descriptor is not None:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pem"
        path.write_bytes(content)
        yield str(path)


def _memory_file() -> int | None:
    """An anonymous file of the kernel, or None where there is none or it cannot be opened by a path."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        descriptor = os.memfd_create("pem")
    except OSError:
        return None
    if os.access(f"/proc/self/fd/{descriptor}", os.R_OK):
        return descriptor
    os.close(descriptor)
    return None


def stamp(path: str | Path | None) -> Stamp | None:
    """A value that changes whenever the file does: a mounted volume is swapped by a symlink, which gives a new inode."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
