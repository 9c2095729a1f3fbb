"""Everybody in the cluster whom an app's server can reach or ask about: what the HTTP API is made of.

What is asked is answered from shards of the presence directory: the first look follows a shard, later ones find it followed
still. So nobody asks all nodes and waits.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from cluster import BusAwayError, ChannelEvent, Member, UserEvent
from node.channels import Channels
from node.config.apps import App
from node.fanout import Fanout
from node.protocol.channels import kind_of
from node.protocol.frames import decode_event
from node.users import Unavailable, Users


@dataclass(frozen=True, slots=True)
class Cached:
    """The kept event of a cache channel. `ttl`: seconds that it will be kept."""

    event: str
    data: str
    ttl: float


class Audience:
    """Users and channels of the whole cluster. Set `member` before anything else."""

    member: Member

    def __init__(self, users: Users, channels: Channels, fanout: Fanout) -> None:
        self._users = users
        self._channels = channels
        self._fanout = fanout
        self.terminate_user = users.terminate_user
        self.count_user = users.count_user

    def publish(self, app: App, events: Sequence[UserEvent | ChannelEvent], done: Callable[[bool], None]) -> None:
        """Deliver the events of one request in order, here and elsewhere: as a whole or not at all.

        `done(True)`, perhaps at once: it is under way. `done(False)`: the bus is away, or this node is far behind already;
        nobody here was told, so that a retry does not arrive twice.
        """
        if self._fanout.is_full:
            done(False)
            return
        kept = [_keep(app, event) for event in events]

        def deliver(carried: bool) -> None:
            if carried:
                self._deliver(kept)
            done(carried)

        self.member.send_events(kept, deliver)

    def _deliver(self, events: Iterable[UserEvent | ChannelEvent]) -> None:
        for event in events:
            if isinstance(event, UserEvent):
                self._users.receive_event(event.app, event.user, event.frame, event.except_socket_id)
            else:
                self._channels.receive_event(event)

    async def channels(self, app: App, prefix: str = "") -> Mapping[str, int]:
        """The occupied channels whose names begin so, and their subscriptions. Raises `Unavailable`."""
        await self._look(self.member.all_count_shards(app.id))
        return {name: count for name, count in self.member.channels(app.id) if name.startswith(prefix)}

    async def subscription_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """The subscriptions of each of these channels. Raises `Unavailable`."""
        await self._look({self.member.count_shard(app.id, channel) for channel in channels})
        return {channel: self.member.count_of(app.id, channel) for channel in channels}

    async def user_counts(self, app: App, channels: Collection[str]) -> Mapping[str, int]:
        """The members of each of these presence channels. Raises `Unavailable`."""
        await self._look({self.member.member_shard(app.id, channel) for channel in channels})
        return {channel: len(self.member.members(app.id, channel)) for channel in channels}

    async def members(self, app: App, channel: str) -> Sequence[str]:
        """The user ids of a presence channel's members. Raises `Unavailable`."""
        await self._look({self.member.member_shard(app.id, channel)})
        return list(self.member.members(app.id, channel))

    async def cached(self, app: App, channel: str) -> Cached | None:
        """The kept event of a cache channel. Raises `Unavailable`."""
        if not self.member.connected:
            raise Unavailable("the bus is away")
        came = trio.Event()
        answers: list[tuple[bytes | None, float]] = []

        def done(frame: bytes | None, ttl: float) -> None:
            answers.append((frame, ttl))
            came.set()

        self.member.recall(app.id, channel, done)
        await came.wait()
        if not self.member.connected:
            raise Unavailable("the bus went away while the keepers were asked")
        frame, ttl = answers[0]
        return None if frame is None else Cached(*decode_event(frame), ttl)

    async def _look(self, shards: Collection[str]) -> None:
        try:
            await self.member.look(shards)
        except BusAwayError as error:
            raise Unavailable(str(error)) from error


def _keep(app: App, event: UserEvent | ChannelEvent) -> UserEvent | ChannelEvent:
    """The event with what cache channels need."""
    if isinstance(event, ChannelEvent) and kind_of(event.channel).is_cache:
        return replace(event, ttl=app.cache_ttl)
    return event
