"""A seeded scenario: users come, watch and go on 2 to 7 nodes while things go wrong; then quiet, and promises are checked.

Everything follows from the seed, and nothing from PYTHONHASHSEED: a set of strings is sorted before its order can matter.
The order in which Trio runs tasks that are ready at the same time is drawn from the seed too.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import structlog
import trio
import trio.testing
from trio._core import _run as trio_run

from cluster import ClusterSettings
from tests.sim.faults import BOUNDS, FAULTS
from tests.sim.network import Delays, Network
from tests.sim.nodes import Hub, ModelHub, Phase
from tests.sim.real_hub import RealHub
from tests.sim.world import World

_APPS = ("a", "b")
_USERS = ("u0", "u1", "u2", "u3", "u4")
_START, _END = 3.5, 11.0  # seconds: users begin to come; the last fault ends
_LAST_SIGN_OUT = _END - 1.3  # what lingers has ended with the last fault


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went."""

    seed: int
    profile: str
    violations: list[str]
    timeline: list[tuple[float, str]]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed} ({self.profile}):", *self.violations])


def run(seed: int, profile: str | None = None) -> Report:
    """Run one scenario. `profile`: a key of `FAULTS`; None: the seed says. Every third seed drives the real hub."""
    random = Random(seed)
    chosen = random.choice(list(FAULTS))
    scenario = _Scenario(random, profile or chosen, ModelHub if seed % 3 else RealHub)
    with deterministic(seed), no_logs():
        try:
            trio.run(scenario.run, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseExceptionGroup:
            scenario.world.violations.append(f"crashed: {traceback.format_exc()}")
    return Report(seed, scenario.profile, scenario.world.violations, scenario.world.timeline)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Let Trio's scheduler follow the seed; the way Hypothesis does it."""
    before, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(state)


@contextmanager
def no_logs() -> Iterator[None]:
    """Let simulated nodes log nothing."""
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**config)


class _Scenario:
    def __init__(self, random: Random, profile: str, make_hub: Callable[[], Hub]) -> None:
        self.profile = profile
        self.random = random
        self._meeting = random.choice((0.1, 0.1, 0.6))
        settings = ClusterSettings(
            shards=random.choice((1, 2, 8)),
            presence_linger=random.choice((0.0, 0.2, 1.0)),
            shard_linger=random.choice((0.0, 0.5, 30.0)),
        )
        delays = Delays(usual=random.choice((0.0005, 0.005, 0.03)), spike=0.08, spikes=random.choice((0.0, 0.02, 0.2)))
        network = Network(random.randint(1, 4), Random(random.random()), delays)
        self.world = World(random, network, settings, make_hub)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            world = self.world
            world.begin(nursery)
            await self._start_nodes(nursery)
            await trio.sleep_until(_START)
            async with trio.open_nursery() as acts:
                acts.start_soon(self._act, acts)
                acts.start_soon(self._break)
            await trio.sleep_until(_END + BOUNDS[self.profile])
            await self._check()
            nursery.cancel_scope.cancel()

    async def _start_nodes(self, nursery: trio.Nursery) -> None:
        for _ in range(self.random.randint(2, 5)):
            self.world.add_node()
            await trio.sleep(self.random.choice((0.0, 0.0, 0.3)))
        for _ in range(self.random.choice((0, 0, 1, 2))):
            nursery.start_soon(self._join_late)

    async def _join_late(self) -> None:
        await trio.sleep_until(self.random.uniform(_START, _LAST_SIGN_OUT - 2))
        self.world.add_node()

    # -- acting ---------------------------------------------------------------------------------------------------

    async def _act(self, nursery: trio.Nursery) -> None:
        """Do something now and then, often several things in the same moment."""
        pause = self.random.choice((0.05, 0.15, 0.4))
        while trio.current_time() < _LAST_SIGN_OUT:
            for _ in range(self.random.choice((1, 1, 2, 4))):
                self._do_something(nursery)
            await trio.sleep(self.random.expovariate(1 / pause))
        await trio.sleep_until(_END)

    def _do_something(self, nursery: trio.Nursery) -> None:
        world, random = self.world, self.random
        open_now = world.sessions(Phase.WAITING, Phase.CONFIRMED)
        dice = random.random()
        if dice < 0.03:
            nursery.start_soon(world.terminate, random.choice(world.serving), random.choice(_APPS), random.choice(_USERS))
        elif dice < self._meeting:
            self._meet()
        elif open_now and dice < 0.5 + len(open_now) / 40:
            world.sign_out(*random.choice(open_now))
        else:
            self._sign_in(random.choice(_USERS))

    def _meet(self) -> None:
        """A watcher and whom it watches sign in at the same moment."""
        one, other = self.random.sample(_USERS, 2)
        self._sign_in(one, other)
        self._sign_in(other)

    def _sign_in(self, user: str, *watched: str) -> None:
        watchlist = dict.fromkeys((*watched, *self.random.sample(_USERS, self.random.randint(0, 3))))
        app = self.random.choice(_APPS) if not watched else _APPS[0]
        self.world.sign_in(self.random.choice(self.world.serving), app, user, watchlist)

    async def _break(self) -> None:
        faults = FAULTS[self.profile]
        while faults and trio.current_time() < _END:
            await trio.sleep_until(min(_END, trio.current_time() + self.random.uniform(0.05, 1.5)))
            await self.random.choice(faults)(self.world, _END)

    # -- checking -------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        world = self.world
        world.note("quiet: every view must be the truth")
        world.check_views()
        users = [(app, user) for app in _APPS for user in _USERS]
        await world.check_counts(users)
        world.check_views()
        world.check_promises()
        world.check_interests()
        if self.profile in ("calm", "leave"):
            world.check_calm()
