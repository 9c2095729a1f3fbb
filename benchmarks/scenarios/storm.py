"""Users who watch each other come, go and come back all at once. At the end of each storm every view must be right.

A watcher's view is right if it was told the truth about everybody on its watchlist, and about nobody something else.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import wire
from benchmarks.figures import Better, Figure
from benchmarks.health import Health
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage
from benchmarks.watchers import WatcherSwarm
from benchmarks.workers import Fleet

_USERS = 10_000
_WATCHED = 100
_NODES = 2
_REPAIRS = "usher_presence_repairs_total"
_STEP = 0.25  # seconds of listening between two looks at the views
_PATIENCE = 40.0
_AFTER = 2.0  # seconds to wait for what should not come any more: longer than presence lingers


@dataclass(slots=True)
class _Crowd:
    """All users, who of them are there, and their connections."""

    stage: Stage
    fleet: Fleet
    users: Sequence[str]
    online: set[str] = field(default_factory=set)

    def arrive(self, users: Sequence[str]) -> None:
        """Connect and sign in, all at once, to all nodes in turn."""
        first, *others = (node.address for node in self.stage.nodes)
        self.fleet.connect(first, len(users), others)
        self.fleet.prepare_sign_in(users, [self._watchlist(user) for user in users])
        self.fleet.exchange(wire.SIGNED_IN)
        self.online.update(users)

    def leave(self, users: Sequence[str]) -> None:
        """Lose connections, all at once."""
        self.fleet.all("leave", frozenset(users))
        self.online.difference_update(users)

    def wrong(self) -> int:
        """How many watchers have a wrong view."""
        counts: list[int] = self.fleet.all("count_wrong", self.online)
        return sum(counts)

    def settle(self) -> float:
        """Listen until all views are right, and a while longer; the time of the last message."""
        deadline = time.monotonic() + _PATIENCE
        heard: list[float] = []
        while self.wrong() and time.monotonic() < deadline:
            heard += self.fleet.all("listen", _STEP)
        heard += self.fleet.all("listen", _AFTER)
        return max(heard)

    def _watchlist(self, user: str) -> list[str]:
        """Always the same others."""
        found = random.Random(user).sample(self.users, min(_WATCHED + 1, len(self.users)))
        return [other for other in found if other != user][:_WATCHED]


def _run(stage: Stage) -> Iterator[Figure]:
    crowd_size = stage.scaled(_USERS)
    fleet = Fleet(stage.running.app, stage.options.workers, WatcherSwarm)
    try:
        crowd = _Crowd(stage, fleet, user_ids(crowd_size))
        half = crowd.users[::2]
        yield from _storm(crowd, "all sign in", arriving=crowd.users)
        yield from _storm(crowd, "half vanish", leaving=half)
        yield from _storm(crowd, "half return", arriving=half)
        yield from _storm(crowd, "all vanish and return", leaving=crowd.users, arriving=crowd.users)
    finally:
        fleet.close()


def _storm(crowd: _Crowd, what: str, *, leaving: Sequence[str] = (), arriving: Sequence[str] = ()) -> Iterator[Figure]:
    crowd.fleet.all("take_told")
    with Health(crowd.stage.nodes) as health, crowd.stage.measure(what) as cost:
        start = time.monotonic()
        if leaving:
            crowd.leave(leaving)
        if arriving:
            crowd.arrive(arriving)
        acted = time.monotonic()
        last = crowd.settle()
    at = f", {what}"
    told = crowd.fleet.all("take_told")
    watchers, frames, ids = len(crowd.online), sum(each.frames for each in told), sum(each.ids for each in told)
    right = 100 * (1 - crowd.wrong() / watchers)
    yield Figure("watchers whose view is right" + at, right, "%", Better.HIGHER, {"watchers": watchers})
    yield Figure(
        "settled after" + at, max(last, acted) - start, "s", Better.LOWER, {"acted": acted - start, "cpu": cost.cpu}
    )
    yield Figure("ids told" + at, ids / (max(last, acted) - start), "per second", Better.HIGHER, {"ids": ids})
    yield Figure("frames per watcher" + at, frames / watchers, "frames", Better.LOWER, {"frames": frames})
    yield Figure("ids per frame" + at, ids / max(1, frames), "ids", Better.HIGHER)
    yield Figure("ids told twice" + at, sum(each.repeated for each in told), "ids", Better.LOWER)
    if not health.nodes:
        return
    repairs = {name: count for name, count in health.counted.items() if name.startswith(_REPAIRS)}
    yield Figure("repairs" + at, repairs.get(_REPAIRS, 0.0), "snapshots", Better.LOWER, repairs)
    yield from steps.health(health, at)


SCENARIO = Scenario(
    "storm",
    "10,000 users on two nodes, each watching 100 others: all sign in at once; half of them lose their connections; these "
    "come back; all lose their connections and come back.",
    nodes=_NODES,
    run=_run,
    limits="Nodes and load clients share the cores there are, so loop lag and times by the clock are upper bounds, and how "
    "much of them is waiting for a core is not known.",
    compared=False,
)
