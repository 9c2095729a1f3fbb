"""Server to client: complete WebSocket frames, encoded once and offered to many.

A server's frames are unmasked (RFC 6455 5.1), so the same bytes serve every receiver. `data` is a JSON
*string* in every message but five: `pusher:error`, `pusher:ping`, `pusher:pong`, `pusher:signin_success` and
`pusher:subscription_error` carry objects (protocol.md 1.5, 6.9); real clients break on anything else. Texts
must be encodable as UTF-8, which everything that this package decoded is.
"""

from collections.abc import Mapping, Sequence

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


_decode_event = msgspec.json.Decoder(_Event).decode


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


def encode_presence_succeeded(channel: str, members: Mapping[str, str]) -> bytes:
    """The answer to a subscribe to a presence channel (protocol.md 6.3).

    `members`: user id to `user_info` as JSON text, the new one included.
    """
    presence = {"ids": list(members), "hash": _raw_values(members), "count": len(members)}
    return encode_event("pusher_internal:subscription_succeeded", channel, _json_text({"presence": presence}))


def encode_subscription_error(channel: str, kind: str, message: str, status: int) -> bytes:
    """A refused subscription, for the channel's own handlers; `pusher:error` follows (protocol.md 6.4)."""
    readable = message.encode(errors="replace").decode()
    data = {"type": kind, "error": readable, "status": status}
    return encode_text(_encode_json({"event": "pusher:subscription_error", "channel": channel, "data": data}))


def encode_member_added(channel: str, user_id: str, info: str) -> bytes:
    """A user came to a presence channel (protocol.md 6.5). `info`: `user_info` as JSON text."""
    data = _json_text({"user_id": user_id, "user_info": msgspec.Raw(info.encode())})
    return encode_event("pusher_internal:member_added", channel, data)


def encode_member_removed(channel: str, user_id: str) -> bytes:
    """A user's last connection left a presence channel (protocol.md 6.5)."""
    return encode_event("pusher_internal:member_removed", channel, _json_text({"user_id": user_id}))


def encode_cache_miss(channel: str) -> bytes:
    """There is no last event of a cache channel (protocol.md 6.6)."""
    return encode_event("pusher:cache_miss", channel, "{}")


def encode_subscription_count(channel: str, count: int) -> bytes:
    """How many subscriptions a channel has in the cluster (protocol.md 6.7)."""
    return encode_event("pusher_internal:subscription_count", channel, _json_text({"subscription_count": count}))


def encode_event(event: str, channel: str, data: str, user_id: str | None = None) -> bytes:
    """An event of a channel with exactly the publisher's `data` (protocol.md 3.2, 6.9).

    `user_id` is for client events on presence channels only.
    """
    return encode_text(_encode_json(_Event(event, channel, data, user_id)))


def decode_event(frame: bytes) -> tuple[str, str]:
    """Name and `data` of an event that `encode_event` encoded."""
    head = {_LENGTH_IN_2_BYTES: 4, _LENGTH_IN_8_BYTES: 10}.get(frame[1], 2)
    event = _decode_event(memoryview(frame)[head:])
    return event.event, event.data


def _encode_message(event: str, data: object) -> bytes:
    return encode_text(_encode_json({"event": event, "data": data}))


def _json_text(value: object) -> str:
    return _encode_json(value).decode()


def _raw_values(texts: Mapping[str, str]) -> dict[str, msgspec.Raw]:
    """JSON texts as values that are not encoded again."""
    return {key: msgspec.Raw(text.encode()) for key, text in texts.items()}
