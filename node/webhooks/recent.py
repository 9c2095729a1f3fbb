"""What was told a moment ago: many who miss the same cached event make one `cache_miss` (protocol.md 9). Pure.

A node where somebody misses lets the channel's keepers know, which see to it that all nodes together tell it once.
"""

from collections import OrderedDict
from typing import Final

PAUSE: Final = 10.0
"""Seconds until a miss of the same channel is told again: its publisher may not have heard, or may be slow."""
_MOST: Final = 50_000
"""Channels; beyond, the oldest are forgotten, and may be told again."""


class Recent:
    """The channels, by (app, channel), of which a miss was told lately."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_news(self, channel: tuple[str, str], now: float) -> bool:
        """Whether to tell a miss of the channel now; if so, it counts as told."""
        while self._told and (next(iter(self._told.values())) <= now - PAUSE or len(self._told) > _MOST):
            self._told.popitem(last=False)
        if channel in self._told:
            return False
        self._told[channel] = now
        return True
