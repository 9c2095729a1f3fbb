"""A seeded crash: a node dies, its users come back elsewhere as pusher-js does, and nobody may notice who was in time.

They come back to a node that follows none of their shards yet, so it asks everybody for them, the dead node too, which
nobody knows to be dead yet. Others watch them from the nodes that live.
"""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import trio
import trio.testing

from cluster import ClusterSettings
from tests.sim.network import Delays, Network
from tests.sim.nodes import ModelHub, Phase, Session, SimNode
from tests.sim.real_hub import RealHub
from tests.sim.scenario import Report, deterministic, no_logs
from tests.sim.world import World

_APP = "a"
_START, _SETTLED = 2.0, 6.5  # seconds: users come; nodes have known each other for long enough to find one dead
_WITHIN = 0.4  # seconds that a sign-in may take while a peer is silent: two fences at the most, and the strikes in each
_BOUND = 3.0  # seconds until everybody has heard of those who are gone


@dataclass(frozen=True, slots=True)
class _Return:
    """A user's session at the node that died, and the one that it began elsewhere at `at`."""

    before: Session
    session: Session
    at: float


def run_crash(seed: int, profile: str | None = None) -> Report:
    """Run one crash. Every third seed drives the real hub. There are no profiles."""
    del profile
    crash = _Crash(Random(seed), is_real=not seed % 3)
    with deterministic(seed), no_logs():
        try:
            trio.run(crash.run, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseExceptionGroup:
            crash.world.violations.append(f"crashed: {traceback.format_exc()}")
    return Report(seed, "crash", crash.world.violations, crash.world.timeline)


class _Crash:
    def __init__(self, random: Random, *, is_real: bool) -> None:
        self.random = random
        settings = ClusterSettings(shards=random.choice((1, 8, 64)), shard_linger=random.choice((0.5, 30.0)))
        network = Network(random.randint(1, 4), Random(random.random()), Delays(random.choice((0.0005, 0.005, 0.02))))
        self.world = World(random, network, settings, RealHub if is_real else ModelHub)
        self._users = [f"u{number}" for number in range(random.randint(4, 12))]

    async def run(self) -> None:
        world = self.world
        async with trio.open_nursery() as nursery:
            world.begin(nursery)
            for _ in range(self.random.randint(3, 5)):
                world.add_node()
                await trio.sleep(self.random.choice((0.0, 0.3)))  # so heartbeats are out of step
            await trio.sleep_until(_START)
            doomed, refuge, *others = world.nodes
            before = [world.sign_in(doomed, _APP, user, self._some(4)) for user in self._users]
            watchers = [world.sign_in(self.random.choice(others), _APP, f"w{n}", self._some(6)) for n in range(4)]
            await trio.sleep_until(_SETTLED + self.random.random())
            started = trio.current_time()
            world.note(f"{doomed.name} dies")
            doomed.die()
            returns = await self._come_back(before, [refuge, self.random.choice([refuge, *others])])
            await trio.sleep_until(started + _BOUND)
            self._check(returns, watchers, before, started)
            await trio.sleep(2.0)
            world.check_views()
            await world.check_counts([(_APP, user) for user in self._users])
            world.check_promises()
            world.check_interests()
            nursery.cancel_scope.cancel()

    def _some(self, most: int) -> list[str]:
        return self.random.sample(self._users, self.random.randint(1, min(most, len(self._users))))

    async def _come_back(self, before: list[Session], places: list[SimNode]) -> list[_Return]:
        """Three of four come back, a second after the crash or a little later."""
        returns: list[_Return] = []
        now = trio.current_time()
        delays = sorted((1.0 + self.random.expovariate(10), number) for number in range(len(before)))
        for delay, number in delays[: 1 + len(before) * 3 // 4]:
            await trio.sleep_until(now + delay)
            old = before[number]
            session = self.world.sign_in(self.random.choice(places), _APP, old.user, old.watchlist)
            returns.append(_Return(old, session, trio.current_time()))
        return returns

    # -- checking -------------------------------------------------------------------------------------------------

    def _check(self, returns: list[_Return], watchers: list[Session], before: list[Session], started: float) -> None:
        world = self.world
        proved_at = min(at for at, text in world.timeline if at > started and " loses " in text)
        for each in returns:
            waited = each.session.confirmed_at - each.at
            if waited > _WITHIN:
                world.complain(f"{each.session} waited for {waited:.3f} s to be signed in")
        sessions = [*watchers, *(each.session for each in returns)]
        for each in returns:
            if each.at + _WITHIN <= proved_at:
                for session, at in self._told_offline(sessions, each.session.user, each.at + _WITHIN):
                    world.complain(f"{session} was told at {at:.3f} that {each.session.user} is offline, who was back")
        gone = {session.user for session in before} - {each.session.user for each in returns}
        for user in sorted(gone):
            for session in watchers:
                told = list(self._told_offline([session], user, started))
                if user in session.watchlist and len(told) != 1:
                    world.complain(f"{session} was told {len(told)} times that {user} is offline")

    def _told_offline(self, sessions: list[Session], user: str, since: float) -> Iterator[tuple[Session, float]]:
        for session in sessions:
            if session.phase is Phase.CONFIRMED:
                yield from ((session, at) for at, who, online in session.told if who == user and not online and at >= since)
