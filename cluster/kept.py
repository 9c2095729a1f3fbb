"""Kept events: the last event of each cache channel, as far as this node knows. Pure.

The event with the highest stamp wins, in whatever order and however often events come. Old ones expire, and when all of them
take too many bytes those go that came first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_OVERHEAD = 500  # bytes that an entry takes besides its frame, about

Key = tuple[str, str]  # app, channel
Stamp = tuple[int, str]  # µs since 1970, node


@dataclass(frozen=True, slots=True)
class Kept:
    """An event. `until`: when it expires, by the clock that `now` is of."""

    stamp: Stamp
    frame: bytes
    until: float


class KeptEvents:
    """The last events of channels."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._events: dict[Key, Kept] = {}  # in the order in which they came

    def __len__(self) -> int:
        """How many channels have one, expired ones perhaps included."""
        return len(self._events)

    @property
    def keys(self) -> Iterable[Key]:
        """The channels that have one."""
        return self._events.keys()

    def put(self, key: Key, event: Kept, now: float) -> bool:
        """An event came; it is kept if it is the newest, and whether it is that is returned."""
        before = self._events.get(key)
        if event.until <= now or (before is not None and before.stamp >= event.stamp):
            return False
        self.forget(key)
        self._events[key] = event
        self._bytes += len(event.frame) + _OVERHEAD
        while self._bytes > self._max_bytes:
            self.forget(next(iter(self._events)))
        return True

    def get(self, key: Key, now: float) -> Kept | None:
        """The event of a channel."""
        event = self._events.get(key)
        return event if event is not None and event.until > now else None

    def expire(self, now: float) -> None:
        """Forget what has expired, as far as it came first: what lives longer than others hides those behind it."""
        while self._events and next(iter(self._events.values())).until <= now:
            self.forget(next(iter(self._events)))

    def forget(self, key: Key) -> None:
        """Forget the event of a channel, if it has one."""
        if (event := self._events.pop(key, None)) is not None:
            self._bytes -= len(event.frame) + _OVERHEAD
