"""What an HTTP request publishes: the JSON bodies of the three routes for events (protocol.md 8.3, 3.3).

`data` is passed on byte for byte: a string's content, or the JSON text of any other value, which raw HTTP
callers send. It is a payload, so it is never looked into, and an empty one is legal. Its size is that of
its UTF-8. Errors of types and of missing fields are msgspec's words, which name the field and its place in
the body.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from node.protocol.attributes import split_info
from node.protocol.channels import is_valid_channel, kind_of, server_to_user_channel
from node.protocol.decoding import UNREADABLE, text_of
from node.protocol.errors import ApiError, excerpt

RESERVED_PREFIXES = ("pusher:", "pusher_internal:")
SOCKET_ID = r"[0-9]{1,20}\.[0-9]{1,20}"

_is_socket_id = re.compile(SOCKET_ID).fullmatch


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How much one request may hold: characters of names, bytes of `data`, channels, events of a batch."""

    name: int = 200
    data: int = 10240
    channel_name: int = 200
    channels: int = 100
    batch: int = 10


DEFAULT_LIMITS = EventLimits()


class ApiEvent(msgspec.Struct, frozen=True):
    """An event to publish. `channels` are valid and distinct; `info`: attributes of them for the answer.

    `socket_id` is the one connection, on whatever node, that shall not receive it (protocol.md 8.4).
    """

    name: str
    data: str
    channels: tuple[str, ...]
    socket_id: str | None = None
    info: tuple[str, ...] = ()


class UserEventBody(msgspec.Struct):
    """The body of `/users/{user}/events`."""

    name: str
    data: msgspec.Raw
    socket_id: str | None = None


class EventBody(UserEventBody):
    """The body of `/events`."""

    channel: str | None = None
    channels: list[str] | None = None
    info: str | None = None


class BatchedBody(UserEventBody, kw_only=True):
    """One event in the body of `/batch_events`."""

    channel: str
    info: str | None = None


class BatchBody(msgspec.Struct):
    """The body of `/batch_events`."""

    batch: list[BatchedBody]


_Body = TypeVar("_Body")

_event_decoder = msgspec.json.Decoder(EventBody)
_user_event_decoder = msgspec.json.Decoder(UserEventBody)
_batch_decoder = msgspec.json.Decoder(BatchBody)


def decode_event(body: bytes, limits: EventLimits = DEFAULT_LIMITS) -> ApiEvent:
    """The body of `/events`. Raises `ApiError` 400, or 413 when `data` is too long."""
    event = _decode(_event_decoder, body)
    channels = _read_channels(_named_channels(event), limits)
    return _read_common(event, channels, split_info(event.info), limits)


def decode_batch(body: bytes, limits: EventLimits = DEFAULT_LIMITS) -> tuple[ApiEvent, ...]:
    """The body of `/batch_events`: every event of it is valid, or `ApiError` 400 or 413 is raised."""
    batch = _decode(_batch_decoder, body).batch
    if len(batch) > limits.batch:
        raise ApiError(400, f"Too many events: a batch may hold {limits.batch}, this one has {len(batch)}")
    return tuple(_read_batched(number, event, limits) for number, event in enumerate(batch))


def decode_user_event(body: bytes, user_id: str, limits: EventLimits = DEFAULT_LIMITS) -> ApiEvent:
    """The body of `/users/{user_id}/events`, as an event on that user's channel; raises like the others."""
    event = _decode(_user_event_decoder, body)
    return _read_common(event, (server_to_user_channel(user_id),), (), limits)


def _decode(decoder: msgspec.json.Decoder[_Body], body: bytes) -> _Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"Invalid body: {error}") from None
    except UNREADABLE:
        raise ApiError(400, "Invalid body: expected a JSON object in UTF-8") from None


def _read_batched(number: int, event: BatchedBody, limits: EventLimits) -> ApiEvent:
    try:
        channels = _read_channels([event.channel], limits)
        return _read_common(event, channels, split_info(event.info), limits)
    except ApiError as error:
        raise ApiError(error.status, f"batch[{number}]: {error.message}") from None


def _read_common(event: UserEventBody, channels: tuple[str, ...], info: tuple[str, ...], limits: EventLimits) -> ApiEvent:
    _check_name(event.name, limits.name)
    _check_socket_id(event.socket_id)
    return ApiEvent(event.name, _read_data(event.data, limits.data), channels, event.socket_id, info)


def _check_name(name: str, limit: int) -> None:
    if not 1 <= len(name) <= limit:
        raise ApiError(400, f"Invalid event name: it must have 1 to {limit} characters, not {len(name)}")
    if name.startswith(RESERVED_PREFIXES):
        raise ApiError(400, "Invalid event name: `pusher:` and `pusher_internal:` are reserved")


def _check_socket_id(socket_id: str | None) -> None:
    if socket_id is not None and not _is_socket_id(socket_id):
        given = excerpt(socket_id, 50)
        raise ApiError(400, f"Invalid socket_id '{given}': it must be two numbers with a dot between them")


def _read_data(data: msgspec.Raw, limit: int) -> str:
    try:
        text = text_of(data)
    except UNREADABLE:
        raise ApiError(400, "Invalid data: it must be valid Unicode") from None
    if len(text) * 4 > limit and len(text.encode()) > limit:
        allowed = f"The data content of this event exceeds the allowed maximum ({limit} bytes)"
        raise ApiError(413, f"{allowed}. Send less, or a link to it")
    return text


def _named_channels(event: EventBody) -> Sequence[str]:
    """What an event of its own names; `channels` wins over `channel`."""
    if event.channels is not None:
        return event.channels
    return () if event.channel is None else (event.channel,)


def _read_channels(names: Sequence[str], limits: EventLimits) -> tuple[str, ...]:
    """The distinct channels of an event, all of them valid."""
    channels = tuple(dict.fromkeys(names))
    if not channels:
        raise ApiError(400, "Missing channel: name one in `channel`, or several in `channels`")
    if len(channels) > limits.channels:
        message = f"Too many channels: one event may go to {limits.channels}, this one has {len(channels)}"
        raise ApiError(400, message)
    for channel in channels:
        if not is_valid_channel(channel, limits.channel_name):
            raise _invalid_channel(channel, limits.channel_name)
    if len(channels) > 1 and any(kind_of(channel).is_encrypted for channel in channels):
        raise ApiError(400, "An event for an encrypted channel goes to that channel alone: send one request each")
    return channels


def _invalid_channel(channel: str, limit: int) -> ApiError:
    allowed = f"letters, digits and _-=@,.; up to {limit} characters, or #server-to-user-<id>"
    return ApiError(400, f"Invalid channel name '{excerpt(channel, 200)}': a name is made of {allowed}")
