"""Server to client: complete WebSocket frames, encoded once and offered to many.

A server's frames are unmasked (RFC 6455 5.1), so the same bytes serve every receiver. `data` is a JSON
*string* in every message but four: `pusher:error`, `pusher:ping`, `pusher:pong` and `pusher:signin_success`
carry objects (protocol.md 1.5, 6.9); real clients break on anything else. Texts must be encodable as UTF-8,
which everything that this package decoded is.
"""

from collections.abc import Sequence

import msgspec

_FINAL_TEXT = 0x81
_LENGTH_IN_2_BYTES = 126
_LENGTH_IN_8_BYTES = 127

_encode_json = msgspec.json.Encoder().encode

PING = b"\x89\x00"
"""An empty WebSocket ping: the probe for clients that speak RFC 6455, which all do (protocol.md 1.3)."""


class _Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    event: str
    channel: str
    data: str
    user_id: str | None = None


def encode_text(text: str | bytes) -> bytes:
    """One final text frame around `text`, which as bytes must be UTF-8 already."""
    payload = text.encode() if isinstance(text, str) else text
    return _encode_head(len(payload)) + payload


def _encode_head(length: int) -> bytes:
    """A final text frame's head with the shortest length field that holds `length` (RFC 6455 5.2)."""
    if length < _LENGTH_IN_2_BYTES:
        return bytes((_FINAL_TEXT, length))
    if length < 1 << 16:
        return bytes((_FINAL_TEXT, _LENGTH_IN_2_BYTES)) + length.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, _LENGTH_IN_8_BYTES)) + length.to_bytes(8, "big")


_ESTABLISHED = r'{"event":"pusher:connection_established","data":"{\"socket_id\":\"%s\",\"activity_timeout\":%d}"}'
PING_EVENT = encode_text(b'{"event":"pusher:ping","data":{}}')
PONG_EVENT = encode_text(b'{"event":"pusher:pong","data":{}}')


def encode_connection_established(socket_id: str, activity_timeout: int) -> bytes:
    """The first frame of a connection (protocol.md 1.2). `activity_timeout`: seconds, at least 1.

    Nothing in a socket id or a number needs escaping, so the text is put together: 3 µs less for each connection.
    """
    return encode_text(_ESTABLISHED % (socket_id, activity_timeout))


def encode_error(code: int | None, message: str) -> bytes:
    """`pusher:error` (protocol.md 1.5). Takes any message, as it may repeat a peer's text."""
    readable = message.encode(errors="replace").decode()
    return _encode_message("pusher:error", {"code": code, "message": readable})


def encode_signin_success(user_data: str) -> bytes:
    """The answer to a sign-in: the very `user_data` that was received (protocol.md 2.4)."""
    return _encode_message("pusher:signin_success", {"user_data": user_data})


def encode_watchlist_events(offline: Sequence[str], online: Sequence[str]) -> bytes:
    """Changes of watched users in one frame, offline first, empty elements left out (protocol.md 4).

    Ids keep the order that is given. With nothing to tell, send no frame.
    """
    changes = (("offline", offline), ("online", online))
    events = [{"name": name, "user_ids": user_ids} for name, user_ids in changes if user_ids]
    return _encode_message("pusher_internal:watchlist_events", _encode_json({"events": events}).decode())


def encode_subscription_succeeded(channel: str) -> bytes:
    """The answer to a subscribe outside presence channels; clients need this `data` (protocol.md 6.3)."""
    return encode_event("pusher_internal:subscription_succeeded", channel, "{}")


def encode_event(event: str, channel: str, data: str, user_id: str | None = None) -> bytes:
    """An event of a channel with exactly the publisher's `data` (protocol.md 3.2, 6.9).

    `user_id` is for client events on presence channels only.
    """
    return encode_text(_encode_json(_Event(event, channel, data, user_id)))


def _encode_message(event: str, data: object) -> bytes:
    return encode_text(_encode_json({"event": event, "data": data}))
