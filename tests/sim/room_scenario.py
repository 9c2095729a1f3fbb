"""A seeded scenario of channels: users subscribe, publish and go on several nodes while things go wrong, then quiet.

`python -m tests.sim --rooms` runs it; see tests/sim/scenario.py for what follows from a seed.
"""

import traceback
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import cast

import trio
import trio.testing

from cluster import ChannelEvent, ClusterSettings
from tests.sim.faults import BOUNDS, FAULTS
from tests.sim.network import Delays, Network
from tests.sim.nodes import Phase, SimNode
from tests.sim.rooms import PLAIN, TTL, RoomHub, Subscription
from tests.sim.scenario import Report, deterministic, no_logs
from tests.sim.world import TRAVEL, World

_APP = "a"
_USERS = ("u0", "u1", "u2", "u3")
_START, _END = 3.5, 11.0
_LAST_ACT = _END - 1.3  # what lingers has ended with the last fault
_HARMLESS = ("calm", "leave", "death", "move")  # one node at a time: what the bus took, one of its keepers has


@dataclass(frozen=True, slots=True)
class Habits:
    """What users and backends tend to do. `publish` and `go` are bounds of one die, the rest of which subscribes."""

    nodes: tuple[int, int] = (2, 5)  # at least, at most
    channels: int = 3  # those with members
    publish: float = 0.15
    go: float = 0.5
    crowd: int = 40  # subscriptions beyond which everybody goes
    quiet: float = 0.3  # probability that little is published, so that what is has to last


USUAL = Habits()


def run_rooms(seed: int, profile: str | None = None, *, habits: Habits = USUAL) -> Report:
    """Run one scenario; as `tests.sim.scenario.run`."""
    random = Random(seed)
    chosen = random.choice(list(FAULTS))
    scenario = _RoomScenario(random, profile or chosen, habits)
    with deterministic(seed), no_logs():
        try:
            trio.run(scenario.run, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseExceptionGroup:
            scenario.world.violations.append(f"crashed: {traceback.format_exc()}")
    return Report(seed, scenario.profile, scenario.world.violations, scenario.world.timeline)


@dataclass(eq=False, slots=True)
class _Published:
    """An event that a backend published; `awaited_by`: a subscription that was confirmed before."""

    channel: str
    frame: bytes
    at: float
    awaited_by: Subscription | None
    carried: bool = False
    done_at: float = float("inf")


class _RoomScenario:
    def __init__(self, random: Random, profile: str, habits: Habits) -> None:
        self.profile = profile
        self._habits = habits
        self._rooms = [f"c{number}" for number in range(habits.channels)]
        self._channels = [*self._rooms, PLAIN]
        self.random = random
        settings = ClusterSettings(
            shards=random.choice((1, 2, 8)),
            shard_linger=random.choice((0.0, 0.5, 30.0)),
        )
        delays = Delays(usual=random.choice((0.0005, 0.005, 0.03)), spike=0.08, spikes=random.choice((0.0, 0.02, 0.2)))
        network = Network(random.randint(1, 4), Random(random.random()), delays)
        self.world = World(random, network, settings, RoomHub)
        self._is_quiet = random.random() < habits.quiet
        self._subscriptions: list[tuple[SimNode, Subscription]] = []
        self._published: list[_Published] = []

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self.world.begin(nursery)
            for _ in range(self.random.randint(*self._habits.nodes)):
                self.world.add_node()
            await trio.sleep_until(_START)
            async with trio.open_nursery() as acts:
                acts.start_soon(self._act)
                acts.start_soon(self._break)
            await trio.sleep_until(_END + BOUNDS[self.profile])
            await self._check()
            nursery.cancel_scope.cancel()

    async def _break(self) -> None:
        faults = FAULTS[self.profile]
        while faults and trio.current_time() < _END:
            await trio.sleep_until(min(_END, trio.current_time() + self.random.uniform(0.05, 1.5)))
            await self.random.choice(faults)(self.world, _END)

    # -- acting ---------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        pause = self.random.choice((0.05, 0.15, 0.4))
        while trio.current_time() < _LAST_ACT:
            for _ in range(self.random.choice((1, 1, 2, 4))):
                self._do_something()
            await trio.sleep(self.random.expovariate(1 / pause))
        await trio.sleep_until(_END)

    def _do_something(self) -> None:
        random, habits, open_now = self.random, self._habits, self._open()
        dice = random.random()
        if dice < habits.publish:
            self._publish(random.choice(self._channels), None)
        elif open_now and dice < habits.go + len(open_now) / habits.crowd:
            node, subscription = random.choice(open_now)
            linger = random.choice((0.0, self.world.settings.presence_linger))
            self.world.note(f"{subscription} goes, lingering {linger} s")
            _hub(node).unsubscribe(subscription, linger)
        else:
            self._subscribe()

    def _subscribe(self) -> None:
        node = self.random.choice(self.world.serving)
        channel, user = self.random.choice(self._channels), self.random.choice(_USERS)
        subscription = Subscription(node.name, _APP, channel, user, self.world.complain, self._on_confirmed)
        self._subscriptions.append((node, subscription))
        self.world.note(f"{subscription} subscribes")
        _hub(node).subscribe(subscription)

    def _on_confirmed(self, subscription: Subscription) -> None:
        self.world.note(f"{subscription} is subscribed with {sorted(subscription.members)}, {subscription.count}")
        if self.random.random() < 0.4:
            self._publish(subscription.channel, subscription)

    def _publish(self, channel: str, awaited_by: Subscription | None) -> None:
        if self._is_quiet and trio.current_time() > _START + 2:
            return
        node = self.random.choice(self.world.serving)
        event = _Published(channel, b"event %d" % len(self._published), trio.current_time(), awaited_by)
        self._published.append(event)
        self.world.note(f"{node.name} publishes {event.frame.decode()} to {channel}")

        def done(carried: bool) -> None:
            event.carried, event.done_at = carried, trio.current_time()

        _hub(node).publish(ChannelEvent(_APP, channel, event.frame, ttl=0.0 if channel == PLAIN else TTL), done)

    # -- checking -------------------------------------------------------------------------------------------------

    def _open(self, *phases: Phase) -> list[tuple[SimNode, Subscription]]:
        phases = phases or (Phase.WAITING, Phase.CONFIRMED)
        return [(node, s) for node, s in self._subscriptions if node.alive and s.phase in phases]

    async def _check(self) -> None:
        world = self.world
        world.note("quiet: every view must be the truth")
        for _, subscription in self._open(Phase.WAITING):
            world.complain(f"{subscription} still waits")
        for channel in self._rooms:
            self._check_views(channel)
            for node in world.serving:
                await self._check_reads(node, channel)
        self._check_events()
        await trio.sleep(1.5)  # what was read is followed no more
        world.check_interests()
        if self.profile in ("calm", "leave"):
            world.check_calm()

    def _check_views(self, channel: str) -> None:
        here = [s for _, s in self._open(Phase.CONFIRMED) if s.channel == channel]
        users = {subscription.user for subscription in here}
        for subscription in here:
            if (subscription.members, subscription.count) != (users, len(here)):
                told = f"{sorted(subscription.members)}, {subscription.count}"
                self.world.complain(f"{subscription} believes in {told}: there are {sorted(users)}, {len(here)}")

    async def _check_reads(self, node: SimNode, channel: str) -> None:
        """Whoever asks is told the truth, on every node."""
        here = [s for _, s in self._open(Phase.CONFIRMED) if s.channel == channel]
        infos = {user: min(s.node for s in here if s.user == user) for user in {s.user for s in here}}
        member = node.member
        await member.look([member.member_shard(_APP, channel), member.count_shard(_APP, channel)])
        read = (dict(member.members(_APP, channel)), member.count_of(_APP, channel))
        if read != (infos, len(here)):
            self.world.complain(f"{node.name} reads {read} of {channel}: there are {infos}, {len(here)}")
        frames: list[bytes | None] = []
        member.recall(_APP, channel, lambda frame, _left: frames.append(frame))
        with trio.move_on_after(TRAVEL):
            while not frames:
                await trio.sleep(0.01)
        if frames[0] not in (possible := self._possible(channel)):
            self.world.complain(f"{node.name} recalls {frames[0]!r} of {channel}, not one of {possible}")

    def _possible(self, channel: str) -> list[bytes | None]:
        """What may be the last event of a channel: those after the last one that cannot have been lost, and that one.

        One that was published earlier may be later, if it had to wait for the fence of its node: it was stamped after that.
        """
        events = [event for event in self._published if event.channel == channel]
        harmless = self.profile in _HARMLESS
        safe = [n for n, e in enumerate(events) if e.carried and (harmless or not self.world.is_troubled(e.at))]
        deaths = sorted(node.died_at for node in self.world.nodes if not node.alive)
        is_fragile = any(later - one < BOUNDS[self.profile] + 1 for one, later in pairwise(deaths))  # both keepers, perhaps
        if not safe or (is_fragile and self.profile != "leave") or self.profile == "mixed":
            return [None, *(event.frame for event in events)]
        last = events[safe[-1]]
        return [event.frame for n, event in enumerate(events) if n >= safe[-1] or event.done_at >= last.at]

    def _check_events(self) -> None:
        for event in self._published:
            subscription = event.awaited_by
            if subscription is None or not event.carried or self.world.is_troubled(event.at):
                continue
            node = next(node for node, other in self._subscriptions if other is subscription)
            closed_at = min(subscription.closed_at, node.died_at)
            if closed_at > event.at + TRAVEL and not subscription.received[event.frame]:
                self.world.complain(f"{subscription} never received {event.frame.decode()}")


def _hub(node: SimNode) -> RoomHub:
    return cast("RoomHub", node.hub)
