"""Backends that call the HTTP API: some keep-alive connections, each with one request at a time."""

import select
import socket
import time
from collections import deque
from collections.abc import Sequence

from benchmarks import wire
from benchmarks.sockets import LoadError, Sources, begin_connect, finish_connect
from benchmarks.wire import Address, App

_READ = 64 * 1024
_PATIENCE = 60.0


class _Caller:
    """One connection, with the request that it is at."""

    __slots__ = ("heard", "request", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""
        self.heard = b""


class Callers:
    """The callers of one process. A server that closes the connection after an answer gets a new one for each request."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._sources = Sources()
        self._requests: deque[bytes] = deque()
        self._address: Address | None = None
        self._keeps_alive = True
        self._epoll = select.epoll()
        self._callers: dict[int, _Caller] = {}

    def prepare_events(self, address: Address, channels: Sequence[str], data: str) -> None:
        """The next `run` sends one event to each of these channels."""
        self._address, now = address, time.time()
        self._requests.extend(wire.encode_event(address, self._app, channel, data, now) for channel in channels)

    def run(self, callers: int) -> None:
        """Send all requests, that many at the same time, until each was answered with 200."""
        self._epoll = select.epoll()
        self._callers = {}
        for _ in range(min(callers, len(self._requests))):
            self._start(self._connect(), self._requests.popleft())
        deadline = time.monotonic() + _PATIENCE
        while self._callers:
            ready = self._epoll.poll(1.0)
            if not ready and time.monotonic() > deadline:
                raise LoadError(f"no answer from the HTTP API within {_PATIENCE:.0f} s")
            for fd, _ in ready:
                self._receive(self._callers[fd])

    def _connect(self) -> _Caller:
        assert self._address is not None
        sock = begin_connect(self._address, self._sources)
        select.select([], [sock], [], 10)
        caller = _Caller(finish_connect(sock, self._address))
        self._callers[sock.fileno()] = caller
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return caller

    def _start(self, caller: _Caller, request: bytes) -> None:
        caller.request, caller.heard = request, b""
        caller.sock.send(request)

    def _receive(self, caller: _Caller) -> None:
        try:
            data = caller.sock.recv(_READ)
        except ConnectionError:
            data = b""
        if not data:
            self._lost(caller)
            return
        caller.heard += data
        if not is_whole(caller.heard):
            return
        if not caller.heard.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"the HTTP API refused: {caller.heard[:300].decode(errors='replace')}")
        if self._requests and self._keeps_alive:
            self._start(caller, self._requests.popleft())
            return
        self._close(caller)
        if self._requests:
            self._start(self._connect(), self._requests.popleft())

    def _lost(self, caller: _Caller) -> None:
        """The server closed a connection that it had answered on: it does not keep connections."""
        if caller.heard:
            raise LoadError("the HTTP API closed a connection within an answer")
        self._keeps_alive = False
        self._close(caller)
        self._start(self._connect(), caller.request)

    def _close(self, caller: _Caller) -> None:
        del self._callers[caller.sock.fileno()]
        caller.sock.close()


def is_whole(response: bytes) -> bool:
    """Whether all of an answer is there, by its length or its last chunk."""
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return b"transfer-encoding: chunked" not in lower or body.endswith(b"0\r\n\r\n")
    length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return len(body) >= length
