"""When subscribers are told how many they are (protocol.md 6.7).

Up to 100 subscriptions, each change is told as it comes from the cluster; above, at most every five seconds. Whoever
subscribes is told in any case, also when somebody left at the same moment and the number has not changed.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import trio

_FEW = 100
_INTERVAL = 5.0  # seconds
_GRACE = 0.5  # seconds in which the cluster tells a change, if there is one
_TICK = 0.25  # seconds between two looks

C = TypeVar("C", bound=Hashable)


class Counts(Generic[C]):
    """The channels whose counts are told. `tell` tells the count as it is then."""

    def __init__(self, tell: Callable[[C], None]) -> None:
        self._tell = tell
        self._due: dict[C, float] = {}  # those that wait, and until when
        self._told_at: dict[C, float] = {}  # only those with many subscriptions

    def change(self, channel: C, count: int, now: float) -> None:
        """The number is another one."""
        told_at = self._told_at.get(channel)
        if count <= _FEW:
            self._told_at.pop(channel, None)
            self._tell_now(channel)
        elif told_at is None or now - told_at >= _INTERVAL:
            self._told_at[channel] = now
            self._tell_now(channel)
        else:
            self._due[channel] = told_at + _INTERVAL

    def expect(self, channel: C, now: float) -> None:
        """Somebody here came or went: the number is told soon, changed or not."""
        told_at = self._told_at.get(channel)
        self._due.setdefault(channel, now + _GRACE if told_at is None else told_at + _INTERVAL)

    def forget(self, channel: C) -> None:
        """It has no subscribers here any more."""
        self._due.pop(channel, None)
        self._told_at.pop(channel, None)

    def _tell_now(self, channel: C) -> None:
        self._due.pop(channel, None)
        self._tell(channel)

    def poll(self, now: float) -> None:
        """Tell what is due."""
        for channel in [channel for channel, due in self._due.items() if due <= now]:
            if channel in self._told_at:
                self._told_at[channel] = now
            self._tell_now(channel)

    async def run(self) -> None:
        """Tell what is due when it is, until cancelled."""
        while True:
            await trio.sleep(_TICK)
            if self._due:
                self.poll(trio.current_time())
