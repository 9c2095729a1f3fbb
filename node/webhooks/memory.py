"""What the second keeper remembers: events that the first sends, as long as it may die before it has. Pure."""

from collections import deque
from typing import Final

from node.webhooks.events import Event

WINDOW: Final = 30.0
"""Seconds; more than it takes to find a dead node."""
_MOST: Final = 20_000
"""Events; beyond, the oldest are forgotten."""

Shard = tuple[str, int]


class Memory:
    """The last events of shards that this node follows."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, Shard, Event]] = deque(maxlen=_MOST)

    def add(self, shard: Shard, event: Event, now: float) -> None:
        """Another node sends this event of a shard."""
        while self._events and self._events[0][0] < now - WINDOW:
            self._events.popleft()
        self._events.append((now, shard, event))

    def take(self, shard: Shard, since: float) -> list[Event]:
        """The events of a shard since `since`, which this node is to send now; all of the shard are forgotten."""
        taken = [event for at, of, event in self._events if of == shard and at >= since]
        self.forget(shard)
        return taken

    def forget(self, shard: Shard) -> None:
        """The shard is followed no longer."""
        kept = [item for item in self._events if item[1] != shard]
        self._events = deque(kept, maxlen=_MOST)
