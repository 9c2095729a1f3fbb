"""The bytes that load clients send, made before anything is measured. Pure.

Frames of clients must be masked (RFC 6455 5.3). The mask here is four zero bytes: it is legal, the server's work is the
same, and the payload can be written as it is.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ESTABLISHED = b"pusher:connection_established"
PONG = b"pusher:pong"
SIGNED_IN = b"pusher:signin_success"
SUBSCRIBED = b"subscription_succeeded"
WATCHLIST = b"watchlist_events"
ERROR = b"pusher:error"

EVENT_NAME = "bench-event"
EVENT = EVENT_NAME.encode()

TEXT, CLOSE = 1, 8
"""Opcodes of frames."""

WS_PONG = b"\x8a\x80\0\0\0\0"
"""Answers an empty WebSocket ping, which keeps idle connections open."""


@dataclass(frozen=True, slots=True)
class App:
    """The app that the load is for."""

    id: str
    key: str
    secret: str

    def sign(self, text: str) -> str:
        """Lowercase hex HMAC-SHA256, as backends make it."""
        return hmac.digest(self.secret.encode(), text.encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node takes clients. `prefix` stands before `/app` and `/apps`."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""


def encode_handshake(address: Address, app: App) -> bytes:
    """The request for a WebSocket."""
    return (
        f"GET {address.prefix}/app/{app.key}?protocol=7&client=bench&version=1.0&flash=false HTTP/1.1\r\n"
        f"Host: {address.host}:{address.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def encode_text(text: str) -> bytes:
    """A text frame of a client."""
    payload = text.encode()
    length = len(payload)
    short = bytes((0x81, 0x80 | length)) if length < 126 else b""
    return (short or b"\x81\xfe" + length.to_bytes(2, "big")) + b"\0\0\0\0" + payload


def encode_from_server(text: str) -> bytes:
    """A text frame of a server."""
    payload = text.encode()
    length = len(payload)
    return (bytes((0x81, length)) if length < 126 else b"\x81\x7e" + length.to_bytes(2, "big")) + payload


PING = encode_text('{"event":"pusher:ping","data":{}}')


def encode_sign_in(app: App, socket_id: str, user: str, watchlist: Sequence[str] = ()) -> bytes:
    """A user's sign-in, signed for the connection."""
    data: dict[str, object] = {"id": user, "user_info": {"name": f"Name of {user}"}}
    if watchlist:
        data["watchlist"] = list(watchlist)
    user_data = json.dumps(data, separators=(",", ":"))
    auth = f"{app.key}:{app.sign(f'{socket_id}::user::{user_data}')}"
    return encode_text(json.dumps({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))


def encode_subscribe(channel: str) -> bytes:
    """A subscription that needs no signature."""
    return encode_text(json.dumps({"event": "pusher:subscribe", "data": {"auth": "", "channel": channel}}))


def user_channel(user: str) -> str:
    """Where a user's own events come."""
    return f"#server-to-user-{user}"


def encode_request(address: Address, app: App, path: str, body: dict[str, object], now: float) -> bytes:
    """A signed request to the HTTP API, below `/apps/<id>`; servers take it for ten minutes from `now` (unix time)."""
    content = json.dumps(body, separators=(",", ":")).encode()
    target = f"/apps/{app.id}{path}"
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    query = f"auth_key={app.key}&auth_timestamp={int(now)}&auth_version=1.0&body_md5={digest}"
    signature = app.sign(f"POST\n{target}\n{query}")
    return (
        f"POST {address.prefix}{target}?{query}&auth_signature={signature} HTTP/1.1\r\n"
        f"Host: {address.host}:{address.port}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def event_text(channel: str, data: str) -> str:
    """An event as clients get it."""
    return json.dumps({"event": EVENT_NAME, "channel": channel, "data": data}, separators=(",", ":"))


def encode_event(address: Address, app: App, channel: str, data: str, now: float) -> bytes:
    """A request that sends one event to one channel."""
    return encode_request(address, app, "/events", {"name": EVENT_NAME, "data": data, "channels": [channel]}, now)


def encode_termination(address: Address, app: App, user: str, now: float) -> bytes:
    """A request that terminates a user, whose id needs no escapes."""
    return encode_request(address, app, f"/users/{user}/terminate_connections", {}, now)


def frames_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The opcode and payload of each whole frame of a server that begins `data`."""
    start = 0
    while end := _end_of_frame(data, start):
        wide = {126: 2, 127: 8}.get(data[start + 1], 0)
        yield data[start] & 15, data[start + 2 + wide : end]
        start = end


def count_frames(data: bytes) -> tuple[int, int]:
    """How many whole frames of a server begin `data`, and how many bytes they take."""
    start, frames = 0, 0
    while end := _end_of_frame(data, start):
        frames, start = frames + 1, end
    return frames, start


def _end_of_frame(data: bytes, start: int) -> int:
    """Where the frame that begins at `start` ends; 0 if it is not whole."""
    size = len(data)
    if start + 2 > size:
        return 0
    length = data[start + 1]
    end = start + 2 + length
    if length > 125:
        wide = 2 if length == 126 else 8
        if start + 2 + wide > size:
            return 0
        end = start + 2 + wide + int.from_bytes(data[start + 2 : start + 2 + wide], "big")
    return end if end <= size else 0
