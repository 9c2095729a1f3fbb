"""What a request publishes: its events as they travel, what they cost, and what is answered. Nothing here waits."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from cluster import ChannelEvent, UserEvent
from node.api.routes import Route, Target, decode_user_id
from node.config.apps import App
from node.protocol.api_body import ApiEvent, EventLimits, decode_batch, decode_event, decode_user_event
from node.protocol.attributes import Attribute, counts_of
from node.protocol.channels import SERVER_TO_USER_PREFIX
from node.protocol.frames import encode_event

Asked = Sequence[tuple[str, Collection[Attribute]]]
"""Channels, each with what is asked of it."""

Counts = Mapping[str, int]
"""What is told of one channel, by the attributes' names."""


def read_events(app: App, target: Target, body: bytes) -> Sequence[ApiEvent]:
    """The events of a request, all of them valid. Raises `ApiError` 400 or 413."""
    limits = _limits_of(app.max_event_bytes, app.channel_name_limit, app.channels_per_event, app.events_per_batch)
    if target.route is Route.EVENTS:
        return (decode_event(body, limits),)
    if target.route is Route.BATCH_EVENTS:
        return decode_batch(body, limits)
    return (decode_user_event(body, decode_user_id(target.name), limits),)


@lru_cache(maxsize=1024)  # apps have few different limits
def _limits_of(data: int, channel_name: int, channels: int, batch: int) -> EventLimits:
    return EventLimits(data=data, channel_name=channel_name, channels=channels, batch=batch)


def cost_of(events: Sequence[ApiEvent]) -> int:
    """How much of the app's rate the events take: one for each channel of each.

    That is what they cost the node and what Pusher bills, and neither a batch nor a list of channels gets around it.
    """
    return sum(len(event.channels) for event in events)


def encode_events(app: App, events: Sequence[ApiEvent]) -> list[UserEvent | ChannelEvent]:
    """One message for each channel of each event, in order; each with its frame (protocol.md 3.2, 6.9)."""
    return [_encode(app.id, event, channel) for event in events for channel in event.channels]


def _encode(app_id: str, event: ApiEvent, channel: str) -> UserEvent | ChannelEvent:
    frame = encode_event(event.name, channel, event.data)
    if channel.startswith(SERVER_TO_USER_PREFIX):
        return UserEvent(app_id, channel[len(SERVER_TO_USER_PREFIX) :], frame, event.socket_id)
    return ChannelEvent(app_id, channel, frame, event.socket_id)


def wants_counts(events: Sequence[ApiEvent]) -> bool:
    """Whether the answer tells of the channels."""
    return any(event.info for event in events)


def asked_of(events: Sequence[ApiEvent]) -> Asked:
    """The channels of the events in their order, each with the counts that it has among those that its event asks for."""
    return [(channel, counts_of(event.info, channel)) for event in events for channel in event.channels]


def answer_with(route: Route, asked: Asked, counts: Sequence[Counts]) -> Mapping[str, object]:
    """The answer to events with `info`; `counts` are those of `asked`, in the same order (protocol.md 8.3)."""
    if route is Route.BATCH_EVENTS:
        return {"batch": counts}
    return {"channels": dict(zip((channel for channel, _ in asked), counts, strict=True))}
