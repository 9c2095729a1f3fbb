"""WebSockets over plain TCP: the fast transport.

One object per connection and no task: the poller calls `ready`, bytes are read and become texts, and `offer` writes
straight to the socket. Only what the kernel does not take goes to an outbox, which the poller empties when it can.

    OPEN ──the last frame was put──▶ CLOSING ──the peer's close came, all is out──▶ ENDED
                                        └──the peer is at fault──▶ FAULTY ──all is out──▶ LINGERING ──▶ ENDED

From CLOSING on a deadline leads to ENDED, whatever the peer does; so does the end of the stream, from anywhere. While
FAULTY and LINGERING the peer's bytes are thrown away: closing with them unread could destroy the last word on its way.

Rules for whoever edits this file: `offer` and `close` never call the receiver; `Receiver.closed` is called in one place;
behaviour equals that of websocket.py, which tests/conformance holds.
"""

import socket
from base64 import b64encode
from contextlib import suppress
from enum import IntEnum
from hashlib import sha1
from typing import Final, Protocol

import trio

from node.metrics import Metrics
from node.protocol.errors import CloseCode
from node.transport.close_frame import CLOSE_BYTE, encode_close
from node.transport.frame_reader import CLOSE, PING, TEXT, Fault, FrameReader
from node.transport.message import UpgradeRequest
from node.transport.outbox import Outbox
from node.transport.poller import READ, WRITE, Poller
from node.transport.seam import Acceptor, Receiver, Upgrade
from node.transport.settings import TransportSettings

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_READ: Final = 16 * 1024  # bytes asked of the kernel at once
_BATCH: Final = 64 * 1024  # bytes given to the kernel at once
_PONG: Final = 0x8A


class _State(IntEnum):
    """See the module's drawing. In order: what is allowed only shrinks."""

    OPEN = 0
    CLOSING = 1
    PARTED = 2  # CLOSING, and the peer's close frame has come
    FAULTY = 3
    LINGERING = 4
    ENDED = 5


# Each look at `_State.OPEN` takes 0.16 µs, and a ping needs three; a name of the module takes 0.01.
_OPEN, _CLOSING, _PARTED, _FAULTY, _LINGERING, _ENDED = _State


class Owner(Protocol):
    """Whom a WebSocket belongs to."""

    def websocket_ended(self, websocket: "PlainWebSocket") -> None:
        """Its socket is closed."""


class PlainWebSocket:
    """One WebSocket over plain TCP. `open` it once."""

    __slots__ = (
        "_metrics",
        "_outbox",
        "_owner",
        "_poller",
        "_reader",
        "_receiver",
        "_rest",
        "_settings",
        "_sock",
        "_state",
        "_writing",
    )

    def __init__(
        self,
        sock: socket.socket,
        poller: Poller,
        settings: TransportSettings,
        metrics: Metrics,
        owner: Owner,
    ) -> None:
        self._sock = sock
        self._poller = poller
        self._settings = settings
        self._metrics = metrics
        self._owner = owner
        self._reader = FrameReader(settings.max_message)
        self._receiver: Receiver | None = None
        self._outbox: Outbox | None = None  # only while something waits
        self._rest = b""  # of a frame that the kernel took a part of
        self._writing = False  # whether the poller waits for room in the kernel's buffer
        self._state = _OPEN

    # -- the session's side ---------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes offered that the kernel has not taken yet."""
        return len(self._rest) + (self._outbox.size if self._outbox is not None else 0)

    def offer(self, frame: bytes) -> None:
        """Write one complete server frame; over the bound, give the slow consumer up."""
        if self._state is not _OPEN:
            return
        if self._outbox is None:
            self._send(frame)
        elif not self._outbox.put(frame):
            self._overflow(frame)

    def close(self, code: int, reason: str) -> None:
        """Send what was offered, then a close frame; the stream ends within `close_timeout`."""
        self._seal(encode_close(code, reason), self._settings.close_timeout)

    def _send(self, frame: bytes) -> None:
        try:
            sent = self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:  # the poller hears of it, too: the receiver must not, from here
            return
        if sent < len(frame):
            self._rest = frame[sent:]
            self._outbox = Outbox(self._settings.max_outbox)
            self._watch()

    def _overflow(self, frame: bytes) -> None:
        """A full outbox that is only corked is written out; one that the kernel keeps full means a slow consumer."""
        if self._writing:
            self._give_up()
        elif self._write_out():
            self.offer(frame)

    def _seal(self, close_frame: bytes, timeout: float) -> None:
        """Make this the last frame, if there is none yet, and end within `timeout` seconds."""
        if self._state is not _OPEN:
            return
        self._state = _CLOSING
        self._poller.call_at(trio.current_time() + timeout, self.drop)
        if self._outbox is None:
            self._send(close_frame)
        else:
            self._outbox.seal(close_frame)

    def _give_up(self) -> None:
        self._metrics.slow_consumer_closes.inc()
        if self._outbox is not None:
            self._outbox.drop()
        frame = encode_close(CloseCode.OVER_CAPACITY, "messages were not read fast enough")
        self._seal(frame, self._settings.slow_close_timeout)

    # -- the poller's side ----------------------------------------------------------------------------------------

    def open(self, request: UpgradeRequest, upgrade: Upgrade, acceptor: Acceptor) -> None:
        """Shake hands and open the session; what it offers at once leaves together with the handshake."""
        handshake = _encode_handshake(request.key)
        self._outbox = Outbox(self._settings.max_outbox + len(handshake))  # corks until the flush
        self._outbox.put(handshake)  # one send(2) for it and the first frame: 8 of the 65 µs that a connection costs
        self._receiver = acceptor.open(upgrade, self)
        self._flush()
        if request.rest and self._state is not _ENDED:
            self._feed(request.rest)

    def ready(self, events: int) -> None:
        """See `poller.Handler`."""
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self._state is not _ENDED:
            self._read()

    def fail(self) -> None:
        """See `poller.Handler`."""
        self._end()

    def drop(self) -> None:
        """End at once, whatever waits."""
        if self._state in (_CLOSING, _PARTED):
            self._metrics.forced_closes.inc()
        self._end()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
        elif self._state < _PARTED:
            self._feed(data)

    def _feed(self, data: bytes) -> None:  # noqa: C901 - the hot path stays in one place
        receiver = self._receiver
        if receiver is None:
            return
        events = self._reader.feed(data)
        if not receiver.touch(self._poller.now, len(events), len(data)):
            self._stop_hearing()
            return
        corked = len(events) > 1 and self._outbox is None
        if corked:  # the answers to messages that came together leave together: one send(2) instead of one for each
            self._outbox = Outbox(self._settings.max_outbox)
        for opcode, payload in events:
            if opcode == TEXT:
                if self._state is _OPEN:
                    receiver.receive(payload)
            elif opcode == PING:
                self.offer(bytes((_PONG, len(payload))) + payload)
            elif opcode == CLOSE:
                self._part(payload[:2])
        if self._reader.fault is not None:
            self._refuse(self._reader.fault)
        if corked:
            self._flush()

    def _part(self, code: bytes) -> None:
        """The peer closes: answer with its own code, unless we closed first; end once all is out."""
        self._seal(bytes((CLOSE_BYTE, len(code))) + code, self._settings.close_timeout)
        if self._state is _CLOSING:
            self._state = _PARTED
            self._settle()

    def _refuse(self, fault: Fault) -> None:
        """The peer may not go on."""
        self._seal(encode_close(fault.code, fault.reason), self._settings.close_timeout)
        self._stop_hearing()

    def _stop_hearing(self) -> None:
        """Throw away what still comes; there is a last frame."""
        self._reader.forget()
        if self._state is _CLOSING:
            self._state = _FAULTY
            self._settle()

    def _settle(self) -> None:
        """Take the next step, once all is out."""
        if self.buffered:
            return
        if self._state is _PARTED:
            self._end()
        elif self._state is _FAULTY:
            self._state = _LINGERING
            self._poller.call_at(trio.current_time() + self._settings.linger_timeout, self._end)
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def _flush(self) -> None:
        """Give the kernel what it takes of what waits, and take the next step if that was all."""
        if self._write_out():
            self._settle()
        else:
            self._end()

    def _write_out(self) -> bool:
        """Give the kernel what it takes of what waits in the outbox; False: the peer is gone."""
        outbox = self._outbox
        if outbox is None:
            return True
        while data := self._rest or outbox.take(_BATCH):
            outbox.sent()
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False
            self._rest = data[sent:]
            if self._rest:
                self._watch()
                return True
        self._outbox = None
        if self._writing:
            self._writing = False
            self._poller.change(self._sock.fileno(), READ)
        return True

    def _watch(self) -> None:
        if not self._writing:
            self._writing = True
            self._poller.change(self._sock.fileno(), READ | WRITE)

    def _end(self) -> None:
        """The socket is closed and the receiver told: the one place, and once."""
        if self._state is _ENDED:
            return
        self._state = _ENDED
        self._outbox, self._rest = None, b""
        self._reader.forget()  # its deadlines hold this object longer: a flood of long messages took 130 KB for each
        self._poller.remove(self._sock.fileno())
        self._sock.close()
        self._owner.websocket_ended(self)
        if self._receiver is not None:
            self._receiver.closed()


def _encode_handshake(key: str) -> bytes:
    accept = b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
