"""The certificate with which a node ends TLS itself, renewed without touching a connection.

A TLS context may get another certificate while it is used: handshakes to come show the new one, connections that stand
keep theirs. Rule for whoever edits this file: the pair is tried on a context of its own first, since files are replaced
one after the other, and a key that does not fit its certificate must not get into the one that is used.
"""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from node.config.keys import ConfigError
from node.config.settings import Tls


class Certificate:
    """A chain and its key in files, and the `context` for all connections. See `node.config.reload.Made`."""

    name = "certificate"

    def __init__(self, tls: Tls) -> None:
        """Raises `ConfigError` if the files cannot be used; `tls.certificate` is not empty."""
        self._files = tls
        self.paths = tuple(Path(path) for path in (tls.certificate, tls.key) if path)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.expires_at = 0.0
        """In seconds since 1970."""
        self.put(self.load())

    def load(self) -> tuple[Path, ...]:
        """See `Made`."""
        self._load_into(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        return self.paths

    def put(self, _loaded: tuple[Path, ...]) -> Mapping[str, int]:
        """See `Made`. Reads the files again: OpenSSL takes them by name only."""
        self._load_into(self.context)
        self.expires_at = _expiry(self._files.certificate)
        return {}

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._files.certificate, self._files.key or None)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"tls: expected readable PEM files, got: {error}") from error


def _expiry(path: str) -> float:
    """When the first certificate of a PEM file expires; OpenSSL has taken the file already.

    The standard library decodes certificates of peers only, but for the function that its own tests use, since 3.2.
    """
    decode: Callable[[str], Mapping[str, str]] = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        return ssl.cert_time_to_seconds(decode(path)["notAfter"])
    except OSError as error:  # replaced since
        raise ConfigError(f"tls: expected readable PEM files, got: {error}") from error
