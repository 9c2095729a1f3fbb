"""The directory on the bus: what the pure `Directory` decides is done here, for all maps at once.

A map is a name before an app and a number in a shard's name, and a `View` that follows it. Everything but `answer_asks` and
`look` is synchronous, so no input can slip in between a decision and its message.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgpack
import trio
from msgspec.structs import replace

from cluster.bus import BusAwayError
from cluster.core import Core
from cluster.directory import Directory, Edge, Outcome
from cluster.envelope import Ask, Change, Message, Snapshot
from cluster.interest import Interests
from cluster.subjects import map_of

_NUMBERED_BEATS = 4  # a heartbeat names the shards that changed since this many beats ago: three may be lost
_LONGEST_LOOK = 4  # times `answer_timeout`: very large shards take their time
_WAITING_ASKS = 10_000  # more are dropped; the asker asks again


class View(Protocol):
    """Who follows one map. Nothing in it waits."""

    def begin(self, shard: str, entries: Mapping[str, Any]) -> None:
        """A shard is watched from now on; this node has written these entries already."""

    def end(self, shard: str) -> None:
        """A shard is watched no more."""

    def heed(self, edges: Sequence[Edge], changed: Collection[tuple[str, str]]) -> None:
        """See `Outcome`."""


class Maps:
    """Own entries, watched shards, and the conversation with peers about both."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._views: dict[str, View] = {}
        self._directory = Directory(core.me)
        self._interests: Interests[str] = Interests()
        self._numbers: dict[str, int] = {}  # bus subscription of each watched shard
        self._beat = 0
        self._changed: dict[str, tuple[int, int]] = {}  # shard: (last number, beat of its last change)
        self._partial: dict[tuple[str, str], Snapshot] = {}  # what is in of snapshots of which parts are still to come
        self._waiters: dict[str, list[Callable[[], None]]] = {}
        self._untold: deque[Outcome] = deque()
        self._is_telling = False
        self._asked: deque[tuple[str, str]] = deque()
        self._has_asked = trio.Event()

    def follow(self, name: str, view: View) -> None:
        """Let a view follow a map; once for each, before anything else."""
        self._views[name] = view

    # -- own entries ----------------------------------------------------------------------------------------------

    def put(self, shard: str, key: str, value: Any) -> None:
        """This node holds the key with this value from now on. Idempotent."""
        if self.here(shard, key, None) != value:
            self._publish(*self._directory.put(shard, key, value))

    def drop(self, shard: str, key: str, age: float) -> None:
        """This node has not held the key for `age` seconds. Idempotent."""
        dropped = self._directory.drop(shard, key, age)
        if dropped is not None:
            self._publish(*dropped)

    def _publish(self, change: Change, outcome: Outcome) -> None:
        self._changed[change.shard] = (change.number, self._beat)
        if not self._core.bus.alone:
            self._core.try_send(self._core.subjects.change(change.shard, change.key), change)
        self._tell(outcome)

    # -- watching -------------------------------------------------------------------------------------------------

    def watch(self, shard: str) -> None:
        """Count one more need of a shard; interest first, then the questions."""
        if not self._interests.acquire(shard):
            return
        handler = self._core.receiver(self._on_change)
        self._numbers[shard] = self._core.bus.subscribe(self._core.subjects.changes(shard), handler)
        self._directory.watch(shard)
        self._views[map_of(shard)].begin(shard, self._directory.own(shard)[1])

    def unwatch(self, shard: str) -> None:
        """Count one need less; the shard is followed for `shard_linger` seconds more, and forgotten by `tick`."""
        self._interests.release(shard, trio.current_time(), self._core.settings.shard_linger)

    async def look(self, shards: Collection[str]) -> None:
        """Return when the shards are ready; they stay so for the next synchronous reads. Raises `BusAwayError`.

        They are watched meanwhile, and linger, so that whoever looks often asks nobody. It goes on as long as answers come.
        """
        for shard in shards:
            self.watch(shard)
        self.send_asks()
        try:
            await self._wait_ready(shards)
            if not self._core.bus.connected or not all(map(self.is_ready, shards)):
                raise BusAwayError("a peer did not tell its part of a shard in time")
        finally:
            for shard in shards:
                self.unwatch(shard)

    async def _wait_ready(self, shards: Collection[str]) -> None:
        """Return when all are ready, or when waiting seems to be in vain."""
        timeout = self._core.settings.answer_timeout
        with trio.move_on_after(_LONGEST_LOOK * timeout):
            while waiting := [shard for shard in shards if not self.is_ready(shard)]:
                ready = trio.Event()
                self.when_ready(waiting[0], ready.set)
                with trio.move_on_after(timeout) as patience:
                    await ready.wait()
                if patience.cancelled_caught:
                    return

    def is_up(self, shard: str, key: str) -> bool:
        """Whether any node holds the key; the shard is watched."""
        return self._directory.is_up(shard, key)

    def values(self, shard: str, key: str) -> dict[str, Any]:
        """The value of each node that holds the key; the shard is watched."""
        return self._directory.values(shard, key)

    def here(self, shard: str, key: str, default: Any) -> Any:
        """What this node has written, watched or not."""
        return self._directory.own(shard)[1].get(key, default)

    def elsewhere(self, shard: str, key: str) -> int:
        """How many other nodes hold the key, as far as heard; 0 if the shard is not watched."""
        if shard not in self._numbers:
            return 0
        return len(self._directory.values(shard, key).keys() - {self._core.me})

    def is_ready(self, shard: str) -> bool:
        """Whether every peer's part of a watched shard is in."""
        return self._directory.is_ready(shard)

    def when_ready(self, shard: str, call: Callable[[], None]) -> None:
        """Call once the shard is ready."""
        self._waiters.setdefault(shard, []).append(call)

    @property
    def shards_watched(self) -> int:
        """How many shards are followed."""
        return len(self._interests)

    def send_asks(self) -> None:
        """Ask peers for what waits; after `watch` and whatever else may have left a part waiting."""
        for peer, shards in self._directory.asks(trio.current_time()).items():
            self._core.try_send(self._core.subjects.node(peer), Ask(self._core.me, tuple(shards)))

    def tick(self, now: float) -> None:
        """Do what is due: ask again, forget what nobody watches."""
        for shard in self._interests.poll(now):
            self._core.bus.unsubscribe(self._numbers.pop(shard))
            self._directory.unwatch(shard)
            self._views[map_of(shard)].end(shard)
            self._waiters.pop(shard, None)
        if self._directory.overdue(now):
            self._core.stats.repaired("unanswered")
        self.send_asks()

    # -- peers ----------------------------------------------------------------------------------------------------

    def peer_up(self, peer: str) -> None:
        """Ask a peer for everything watched."""
        self._directory.peer_up(peer)
        self.send_asks()

    def peer_down(self, peer: str, age: float) -> None:
        """A peer is gone, silent for `age` seconds."""
        self._partial = {at: snapshot for at, snapshot in self._partial.items() if at[0] != peer}
        self._heed(self._directory.peer_down(peer, age))

    def recent_numbers(self) -> Mapping[str, int]:
        """What the next heartbeat names; calling it begins the next beat."""
        self._beat += 1
        oldest = self._beat - _NUMBERED_BEATS
        self._changed = {shard: at for shard, at in self._changed.items() if at[1] >= oldest}
        return {shard: number for shard, (number, _) in self._changed.items()}

    def receive_numbers(self, peer: str, numbers: Mapping[str, int]) -> None:
        """A peer's heartbeat named its numbers."""
        for _ in self._directory.receive_numbers(peer, numbers):
            self._core.stats.repaired("heartbeat")
        self.send_asks()

    def receive(self, message: Ask | Snapshot) -> None:
        """A peer asks, or answers."""
        if isinstance(message, Ask):
            self.receive_ask(message)
        else:
            self.receive_snapshot(message)

    def receive_snapshot(self, snapshot: Snapshot) -> None:
        """A part of a snapshot arrived; parts come back to back, the last one completes it.

        If one was lost, the others are worth nothing: the shard is asked for again when its answer is overdue.
        """
        at = (snapshot.node, snapshot.shard)
        before = self._partial.pop(at, None)
        if snapshot.part:
            if before is None or (before.number, before.part, before.parts) != (
                snapshot.number,
                snapshot.part - 1,
                snapshot.parts,
            ):
                return
            snapshot = replace(snapshot, entries={**before.entries, **snapshot.entries})
        if snapshot.part + 1 < snapshot.parts:
            self._partial[at] = snapshot
        else:
            self._heed(self._directory.receive_snapshot(snapshot))

    def _on_change(self, message: Message, _reply: str) -> None:
        if not isinstance(message, Change) or not self._directory.is_watched(message.shard):
            self._core.stats.unclaimed(message.KIND)
            return
        self._heed(self._directory.receive_change(message))

    def _heed(self, outcome: Outcome) -> None:
        if outcome.repair:
            self._core.stats.repaired(outcome.repair)
            self.send_asks()
        self._tell(outcome)
        for shard in outcome.ready:
            for call in self._waiters.pop(shard, ()):
                call()

    def _tell(self, outcome: Outcome) -> None:
        """Let the views heed; what one of them leads to is told when the others have heeded this."""
        if not outcome.edges and not outcome.changed:
            return
        self._untold.append(outcome)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._untold:
                self._tell_views(self._untold.popleft())
        finally:
            self._is_telling = False

    def _tell_views(self, outcome: Outcome) -> None:
        names = {map_of(edge.shard) for edge in outcome.edges} | {map_of(shard) for shard, _ in outcome.changed}
        for name in sorted(names):
            edges = [edge for edge in outcome.edges if map_of(edge.shard) == name]
            self._views[name].heed(edges, [at for at in outcome.changed if map_of(at[0]) == name])

    # -- answering ------------------------------------------------------------------------------------------------

    def receive_ask(self, ask: Ask) -> None:
        """A peer asks for own parts: queued, since a newcomer may ask for all shards at once."""
        if len(self._asked) + len(ask.shards) <= _WAITING_ASKS:
            self._asked.extend((ask.node, shard) for shard in ask.shards)
            self._has_asked.set()

    async def answer_asks(self) -> None:
        """Answer one shard after another, letting others run in between; until cancelled."""
        while True:
            await self._has_asked.wait()
            self._has_asked = trio.Event()
            while self._asked:
                self._answer(*self._asked.popleft())
                await trio.lowlevel.checkpoint()

    def _answer(self, peer: str, shard: str) -> None:
        number, entries = self._directory.own(shard)
        parts = list(_split(entries, self._core.bus.max_payload // 2))
        for index, part in enumerate(parts):
            snapshot = Snapshot(self._core.me, shard, number, index, len(parts), part)
            self._core.try_send(self._core.subjects.node(peer), snapshot)


def _split(entries: Mapping[str, Any], limit: int) -> Sequence[Mapping[str, Any]]:
    """The entries in parts of at most about `limit` packed bytes each; at least one part."""
    parts: list[dict[str, Any]] = [{}]
    size = 0
    for key, value in entries.items():
        cost = len(msgpack.packb((key, value)))
        if size + cost > limit and parts[-1]:
            parts.append({})
            size = 0
        size += cost
        parts[-1][key] = value
    return parts
