"""The events that wait for one webhook, and the batches that they leave in. Pure.

Events of a channel leave in their order, and never two batches of it at once: while one is on its way, or waits to be sent
again, later events of its channels wait too, and those of other channels do not. When too many wait, the oldest are dropped:
what a backend wants to know is how things stand now.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from node.webhooks.events import Event

_OVERHEAD: Final = 300
"""Bytes that keeping an event costs beside its text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that leave together, in the order of their arrival."""

    events: Sequence[Event]

    @property
    def channels(self) -> frozenset[str]:
        """Whose later events wait until this batch is done."""
        return frozenset(event.channel for event in self.events)


class Queue:
    """What waits for one webhook. `max_bytes` bounds it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._arrivals = 0
        self._events: OrderedDict[int, Event] = OrderedDict()  # by arrival
        self._channels: dict[str, deque[int]] = {}
        self._ready: OrderedDict[str, float] = OrderedDict()  # since when channels have events and no batch on its way
        self._ready_count = 0
        self._busy: set[str] = set()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event, now: float) -> int:
        """Let an event wait; how many of the oldest were dropped to make room."""
        self._arrivals += 1
        self._events[self._arrivals] = event
        self._bytes += len(event.encoded) + _OVERHEAD
        self._channels.setdefault(event.channel, deque()).append(self._arrivals)
        if event.channel not in self._busy:
            self._ready.setdefault(event.channel, now)
            self._ready_count += 1
        dropped = 0
        while self._bytes > self._max_bytes and len(self._events) > 1:
            self._remove(next(iter(self._events)))
            dropped += 1
        return dropped

    def take(self, limit: int, interval: float, now: float) -> Batch | None:
        """A batch of at most `limit` events, if that many may leave or one waits for `interval`. Then it is on its way."""
        if self._ready_count < limit and self.due(interval) > now:
            return None
        arrivals: list[int] = []
        for channel in self._ready:
            arrivals.extend(islice(self._channels[channel], limit - len(arrivals)))
            if len(arrivals) == limit:
                break
        events = [self._events[arrival] for arrival in sorted(arrivals)]
        for arrival in arrivals:
            self._remove(arrival)
        batch = Batch(events)
        for channel in batch.channels & self._ready.keys():
            del self._ready[channel]
            self._ready_count -= len(self._channels[channel])
        self._busy |= batch.channels
        return batch

    def done(self, batch: Batch, now: float) -> None:
        """The batch arrived or was given up: its channels go on."""
        self._busy -= batch.channels
        for channel in batch.channels & self._channels.keys():
            self._ready[channel] = now
            self._ready_count += len(self._channels[channel])

    def due(self, interval: float) -> float:
        """When the next batch is to leave, however small; infinity if nothing may leave."""
        return next(iter(self._ready.values())) + interval if self._ready else float("inf")

    def clear(self) -> int:
        """Drop everything; how many events."""
        dropped = len(self._events)
        for arrival in list(self._events):
            self._remove(arrival)
        return dropped

    def _remove(self, arrival: int) -> None:
        """An event leaves; it is the oldest of its channel."""
        event = self._events.pop(arrival)
        self._bytes -= len(event.encoded) + _OVERHEAD
        waiting = self._channels[event.channel]
        waiting.popleft()
        if event.channel in self._ready:
            self._ready_count -= 1
        if not waiting:
            del self._channels[event.channel]
            self._ready.pop(event.channel, None)
