"""What the second keeper remembers: events that the first sends, as long as it may die before it has. Pure."""

from collections import deque
from typing import Final

from node.webhooks.events import Event

WINDOW: Final = 30.0
"""Seconds; more than it takes to find a dead node."""
_MOST: Final = 200
"""Events of a shard; beyond, the oldest are forgotten."""

Shard = tuple[str, int]


class Memory:
    """The last events of shards that this node follows."""

    def __init__(self) -> None:
        self._events: dict[Shard, deque[tuple[float, Event]]] = {}
        self._expired_at = 0.0

    def add(self, shard: Shard, event: Event, now: float) -> None:
        """Another node sends this event of a shard."""
        self._events.setdefault(shard, deque(maxlen=_MOST)).append((now, event))

    def take(self, shard: Shard, since: float) -> list[Event]:
        """The events of a shard since `since`, which this node is to send now; all of the shard are forgotten."""
        return [event for at, event in self._events.pop(shard, ()) if at >= since]

    def forget(self, shard: Shard) -> None:
        """The shard is followed no longer."""
        self._events.pop(shard, None)

    def expire(self, now: float) -> None:
        """Forget what is too old, now and then."""
        if now < self._expired_at + WINDOW / 2:
            return
        self._expired_at = now
        for shard, events in list(self._events.items()):
            while events and events[0][0] < now - WINDOW:
                events.popleft()
            if not events:
                del self._events[shard]
