"""WebSockets over any Trio stream, by trio-websocket.

Theory of operation: three tasks live in one nursery. trio-websocket's reader parses what the peer sends; `_converse` takes
its messages to the receiver; `_write` is the only one that writes to the stream. Server frames come encoded and go
around the library: they meet its control frames (pong, the answer to a close) in one outbox, so frames never mix and
keep their order. The library sees the stream through a `_Link`, never the stream itself.

One way out: the outbox is sealed with a close frame, the cancel scope gets a deadline, and the writer ends when the
outbox is empty. `close`, a slow consumer, a peer's close and its protocol errors differ in the frame and the deadline
only. The library is never asked to close: it would forget about the outbox, and it fails when a peer goes on talking
after our close frame (it may not send then, but tries to).

Rules for whoever edits this file: `offer` and `close` never wait and never call the receiver. `Receiver.closed` is called
in one place. What trio-websocket raises ends here. Checked with trio-websocket 0.12.
"""

from typing import Final

import trio
import trio_websocket

from node.metrics import Metrics
from node.protocol.errors import CloseCode
from node.transport.close_frame import CLOSE_BYTE, encode_close
from node.transport.message import UpgradeRequest
from node.transport.outbox import Outbox
from node.transport.seam import Acceptor, Receiver, Upgrade
from node.transport.settings import TransportSettings
from node.transport.streams import DOWN, drop, hang_up

ABNORMAL: Final = 1006  # never sent: the stream ended without a close frame
_FAULTS: Final = {
    1002: "this is not a correct WebSocket frame",
    int(CloseCode.UNSUPPORTED_DATA): "binary messages are not supported",
    1007: "text must be UTF-8",
    int(CloseCode.TOO_BIG): "the message is too long",
}

_BATCH: Final = 64 * 1024  # bytes given to one send_all
_READ: Final = 16 * 1024  # bytes asked of the stream at once
_FRAMING: Final = 32  # bytes on the wire that may frame one byte of the longest message
_MASK: Final = 4  # bytes that a client's frame has and the server's has not

_HEAD: Final = (
    "GET / HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


class WebSocketTransport:
    """One WebSocket, from its accepted head to the end of its stream. `run` it once."""

    def __init__(self, stream: trio.abc.Stream, settings: TransportSettings, metrics: Metrics) -> None:
        self._stream = stream
        self._settings = settings
        self._metrics = metrics
        self._outbox = Outbox(settings.max_outbox)
        self._work = trio.lowlevel.ParkingLot()
        self._flushed = trio.Event()
        self._scope = trio.CancelScope()
        self._receiver: Receiver | None = None
        self._is_broken = False  # whether the stream has ended

    @property
    def buffered(self) -> int:
        """Bytes offered that the stream has not taken yet."""
        return self._outbox.size

    def offer(self, frame: bytes) -> None:
        """Queue one complete server frame; over the bound, give the slow consumer up."""
        if self._outbox.put(frame):
            self._work.unpark()
        elif not self._outbox.sealed:
            self._give_up()

    def close(self, code: int, reason: str) -> None:
        """Send what was offered, then a close frame; the stream ends within `close_timeout`."""
        self.seal(encode_close(code, reason), self._settings.close_timeout)

    def seal(self, close_frame: bytes, timeout: float) -> None:
        """Make this the last frame, if there is none yet, and end within `timeout` seconds."""
        if self._outbox.seal(close_frame):
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + timeout)
            self._work.unpark()

    def _give_up(self) -> None:
        self._metrics.slow_consumer_closes.inc()
        self._outbox.drop()
        frame = encode_close(CloseCode.OVER_CAPACITY, "messages were not read fast enough")
        self.seal(frame, self._settings.slow_close_timeout)

    async def run(self, request: UpgradeRequest, upgrade: Upgrade, acceptor: Acceptor) -> None:
        """Shake hands, open a session, and serve it until the connection has ended. Closes the stream.

        Raises nothing that a peer can cause. Cancelled, it drops the connection at once.
        """
        link = _Link(self._stream, self, request, self._settings)
        end = ABNORMAL
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    socket = await self._shake_hands(nursery, link)
                    self._receiver = acceptor.open(upgrade, self)
                    link.open(self._receiver)
                    end = await self._farewell(await self._receive_all(socket, link, self._receiver))
                    nursery.cancel_scope.cancel()  # the library may be reading still, when the fault was not its to find
        finally:
            if self._outbox.sealed and end == ABNORMAL and not self._is_broken:
                self._metrics.forced_closes.inc()
            self._outbox.seal(b"")
            self._outbox.drop()
            if self._receiver is not None:
                self._receiver.closed()
            await self._part(end)

    async def _shake_hands(self, nursery: trio.Nursery, link: "_Link") -> trio_websocket.WebSocketConnection:
        """Let the library accept the handshake. Nothing waits for the peer: head and answer stay in memory."""
        handshake = await trio_websocket.wrap_server_stream(
            nursery, link, max_message_size=self._settings.max_message, receive_buffer_size=_READ
        )
        return await handshake.accept()

    async def _receive_all(self, socket: trio_websocket.WebSocketConnection, link: "_Link", receiver: Receiver) -> int:
        """Take messages to the receiver until the peer is done, or at fault; return the close code."""
        while True:
            try:
                message = await socket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                return link.fault or (int(closed.reason.code) if closed.reason else ABNORMAL)
            link.message_ended()
            if self._outbox.sealed:
                continue
            if isinstance(message, bytes):
                return int(CloseCode.UNSUPPORTED_DATA)
            if _is_longer(message, self._settings.max_message):
                return int(CloseCode.TOO_BIG)
            receiver.receive(message)

    async def _farewell(self, code: int) -> int:
        """The peer has closed (or must not go on): see that the last frame goes out. Return how it ended."""
        if code == ABNORMAL:
            self._break()
        else:
            self.seal(encode_close(code, _FAULTS.get(code, "")), self._settings.close_timeout)
        await self._flushed.wait()
        return code

    async def _part(self, end: int) -> None:
        if end == ABNORMAL:
            await drop(self._stream)
        else:
            at_fault = end in _FAULTS or end == CloseCode.OVER_CAPACITY
            await hang_up(self._stream, linger=self._settings.linger_timeout if at_fault else 0.0)

    async def _write(self) -> None:
        """Write what waits, all that is there at a time, until the last frame is out or the network is gone."""
        try:
            while self._outbox.size or not self._outbox.sealed:
                if batch := self._outbox.take(_BATCH):
                    await self._stream.send_all(batch)
                    self._outbox.sent()
                else:
                    await self._work.park()
        except DOWN:
            self._break()
        else:
            self._flushed.set()

    def _break(self) -> None:
        """The stream has ended: nobody is left to wait for."""
        self._is_broken = True
        self._scope.cancel()


def _is_longer(text: str, limit: int) -> bool:
    """Whether a text has more bytes than the limit; the library counts characters."""
    return len(text) * 4 > limit and not text.isascii() and len(text.encode()) > limit


def _last_word(close_frame: bytes) -> bytes:
    """The library's close frame in our words: no echo of the peer's reason, and a reason of ours for a fault."""
    code = close_frame[2:4]
    if reason := _FAULTS.get(int.from_bytes(code, "big")):
        return encode_close(int.from_bytes(code, "big"), reason)
    return bytes((CLOSE_BYTE, len(code))) + code


class _Link(trio.abc.Stream):
    """What trio-websocket has for a stream.

    It reads a head that is known to be good (the one received may hold what the library chokes on, or extensions),
    then, once the session is open, the peer's bytes. What it writes goes to the outbox. When it writes a close frame
    or closes the stream its part is over, and the link breaks, which is how it is made to stop reading.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        transport: WebSocketTransport,
        request: UpgradeRequest,
        settings: TransportSettings,
    ) -> None:
        self._stream = stream
        self._transport = transport
        self._settings = settings
        self._head = _HEAD.format(key=request.key).encode()
        self._rest = request.rest
        self._opened = trio.Event()
        self._receiver: Receiver | None = None
        self._message_bytes = 0
        self._frames = 0  # messages and pings that ended since the last bytes came
        self._over = False
        self.fault: int | None = None
        """The close code, if the link itself found the peer at fault."""

    def open(self, receiver: Receiver) -> None:
        """Let the peer's frames through: the session is there to receive them."""
        self._receiver = receiver
        self._opened.set()

    def message_ended(self) -> None:
        """Count the bytes of the next message from here."""
        self._message_bytes = 0
        self._frames += 1

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """First the head, then whatever the peer sends."""
        if self._head:
            head, self._head = self._head, b""
            return head
        await self._opened.wait()
        if self._over:
            raise trio.ClosedResourceError
        rest, self._rest = self._rest, b""
        data = rest or bytes(await self._stream.receive_some(max_bytes))
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        if data and self._receiver is not None:
            frames, self._frames = self._frames, 0
            if not self._receiver.touch(trio.current_time(), frames, len(data)):
                self.fault = int(CloseCode.OVER_CAPACITY)
                raise trio.BrokenResourceError
        # Fragments without a byte of text are never too long, but each costs memory.
        self._message_bytes += len(data)
        if self._message_bytes > _FRAMING * self._settings.max_message:
            self.fault = int(CloseCode.TOO_BIG)
            raise trio.BrokenResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue the handshake's answer, a pong, or the library's last word, a close frame."""
        frame = bytes(data)
        if frame[0] != CLOSE_BYTE:
            if self._receiver is not None:
                self._message_bytes -= len(frame) + _MASK  # the ping that this answers is no part of a message
                self._frames += 1
            self._transport.offer(frame)
            return
        self._transport.seal(_last_word(frame), self._settings.close_timeout)
        self._over = True
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        """Nothing to wait for: the outbox takes or refuses."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Note that the library wants no more. The stream is closed by who owns it."""
        self._over = True
        await trio.lowlevel.checkpoint()
