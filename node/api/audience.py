"""Whom an event reaches: users by their own channels, and the subscribers of ordinary channels.

This is where publishing to ordinary channels plugs in: `split` says which channels of an event they are.
Until nodes accept subscriptions to ordinary channels, nobody can be subscribed to one anywhere, so an event
for it is valid, is accepted, and has nobody to go to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster import UserEvent
from node.config.apps import App
from node.protocol.api_body import ApiEvent
from node.protocol.channels import server_to_user_channel, server_to_user_id
from node.protocol.frames import encode_event


class Users(Protocol):
    """The users of the whole cluster, as the API needs them."""

    def publish(self, app: App, events: Sequence[UserEvent], done: Callable[[bool], None]) -> None:
        """Deliver events, in their order, to all connections signed in as their users.

        `done(True)` once that is under way, perhaps at once; `done(False)` if the cluster cannot be reached.
        """

    async def terminate_user(self, app: App, user_id: str) -> int:
        """Close all connections signed in as the user; how many. Raises `Unavailable`."""

    async def count_user(self, app: App, user_id: str) -> int:
        """How many connections are signed in as the user. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Audience:
    """The channels of one event, apart: ids of users, and names of ordinary channels, in the event's order."""

    user_ids: tuple[str, ...]
    channels: tuple[str, ...]


def split(event: ApiEvent) -> Audience:
    """Tell users' channels from ordinary ones."""
    owners = {channel: server_to_user_id(channel) for channel in event.channels}
    return Audience(
        user_ids=tuple(owner for owner in owners.values() if owner is not None),
        channels=tuple(channel for channel, owner in owners.items() if owner is None),
    )


def encode_for_users(app: App, event: ApiEvent) -> Iterator[UserEvent]:
    """The frames of an event for the users it names, each on the user's own channel (protocol.md 3.2)."""
    for user_id in split(event).user_ids:
        frame = encode_event(event.name, server_to_user_channel(user_id), event.data)
        yield UserEvent(app.id, user_id, frame, event.socket_id)
