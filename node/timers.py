"""Timers for tens of thousands of connections without a task each. Pure.

A wheel of buckets, `resolution` seconds wide: scheduling is one dictionary lookup and an append, and nothing happens for
an item until its bucket is due. There is no cancelling: whoever polls asks the item whether it still wants anything, and
schedules it again if so.
"""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Items and when they are due, exact to `resolution` seconds, never early."""

    def __init__(self, resolution: float = 0.25) -> None:
        self._resolution = resolution
        self._buckets: dict[int, list[T]] = {}
        self._due: list[int] = []  # heap of the buckets' numbers

    def schedule(self, item: T, at: float) -> None:
        """Let `poll` return the item once `at` has passed."""
        number = int(at / self._resolution) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = bucket = []
            heapq.heappush(self._due, number)
        bucket.append(item)

    def poll(self, now: float) -> list[T]:
        """The items that are due, each as often as it was scheduled; they are forgotten here."""
        items: list[T] = []
        while self._due and self._due[0] * self._resolution <= now:
            items.extend(self._buckets.pop(heapq.heappop(self._due)))
        return items
