"""Backends that do not wait: requests leave at fixed times, whether or not earlier ones were answered.

Latency counts from when a request was due, not from when it left. So a server that stalls pays for every request that
it held up, as its users would (there is no coordinated omission).
"""

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import wire
from benchmarks.callers import is_whole
from benchmarks.sockets import LoadError, Sources, begin_connect, finish_connect
from benchmarks.wire import Address, App

_READ = 64 * 1024
_PATIENCE = 30.0
LEAD = 0.2
"""Seconds from the start of a run to its first request."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What was due when, by the monotonic clock, and when each was answered."""

    due: tuple[float, ...]
    answered: tuple[float, ...] = ()


def due_times(rate: float, count: int) -> tuple[float, ...]:
    """The times of `count` requests at `rate` a second, from soon on."""
    start = time.monotonic() + LEAD
    return tuple(start + number / rate for number in range(count))


class OpenLoop:
    """Keep-alive connections to one HTTP API; each has one request at a time, and what is due waits for a free one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._sources = Sources()
        self._requests: list[bytes] = []
        self._free: deque[socket.socket] = deque()
        self._busy: dict[socket.socket, int] = {}
        self._heard: dict[socket.socket, bytes] = {}
        self._answered: list[float] = []

    def prepare_events(self, address: Address, channels: Sequence[str]) -> None:
        """The next `run` sends an event to each; its data has its place as `number`."""
        now = time.time()
        self._requests = [
            wire.encode_event(address, self._app, channel, f'{{"number":{number}}}', now)
            for number, channel in enumerate(channels)
        ]

    def prepare_terminations(self, address: Address, users: Sequence[str]) -> None:
        """The next `run` terminates each of these users."""
        now = time.time()
        self._requests = [wire.encode_termination(address, self._app, user, now) for user in users]

    def run(self, address: Address, rate: float, connections: int) -> Schedule:
        """Send all requests, `rate` in a second, and wait for their answers. Only 200 is one."""
        self._free = deque(self._connect(address) for _ in range(connections))
        self._answered = [0.0] * len(self._requests)
        due = due_times(rate, len(self._requests))
        following = 0
        while following < len(due) or self._busy:
            now = time.monotonic()
            if now > due[-1] + _PATIENCE:
                raise LoadError(f"no answer from the HTTP API within {_PATIENCE:.0f} s")
            while following < len(due) and due[following] <= now and self._free:
                self._send(following)
                following += 1
            wait = due[following] - time.monotonic() if following < len(due) and self._free else 1.0
            for sock in select.select(self._busy, (), (), max(0.0, wait))[0]:
                self._receive(sock)
        for sock in self._free:
            sock.close()
        return Schedule(due, tuple(self._answered))

    def _connect(self, address: Address) -> socket.socket:
        sock = begin_connect(address, self._sources)
        select.select((), (sock,), (), _PATIENCE)
        return finish_connect(sock, address)

    def _send(self, number: int) -> None:
        sock = self._free.popleft()
        self._busy[sock], self._heard[sock] = number, b""
        sock.send(self._requests[number])

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ)
        except BlockingIOError:  # TLS: a record that holds no data
            return
        heard = self._heard[sock] + data
        self._heard[sock] = heard
        if not data:
            raise LoadError("the HTTP API closed a connection within a request")
        if not is_whole(heard):
            return
        if not heard.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"the HTTP API refused: {heard[:300].decode(errors='replace')}")
        self._answered[self._busy.pop(sock)] = time.monotonic()
        self._free.append(sock)
