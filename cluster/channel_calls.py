"""What a node may ask of a `Member` about channels: subscriptions, members and counts. `Member` makes the parts.

The order of a subscription: `hold_channel` and `watch` take interests, `confirm_channel` waits until they are known
everywhere and the watched shards are complete, then `join_member` and `set_count` tell the others.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from cluster.cache import Cache
from cluster.channels import Channels
from cluster.confirmations import Confirmations
from cluster.core import Core
from cluster.counts import Counts
from cluster.envelope import ChannelEvent
from cluster.keepers import Keepers
from cluster.maps import Maps
from cluster.members import Members


class ChannelCalls:
    """The calls of `Member` that are about channels."""

    _core: Core
    _maps: Maps
    _confirmations: Confirmations
    _channels: Channels
    _members: Members
    _counts: Counts
    _keepers: Keepers
    _cache: Cache

    def hold_channel(self, app: str, channel: str) -> None:
        """A connection here is about to subscribe to the channel; paired with `release_channel`."""
        self._channels.hold(app, channel)

    def release_channel(self, app: str, channel: str, linger: float = 0.0) -> None:
        """That subscription is gone; after the last one, events arrive for `linger` seconds more."""
        self._channels.release(app, channel, linger)

    def confirm_channel(self, app: str, channel: str, shards: Iterable[str], done: Callable[[bool], None]) -> None:
        """The same as `Member.confirm`, for a channel that is held."""
        self._confirmations.confirm(self._channels.interest(app, channel), shards, done)

    def is_channel_confirmed(self, app: str, channel: str) -> bool:
        """Whether everybody knows that the channel, which is held, has subscribers here."""
        return self._channels.interest(app, channel).fenced

    def send_client_event(self, event: ChannelEvent) -> None:
        """Carry an event to the other subscribers as well as it goes: while the bus is away it is lost, and counted so."""
        self._channels.try_send(event)

    # -- members --------------------------------------------------------------------------------------------------

    def join_member(self, app: str, channel: str, user: str, info: str) -> None:
        """The user has one more subscription of the channel here; paired with `leave_member`. The first info stays."""
        self._members.join(app, channel, user, info)

    def leave_member(self, app: str, channel: str, user: str, linger: float = 0.0) -> None:
        """That subscription is gone; after the last one, the user is no member once `linger` seconds have passed."""
        self._members.leave(app, channel, user, linger)

    def members(self, app: str, channel: str) -> Mapping[str, str]:
        """The infos of the channel's members by user, in the whole cluster: a live view. Its `member_shard` is watched."""
        return self._members.of(app, channel)

    def members_version(self, app: str, channel: str) -> int:
        """As long as it is the same, `members` are too, infos included. Their `member_shard` is watched."""
        return self._members.version(app, channel)

    def member_shard(self, app: str, channel: str) -> str:
        """The shard to watch for the members of a channel."""
        return self._members.shard(app, channel)

    def all_member_shards(self, app: str) -> list[str]:
        """The shards to watch for all members of an app."""
        return self._members.shards(app)

    # -- counts ---------------------------------------------------------------------------------------------------

    def set_count(self, app: str, channel: str, subscriptions: int) -> None:
        """The channel has so many subscriptions here; told to others within a moment, at most once for many changes."""
        self._counts.set(app, channel, subscriptions)

    def count_of(self, app: str, channel: str) -> int:
        """The channel's subscriptions in the whole cluster. Its `count_shard` is watched."""
        return self._counts.of(app, channel)

    def channels(self, app: str) -> Iterator[tuple[str, int]]:
        """The app's occupied channels and their subscriptions in the whole cluster. `all_count_shards` are watched.

        Nothing may change until it has been read: no await in between.
        """
        return self._counts.channels(app)

    def count_shard(self, app: str, channel: str) -> str:
        """The shard to watch for the count of a channel."""
        return self._counts.shard(app, channel)

    def all_count_shards(self, app: str) -> list[str]:
        """The shards to watch for all channels of an app."""
        return self._counts.shards(app)

    async def look(self, shards: Collection[str]) -> None:
        """Return when the shards are complete, so that they can be read until the next await. Raises `BusAwayError`.

        They are followed for a while then: whoever looks again soon asks nobody. It gives up after `answer_timeout`
        seconds without an answer.
        """
        await self._maps.look(shards)

    # -- what keepers are for -------------------------------------------------------------------------------------

    def recall(self, app: str, channel: str, done: Callable[[bytes | None, float], None]) -> None:
        """Call `done` with the frame of the channel's last kept event and the seconds left to it, or (None, 0.0).

        At once where this node knows, else when the keepers have answered, after `answer_timeout` at the latest. Whoever
        counts as a subscriber from within `done` on misses nothing that came after that frame, and gets nothing twice.
        """
        self._cache.recall(app, channel, done)

    def keepers(self, app: str, channel: str) -> tuple[str, ...]:
        """The nodes that look after the channel, at most two, the first one first; `node_id` may be one."""
        return self._cache.keepers(app, channel)

    def keepers_of(self, app: str, index: int) -> tuple[str, ...]:
        """The keepers of all channels in the shards with this number; `all_count_shards(app)[index]` is one of them."""
        return self._keepers.of(app, index)
