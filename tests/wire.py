"""A client that speaks WebSocket and HTTP in raw bytes, correctly or not, as a test wants it.

It shares no code with the node, so that both cannot be wrong in the same way.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import trio

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to KEY (RFC 6455 1.3)."""

_MASK = b"\x37\xfa\x21\x3d"
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the server."""

    opcode: int
    payload: bytes
    final: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The text of an error."""
        error = json.loads(self.body)["error"]
        assert isinstance(error, str)
        return error


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, mask: bytes | None = _MASK) -> bytes:
    """A client's frame. `reserved`: the three reserved bits as a number; without a mask it breaks the protocol."""
    length = len(payload)
    flag = 0 if mask is None else 0x80
    head = bytes((final << 7 | reserved << 4 | opcode,))
    if length < 126:
        head += bytes((flag | length,))
    elif length < 1 << 16:
        head += bytes((flag | 126,)) + length.to_bytes(2, "big")
    else:
        head += bytes((flag | 127,)) + length.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A client's close frame; without a code its payload is empty."""
    return masked(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def upgrade_head(target: str = "/app/key?protocol=7", *headers: str, key: str = KEY) -> bytes:
    """The head of a request for a WebSocket."""
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: node.example",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    """An HTTP request; with a body it has a Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: node.example", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class WireClient:
    """One connection. Everything that waits gives up after ten seconds."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        with trio.fail_after(_PATIENCE):
            await self.stream.send_all(data)

    async def send_bytewise(self, data: bytes) -> None:
        """Send these bytes one at a time."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])

    async def send_text(self, text: str) -> None:
        """Send one text message in one frame."""
        await self.send(masked(TEXT, text.encode()))

    async def upgrade(self, target: str = "/app/key?protocol=7", *headers: str) -> Response:
        """Become a WebSocket."""
        await self.send(upgrade_head(target, *headers))
        response = await self.read_response(informational=True)
        assert response.status == 101
        return response

    async def read_frame(self) -> Frame:
        """The next frame, which the server may not mask."""
        first, second = await self._read_exactly(2)
        assert not second & 0x80, "a server's frames are not masked"
        assert not first & 0x70, "no extension was agreed on"
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self._read_exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self._read_exactly(8), "big")
        return Frame(first & 0x0F, await self._read_exactly(length), bool(first & 0x80))

    async def read_text(self) -> str:
        """The next frame, which must be a whole text."""
        frame = await self.read_frame()
        assert frame.opcode == TEXT, frame
        assert frame.final
        return frame.payload.decode()

    async def read_close(self) -> tuple[int | None, str]:
        """The next frame, which must be a close frame: code and reason."""
        frame = await self.read_frame()
        assert frame.opcode == CLOSE, frame
        assert len(frame.payload) <= 125
        if not frame.payload:
            return None, ""
        return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()

    async def read_response(self, *, head: bool = False, informational: bool = False) -> Response:
        """The next HTTP response; `head`: it has no body. 100 Continue and 101 need `informational`."""
        lines = (await self._read_head()).decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        fields = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        if informational and status.startswith("1"):
            return Response(int(status), headers, b"")
        length = 0 if head else int(headers["content-length"])
        return Response(int(status), headers, await self._read_exactly(length))

    async def read_end(self) -> None:
        """The stream must end here, cleanly or not."""
        assert not self._buffer, self._buffer
        try:
            with trio.fail_after(_PATIENCE):
                assert await self.stream.receive_some() == b""
        except trio.BrokenResourceError:
            pass

    async def aclose(self) -> None:
        """Go away without a word."""
        await trio.aclose_forcefully(self.stream)

    async def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            await self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    async def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._read()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def _read(self) -> None:
        with trio.fail_after(_PATIENCE):
            data = await self.stream.receive_some()
        assert data, f"the stream ended after {self._buffer!r}"
        self._buffer += bytes(data)
