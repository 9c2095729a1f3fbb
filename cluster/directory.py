"""The directory: who holds what. A replicated map of keys to values, in shards, one writer per entry. Pure.

Each node writes only its own entries and numbers the changes of each shard. A listener takes a *snapshot* of each peer's
part of a shard, then follows that peer's numbered changes. Theory of operation:

- A part that waits for a snapshot (`number is None`) keeps its old entries and holds changes back: nothing is told twice.
- A gap in the numbers, or a heartbeat that names a higher number than was heard, makes the part wait for a snapshot again.
- A part that begins to wait is named by the next `asks`, and by `overdue` again every `retry` seconds until it is answered.
- Edges are the 0→1 and 1→0 changes of the set of holders of a key, this node included, so for each key they alternate.
  Whatever else happens to a key, another holder or another value, is named as `changed`: whoever cares looks at `values`.

It knows nothing of what keys and values mean. Rule for editing: every input comes as an argument, every effect is returned.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cluster.envelope import Change, Snapshot

_HELD_BACK = 10_000  # changes that one part holds back; what is over is dropped, noticed as a gap, and asked for


@dataclass(frozen=True, slots=True)
class Edge:
    """The first holder of a key came (`up`) or the last one left. `age`: seconds since the cause, as far as known.

    `value`: what that holder has, or had.
    """

    shard: str
    key: str
    up: bool
    age: float = 0.0
    value: Any = field(default=None, compare=False)


class Outcome(msgspec.Struct, frozen=True):
    """What an input led to: edges to tell, shards that became ready, and why a part must be asked again (or None).

    `changed`: the (shard, key) that have other holders or values than before; perhaps one twice, perhaps gone meanwhile.
    """

    edges: list[Edge] = []
    changed: list[tuple[str, str]] = []
    ready: list[str] = []
    repair: str | None = None


@dataclass(slots=True)
class _Part:
    """One peer's entries of one watched shard, as heard."""

    number: int | None = None  # of the last change applied; None: waits for a snapshot
    floor: int = 0  # the highest number ever applied: a late answer to an old question is not believed
    asked_at: float = 0.0  # when `asks` last named it
    entries: dict[str, Any] = field(default_factory=dict)
    held_back: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class _Shard:
    """A shard watched here."""

    parts: dict[str, _Part] = field(default_factory=dict)
    holders: dict[str, tuple[str, ...]] = field(default_factory=dict)  # nearly every key has one: a set would cost 216 bytes
    waiting: int = 0  # parts whose number is None


@dataclass(slots=True)
class _Own:
    """This node's own entries of a shard. `number` only grows, also over an empty shard."""

    number: int = 0
    entries: dict[str, Any] = field(default_factory=dict)


class Directory:
    """The directory of one node, `me`."""

    def __init__(self, me: str, *, retry: float = 1.0) -> None:
        self.me = me
        self._retry = retry
        self._own: dict[str, _Own] = {}
        self._shards: dict[str, _Shard] = {}
        self._peers: dict[str, None] = {}  # in the order of arrival
        self._waiting: dict[tuple[str, str], _Part] = {}  # by (peer, shard): number is None
        self._unasked: dict[tuple[str, str], _Part] = {}  # those that the next `asks` names

    # -- what this node writes ------------------------------------------------------------------------------------

    def put(self, shard: str, key: str, value: Any) -> tuple[Change, Outcome]:
        """Write an own entry (`value` is not None). The caller publishes the change and tells the outcome."""
        own = self._own.get(shard)
        if own is None:
            own = self._own[shard] = _Own()
        own.number += 1
        outcome, before = Outcome(), own.entries.get(key)
        own.entries[key] = value
        if shard in self._shards:
            self._hold(outcome, Edge(shard, key, up=True, value=value), self.me, before)
        return Change(self.me, shard, own.number, key, value), outcome

    def drop(self, shard: str, key: str, age: float) -> tuple[Change, Outcome] | None:
        """Remove an own entry; None if there is none. `age`: seconds since its cause."""
        own = self._own.get(shard)
        if own is None or key not in own.entries:
            return None
        own.number += 1
        outcome = Outcome()
        self._let_go(outcome, Edge(shard, key, up=False, age=age, value=own.entries.pop(key)), self.me)
        return Change(self.me, shard, own.number, key, None, age), outcome

    def own(self, shard: str) -> tuple[int, Mapping[str, Any]]:
        """The answer to a peer that asks: the number of the last change, and all own entries."""
        own = self._own.get(shard)
        return (own.number, own.entries) if own else (0, {})

    # -- what this node watches -----------------------------------------------------------------------------------

    def watch(self, shard: str) -> None:
        """Follow a shard from now on. The interest on the bus is already taken; the caller then sends what `asks` says."""
        if shard in self._shards:
            return
        watched = self._shards[shard] = _Shard()
        for key in self._own[shard].entries if shard in self._own else ():
            watched.holders[key] = (self.me,)
        for peer in self._peers:
            self._await_snapshot(peer, shard, watched.parts.setdefault(peer, _Part()))

    def unwatch(self, shard: str) -> None:
        """Forget a shard. Nothing is told."""
        if (watched := self._shards.pop(shard, None)) is not None:
            for peer in watched.parts:
                self._waiting.pop((peer, shard), None)
                self._unasked.pop((peer, shard), None)

    def is_watched(self, shard: str) -> bool:
        """Whether the shard is followed."""
        return shard in self._shards

    def is_ready(self, shard: str) -> bool:
        """Whether every known peer's part of a watched shard is in."""
        return shard in self._shards and not self._shards[shard].waiting

    def is_up(self, shard: str, key: str) -> bool:
        """Whether any node holds the key, as far as heard; the shard is watched."""
        return key in self._shards[shard].holders

    def holders(self, shard: str, key: str) -> frozenset[str]:
        """The nodes that hold the key, as far as heard; the shard is watched."""
        return frozenset(self._shards[shard].holders.get(key, ()))

    def values(self, shard: str, key: str) -> dict[str, Any]:
        """The value of each node that holds the key, as far as heard; the shard is watched."""
        watched = self._shards[shard]
        return {
            node: self._own[shard].entries[key] if node == self.me else watched.parts[node].entries[key]
            for node in watched.holders.get(key, ())
        }

    @property
    def shards(self) -> Iterable[str]:
        """The shards watched here."""
        return self._shards.keys()

    def asks(self, now: float) -> dict[str, list[str]]:
        """Which peers to ask for which shards now; calling it counts as having asked."""
        due: dict[str, list[str]] = {}
        unasked, self._unasked = self._unasked, {}
        for (peer, shard), part in unasked.items():
            part.asked_at = now
            due.setdefault(peer, []).append(shard)
        return due

    def overdue(self, now: float) -> int:
        """Let `asks` name again what was asked `retry` seconds ago and is not answered; returns how many."""
        late = {at: part for at, part in self._waiting.items() if now - part.asked_at >= self._retry}
        late = {at: part for at, part in late.items() if at not in self._unasked}
        self._unasked.update(late)
        return len(late)

    # -- what peers say -------------------------------------------------------------------------------------------

    def peer_up(self, peer: str) -> None:
        """A peer was met, or may have been missed: ask it for every watched shard. Its old entries stay until it answers."""
        self._peers[peer] = None
        for name, shard in self._shards.items():
            self._await_snapshot(peer, name, shard.parts.setdefault(peer, _Part()))

    def peer_down(self, peer: str, age: float) -> Outcome:
        """A peer is gone: its entries drop out."""
        self._peers.pop(peer, None)
        outcome = Outcome()
        for name, shard in self._shards.items():
            if (part := shard.parts.pop(peer, None)) is None:
                continue
            for key, value in part.entries.items():
                self._let_go(outcome, Edge(name, key, up=False, age=age, value=value), peer)
            self._unasked.pop((peer, name), None)
            if self._waiting.pop((peer, name), None) is not None:
                shard.waiting -= 1
                outcome.ready.extend([name] if not shard.waiting else [])
        return outcome

    def receive_change(self, change: Change) -> Outcome:
        """A peer's change arrived. A change of an unknown peer or an unwatched shard means nothing here."""
        part = self._part(change.node, change.shard)
        if part is None:
            return Outcome()
        if part.number is None:
            if len(part.held_back) < _HELD_BACK:
                part.held_back.append(change)
            return Outcome()
        if change.number <= part.number:
            return Outcome()
        if change.number > part.number + 1:
            self._await_snapshot(change.node, change.shard, part)
            part.held_back.append(change)
            return Outcome(repair="gap")
        return self._apply(part, change)

    def receive_snapshot(self, snapshot: Snapshot) -> Outcome:
        """A peer's whole part arrived (all its `parts` put together): only the difference is told."""
        part = self._part(snapshot.node, snapshot.shard)
        if part is None or snapshot.number < part.floor:
            return Outcome()  # not asked for any more, or a late answer to a question asked twice
        if part.number is not None:
            # not waited for; a newer one is the answer to the later of two questions, and the earlier one's was too old
            return self._renew(part, snapshot) if snapshot.number > part.number else Outcome()
        outcome = self._renew(part, snapshot)
        del self._waiting[snapshot.node, snapshot.shard]
        self._unasked.pop((snapshot.node, snapshot.shard), None)
        self._shards[snapshot.shard].waiting -= 1
        held_back, part.held_back = part.held_back, []
        for change in held_back:
            later = self.receive_change(change)
            outcome.edges.extend(later.edges)
            outcome.changed.extend(later.changed)
            if later.repair:
                outcome = Outcome(outcome.edges, outcome.changed, repair=later.repair)
        if not self._shards[snapshot.shard].waiting:
            outcome.ready.append(snapshot.shard)
        return outcome

    def receive_numbers(self, peer: str, numbers: Mapping[str, int]) -> list[str]:
        """A heartbeat named its shards' last numbers; returns the shards in which something was not heard."""
        missed = []
        for shard, number in numbers.items():
            part = self._part(peer, shard)
            if part is not None and part.number is not None and number > part.number:
                self._await_snapshot(peer, shard, part)
                missed.append(shard)
        return missed

    # -- inside ---------------------------------------------------------------------------------------------------

    def _part(self, peer: str, shard: str) -> _Part | None:
        watched = self._shards.get(shard)
        return watched.parts.get(peer) if watched else None

    def _await_snapshot(self, peer: str, shard: str, part: _Part) -> None:
        """Let a part wait; a question already on its way is asked again, since its answer may be older than the reason."""
        if (peer, shard) not in self._waiting:
            self._waiting[peer, shard] = part
            self._shards[shard].waiting += 1
        self._unasked[peer, shard] = part
        part.floor = max(part.floor, part.number or 0)
        part.number = None

    def _apply(self, part: _Part, change: Change) -> Outcome:
        outcome, before = Outcome(), part.entries.pop(change.key, None)
        part.number = change.number
        if change.value is not None:
            part.entries[change.key] = change.value
            self._hold(outcome, Edge(change.shard, change.key, up=True, value=change.value), change.node, before)
        elif before is not None:
            self._let_go(outcome, Edge(change.shard, change.key, up=False, age=change.age, value=before), change.node)
        return outcome

    def _renew(self, part: _Part, snapshot: Snapshot) -> Outcome:
        outcome, before = Outcome(), part.entries
        part.number, part.entries = snapshot.number, dict(snapshot.entries)
        for key, value in before.items():
            if key not in part.entries:
                self._let_go(outcome, Edge(snapshot.shard, key, up=False, value=value), snapshot.node)
        for key, value in part.entries.items():
            self._hold(outcome, Edge(snapshot.shard, key, up=True, value=value), snapshot.node, before.get(key))
        return outcome

    def _hold(self, outcome: Outcome, edge: Edge, node: str, before: Any) -> None:
        """A node has the edge's value, after `before`; the edge is told if the node is the first holder."""
        if (watched := self._shards.get(edge.shard)) is None:
            return
        holders = watched.holders.get(edge.key, ())
        if node not in holders:
            watched.holders[edge.key] = (*holders, node)
        elif edge.value == before:
            return
        if holders:
            outcome.changed.append((edge.shard, edge.key))
        else:
            outcome.edges.append(edge)

    def _let_go(self, outcome: Outcome, edge: Edge, node: str) -> None:
        """A node has nothing more; the edge is told if it was the last holder."""
        if (watched := self._shards.get(edge.shard)) is None:
            return
        holders = watched.holders.get(edge.key, ())
        if node not in holders:
            return
        if len(holders) > 1:
            watched.holders[edge.key] = tuple(other for other in holders if other != node)
            outcome.changed.append((edge.shard, edge.key))
        else:
            del watched.holders[edge.key]
            outcome.edges.append(edge)
