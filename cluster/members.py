"""Members of channels: the map `members`, `<channel>:<user>` → info, written while a subscription of the user is here.

Infos are JSON texts that nobody here looks into. A user who subscribes twice keeps the first info; where two nodes have
different infos of one user, everybody takes the one of the node with the lowest id.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import trio

from cluster.core import Core
from cluster.directory import Edge
from cluster.edges import MemberEdge
from cluster.indexes import Roster, member_key, split_member_key
from cluster.interest import Interests
from cluster.maps import Maps
from cluster.subjects import app_of

NAME = "members"
_Member = tuple[str, str, str]  # app, channel, user


class Listener(Protocol):
    """The node's side. It does not wait."""

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """Members in watched shards joined or left; those of channels that have no subscriber here included."""


class Members:
    """Who is a member from here, and everywhere. `join` and `leave` come in pairs, one per subscription."""

    def __init__(self, core: Core, maps: Maps, listener: Listener) -> None:
        self._core = core
        self._maps = maps
        self._listener = listener
        self._here: Interests[_Member] = Interests()
        self._left_at: dict[_Member, float] = {}  # of those that linger
        self._roster = Roster()
        maps.follow(NAME, self)

    def shard(self, app: str, channel: str) -> str:
        """The shard that a channel's members are in."""
        return self._core.subjects.stem(NAME, app, channel)

    def shards(self, app: str) -> list[str]:
        """All shards of an app."""
        return self._core.subjects.stems(NAME, app)

    @property
    def would_be_missed(self) -> bool:
        """Whether a member would leave its channel with this node: one that lingers, and is nowhere else as far as heard."""
        return any(
            self._maps.elsewhere(self.shard(app, channel), member_key(channel, user)) == 0
            for app, channel, user in self._left_at
        )

    def join(self, app: str, channel: str, user: str, info: str) -> None:
        """One more subscription of the user; the first makes it a member."""
        member = (app, channel, user)
        is_member = self._here.count(member)
        self._here.acquire(member)
        self._left_at.pop(member, None)
        if not is_member:  # or it lingers: then its info may be another now
            self._maps.put(self.shard(app, channel), member_key(channel, user), info)

    def leave(self, app: str, channel: str, user: str, linger: float) -> None:
        """One subscription less; after the last, the user is no member once `linger` seconds have passed; 0: at once."""
        member, now = (app, channel, user), trio.current_time()
        self._here.release(member, now, linger)
        if not self._here.count(member):
            self._left_at[member] = now
        if not linger:
            self.tick(now)

    def tick(self, now: float) -> None:
        """Drop whose linger has ended."""
        for member in self._here.poll(now):
            app, channel, user = member
            age = now - self._left_at.pop(member)
            self._maps.drop(self.shard(app, channel), member_key(channel, user), age)

    def of(self, app: str, channel: str) -> Mapping[str, str]:
        """The infos of a channel's members by user, a live view; the shard is watched."""
        return self._roster.of(self.shard(app, channel), channel)

    def version(self, app: str, channel: str) -> int:
        """What changes whenever `of` does; the shard is watched."""
        return self._roster.version(self.shard(app, channel), channel)

    # -- the view of the map --------------------------------------------------------------------------------------

    def begin(self, shard: str, entries: Mapping[str, Any]) -> None:
        """See `View`."""
        self._roster.begin(shard, entries)

    def end(self, shard: str) -> None:
        """See `View`."""
        self._roster.end(shard)

    def heed(self, edges: Sequence[Edge], changed: Collection[tuple[str, str]]) -> None:
        """See `View`."""
        for edge in edges:
            if edge.up:
                self._roster.put(edge.shard, edge.key, edge.value)
            else:
                self._roster.drop(edge.shard, edge.key)
        for shard, key in changed:
            infos = self._maps.values(shard, key)
            if infos:
                self._roster.put(shard, key, infos[min(infos)])
        if edges:
            self._listener.member_edges([_told(edge) for edge in edges])


def _told(edge: Edge) -> MemberEdge:
    channel, user = split_member_key(edge.key)
    return MemberEdge(app_of(edge.shard), channel, user, edge.value, edge.up, edge.age)
