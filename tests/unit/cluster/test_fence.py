"""The fence: one round for all who wait, over every other server, and never for longer than it may."""

import trio
from trio.testing import MockClock

from cluster.envelope import Ping, encode
from tests.unit.cluster.support import SETTINGS, Peer, peers

_PING = encode(Ping())


def _pings(peer: Peer) -> int:
    return sum(payload == _PING for _, payload in peer.bus.sent)


async def test_one_round_serves_all_who_wait(autojump_clock: MockClock) -> None:
    """A thousand sign-ins at one moment cost as much as two."""
    async with peers(3) as (node, *_):
        fences = node.counts.fences
        node.claim("first")
        await trio.testing.wait_all_tasks_blocked()
        fences, pings = node.counts.fences - fences, _pings(node)
        for number in range(1000):
            node.claim(f"user {number}")
        await trio.sleep(0.5)
        assert node.results == [True] * 1001
        assert node.counts.fences - fences <= 3
        assert _pings(node) - pings <= 2 * 2  # two other servers, two rounds at the most


async def test_one_peer_answers_for_its_server(autojump_clock: MockClock) -> None:
    """Servers are asked, not nodes; the own one needs no peer."""
    async with peers(5) as cluster:
        node, one, two, near, far = cluster
        two.bus.server = one.bus.server
        near.bus.server = node.bus.server
        await trio.sleep(1.5)  # their heartbeats say so
        node.bus.sent.clear()
        node.claim("ann")
        await trio.sleep(0.5)
        assert node.results == [True]
        asked = [subject.rpartition(".")[2] for subject, payload in node.bus.sent if payload == _PING]
        assert len(asked) == 2
        assert far.member.node_id in asked
        assert near.member.node_id not in asked


async def test_another_peer_answers_when_one_is_silent(autojump_clock: MockClock) -> None:
    """A stopped process does not hold its server's fence up for long."""
    async with peers(3) as (node, one, two):
        two.bus.server = one.bus.server
        await trio.sleep(1.5)
        silent = one if next(iter(node.member._membership.servers()[one.bus.server])) == one.member.node_id else two
        silent.bus.fall_silent()
        node.claim("ann")
        await trio.sleep(SETTINGS.fence_timeout / 4 + 0.1)
        assert node.results == [True]
        assert node.counts.timed_out == 0


async def test_a_server_whose_only_peer_is_silent_holds_up_for_the_timeout(autojump_clock: MockClock) -> None:
    """Then sign-ins go on, and it is counted."""
    async with peers(2) as (node, other):
        other.bus.fall_silent()
        node.claim("ann")
        await trio.sleep(SETTINGS.fence_timeout - 0.1)
        assert node.results == []
        await trio.sleep(0.3)
        assert node.results == [True]
        assert node.counts.timed_out == 1


async def test_a_server_whose_only_peer_died_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Nobody can send through it: sign-ins go on long before the death is proved."""
    async with peers(2) as (node, other):
        await trio.sleep(3)  # the bus has settled
        other.life.cancel()
        await trio.sleep(0.1)
        node.claim("ann")
        await trio.sleep(1.5 * SETTINGS.tick_interval)  # one between two questions
        assert node.results == [True]
        assert node.counts.timed_out == 0
        assert node.member.peers == 1


async def test_a_server_with_a_silent_peer_is_waited_for_though_another_died(autojump_clock: MockClock) -> None:
    """The silent one may still send."""
    async with peers(3) as (node, one, two):
        two.bus.server = one.bus.server
        await trio.sleep(3)
        one.life.cancel()
        two.bus.fall_silent()
        await trio.sleep(0.1)
        node.claim("ann")
        await trio.sleep(SETTINGS.fence_timeout - 0.1)
        assert node.results == []
        await trio.sleep(0.3)
        assert node.results == [True]


async def test_a_fence_that_the_bus_interrupts_begins_again(autojump_clock: MockClock) -> None:
    """What was heard before the bus went away says nothing of where it comes back."""
    async with peers(2) as (node, other):
        other.bus.drops = lambda _subject, _payload: True  # its answer would end the fence at once
        node.claim("ann")
        await trio.sleep(0.1)
        node.bus.go_away()
        other.bus.drops = lambda _subject, _payload: False
        await trio.sleep(1.0)
        assert node.results == []
        before = _pings(node)
        node.bus.come_back()
        await trio.sleep(0.5)
        assert node.results == [True]
        assert _pings(node) > before
