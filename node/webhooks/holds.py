"""Ends that wait: what ends is told only if it does not begin again within the hold (protocol.md 9). Pure.

A channel that is vacated and occupied again in that time, a member or a user who leaves and returns, make no event: the end
is not told, and neither is the beginning that cancels it. For each fact, what is told alternates: the net effect.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from node.webhooks.events import Fact


@dataclass(frozen=True, slots=True, order=True)
class _Hold:
    due: float
    number: int


class Holds:
    """The ends that wait. Bounded by what was begun before: a fact has one end at most."""

    def __init__(self) -> None:
        self._waiting: dict[Fact, tuple[_Hold, int]] = {}
        self._order: list[tuple[_Hold, Fact]] = []  # cancelled ones are passed over when they are due
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, fact: Fact) -> bool:
        """The fact holds (again). Whether that is to be told: not if its end was still waiting, which is cancelled."""
        return self._waiting.pop(fact, None) is None

    def end(self, fact: Fact, due: float, sequence: int) -> None:
        """The fact ended. Unless it begins again, `poll` gives it at `due`, with its `sequence`."""
        self._numbers += 1
        hold = _Hold(due, self._numbers)
        self._waiting[fact] = (hold, sequence)
        heapq.heappush(self._order, (hold, fact))

    def poll(self, now: float) -> list[tuple[Fact, int]]:
        """The ends that are to be told now, with their sequences."""
        due: list[tuple[Fact, int]] = []
        while self._order and self._order[0][0].due <= now:
            hold, fact = heapq.heappop(self._order)
            waiting = self._waiting.get(fact)
            if waiting is not None and waiting[0] is hold:
                del self._waiting[fact]
                due.append((fact, waiting[1]))
        return due

    def forget(self, unwanted: Callable[[Fact], bool]) -> None:
        """Drop ends that are no business of this node any more."""
        for fact in [fact for fact in self._waiting if unwanted(fact)]:
            del self._waiting[fact]
