"""Counts of subscriptions: the map `counts`, channel → how many this node has; a channel's count is the sum over all nodes.

Counts change with every subscription, so they are written together: `set` costs one entry of a dict, and each `tick` writes
what has changed since, at most one change a channel. A channel that came and went in between costs nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from cluster.core import Core
from cluster.directory import Edge
from cluster.edges import CountChange
from cluster.indexes import Sums
from cluster.maps import Maps
from cluster.subjects import app_of

NAME = "counts"
_WRITES = 500  # at each tick: 5,000 a second, so that a storm does not hold up everything else; the rest waits


class Listener(Protocol):
    """The node's side. It does not wait."""

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """Channels in watched shards have other counts of subscriptions."""


class Counts:
    """How many subscriptions channels have, here and everywhere."""

    def __init__(self, core: Core, maps: Maps, listener: Listener) -> None:
        self._core = core
        self._maps = maps
        self._listener = listener
        self._unwritten: dict[tuple[str, str], int] = {}
        self._sums = Sums()
        maps.follow(NAME, self)

    def shard(self, app: str, channel: str) -> str:
        """The shard that a channel's counts are in."""
        return self._core.subjects.stem(NAME, app, channel)

    def shards(self, app: str) -> list[str]:
        """All shards of an app."""
        return self._core.subjects.stems(NAME, app)

    def set(self, app: str, channel: str, subscriptions: int) -> None:
        """A channel has so many subscriptions here; `tick` writes it."""
        self._unwritten[app, channel] = subscriptions

    def tick(self) -> None:
        """Write what has changed, as far as one turn allows."""
        for app, channel in list(islice(self._unwritten, _WRITES)):
            self._write(app, channel)

    def _write(self, app: str, channel: str) -> None:
        shard, count = self.shard(app, channel), self._unwritten.pop((app, channel))
        if count:
            self._maps.put(shard, channel, count)
        else:
            self._maps.drop(shard, channel, 0.0)

    def of(self, app: str, channel: str) -> int:
        """The channel's subscriptions everywhere; the shard is watched. What was set here is written first."""
        if (app, channel) in self._unwritten:
            self._write(app, channel)
        return self._sums.of(self.shard(app, channel), channel)

    def channels(self, app: str) -> Iterator[tuple[str, int]]:
        """The app's occupied channels and their counts; all shards are watched.

        What was set here counts, but writing it is left to `tick`: in a storm it would hold up everything else.
        """
        later = {channel: count for (owner, channel), count in self._unwritten.items() if owner == app}
        for shard in self.shards(app):
            yield from ((channel, count) for channel, count in self._sums.items(shard) if channel not in later)
        for channel, count in later.items():
            shard = self.shard(app, channel)
            if total := self._sums.of(shard, channel) - self._maps.here(shard, channel, 0) + count:
                yield channel, total

    # -- the view of the map --------------------------------------------------------------------------------------

    def begin(self, shard: str, entries: Mapping[str, Any]) -> None:
        """See `View`."""
        self._sums.begin(shard, entries)

    def end(self, shard: str) -> None:
        """See `View`."""
        self._sums.end(shard)

    def heed(self, edges: Sequence[Edge], changed: Collection[tuple[str, str]]) -> None:
        """See `View`."""
        ages = {(edge.shard, edge.key): edge.age for edge in edges} | dict.fromkeys(changed, 0.0)
        changes = []
        for (shard, channel), age in ages.items():
            after = sum(self._maps.values(shard, channel).values())
            before = self._sums.replace(shard, channel, after)
            if before != after:
                changes.append(CountChange(app_of(shard), channel, before, after, age))
        if changes:
            self._listener.count_edges(changes)
