"""Who sends: of all nodes exactly one for each (app, shard), without asking anybody. Pure.

Every node ranks the nodes for a shard in the same way; the first sends, the second follows: it hears and decides the same,
and remembers it, so that it can go on when the first one is gone. Rules that make two nodes agree on the moment:

- A node that is *young* ranks behind those that are clearly older. Its age is the number of its heartbeats, so all hear
  of it at the same time. Meanwhile it watches the shards that will be its own, and learns what is waiting in them.
- A node that was just *met* (though it is old: a partition has healed) counts for nobody but itself for a while: what
  either side has told wrongly it takes back itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MEETING: Final = 3.0
"""Seconds until a peer that was met is one to rely on: longer than it takes to learn what it holds."""

START: Final = 3.0
"""Seconds of age at which a node watches what it is to watch, also where all nodes start together."""

Rank = Callable[[str, int, Collection[str]], Sequence[str]]
"""`rank(app, index, nodes)`: the nodes, best first, the same on every node."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What a node is to a shard: `sender` is whoever sends; `watches`: whether this node follows what happens there."""

    sender: str
    watches: bool


class Rota:
    """The duties of one node, `me`."""

    def __init__(self, me: str, rank: Rank, settle: float) -> None:
        """`settle`: seconds of age from which on a node is no longer young."""
        self._me = me
        self._rank = rank
        self._settle = settle
        self._met: dict[str, float] = {}
        self._all: frozenset[str] = frozenset({me})
        self._settled: frozenset[str] = frozenset({me})
        self.is_new = True
        """Whether the whole cluster is so young that nothing much can have been told before."""

    def update(self, ages: Mapping[str, float], now: float) -> bool:
        """Take the ages in seconds of all live nodes, `me` included; whether any duty may have changed."""
        before = self._all, self._settled
        self._met = {node: self._met.get(node, now) for node in ages}
        self._all = frozenset(ages)
        oldest = max(ages.values())
        self.is_new = oldest < self._settle
        old = frozenset(node for node, age in ages.items() if not self._is_young(age, oldest))
        known = frozenset(node for node in old if node == self._me or now - self._met[node] >= MEETING)
        self._settled = known if self._me in known and oldest >= self._settle else old
        return before != (self._all, self._settled)

    def _is_young(self, age: float, oldest: float) -> bool:
        return age < min(self._settle, max(oldest - self._settle / 2, START if oldest >= START else 0.0))

    def keepers(self, app: str, index: int) -> Sequence[str]:
        """Who sends for the shard, and who follows."""
        return self._rank(app, index, self._settled)[:2]

    def duty(self, app: str, index: int) -> Duty:
        """What `me` is to the shard."""
        now = self.keepers(app, index)
        soon = self._rank(app, index, self._all)[:2]
        return Duty(now[0], self._me in now or self._me in soon)

    @property
    def is_alone(self) -> bool:
        """Whether no other node lives."""
        return len(self._all) == 1
