"""A member as a node works with it: joining, confirming, leaving."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cluster import ShardMismatchError
from cluster.envelope import Heartbeat, decode
from cluster.local_bus import Broker
from tests.unit.cluster.support import APP, READY, SETTINGS, Peer, peers


async def test_a_node_with_another_number_of_shards_does_not_start(autojump_clock: MockClock) -> None:
    """The running cluster goes on, and never counts it as a peer."""
    broker = Broker()
    running = Peer(broker, "one")
    stranger = Peer(broker, "two", replace(SETTINGS, shards=8))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        await trio.sleep(READY)
        with pytest.raises(ExceptionGroup) as caught:
            await stranger.member.run()
        assert caught.group_contains(ShardMismatchError)
        assert running.member.peers == 0
        nursery.cancel_scope.cancel()


async def test_a_member_has_started_when_it_knows_its_peers(autojump_clock: MockClock) -> None:
    """Also when all of them start at once."""
    broker = Broker()
    cluster = [Peer(broker, f"server {number}") for number in range(3)]
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for peer in cluster:
                starting.start_soon(nursery.start, peer.member.run)
        assert [peer.member.peers for peer in cluster] == [2, 2, 2]
        nursery.cancel_scope.cancel()


async def test_a_confirmation_comes_at_once_when_nothing_is_missing(autojump_clock: MockClock) -> None:
    """The second connection of a user, watching what is watched already."""
    async with peers(3) as (node, *_):
        node.claim("ann", "bob")
        await trio.sleep(0.5)
        assert node.results == [True]
        node.claim("ann", "bob")
        assert node.results == [True, True]


async def test_a_confirmation_waits_for_a_silent_peer_so_long_and_no_longer(autojump_clock: MockClock) -> None:
    """Its part of the shard is missing; then the sign-in goes on without."""
    async with peers(3) as (node, silent, _):
        silent.bus.fall_silent()
        node.claim("ann", "bob")
        await trio.sleep(SETTINGS.fence_timeout - 0.2)
        assert node.results == []
        await trio.sleep(0.5)
        assert node.results == [True]


async def test_a_confirmation_is_given_up_when_the_bus_stays_away(autojump_clock: MockClock) -> None:
    """After `confirm_timeout`, and not before."""
    async with peers(2) as (node, _):
        node.bus.go_away()
        node.claim("ann", "bob")
        await trio.sleep(SETTINGS.confirm_timeout - 0.2)
        assert node.results == []
        await trio.sleep(0.5)
        assert node.results == [False]
        node.bus.come_back()
        await trio.sleep(1)
        assert node.results == [False]


async def test_a_confirmation_comes_when_the_bus_is_back_in_time(autojump_clock: MockClock) -> None:
    """Nothing has to be asked for again by whoever waits."""
    async with peers(2) as (node, _):
        node.bus.go_away()
        node.claim("ann", "bob")
        await trio.sleep(5)
        node.bus.come_back()
        await trio.sleep(0.5)
        assert node.results == [True]


async def test_nothing_is_confirmed_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Not even for a user whose interest was known before: where the bus comes back it has to become known again."""
    async with peers(2) as (node, _):
        node.claim("ann")
        await trio.sleep(0.5)
        node.bus.go_away()
        node.claim("ann")
        assert node.results == [True]
        node.bus.come_back()
        node.claim("ann")
        assert node.results == [True]
        await trio.sleep(0.5)
        assert node.results == [True, True, True]


async def test_a_fence_for_a_user_who_was_let_go_of_says_nothing_of_a_new_hold(autojump_clock: MockClock) -> None:
    """The interest was taken anew, behind the fence that passed."""
    async with peers(2) as (node, silent):
        silent.bus.fall_silent()
        node.member.hold(APP, "ann")
        confirmed: list[bool] = []
        node.member.confirm(APP, "ann", (), confirmed.append)
        await trio.sleep(0.1)  # the fence has begun
        node.member.release(APP, "ann", 0.0)
        await trio.sleep(0.3)
        node.member.hold(APP, "ann")
        await trio.sleep(SETTINGS.fence_timeout)
        assert confirmed == [True]
        assert not node.member._holders.interest(APP, "ann").fenced


async def test_a_member_that_says_goodbye_is_gone_at_once_and_for_good(autojump_clock: MockClock) -> None:
    """Its last heartbeats do not bring it back, nor its answers to newcomers."""
    async with peers(3) as (node, leaving, _):
        leaving.claim("ann")
        node.claim("bob", "ann")
        await trio.sleep(0.5)
        node.edges.clear()
        await leaving.member.say_goodbye()
        assert node.edges == [("ann", False)]
        assert node.member.peers == 1
        node.bus.go_away()
        node.bus.come_back()
        await trio.sleep(3)
        assert node.member.peers == 1
        assert node.edges == [("ann", False)]


async def test_a_member_that_hears_itself_does_not_meet_itself(autojump_clock: MockClock) -> None:
    """A server that was left can pass on what it was told before."""
    async with peers(2) as (node, _):
        own = [payload for _, payload in node.bus.sent if isinstance(decode(payload), Heartbeat)]
        before = node.member.peers
        node.member._on_message(decode(own[-1]), "")
        assert node.member.peers == before


async def test_a_user_who_comes_back_within_the_linger_makes_no_noise(autojump_clock: MockClock) -> None:
    """Nor one who moves to another node."""
    async with peers(3) as (one, two, watcher):
        watcher.claim("watcher", "ann")
        one.claim("ann")
        await trio.sleep(0.5)
        assert watcher.edges == [("ann", True)]
        one.release("ann")
        await trio.sleep(SETTINGS.presence_linger - 0.2)
        one.claim("ann")
        await trio.sleep(1)
        one.release("ann")
        two.claim("ann")
        await trio.sleep(2)
        assert watcher.edges == [("ann", True)]
        two.release("ann")
        await trio.sleep(1)
        assert watcher.edges == [("ann", True), ("ann", False)]


async def test_a_dead_member_s_users_go_offline_once_within_three_seconds(autojump_clock: MockClock) -> None:
    """Those who are signed in elsewhere too do not."""
    async with peers(3) as (one, two, watcher):
        watcher.claim("watcher", "ann", "bob")
        one.claim("ann")
        one.claim("bob")
        two.claim("bob")
        await trio.sleep(3)  # the bus has settled
        watcher.edges.clear()
        one.life.cancel()
        await trio.sleep(3)
        assert watcher.edges == [("ann", False)]
        await trio.sleep(10)
        assert watcher.edges == [("ann", False)]
