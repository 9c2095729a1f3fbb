"""What was measured: figures of single runs, rows of the report made of them, and what has to be reached. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median


class Better(Enum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of one run of one server. `detail` has the raw counts behind the value.

    A value that is not a number was not seen (the CPU time of an installed cluster), and is left out of the report.
    """

    line: str
    value: float
    unit: str
    better: Better = Better.HIGHER
    detail: Mapping[str, float] = field(default_factory=dict)
    series: str = ""
    """The curve that it is a point of, if any."""
    at: float = 0.0
    """Where on the curve."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a line has to reach: against the other server in the same run, or by itself."""

    ratio: float = 0.0
    """At least this many times as good as the other; 0: none."""
    at_most: float = 0.0
    """The value is at most this; 0: none."""
    at_least: float = 0.0
    """The value is at least this; 0: none."""


GOALS: Mapping[str, Goal] = {
    "connect": Goal(ratio=1.0),
    "sign-in": Goal(ratio=1.0),
    "subscribe, shared channel": Goal(ratio=3.0),
    "ping → pong": Goal(ratio=1.0),
    "fan-out": Goal(ratio=1.5),
    "server-to-user, one node": Goal(ratio=1.5),
    "server-to-user, two nodes": Goal(ratio=2.0),
    "memory": Goal(ratio=2.0, at_most=3.0),
    "share of a bare loop": Goal(at_least=80.0),
    "p50 against a bare hop": Goal(at_most=3.0),
    "p99 against a bare hop": Goal(at_most=10.0),
    "watchers whose view is right": Goal(at_least=100.0),
    "cost at": Goal(at_most=1.3),
}
"""By the beginning of a line's name."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line over all runs: each server's values in the order of the runs."""

    line: str
    unit: str
    better: Better
    values: Mapping[str, tuple[float, ...]]

    def median(self, server: str) -> float | None:
        """The median of a server's runs; None if it has none."""
        return median(self.values[server]) if self.values.get(server) else None

    def ratio(self, ours: str, theirs: str) -> float | None:
        """How many times as good ours is; None without both."""
        mine, other = self.median(ours), self.median(theirs)
        if not mine or not other:
            return None
        return mine / other if self.better is Better.HIGHER else other / mine

    def overlaps(self, ours: str, theirs: str) -> bool:
        """Whether some run of either is as good as some run of the other: a difference that noise may have made."""
        mine, other = self.values[ours], self.values[theirs]
        return max(min(mine), min(other)) <= min(max(mine), max(other))

    @property
    def goal(self) -> Goal | None:
        """What it has to reach, if anything."""
        return next((goal for name, goal in GOALS.items() if self.line.startswith(name)), None)

    def verdict(self, ours: str, theirs: str = "") -> str:
        """Whether the goal is reached, in words; empty without a goal, or nothing to compare with."""
        goal, ratio, value = self.goal, self.ratio(ours, theirs) if theirs else None, self.median(ours)
        if goal is None or value is None or (goal.ratio and ratio is None):
            return ""
        asked = []
        reached = True
        if goal.ratio:
            asked.append(f"≥ {goal.ratio:g}")
            reached = (ratio or 0) >= goal.ratio
        if goal.at_most:
            asked.append(f"≤ {goal.at_most:g} {self.unit}")
            reached = reached and value <= goal.at_most
        if goal.at_least:
            asked.append(f"≥ {goal.at_least:g} {self.unit}")
            reached = reached and value >= goal.at_least
        noise = "; ranges overlap" if goal.ratio and self.overlaps(ours, theirs) else ""
        return f"{'reached' if reached else 'not reached'} ({', '.join(asked)}{noise})"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all are not above. There must be values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def rows_of(runs: Iterable[tuple[str, Figure]]) -> list[Row]:
    """Rows in the order in which lines first came, of pairs of a server's name and a figure."""
    lines: dict[str, tuple[Figure, dict[str, list[float]]]] = {}
    for server, figure in runs:
        _, values = lines.setdefault(figure.line, (figure, {}))
        values.setdefault(server, []).append(figure.value)
    return [
        Row(line, first.unit, first.better, {server: tuple(numbers) for server, numbers in values.items()})
        for line, (first, values) in lines.items()
    ]
