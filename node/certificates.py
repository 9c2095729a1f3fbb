"""The certificate with which a node ends TLS itself, renewed without touching a connection.

A TLS context may get another certificate while it is used: handshakes to come show the new one, connections that stand
keep theirs. Rule for whoever edits this file: the pair is tried on a context of its own first, since files are replaced
one after the other, and a key that does not fit its certificate must not get into the one that is used.
"""

import ssl
from collections.abc import Mapping
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
        self.put(self.load())

    def load(self) -> tuple[Path, ...]:
        """See `Made`."""
        self._load_into(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        return self.paths

    def put(self, _loaded: tuple[Path, ...]) -> Mapping[str, int]:
        """See `Made`. Reads the files again: OpenSSL takes them by name only."""
        self._load_into(self.context)
        return {}

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._files.certificate, self._files.key or None)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"tls: expected readable PEM files, got: {error}") from error
