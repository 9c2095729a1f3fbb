"""Webhook events: what a backend is told, encoded once (protocol.md 9). Pure.

Receivers are official SDKs, and strict ones: every event has a `channel` (PHP reads it of each), and `user_id`, `data` and
`socket_id` are strings (Go refuses the whole request otherwise).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from node.config.webhooks import EventName
from node.protocol.channels import server_to_user_channel

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `encoded` is its JSON object, as it stands in a request's `events`."""

    name: EventName
    app: str
    channel: str
    encoded: bytes


class Kind(Enum):
    """What can begin and end in a cluster."""

    CHANNEL = "channel"
    MEMBER = "member"
    USER = "user"


NAMES: Final[Mapping[Kind, tuple[EventName, EventName]]] = {
    Kind.CHANNEL: ("channel_occupied", "channel_vacated"),
    Kind.MEMBER: ("member_added", "member_removed"),
    Kind.USER: ("user_online", "user_offline"),
}
"""The events that tell the beginning and the end."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A channel is occupied, a user is a channel's member, or is online (`channel` is the user's own)."""

    kind: Kind
    app: str
    channel: str
    user: str = ""

    def name(self, *, begins: bool) -> EventName:
        """The event that tells the beginning, or the end."""
        begin, end = NAMES[self.kind]
        return begin if begins else end

    def event(self, *, begins: bool, sequence: int) -> Event:
        """The event itself. `sequence` is told of users only."""
        fields: dict[str, str | int] = {}
        if self.kind is not Kind.CHANNEL:
            fields["user_id"] = self.user
        if self.kind is Kind.USER:
            fields["sequence"] = sequence
        return _event(self.app, self.name(begins=begins), self.channel, fields)


def user_fact(app: str, user: str) -> Fact:
    """That a user is online."""
    return Fact(Kind.USER, app, server_to_user_channel(user), user)


def client_event(  # noqa: PLR0913, PLR0917 - the fields of the event
    app: str, channel: str, event: str, data: str, socket_id: str, user_id: str | None
) -> Event:
    """A client sent an event that was accepted. `user_id`: on presence channels only."""
    fields = {"event": event, "data": data, "socket_id": socket_id}
    return _event(app, "client_event", channel, fields | ({} if user_id is None else {"user_id": user_id}))


def cache_miss(app: str, channel: str) -> Event:
    """Somebody subscribed to an empty cache channel."""
    return _event(app, "cache_miss", channel, {})


def subscription_count(app: str, channel: str, count: int) -> Event:
    """A channel has so many subscriptions now."""
    return _event(app, "subscription_count", channel, {"subscription_count": count})


def _event(app: str, name: EventName, channel: str, fields: Mapping[str, str | int]) -> Event:
    return Event(name, app, channel, _encode({"name": name, "channel": channel, **fields}))
