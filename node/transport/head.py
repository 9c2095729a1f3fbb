"""HTTP/1.1 requests from bytes, however they are split (RFC 9112). Pure.

Theory of operation: bytes are fed, requests are asked for one at a time, in order. A request's head is fed to a fresh
httptools parser as it comes, so that garbage is noticed early, and never past the blank line that ends it, so that
what follows (a body, the next request, WebSocket frames) stays in the buffer. A body with a length is cut from the
buffer; a chunked one goes through the same parser, in slices that cannot reach into the next request.

The only error is `BadRequestError`: it says what to answer, and the connection has to end after that answer.

Rules for whoever edits this file: every limit is checked before more is kept, and nothing is read twice.
"""

import re
from dataclasses import dataclass

from node.transport.message import BadRequestError, Message, Request, UpgradeRequest

_END_OF_HEAD = b"\r\n\r\n"
_END_OF_CHUNKS = b"\n\r\n"
_UPGRADE_HEADER = re.compile(rb"^upgrade:[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_CHUNK_OVERHEAD = 8  # bytes that may frame one byte of body: `1\r\nx\r\n` takes 5


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much of a request is read, in bytes."""

    head: int = 16 * 1024
    target: int = 8 * 1024
    body: int = 256 * 1024


class RequestReader:
    """Reads the requests of one connection."""

    __slots__ = ("_buffer", "_fed", "_limits", "_message", "_pending")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._fed = 0  # how much of the buffer the parser has seen, while a head is read
        self._message = Message()
        self._pending = False  # the head is complete, the body is not

    @property
    def idle(self) -> bool:
        """Whether no byte of a further request is here."""
        return not self._pending and not self._buffer

    def feed(self, data: bytes) -> None:
        """Add bytes from the stream. Ask for `next_request` until it has none before feeding more."""
        self._buffer += data

    def next_request(self) -> Request | UpgradeRequest | None:
        """Return the next complete request, or None if that takes more bytes. Raises BadRequestError, once and for all."""
        if self.idle or not (self._pending or self._read_head()):
            return None
        message = self._message
        if message.is_websocket:
            return message.to_upgrade(bytes(self._buffer))
        if not self._read_body():
            return None
        self._message = Message()
        self._pending = False
        return message.to_request()

    def take_continue(self) -> bool:
        """Whether `100 Continue` is to be sent now (RFC 9110 10.1.1); true once for a request."""
        if not self._pending or self._buffer or not self._message.expects_continue:
            return False
        self._message.expects_continue = False
        return True

    def _read_head(self) -> bool:
        if self._fed == 0:
            self._skip_blank_lines()
        end = self._buffer.find(_END_OF_HEAD, max(0, self._fed - len(_END_OF_HEAD) + 1))
        stop = len(self._buffer) if end < 0 else end + len(_END_OF_HEAD)
        self._message.feed(self._buffer[self._fed : stop])
        self._fed = stop
        self._check_head_size()
        if end < 0:
            return False
        self._begin_message(stop)
        return True

    def _skip_blank_lines(self) -> None:
        """Some clients end a body with an empty line that belongs to nothing (RFC 9112 2.2)."""
        if self._buffer[0] in b"\r\n":
            self._buffer = self._buffer.lstrip(b"\r\n")

    def _check_head_size(self) -> None:
        if len(self._message.target) > self._limits.target:
            raise BadRequestError(414, f"The request target is over {self._limits.target} bytes. Send a shorter one.")
        if self._fed > self._limits.head:
            raise BadRequestError(431, f"The request head is over {self._limits.head} bytes. Send fewer headers.")

    def _begin_message(self, stop: int) -> None:
        """The head is complete: it is the buffer until `stop`."""
        message = self._message
        if message.upgrading and not message.is_websocket:
            # Another protocol, such as h2c: it may be ignored (RFC 9110 7.8), but the parser would drop the body.
            self._message = message = Message()
            message.feed(_UPGRADE_HEADER.sub(b"", self._buffer[:stop]))
        del self._buffer[:stop]
        self._fed = 0
        message.check_head()
        if message.length > self._limits.body:
            raise self._too_large()
        self._pending = True

    def _read_body(self) -> bool:
        message = self._message
        if message.chunked:
            return self._read_chunks()
        length = message.length
        if len(self._buffer) < length:
            return False
        message.body += self._buffer[:length]
        del self._buffer[:length]
        return True

    def _read_chunks(self) -> bool:
        message = self._message
        while not message.complete:
            stop = _end_of_slice(self._buffer)
            if stop == 0:
                return False
            message.feed(bytes(self._buffer[:stop]))
            message.framing += stop
            del self._buffer[:stop]
            self._check_chunks()
        return True

    def _check_chunks(self) -> None:
        body = len(self._message.body)
        framing = self._message.framing - body
        # Chunk extensions and trailers are not kept, but they must not go on for ever either.
        if body > self._limits.body or framing > self._limits.head + _CHUNK_OVERHEAD * body:
            raise self._too_large()

    def _too_large(self) -> BadRequestError:
        return BadRequestError(413, f"The request body is over {self._limits.body} bytes. Send less at once.")


def _end_of_slice(buffer: bytearray) -> int:
    """How much of the buffer may go to the parser at once so that a chunked body cannot end inside of it.

    A chunked body ends with a line feed and an empty line. So slices end there, and never within such a sequence.
    """
    end = buffer.find(_END_OF_CHUNKS)
    if end >= 0:
        return end + len(_END_OF_CHUNKS)
    if buffer.endswith(_END_OF_CHUNKS[:2]):
        return len(buffer) - 2
    return len(buffer) - buffer.endswith(_END_OF_CHUNKS[:1])
