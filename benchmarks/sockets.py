"""Sockets of load clients: many from one machine, to plain and TLS ports."""

import functools
import itertools
import os
import socket
import ssl
from contextlib import suppress
from typing import Any

from benchmarks.wire import Address

_BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen when the peer is known
_PORTS_EACH = 8000  # of the about 28,000 ephemeral ports that a source address has
_TLS_TIMEOUT = 10.0


class LoadError(Exception):
    """The server did not do what it should have: the figures would mean nothing."""


class Sources:
    """Source addresses for connections to this machine, so that ephemeral ports do not run out. 127/8 is all ours."""

    def __init__(self) -> None:
        self._taken = itertools.count()
        self._worker = os.getpid() % 250 + 1

    def next(self) -> str:
        """The source of the next connection."""
        return f"127.{self._worker}.{next(self._taken) // _PORTS_EACH % 250}.1"


class _TlsSocket(ssl.SSLSocket):
    """Reads as a plain non-blocking socket does: all that is there, so that epoll tells the truth."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            data = super().recv(buflen, flags)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        while data and self.pending():
            data += super().recv(buflen, flags)
        return data


def begin_connect(address: Address, sources: Sources) -> socket.socket:
    """A socket that is connecting; it is writable when it has. Raises `LoadError` for a host that nobody knows."""
    try:
        family, target = _resolve(address.host, address.port)
    except OSError as error:
        raise _no_connection(address, error) from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target[0].startswith("127."):
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((sources.next(), 0))
    with suppress(BlockingIOError):
        sock.connect(target)
    return sock


def finish_connect(sock: socket.socket, address: Address) -> socket.socket:
    """The socket to use, once it is writable; with TLS, after its handshake, for which this waits. Raises `LoadError`."""
    if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise _no_connection(address, OSError(number, os.strerror(number)))
    if not address.tls:
        return sock
    sock.settimeout(_TLS_TIMEOUT)
    try:
        secured = _tls_context().wrap_socket(sock, server_hostname=address.host)
    except OSError as error:
        raise _no_connection(address, error) from None
    secured.setblocking(False)
    return secured


def _no_connection(address: Address, error: OSError) -> LoadError:
    return LoadError(f"no connection to {address.host}:{address.port}: {error.strerror or error}")


@functools.cache
def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, target


@functools.cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = _TlsSocket
    return context
