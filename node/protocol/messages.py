"""Client to server: one JSON text becomes one `Message`, or a `ProtocolError` without a code.

`data` of the `pusher:*` commands may be an object or a JSON string of one (protocol.md 1.6). Values that
are only passed on stay in their wire form, so that nothing is decoded and encoded again. A message is all
that a client says, not what it may do: signatures, channel names and subscriptions are checked by whoever
receives it.

To add a command: a frozen Struct with its parameters, a line in `_COMMANDS`, and the name in `Message`.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from node.protocol.decoding import UNREADABLE, is_json_string, text_of
from node.protocol.errors import ProtocolError

_ABSENT = msgspec.Raw()
_MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
PING_TEXT = '{"event":"pusher:ping","data":{}}'
"""The ping as pusher-js writes it."""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """`pusher:ping`: answer `frames.PONG_EVENT` (protocol.md 1.3)."""


class Pong(msgspec.Struct, frozen=True, gc=False):
    """`pusher:pong`: the peer lives; no answer."""


class SignIn(msgspec.Struct, frozen=True, gc=False):
    """`pusher:signin` (protocol.md 2): check the signature, then read `user_data`."""

    auth: str
    user_data: str


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """`pusher:subscribe` (protocol.md 6.2). An absent and an empty `channel_data` are signed differently."""

    channel: str
    auth: str | None = None
    channel_data: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """`pusher:unsubscribe`: no acknowledgement (protocol.md 6.8)."""

    channel: str


class ClientEvent(msgspec.Struct, frozen=True, gc=False):
    """A `client-*` event; `data` is the text to pass on, a `user_id` was dropped (protocol.md 7)."""

    event: str
    channel: str
    data: str


class UnknownEvent(msgspec.Struct, frozen=True, gc=False):
    """Any other event: refuse it by name (protocol.md 1.5)."""

    event: str


Message = Ping | Pong | SignIn | Subscribe | Unsubscribe | ClientEvent | UnknownEvent


class _Envelope(msgspec.Struct, gc=False):
    event: str
    data: msgspec.Raw = _ABSENT
    channel: msgspec.Raw = _ABSENT


_PING = Ping()
_PONG = Pong()
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_COMMANDS: Mapping[str, Callable[[str | msgspec.Raw], Message]] = {
    "pusher:signin": msgspec.json.Decoder(SignIn).decode,
    "pusher:subscribe": msgspec.json.Decoder(Subscribe).decode,
    "pusher:unsubscribe": msgspec.json.Decoder(Unsubscribe).decode,
}


def decode_message(text: str) -> Message:
    """What a client says. Any text is a message or raises `ProtocolError(None, …)` (protocol.md 1.5, 1.6)."""
    if text == PING_TEXT:
        return _PING
    envelope = _read_envelope(text)
    event = envelope.event
    if (decode := _COMMANDS.get(event)) is not None:
        return _read_command(event, decode, envelope.data)
    if event.startswith("client-"):
        return _read_client_event(envelope)
    if event == "pusher:pong":
        return _PONG
    return _PING if event == "pusher:ping" else UnknownEvent(event)


def _read_envelope(text: str) -> _Envelope:
    try:
        return _decode_envelope(text)
    except UNREADABLE:
        raise ProtocolError(None, "Invalid message: expected a JSON object with a string `event`") from None


def _read_command(event: str, decode: Callable[[str | msgspec.Raw], Message], data: msgspec.Raw) -> Message:
    if not len(data):
        raise ProtocolError(None, "Missing parameter: data")
    try:
        return decode(text_of(data) if is_json_string(data) else data)
    except msgspec.ValidationError as error:
        raise ProtocolError(None, _explain(event, error)) from None
    except UNREADABLE:
        raise ProtocolError(None, f"Invalid data of {event}: expected a JSON object, or a string of one") from None


def _explain(event: str, error: msgspec.ValidationError) -> str:
    """The error in the protocol's words. msgspec names fields and types, never values."""
    missing = _MISSING_FIELD.search(str(error))
    return f"Missing parameter: data.{missing[1]}" if missing else f"Invalid data of {event}: {error}"


def _read_client_event(envelope: _Envelope) -> ClientEvent:
    if not (len(envelope.data) and is_json_string(envelope.channel)):
        raise ProtocolError(None, "Invalid client event (must contain channel and data)")
    try:
        return ClientEvent(envelope.event, text_of(envelope.channel), text_of(envelope.data))
    except UNREADABLE:
        raise ProtocolError(None, "Invalid client event (channel and data must be valid Unicode)") from None
