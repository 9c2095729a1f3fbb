"""What is read of watched shards again and again, kept ready: the members of each channel, and sums of counts. Pure.

Each shard is begun with what this node has written in it already, follows what it is told, and is ended.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NOBODY: Mapping[str, str] = MappingProxyType({})


def member_key(channel: str, user: str) -> str:
    """The key of a member in its map; channel names hold no colon."""
    return f"{channel}:{user}"


def split_member_key(key: str) -> tuple[str, str]:
    """Channel and user."""
    channel, _, user = key.partition(":")
    return channel, user


@dataclass(slots=True)
class _Room:
    """The members of one channel. `version`: another one after each change."""

    infos: dict[str, str] = field(default_factory=dict)
    version: int = 0


class Roster:
    """The infos of members by channel."""

    def __init__(self) -> None:
        self._shards: dict[str, dict[str, _Room]] = {}
        self._version = 0

    def begin(self, shard: str, entries: Mapping[str, str]) -> None:
        """Follow a shard with these members."""
        self._shards[shard] = {}
        for key, info in entries.items():
            self.put(shard, key, info)

    def end(self, shard: str) -> None:
        """Forget a shard."""
        del self._shards[shard]

    def put(self, shard: str, key: str, info: str) -> None:
        """A member of a shard that is followed has this info."""
        channel, user = split_member_key(key)
        room = self._shards[shard].get(channel)
        if room is None:
            room = self._shards[shard][channel] = _Room()
        room.infos[user] = info
        self._version = room.version = self._version + 1

    def drop(self, shard: str, key: str) -> None:
        """A member of a shard that is followed is gone."""
        channel, user = split_member_key(key)
        room = self._shards[shard][channel]
        del room.infos[user]
        self._version = room.version = self._version + 1
        if not room.infos:
            del self._shards[shard][channel]

    def of(self, shard: str, channel: str) -> Mapping[str, str]:
        """The members of a channel: a live view. Raises `KeyError` if the shard is not followed."""
        room = self._shards[shard].get(channel)
        return _NOBODY if room is None else room.infos

    def version(self, shard: str, channel: str) -> int:
        """As long as it is the same, so are the members and their infos. Raises `KeyError` if the shard is not followed."""
        room = self._shards[shard].get(channel)
        return 0 if room is None else room.version


class Sums:
    """The sums of all nodes' counts by channel."""

    def __init__(self) -> None:
        self._shards: dict[str, dict[str, int]] = {}

    def begin(self, shard: str, entries: Mapping[str, int]) -> None:
        """Follow a shard with these counts."""
        self._shards[shard] = dict(entries)

    def end(self, shard: str) -> None:
        """Forget a shard."""
        del self._shards[shard]

    def replace(self, shard: str, channel: str, after: int) -> int:
        """A channel of a shard that is followed has this sum now; returns what it was."""
        sums = self._shards[shard]
        before = sums.pop(channel, 0)
        if after:
            sums[channel] = after
        return before

    def of(self, shard: str, channel: str) -> int:
        """The sum of a channel. Raises `KeyError` if the shard is not followed."""
        return self._shards[shard].get(channel, 0)

    def items(self, shard: str) -> Iterator[tuple[str, int]]:
        """All sums of a shard that are not 0. Raises `KeyError` if it is not followed."""
        return iter(self._shards[shard].items())
