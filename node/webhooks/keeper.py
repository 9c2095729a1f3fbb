"""What this node tells of the shards that it keeps: what begins and ends in the cluster becomes events. Nothing here waits.

Both keepers of a shard hear the same and decide the same; what differs is where an event goes: the sender's are sent, the
other's remembered (`memory`), so that it can go on where the sender may have stopped (`rota`). Rules for editing:

- What is heard before a shard is complete is how things stand, not what happens, and makes no event: but for a cluster that
  has just begun, since nobody may have told it yet.
- While the bus is away nothing is sent, only remembered: this node cannot know what holds in the cluster.
- Whoever takes over sends again what the other may not have sent: a receiver may hear something twice, but hears it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from node.config.apps import App, Apps
from node.webhooks.counts import Counts
from node.webhooks.events import NAMES, Event, Fact, Kind, cache_miss, subscription_count
from node.webhooks.holds import Holds
from node.webhooks.memory import Memory, Shard
from node.webhooks.rota import Rota

_SLICE: Final = 4
"""Apps whose shards are assigned in one tick: some milliseconds each."""
OVERLAP: Final = 0.5
"""Seconds that are told twice when a living node hands over: messages and clocks need as long as that to agree."""


class Cluster(Protocol):
    """What a keeper needs of the cluster's member; a stem names a shard of one map and ends in its index."""

    @property
    def node_id(self) -> str:
        """This node."""

    @property
    def connected(self) -> bool:
        """Whether the bus carries us."""

    def ages(self) -> Mapping[str, float]:
        """How many seconds each live node has lived, this one included, as its heartbeats say."""

    def rank(self, app: str, index: int, nodes: Collection[str]) -> Sequence[str]:
        """The nodes, best keeper first; the same everywhere."""

    def stems(self, app: str) -> Mapping[Kind, Sequence[str]]:
        """The stems of the map that tells each kind of fact, by index."""

    def index_of(self, fact: Fact) -> int:
        """The index of the shard that a fact belongs to."""

    def watch(self, shards: Iterable[str]) -> None:
        """Follow the stems; paired with `unwatch`."""

    def unwatch(self, shards: Iterable[str]) -> None:
        """One need less of each."""

    def is_ready(self, shard: str) -> bool:
        """Whether a watched stem is complete."""


@dataclass(slots=True)
class _Watch:
    """A shard that this node follows; `sender` sends for it."""

    stems: Collection[str]
    sender: str = ""
    sends: bool = False


class Keeper:
    """The shards that one node keeps. Times are Trio's, but for `unix`: seconds of the wall clock."""

    def __init__(self, cluster: Cluster, apps: Apps, hold: float, margin: float, send: Callable[[Event], None]) -> None:
        """`hold`: seconds that ends wait; `margin`: within which a living node has sent an event, in seconds."""
        self._cluster = cluster
        self._apps = apps
        self._hold = hold
        self._margin = margin
        self._send = send
        self._rota = Rota(cluster.node_id, cluster.rank, hold + 5.0)
        self._watches: dict[Shard, _Watch] = {}
        self._incomplete: set[Shard] = set()
        self._wanted: dict[str, frozenset[str]] = {}  # names of events, by app
        self._holds = Holds()
        self._counts = Counts()
        self._memory = Memory()
        self._losses: dict[str, float] = {}  # since when nodes that died may have sent nothing
        self._unassigned: dict[str, float] = {}  # apps, and since when their shards may be others' to send for
        self._version = -1
        self._sequence = 0
        self._is_connected = False
        self._left = False

    # -- what happens ---------------------------------------------------------------------------------------------

    def note(self, fact: Fact, *, begins: bool, age: float, now: float, unix: float) -> None:
        """A fact began or ended in the cluster, `age` seconds ago."""
        if not self._is_followed(fact):
            return
        self._sequence = max(self._sequence + 1, int(unix * 1_000_000))
        if not begins:
            self._holds.end(fact, now + max(0.0, self._hold - age), self._sequence)
        elif self._holds.begin(fact):
            self._tell(fact, fact.event(begins=True, sequence=self._sequence), now)

    def note_count(self, app: str, channel: str, count: int, now: float) -> None:
        """A channel has another number of subscriptions."""
        fact = Fact(Kind.CHANNEL, app, channel)
        if self._is_followed(fact) and self._counts.change((app, channel), count, now):
            self._tell(fact, subscription_count(app, channel, count), now)

    def note_miss(self, app: str, channel: str, now: float) -> list[str]:
        """A cache channel was found empty, here or elsewhere; the nodes that are to know of it besides this one."""
        fact = Fact(Kind.CHANNEL, app, channel)
        shard = app, self._cluster.index_of(fact)
        keepers = self._rota.keepers(*shard)
        if shard in self._watches:
            self._tell(fact, cache_miss(app, channel), now)
        elif keepers[0] == self._cluster.node_id or not self._cluster.connected:
            self._send(cache_miss(app, channel))
        return [keeper for keeper in keepers if keeper != self._cluster.node_id]

    def _is_followed(self, fact: Fact) -> bool:
        if fact.app not in self._wanted:
            return False
        shard = fact.app, self._cluster.index_of(fact)
        return shard in self._watches and (shard not in self._incomplete or self._rota.is_new)

    def _tell(self, fact: Fact, event: Event, now: float) -> None:
        """An event has come to pass; it is this node's to send, or the other keeper's."""
        if event.name not in self._wanted.get(event.app, ()):
            return
        shard = fact.app, self._cluster.index_of(fact)
        if (watch := self._watches.get(shard)) is None:
            return
        if watch.sends and self._is_connected:
            self._send(event)
        else:
            self._memory.add(shard, event, now)

    # -- time and peers -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due; many times a second."""
        self._update(now)
        self._memory.expire(now)
        self._incomplete -= {shard for shard in self._incomplete if self._is_complete(shard)}
        self._tell_ends(now)
        for (app, channel), count in self._counts.poll(now):
            self._tell(Fact(Kind.CHANNEL, app, channel), subscription_count(app, channel, count), now)

    def _tell_ends(self, due: float) -> None:
        for fact, sequence in self._holds.poll(due):
            self._tell(fact, fact.event(begins=False, sequence=sequence), due)

    def _is_complete(self, shard: Shard) -> bool:
        return all(map(self._cluster.is_ready, self._watches[shard].stems))

    def peer_lost(self, node: str, silent: float, *, politely: bool, now: float) -> None:
        """A node is gone, last heard `silent` seconds ago. One that left politely sent whatever was its own."""
        if not politely:
            self._losses[node] = now - silent - self._margin
        self._update(now)

    @property
    def is_last(self) -> bool:
        """Whether there is nobody to go on."""
        return self._rota.is_alone

    def leave(self, now: float) -> None:
        """Tell nothing from now on. With nobody to go on, what waits is told at once: it ended with this node."""
        self._update(now)
        if self._rota.is_alone:
            self._tell_ends(float("inf"))
        self._left = True
        for watch in self._watches.values():
            watch.sends = False

    def _update(self, now: float) -> None:
        """Follow what apps, nodes and the bus have come to."""
        changed = self._rota.update(self._cluster.ages(), now)
        if self._left:
            return
        if changed or self._version != self._apps.version or self._is_connected != self._cluster.connected:
            self._version, self._is_connected = self._apps.version, self._cluster.connected
            self._wanted = {app.id: events for app in self._apps if (events := _events(app))}
            apps = {*self._wanted, *(app for app, _ in self._watches)}
            self._unassigned = dict.fromkeys(apps, now) | self._unassigned
        for app in list(self._unassigned)[:_SLICE]:
            self._assign(app, self._unassigned.pop(app))
            if not self._unassigned:
                self._losses.clear()
                self._holds.forget(lambda fact: (fact.app, self._cluster.index_of(fact)) not in self._watches)

    # -- duties ---------------------------------------------------------------------------------------------------

    def _assign(self, app: str, since: float) -> None:
        """Watch what is this node's to watch of an app, and send where it is the sender, since `since`."""
        events = self._wanted.get(app, frozenset())
        kinds = [stems for kind, stems in self._cluster.stems(app).items() if events & _NEEDS[kind]]
        by_index = list(zip(*kinds, strict=True))
        for index, stems in enumerate(by_index):
            duty = self._rota.duty(app, index)
            if duty.watches:
                self._follow((app, index), stems, duty.sender, since)
            else:
                self._let_go((app, index))
        for shard in [shard for shard in self._watches if shard[0] == app] if not by_index else ():
            self._let_go(shard)

    def _let_go(self, shard: Shard) -> None:
        if (watch := self._watches.pop(shard, None)) is not None:
            self._cluster.unwatch(watch.stems)
            self._incomplete.discard(shard)
            self._memory.forget(shard)

    def _follow(self, shard: Shard, stems: Collection[str], sender: str, changed_at: float) -> None:
        watch = self._watches.get(shard)
        if watch is None:
            watch = self._watches[shard] = _Watch((), sender)
        if watch.stems != stems:
            self._cluster.watch(stems)
            self._cluster.unwatch(watch.stems)
            watch.stems = stems
            self._incomplete.add(shard)
        sends = sender == self._cluster.node_id and self._is_connected
        for event in self._memory.take(shard, self._untold_since(watch.sender, changed_at)) if sends else ():
            self._send(event)
        watch.sender, watch.sends = sender, sends

    def _untold_since(self, sender: str, changed_at: float) -> float:
        """Since when events may not have been sent that were the sender's until now."""
        if sender == self._cluster.node_id:  # the bus was away
            return float("-inf")
        return self._losses.get(sender, changed_at - OVERLAP)


def _events(app: App) -> frozenset[str]:
    """The names of all events that an app's webhooks want."""
    return frozenset(name for webhook in app.webhooks for name in webhook.events) if app.enabled else frozenset()


_NEEDS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.CHANNEL: frozenset({*NAMES[Kind.CHANNEL], "subscription_count"}),
    Kind.MEMBER: frozenset(NAMES[Kind.MEMBER]),
    Kind.USER: frozenset(NAMES[Kind.USER]),
}
"""What the map of a kind is needed for."""
