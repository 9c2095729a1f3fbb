"""The least that fan-out can cost: one loop of `send` of the same bytes over as many sockets, in a process of its own.

It speaks just enough to be taken for a server by the load clients, so that the same clients read from both.
"""

import socket
import time

from benchmarks import wire
from benchmarks.processes import LOOPBACK
from benchmarks.sockets import LoadError

_BACKLOG = 1024
_HEAD = 4096
_WELCOME = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + wire.encode_from_server(
    '{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.1\\"}"}'
)


class BareSender:
    """Accepts a number of connections and then sends the same to all, again and again."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0), backlog=_BACKLOG)
        self._sockets: list[socket.socket] = []

    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def accept(self, count: int) -> None:
        """Accept so many connections, whatever they ask for."""
        for _ in range(count):
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.recv(_HEAD)
            sock.send(_WELCOME)
            sock.setblocking(False)
            self._sockets.append(sock)

    def send(self, frame: bytes) -> float:
        """Send to all; the seconds of CPU that it took."""
        size, before = len(frame), time.process_time()
        for sock in self._sockets:
            if sock.send(frame) != size:
                raise LoadError("a client of the bare loop does not read")
        return time.process_time() - before
