"""Interests with reference counts and linger. Pure: time comes in, what to do comes out.

An interest is "this node needs this subject". Only the first `acquire` and the end of the linger after the last
`release` touch the bus; a reload of a page in between costs nothing.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Interests(Generic[K]):
    """Counts who needs what. Every `acquire` is paired with one `release`; `poll` names what nobody needs any more."""

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}
        self._ends: dict[K, float] = {}  # only keys whose count is 0: when their linger ends
        self._heap: list[tuple[float, int, K]] = []  # when to look at keys: one entry each, however often they come and go
        self._queued: dict[K, float] = {}  # the first entry of each key in the heap
        self._order = 0  # breaks ties in the heap: keys need not be comparable

    def __len__(self) -> int:
        """How many interests are held, lingering ones included."""
        return len(self._counts)

    def __contains__(self, key: K) -> bool:
        """Whether the interest is held, lingering included."""
        return key in self._counts

    def count(self, key: K) -> int:
        """How many acquires are not released; 0 for a lingering or unknown key."""
        return self._counts.get(key, 0)

    def acquire(self, key: K) -> bool:
        """Count one more need; True if it is the first, so that the caller takes the interest on the bus."""
        count = self._counts.get(key)
        self._counts[key] = (count or 0) + 1
        self._ends.pop(key, None)
        return count is None

    def release(self, key: K, now: float, linger: float) -> None:
        """Count one need less; after the last, `poll` names the key once `linger` seconds have passed.

        Raises `KeyError` if there is nothing to release.
        """
        count = self._counts[key]
        if count == 0:
            raise KeyError(key)
        self._counts[key] = count - 1
        if count == 1:
            self._ends[key] = end = now + linger
            if end < self._queued.get(key, float("inf")):
                self._queue(key, end)

    def _queue(self, key: K, end: float) -> None:
        self._order += 1
        self._queued[key] = end
        heapq.heappush(self._heap, (end, self._order, key))

    def poll(self, now: float) -> list[K]:
        """The keys whose linger has ended: they are forgotten here, and the caller drops them on the bus."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._queued.get(key) != at:  # an earlier entry came in its place
                continue
            del self._queued[key]
            end = self._ends.get(key)
            if end is None:  # acquired again since
                continue
            if end > now:  # and released again
                self._queue(key, end)
            else:
                del self._ends[key], self._counts[key]
                due.append(key)
        return due
