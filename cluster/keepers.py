"""Keepers: which two nodes look after what has no other place, as all nodes agree without asking each other. Pure.

Every (app, index) ranks all nodes by a hash; the first two are its keepers. A node that joins or leaves changes the keepers
only where it becomes or was one of them. Nodes agree as soon as they know the same nodes.
"""

from collections.abc import Iterable
from hashlib import blake2b

KEEPERS = 2


def rank(app: str, index: int, nodes: Iterable[str]) -> list[str]:
    """All nodes, the first keeper first."""
    return sorted(nodes, key=lambda node: (blake2b(f"{app}.{index}.{node}".encode(), digest_size=8).digest(), node))


class Keepers:
    """The keepers among a set of nodes that is replaced when it changes."""

    def __init__(self, nodes: Iterable[str] = ()) -> None:
        self.nodes = frozenset(nodes)
        self._known: dict[tuple[str, int], tuple[str, ...]] = {}

    def replace(self, nodes: Iterable[str]) -> None:
        """These are the nodes now."""
        self.nodes = frozenset(nodes)
        self._known = {}

    def of(self, app: str, index: int) -> tuple[str, ...]:
        """The keepers, the first one first; fewer where there are fewer nodes."""
        keepers = self._known.get((app, index))
        if keepers is None:
            keepers = self._known[app, index] = tuple(rank(app, index, self.nodes)[:KEEPERS])
        return keepers
