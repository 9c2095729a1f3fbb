"""Whole connections, many at a time, to both transports: the same bytes have the same answers, and every end is quiet.

Each peer's bytes are HTTP requests, mostly an upgrade, then frames, damaged or not, cut and interleaved with those of the
other peers. All that one round brings is handled before the next, so that what is compared does not depend on timing; the
more peers share a round, the less each one costs. The clock stands still: no deadline is met, and only what the bytes
themselves lead to is seen.

The transports may differ in when they notice a fault that a frame's head gives away, as trio-websocket looks at sizes and
at kinds of messages when these are complete: `may_differ` is all that is allowed.
"""

import re
import socket
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.metrics import Metrics
from node.transport.listener import serve
from node.transport.plain import PlainServer
from node.transport.seam import Transport, Upgrade
from node.transport.settings import TransportSettings
from tests.conformance.sites import EchoApi, MemoryListener, Session
from tests.fuzz.damage import damaged_bytes, often, pieces, several
from tests.fuzz.line import Line
from tests.fuzz.target import Target
from tests.fuzz.wire import HEADERS, LIMIT, LIMITS, make_frame, make_requests
from tests.wire import CLOSE, PONG, TEXT, Frame, closing, masked, upgrade_head

PEERS = 48
PIECES = 40
END = b"\r\n\r\n"
SETTINGS = TransportSettings(http=LIMITS, max_message=LIMIT)
FAULTS = {1002, 1003, 1007, 1009}
LATE = {1003, 1009}
"""Faults that one transport sees in a head, and the other at the end of a message."""

_DATE = re.compile(rb"Date: [^\r]*\r\n")
_ACCEPT = re.compile(rb"Sec-WebSocket-Accept: ([^\r]*)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Batch:
    """What each peer sends, piece by piece; and per round, which peers send their next piece."""

    peers: list[list[bytes]]
    rounds: list[list[int]]


def make_peer(chance: Random, number: int) -> list[bytes]:
    """The pieces of one connection's bytes."""
    stream = make_requests(chance) if often(chance, 0.15) else b""
    if often(chance, 0.95):
        stream += upgrade_head(f"/app/{number}", *several(chance, HEADERS[-3:-2], 1))
    stream += b"".join(_make_frame(chance) for _ in range(chance.randrange(8)))
    if often(chance, 0.3):
        stream += closing()
    return _cut(chance, damaged_bytes(chance, stream) if often(chance, 0.3) else stream)


def _cut(chance: Random, stream: bytes) -> list[bytes]:
    """Pieces, some of them whole heads; of very many only some in a row, with all that is before and after them."""
    if often(chance, 0.2):
        return [part + end for part, end in zip_longest(stream.split(END), [END] * stream.count(END), fillvalue=b"")]
    parts = pieces(chance, stream)
    start = chance.randrange(max(1, len(parts) - PIECES))
    end = start + PIECES
    return [b"".join(parts[:start]), *parts[start:end], b"".join(parts[end:])]


def _make_frame(chance: Random) -> bytes:
    """Mostly a good one, so that there is more to come."""
    return masked(TEXT, b"good") if often(chance, 0.3) else make_frame(chance)


def make_batch(chance: Random) -> Batch:
    """Connections, interleaved."""
    peers = [make_peer(chance, number) for number in range(PEERS)]
    left = [len(peer) for peer in peers]
    rounds = []
    while any(left):
        now = [number for number in range(PEERS) if left[number] and often(chance, 0.7)]
        chance.shuffle(now)
        for number in now:
            left[number] -= 1
        rounds.append(now)
    return Batch(peers, rounds)


class Acceptor:
    """Opens sessions that echo, and keeps them by path."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[Session]] = defaultdict(list)

    def open(self, upgrade: Upgrade, transport: Transport) -> Session:
        """See `node.transport.seam.Acceptor`."""
        session = Session(upgrade, transport)
        self.sessions[upgrade.path].append(session)
        return session

    @property
    def texts(self) -> dict[str, list[list[str]]]:
        """What was received, by path; sessions of one path have opened in any order."""
        return {path: sorted(session.texts for session in sessions) for path, sessions in self.sessions.items()}

    @property
    def closed_times(self) -> set[int]:
        """How often sessions were closed."""
        return {session.closed_times for sessions in self.sessions.values() for session in sessions}


@dataclass
class Fast:
    """Peers of the plain transport, over socket pairs: what is written is there at once, as on no network."""

    acceptor: Acceptor = field(default_factory=Acceptor)
    metrics: Metrics = field(default_factory=Metrics)
    peers: list[socket.socket] = field(default_factory=list)

    async def start(self, nursery: trio.Nursery) -> None:
        """Serve."""
        self._server = PlainServer(self.acceptor, EchoApi(), None, SETTINGS, self.metrics, nursery)
        nursery.start_soon(self._server.run)
        for _ in range(PEERS):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            self.peers.append(ours)
            self._server.welcome(theirs, ("127.0.0.1", 1))

    def send(self, number: int, piece: bytes) -> None:
        """Send, if there is anybody to."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.peers[number].sendall(piece)

    async def end(self) -> list[bytes]:
        """What every peer was told; then they go."""
        told = [_drain(peer) for peer in self.peers]
        for peer in self.peers:
            peer.close()
        self._server.stop_when_empty()
        return told


def _drain(peer: socket.socket) -> bytes:
    data = b""
    with suppress(BlockingIOError, ConnectionResetError):
        while part := peer.recv(1 << 20):
            data += part
    return data


@dataclass
class Slow:
    """Peers of the transport for any stream, in memory."""

    acceptor: Acceptor = field(default_factory=Acceptor)
    metrics: Metrics = field(default_factory=Metrics)
    peers: list[Line] = field(default_factory=list)

    async def start(self, nursery: trio.Nursery) -> None:
        """Serve."""
        self._listener = MemoryListener()
        await nursery.start(serve, [self._listener], self.acceptor, EchoApi(), SETTINGS, self.metrics)
        for _ in range(PEERS):
            self.peers.append(Line())
            await self._listener.add(self.peers[-1])

    def send(self, number: int, piece: bytes) -> None:
        """Send, if there is anybody to."""
        self.peers[number].say(piece)

    async def end(self) -> list[bytes]:
        """What every peer was told; then they go."""
        for peer in self.peers:
            peer.hang_up()
        await self._listener.aclose()
        return [peer.told for peer in self.peers]


def check_batch(batch: Batch) -> None:
    """Both transports tell each peer the same, give sessions the same texts, and close each once."""
    trio.run(_compare, batch, clock=MockClock())


async def _compare(batch: Batch) -> None:
    fast, slow = Fast(), Slow()
    async with trio.open_nursery() as nursery:
        for side in (fast, slow):
            await side.start(nursery)
        left = [iter(peer) for peer in batch.peers]
        for numbers in batch.rounds:
            for number in numbers:
                piece = next(left[number])
                fast.send(number, piece)
                slow.send(number, piece)
            await wait_all_tasks_blocked()
        told = [await side.end() for side in (fast, slow)]
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for number, (one, other) in enumerate(zip(*told, strict=True)):
        _agree(f"peer {number} sent {b''.join(batch.peers[number])!r}", one, other)
    assert fast.acceptor.texts == slow.acceptor.texts
    for side in (fast, slow):
        assert side.acceptor.closed_times <= {1}
        assert side.metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0


def _agree(who: str, fast: bytes, slow: bytes) -> None:
    (http, frames), (other_http, other_frames) = read_answers(fast), read_answers(slow)
    said = f"{who}\nplain: {fast!r}\nstream: {slow!r}"
    assert http == other_http, said
    assert frames == other_frames or may_differ(frames, other_frames), said


def read_answers(data: bytes) -> tuple[bytes, list[Frame]]:
    """HTTP as it came but for the date and the names of headers; and whole frames."""
    head, upgraded, rest = data.partition(b"HTTP/1.1 101")
    if not upgraded:
        return _DATE.sub(b"", data), []
    upgrade, _, rest = rest.partition(b"\r\n\r\n")
    accept = _ACCEPT.search(upgrade + b"\r\n")
    assert accept, upgrade
    return _DATE.sub(b"", head) + accept[1], read_frames(rest)


def read_frames(data: bytes) -> list[Frame]:
    """The frames of a server; nothing may be left over, or follow a close."""
    frames: list[Frame] = []
    while data:
        assert not frames or frames[-1].opcode != CLOSE, data
        size = {126: 2, 127: 8}.get(data[1], 0)
        start = 2 + size
        length = int.from_bytes(data[2:start], "big") if size else data[1]
        assert len(data) >= start + length, data
        frames.append(Frame(data[0] & 0x0F, data[start : start + length], bool(data[0] & 0x80)))
        data = data[start + length :]
    return frames


def may_differ(one: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether one of them only noticed a fault earlier: no texts in between.

    For the faults of `LATE` there may be pongs, and the other may never have noticed, as the peer closed in mid-message.
    """
    (said, code), (other_said, other_code) = sorted((_parts(one), _parts(other)), key=lambda parts: len(parts[0]))
    extra = other_said[len(said) :]
    if other_said[: len(said)] != said or any(frame.opcode != PONG for frame in extra):
        return False
    if code in LATE or (not extra and other_code in LATE):
        return True
    return not extra and (code == other_code or (None in {code, other_code} and {code, other_code} <= FAULTS | {None}))


def _parts(frames: Sequence[Frame]) -> tuple[list[Frame], int | None]:
    """What was said, and the code of the close that ended it; 1005 without one."""
    if not frames or frames[-1].opcode != CLOSE:
        return list(frames), None
    return list(frames[:-1]), int.from_bytes(frames[-1].payload[:2], "big") or 1005


TARGETS = (Target("connections", make_batch, check_batch, 4.0, PEERS),)
