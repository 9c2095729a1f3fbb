"""Three nats-servers with routes, one cluster member on each: no channel event is lost that follows a confirmation.

Members without nodes, in this process: what is raced here is the cluster's own. Every channel is new, so every subscription
waits for a fence; without it, most events are lost over routes of five milliseconds.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle, permutations

import pytest
import trio

from cluster import ChannelEvent, ClusterSettings, Member, NatsBus, NatsSettings
from tests.integration.test_three_servers import ENOUGH, near_and_far, start_distant
from tests.processes import NatsServer, Processes
from tests.sim.nodes import ModelHub
from tests.waiting import carried

_APP = "app"
_AT_ONCE = 16
_PATIENCE = 5.0


class _Listener(ModelHub):
    """Remembers the events of each channel."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.heard: dict[str, list[bytes]] = {}
        self.arrived = trio.Event()
        self.member = Member(NatsBus(NatsSettings([url])), ClusterSettings(), self)

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `Listener`."""
        self.heard.setdefault(event.channel, []).append(event.frame)
        self.arrived.set()
        self.arrived = trio.Event()
        return True

    async def hears(self, channel: str) -> list[bytes]:
        """What has arrived for a channel, once something has, or too much time has passed."""
        with trio.move_on_after(_PATIENCE):
            while channel not in self.heard:
                await self.arrived.wait()
        return self.heard.get(channel, [])


_Race = Callable[[str, _Listener, _Listener], Awaitable[bool]]


@asynccontextmanager
async def _members(processes: Processes, delay: float) -> AsyncIterator[list[_Listener]]:
    async with trio.open_nursery() as nursery:
        servers: list[NatsServer]
        servers = await start_distant(nursery, processes, delay) if delay else processes.start_nats_cluster(3)
        listeners = [_Listener(server.url) for server in servers]
        for listener in listeners:
            await nursery.start(listener.member.run)
        with trio.fail_after(10):
            while not all(listener.member.peers == 2 for listener in listeners):
                await trio.sleep(0.05)
        yield listeners
        nursery.cancel_scope.cancel()


async def _race(count: int, listeners: list[_Listener], run: _Race) -> list[int]:
    numbers, places = iter(range(count)), cycle(permutations(listeners, 2))
    lost: list[int] = []

    async def run_some() -> None:
        for number in numbers:
            if len(lost) >= ENOUGH:
                return
            subscriber, publisher = next(places)
            if not await run(f"room-{number}", subscriber, publisher):
                lost.append(number)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(run_some)
    return lost


@pytest.mark.slow
@near_and_far
async def test_no_channel_event_is_lost_that_another_node_publishes_at_the_moment_of_success(
    processes: Processes, delay: float, races: int
) -> None:
    """Whatever server it is published through; and it comes once."""

    async def race(channel: str, subscriber: _Listener, publisher: _Listener) -> bool:
        subscriber.member.hold_channel(_APP, channel)
        assert await carried(lambda done: subscriber.member.confirm_channel(_APP, channel, (), done))
        assert await carried(lambda done: publisher.member.send_events([ChannelEvent(_APP, channel, b"news")], done))
        heard = await subscriber.hears(channel)
        assert len(heard) <= 1
        subscriber.member.release_channel(_APP, channel)
        return heard == [b"news"]

    async with _members(processes, delay) as listeners:
        lost = await _race(races, listeners, race)
    print(f"{races} events, {len(lost)} lost")
    assert lost == []


@pytest.mark.slow
async def test_the_last_event_of_a_cache_channel_is_known_or_heard_whenever_one_subscribes(processes: Processes) -> None:
    """It is published while the subscription is under way: then it is recalled, or it comes."""

    async def race(channel: str, subscriber: _Listener, publisher: _Listener) -> bool:
        recalled: list[bytes | None] = []
        found = trio.Event()

        def recall(confirmed: bool) -> None:
            assert confirmed
            subscriber.member.recall(_APP, channel, heed)

        def heed(frame: bytes | None, _left: float) -> None:
            recalled.append(frame)
            found.set()

        async with trio.open_nursery() as nursery:
            event = ChannelEvent(_APP, channel, b"news", ttl=60.0)
            nursery.start_soon(carried, lambda done: publisher.member.send_events([event], done))
            subscriber.member.hold_channel(_APP, channel)
            subscriber.member.confirm_channel(_APP, channel, (), recall)
        await found.wait()
        was_known = recalled == [b"news"] or await subscriber.hears(channel) == [b"news"]
        subscriber.member.release_channel(_APP, channel)
        return was_known

    async with _members(processes, 0.005) as listeners:
        assert await _race(400, listeners, race) == []
