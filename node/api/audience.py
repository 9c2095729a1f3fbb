"""Whom events reach and who is there: users and channels of the whole cluster, as the API needs them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from cluster import ChannelEvent, UserEvent
from node.config.apps import App


class Cached(Protocol):
    """The kept event of a cache channel; `ttl`: seconds that it will be kept, over 0."""

    @property
    def event(self) -> str:
        """Its name."""

    @property
    def data(self) -> str:
        """Exactly as it was published."""

    @property
    def ttl(self) -> float:
        """See above."""


class Audience(Protocol):
    """The cluster. Lookups answer from what nodes tell each other anyway: none waits for a node that is gone."""

    def publish(self, app: App, events: Sequence[UserEvent | ChannelEvent], done: Callable[[bool], None]) -> None:
        """Deliver the events of one request in their order, as a whole or not at all. Never raises.

        `done(True)` once that is under way, perhaps at once, also when nobody is there; `done(False)` when the cluster
        cannot be reached.
        """

    async def channels(self, app: App, prefix: str = "") -> Mapping[str, int]:
        """The occupied channels whose names begin with `prefix`, and their subscriptions. Raises `Unavailable`."""

    async def subscription_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """The subscriptions of each of these channels, 0 where there are none. Raises `Unavailable`."""

    async def user_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """The members of each of these presence channels, 0 where there are none. Raises `Unavailable`."""

    async def members(self, app: App, channel: str) -> Sequence[str]:
        """The user ids of a presence channel's members. Raises `Unavailable`."""

    async def cached(self, app: App, channel: str) -> Cached | None:
        """The kept event of a cache channel. Raises `Unavailable`."""

    async def terminate_user(self, app: App, user_id: str) -> int:
        """Close all connections signed in as the user; how many. Raises `Unavailable`."""

    async def count_user(self, app: App, user_id: str) -> int:
        """How many connections are signed in as the user. Raises `Unavailable`."""
