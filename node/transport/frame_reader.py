"""A client's WebSocket frames from bytes, however they are split (RFC 6455 5). Pure.

Theory of operation: `feed` returns what is complete: texts, and control frames, which may come between the fragments of
a text. A frame that is not complete stays in the buffer, untouched until the bytes it lacks are there, so that bytes
that come one at a time cost nothing more. Every limit is checked on a frame's head, before its payload is kept. Fragments
are joined as they come, so that a text costs its own bytes in however many it comes, and checked, so that one that is
broken is refused with the fragment that broke it (RFC 6455 8.1).

The first fault ends the reading: it is left in `fault`, after the events that came before it. Rules for whoever edits
this file: the path of a short unfragmented text is the hot path of the node; measure it.
"""

from codecs import utf_8_decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel with the C code for this platform
    from websockets.utils import apply_mask

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_CONTINUATION: Final = 0x0
_BINARY: Final = 0x2
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_LENGTH_IN_2_BYTES: Final = 126
_LONGEST_CONTROL: Final = 125
_FRAMING: Final = 32  # bytes on the wire that may frame one byte of the longest message

Event = tuple[int, Any]
"""Opcode and payload: TEXT with the text as a string, PING, PONG and CLOSE with the bytes."""

_unmask: Callable[[bytes, bytes], bytes] = apply_mask


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the connection has to close, and with which code (RFC 6455 7.4.1)."""

    code: int
    reason: str


_INCORRECT = Fault(1002, "this is not a correct WebSocket frame")
_NOT_UTF8 = Fault(1007, "text must be UTF-8")
_BINARY_REFUSED = Fault(1003, "binary messages are not supported")
_TOO_LONG = Fault(1009, "the message is too long")


class FrameReader:
    """Reads the frames of one client. `limit`: bytes of the longest message."""

    __slots__ = ("_buffer", "_checked", "_lacking", "_limit", "_text", "_wire", "fault")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer: bytes | bytearray = b""
        self._lacking = 0  # bytes that the buffered frame needs besides those in the buffer, as far as known
        self._text: bytearray | None = None  # the fragments so far, of a text that is not complete
        self._checked = 0  # how many of their bytes are whole characters
        self._wire = 0  # bytes that they took on the wire
        self.fault: Fault | None = None

    def feed(self, data: bytes) -> list[Event]:
        """What is complete with these bytes, in order. After a `fault` everything is ignored."""
        if self._buffer:
            if len(data) < self._lacking:
                if not isinstance(self._buffer, bytearray):  # appending to one is cheap, however long it takes
                    self._buffer = bytearray(self._buffer)
                self._buffer += data
                self._lacking -= len(data)
                return []
            data = bytes(self._buffer) + data
            self._buffer = b""
        events: list[Event] = []
        if self.fault is None:
            self._read_all(data, events)
        return events

    def forget(self) -> None:
        """Give up what is not complete: nothing more will be fed."""
        self._buffer, self._text = b"", None

    def _read_all(self, data: bytes, events: list[Event]) -> None:  # noqa: C901, PLR0911 - the hot path stays in one place
        start, end = 0, len(data)
        while start < end:
            if end - start < 2:
                return self._keep(data, start, 2)
            opcode, length = data[start], data[start + 1] - _MASKED
            if length < 0:
                self.fault = _INCORRECT
                return None
            body = start + 6
            if length > _LONGEST_CONTROL:
                body, length = self._read_long_head(data, start)
            if body > end:
                return self._keep(data, start, body - start)
            if opcode == _FINAL | TEXT and self._text is None and length <= self._limit and self.fault is None:
                stop = body + length
                if stop > end:
                    return self._keep(data, start, stop - start)
                try:
                    events.append((TEXT, _unmask(data[body:stop], data[body - 4 : body]).decode()))
                except UnicodeDecodeError:
                    self.fault = _NOT_UTF8
                    return None
                start = stop
                continue
            if self.fault or not self._admit(opcode, length, body - start):
                return None
            stop = body + length
            if stop > end:
                return self._keep(data, start, stop - start)
            self._take(opcode, _unmask(data[body:stop], data[body - 4 : body]), body - start, events)
            if self.fault:
                return None
            start = stop
        return None

    def _keep(self, data: bytes, start: int, needed: int) -> None:
        self._buffer = data[start:] if start else data
        self._lacking = needed - len(self._buffer)

    def _read_long_head(self, data: bytes, start: int) -> tuple[int, int]:
        """Where the payload begins, and its length; beyond the data if the head is not complete."""
        short = data[start + 1] == _MASKED | _LENGTH_IN_2_BYTES
        size, least = (2, _LENGTH_IN_2_BYTES) if short else (8, 1 << 16)
        body = start + 2 + size + 4
        if body > len(data):
            return body, 0
        length = int.from_bytes(data[start + 2 : start + 2 + size], "big")
        if not least <= length < 1 << 63:
            self.fault = _INCORRECT
        return body, length

    def _admit(self, first: int, length: int, head: int) -> bool:
        """Whether a frame with this head may come now; otherwise there is a fault."""
        final, opcode = first & _FINAL, first & ~_FINAL
        if opcode in {CLOSE, PING, PONG}:
            if not final or length > _LONGEST_CONTROL:
                self.fault = _INCORRECT
        elif opcode not in {_CONTINUATION, TEXT, _BINARY} or (opcode == _CONTINUATION) != (self._text is not None):
            self.fault = _INCORRECT
        elif opcode == _BINARY:
            self.fault = _BINARY_REFUSED
        elif len(self._text or b"") + length > self._limit or self._wire + head > _FRAMING * self._limit:
            self.fault = _TOO_LONG
        return self.fault is None

    def _take(self, first: int, payload: bytes, head: int, events: list[Event]) -> None:
        opcode = first & ~_FINAL
        if opcode in {PING, PONG}:
            events.append((opcode, payload))
        elif opcode == CLOSE:
            self.fault = _check_close(payload)
            if self.fault is None:
                events.append((CLOSE, payload))
        else:
            self._join(payload, head, events, final=bool(first & _FINAL))

    def _join(self, payload: bytes, head: int, events: list[Event], *, final: bool) -> None:
        text = bytearray() if self._text is None else self._text
        text += payload
        try:
            self._checked += utf_8_decode(text[self._checked :], "strict", final)[1]
        except UnicodeDecodeError:
            self.fault = _NOT_UTF8
            return
        self._text = text
        self._wire += head + len(payload)
        if final:
            self._text, self._checked, self._wire = None, 0, 0
            events.append((TEXT, text.decode()))


def _check_close(payload: bytes) -> Fault | None:
    """What is wrong with the payload of a close frame (RFC 6455 5.5.1, 7.4). No client is the gateway that 1014 is for."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1013 or 3000 <= code <= 4999):
        return _INCORRECT
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return _NOT_UTF8
    return None
