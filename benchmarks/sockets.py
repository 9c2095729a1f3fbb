"""Sockets of load clients: many from one machine, to plain and TLS ports."""

import itertools
import os
import socket
import ssl

from benchmarks.wire import Address

_BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen when the peer is known
_PORTS_EACH = 8000  # of the about 28,000 ephemeral ports that a source address has
_TLS = ssl.create_default_context()


class Sources:
    """Source addresses for connections to this machine, so that ephemeral ports do not run out. 127/8 is all ours."""

    def __init__(self) -> None:
        self._taken = itertools.count()
        self._worker = os.getpid() % 250 + 1

    def next(self) -> str:
        """The source of the next connection."""
        return f"127.{self._worker}.{next(self._taken) // _PORTS_EACH % 250}.1"


def begin_connect(address: Address, sources: Sources) -> socket.socket:
    """A socket that is connecting; it is writable when it has."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.host.startswith("127."):
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((sources.next(), 0))
    try:
        sock.connect((address.host, address.port))
    except BlockingIOError:
        pass
    return sock


def finish_connect(sock: socket.socket, address: Address) -> socket.socket:
    """The socket, once it is writable. Raises OSError if it could not connect."""
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))
    if not address.tls:
        return sock
    raise NotImplementedError
