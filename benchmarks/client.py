"""Many Pusher connections of one process: raw sockets and one epoll, as little work as possible for each message.

A load client must not be slower than the server it measures. So what is sent is made beforehand (`prepare_*`, which no
one measures) and what comes is not decoded: whole frames are cut off, and the names of events are counted in them.

Rules for whoever edits this file: every loop has a deadline; an error that the server sends is raised, never counted.
"""

import re
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from benchmarks import wire
from benchmarks.sockets import LoadError, Sources, begin_connect, finish_connect
from benchmarks.wire import Address, App

WINDOW = 1000
"""Connections of a process that are being opened, or have a question that is not answered yet, at the same time."""

_CONNECT_WINDOW = 200
_READ = 256 * 1024
_PATIENCE = 120.0
_NUMBER = re.compile(rb'number\\*":(\d+)')
_SOCKET_ID = re.compile(rb'socket_id\\?":\\?"([\d.]+)')


class Link:
    """One connection."""

    __slots__ = ("channel", "left", "number", "rest", "sock", "socket_id", "user")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.socket_id = ""
        self.user = ""
        self.channel = ""  # that it subscribed to last
        self.rest = b""  # of a frame that is not whole yet
        self.left = 0  # answers that are still to come

    def receive(self) -> bytes:
        """The whole frames that are there; empty if there are none."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return b""
        if not data:
            raise LoadError(f"the server closed connection {self.number}")
        if self.rest:
            data = self.rest + data
            self.rest = b""
        if len(data) != data[1] + 2 if len(data) > 1 else True:  # not exactly one short frame, the usual case
            _, end = wire.count_frames(data)
            data, self.rest = data[:end], data[end:]
        if wire.ERROR in data:
            raise LoadError(f"the server refused: {data[data.index(wire.ERROR) :][:300].decode(errors='replace')}")
        if b"\x89\x00" in data:
            self.sock.send(wire.WS_PONG)
        return data

    def receive_close(self) -> bool:
        """Whether the server has closed it. What else comes, errors too, is ignored."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        self.rest += data
        return not data or any(opcode == wire.CLOSE for opcode, _ in wire.frames_of(self.rest))


class Swarm:
    """All connections of one process, numbered in the order of their opening."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._sources = Sources()
        self._links: list[Link] = []
        self._frames: list[bytes] = []
        self._first = 0
        self._epoll = select.epoll()
        self._by_fd: dict[int, Link] = {}

    # -- opening and closing --------------------------------------------------------------------------------------

    def connect(self, address: Address, count: int, others: Sequence[Address] = ()) -> None:
        """Open connections, to all addresses in turn, until each was told its socket id."""
        addresses = [(each, wire.encode_handshake(each, self._app)) for each in (address, *others)]
        waiting: dict[int, Link] = {}
        poll = self._polls()
        opened = 0
        while opened < count or waiting:
            while opened < count and len(waiting) < _CONNECT_WINDOW:
                target = addresses[len(self._links) % len(addresses)][0]
                link = Link(begin_connect(target, self._sources), len(self._links))
                self._links.append(link)
                waiting[link.sock.fileno()] = self._by_fd[link.sock.fileno()] = link
                self._epoll.register(link.sock.fileno(), select.EPOLLOUT)
                opened += 1
            for fd, _ in poll():
                link = self._by_fd[fd]
                if fd not in waiting:
                    self._hear(link)
                elif self._advance(link, *addresses[link.number % len(addresses)]):
                    del waiting[fd]

    def _advance(self, link: Link, address: Address, handshake: bytes) -> bool:
        """Take the next step in opening a connection; whether it is open."""
        fd = link.sock.fileno()
        if link.left == 0:  # not connected yet
            link.sock = finish_connect(link.sock, address)
            link.sock.send(handshake)
            link.left = 1
            self._epoll.modify(fd, select.EPOLLIN)
            return False
        data = link.rest + link.sock.recv(_READ)
        if data == link.rest:
            raise LoadError("the server closed a connection that was being opened")
        link.rest = data
        head, end, frames = data.partition(b"\r\n\r\n")
        if not end or not wire.count_frames(frames)[0]:
            return False
        found = _SOCKET_ID.search(frames)
        if not head.startswith(b"HTTP/1.1 101") or found is None:
            raise LoadError(f"no connection: {data[:300].decode(errors='replace')}")
        link.socket_id, link.rest, link.left = found[1].decode(), b"", 0
        return True

    def close(self, first: int = 0, count: int | None = None) -> None:
        """Close connections without a word, as lost networks do."""
        for link in self._links[first : None if count is None else first + count]:
            self._by_fd.pop(link.sock.fileno(), None)
            link.sock.close()

    # -- making what is sent ----------------------------------------------------------------------------------------

    def prepare_sign_in(self, first: int, users: Sequence[str], watchlists: Sequence[Sequence[str]] = ()) -> None:
        """The next `exchange` signs in as these users, from connection `first` on."""
        lists = watchlists or [()] * len(users)
        links = self._links[first : first + len(users)]
        for link, user in zip(links, users, strict=True):
            link.user = user
        self._first = first
        self._frames = [
            wire.encode_sign_in(self._app, link.socket_id, user, watched)
            for link, user, watched in zip(links, users, lists, strict=True)
        ]

    def prepare_subscribe(self, first: int, channels: Sequence[str]) -> None:
        """The next `exchange` subscribes."""
        self._first, self._frames = first, [wire.encode_subscribe(channel) for channel in channels]
        for link, channel in zip(self._links[first:], channels, strict=False):
            link.channel = channel

    def prepare_ping(self, first: int, count: int) -> None:
        """The next `exchange` pings."""
        self._first, self._frames = first, [wire.PING] * count

    # -- what is measured -------------------------------------------------------------------------------------------

    def exchange(self, answer: bytes, rounds: int = 1, window: int = WINDOW) -> None:
        """Each connection sends its frame and waits for an answer that has these bytes, `rounds` times over."""
        waiting: Iterator[tuple[Link, bytes]] = zip(self._links[self._first :], self._frames, strict=False)
        frames = self._frames
        first, open_ends = self._first, len(frames)
        for link, frame in islice(waiting, window):
            self._ask(link, frame, rounds)
        poll = self._polls()
        while open_ends:
            for fd, _ in poll():
                link = self._by_fd[fd]
                got = self._hear(link).count(answer)
                if not got:
                    continue
                link.left -= got
                if link.left > 0:
                    link.sock.send(frames[link.number - first])
                else:
                    open_ends -= 1
                    for following, frame in islice(waiting, 1):
                        self._ask(following, frame, rounds)

    def _hear(self, link: Link) -> bytes:
        """The whole frames that came; what looks into them all overrides this."""
        return link.receive()

    def _ask(self, link: Link, frame: bytes, rounds: int) -> None:
        link.left = rounds
        if link.sock.send(frame) != len(frame):
            raise LoadError("the server does not read")

    def receive(self, event: bytes, count: int) -> float:
        """Return when events with these bytes have come `count` times, to whichever connections; the monotonic time then."""
        poll = self._polls()
        while count > 0:
            for fd, _ in poll():
                count -= self._by_fd[fd].receive().count(event)
        if count < 0:
            raise LoadError(f"{-count} events more than were sent")
        return time.monotonic()

    def receive_by_channel(self, channel: str, event: bytes, count: int) -> float:
        """The same for `count` events to each connection that subscribed to a channel last."""
        return self.receive(event, count * sum(link.channel == channel for link in self._links))

    def receive_numbered(self, count: int) -> list[tuple[int, float]]:
        """Wait for that many events whose data has a `number`: the numbers, and the monotonic time when each was read."""
        poll = self._polls()
        found: list[tuple[int, float]] = []
        while len(found) < count:
            for fd, _ in poll():
                data, now = self._by_fd[fd].receive(), time.monotonic()
                found += [(int(number), now) for number in _NUMBER.findall(data)]
        return found

    def receive_closes(self, count: int) -> list[tuple[str, float]]:
        """Wait until the server has closed that many connections: their users, and the monotonic time when each was told."""
        poll = self._polls()
        found: list[tuple[str, float]] = []
        while len(found) < count:
            for fd, _ in poll():
                link = self._by_fd[fd]
                if link.receive_close():
                    found.append((link.user, time.monotonic()))
                    self.close(link.number, 1)
        return found

    def _polls(self, patience: float = _PATIENCE) -> Callable[[], Iterable[tuple[int, int]]]:
        """Poll what is ready; raises `LoadError` when it has taken too long altogether."""
        deadline = time.monotonic() + patience

        def poll() -> Iterable[tuple[int, int]]:
            ready = self._epoll.poll(1.0, WINDOW)
            if not ready and time.monotonic() > deadline:
                raise LoadError(f"no answer within {patience:.0f} s")
            return ready

        return poll
