"""How many connections a node closes so that others get them: those that are old, and those beyond its share. Pure.

After a scale-up new nodes are empty, as connections stay where they are. Two remedies, both off by default:

- *Age*: each connection has a limit of its own around `max_age`, and is closed with 4200 when that has passed.
- *Skew*: every node knows from heartbeats what the others carry. One that has more than `skew` times the mean, and at
  least `surplus` above it, is over the bound; it sheds its oldest connections until it is back within half of that bound.

Why it converges: a closed client lands anywhere, so each close brings its node nearer to the mean, or nowhere.

Why it stops: whoever stopped is half a bound away from starting again. What a node knows of the others is a heartbeat old,
so the nearer it is to its goal, the slower it sheds; and a round begins only when it has been over the bound for some
seconds, since each seems to be ahead of the others when all fill at once.

Why it moves nobody in vain: nothing is shed while a node starts or leaves, since connections are on the move then. Nodes
younger than `settle` do not count, nor shed, since they are filling. And a round that closed several times what it should
have needed ends in a rest, each longer than the one before, since a balancer that returns clients to where they were
cannot be helped from here.

Rules for whoever edits this file: the property test simulates whole clusters, with news that is late; keep it honest.
"""

import math
from collections.abc import Collection
from enum import Enum
from typing import Final

from cluster import Load
from node.config.settings import Rebalance

_CERTAINTY: Final = 5.0  # seconds over the bound until a round begins: several heartbeats
_HASTE: Final = 0.5  # of what is left to shed, in a second
_CRAWL: Final = 5.0  # connections a second at the end of a round, if the rate allows that
_PATIENCE: Final = 4.0  # times the closes that a round should need
_REST: Final = 600.0  # seconds after a round that was in vain
_LONGEST_REST: Final = 86_400.0


class Reason(Enum):
    """Why a connection is sent elsewhere by a node that stays."""

    AGE = "age"
    SKEW = "skew"


def draw_limit(settings: Rebalance, now: float, chance: float) -> float | None:
    """When a connection that opens now will be too old; None: never. `chance` is from 0 to 1."""
    if not settings.max_age:
        return None
    return now + settings.max_age * (1 + settings.jitter * (2 * chance - 1))


class Balance:
    """One node's part of the balance. Whoever polls it closes as many connections as it says."""

    def __init__(self, settings: Rebalance, now: float) -> None:
        self._settings = settings
        self._budget = 0  # closes left to this round; 0: there is no round
        self._allowance = 0.0  # closes that the rate allows by now
        self._polled_at = now
        self._within_at = now  # when it was within the bound last, or could not compare
        self._rest = _REST
        self._rests_until = float("-inf")

    @property
    def is_shedding(self) -> bool:
        """Whether a round is under way."""
        return self._budget > 0

    def poll(self, here: Load, peers: Collection[Load], now: float) -> int:
        """How many connections to close now, of those that are `here`."""
        passed, self._polled_at = now - self._polled_at, now
        counts = self._counts(here, peers)
        if not counts or now < self._rests_until:
            self._budget, self._within_at = 0, now
            return 0
        mean = sum(counts) / len(counts)
        bound = max((self._settings.skew - 1) * mean, self._settings.surplus)
        surplus = here.connections - mean
        if surplus <= bound:
            self._within_at = now
        elif not self._budget and now - self._within_at >= _CERTAINTY:
            self._begin(surplus, sum(count <= mean for count in counts) / len(counts))
        if surplus <= bound / 2:
            self._end()
        return self._shed(surplus - bound / 2, passed, now) if self._budget else 0

    def _counts(self, here: Load, peers: Collection[Load]) -> list[int]:
        """The connections of all nodes that count; none if this is no time to compare."""
        on_the_move = not all(load.takes_clients for load in (here, *peers))
        if self._settings.skew <= 1 or on_the_move or here.age < self._settings.settle:
            return []
        return [load.connections for load in (here, *peers) if load.age >= self._settings.settle]

    def _begin(self, surplus: float, room: float) -> None:
        """`room`: the part of the nodes that are not above the mean. Only who lands there is gone for good."""
        self._budget = math.ceil(_PATIENCE * surplus / room)
        self._allowance = 0.0

    def _end(self) -> None:
        if self._budget:
            self._budget, self._rest = 0, _REST

    def _shed(self, over: float, passed: float, now: float) -> int:
        pace = min(self._settings.shed_rate, max(_CRAWL, _HASTE * over))
        self._allowance = min(self._allowance + pace * passed, max(1.0, pace))
        count = min(int(self._allowance), math.ceil(over), self._budget)
        self._allowance -= count
        self._budget -= count
        if not self._budget:
            self._rests_until = now + self._rest
            self._rest = min(2 * self._rest, _LONGEST_REST)
        return count
