"""Channels of a member: who hears an event, and from when on."""

from dataclasses import replace

import trio
import trio.testing
from trio.testing import MockClock

from cluster import Broker, ChannelEvent, LocalBus, Member, UserEvent
from tests.sim.nodes import Counts
from tests.unit.cluster.support import APP, SETTINGS, Peer, peers
from tests.waiting import carried


async def test_a_channel_event_reaches_the_subscribers_elsewhere(autojump_clock: MockClock) -> None:
    """And no node that has none; users' events go along, in one request."""
    async with peers(3) as (sender, holder, other):
        holder.subscribe("room")
        holder.claim("ann")
        await trio.sleep(0.5)
        events: list[UserEvent | ChannelEvent] = [
            ChannelEvent(APP, "room", b"one"),
            UserEvent(APP, "ann", b"two"),
            ChannelEvent(APP, "hall", b"three"),
        ]
        assert await carried(lambda done: sender.member.send_events(events, done))
        assert (holder.channel_events, holder.events) == ([b"one"], [b"two"])
        assert (other.channel_events, other.events) == ([], [])


async def test_a_later_subscription_of_a_confirmed_channel_is_confirmed_at_once(autojump_clock: MockClock) -> None:
    """The first one waits for the fence."""
    async with peers(2) as (node, _):
        node.subscribe("room")
        assert node.results == []
        assert not node.member.is_channel_confirmed(APP, "room")
        await trio.sleep(0.5)
        assert node.member.is_channel_confirmed(APP, "room")
        node.subscribe("room")
        assert node.results == [True, True]


async def test_a_channel_is_held_until_its_linger_has_ended(autojump_clock: MockClock) -> None:
    """A reload costs nothing on the bus."""
    async with peers(2) as (node, _):
        before = node.member.interests
        node.subscribe("room")
        await trio.sleep(0.5)
        node.member.release_channel(APP, "room", 2.0)
        await trio.sleep(1.0)
        node.subscribe("room")
        assert node.results == [True, True]
        node.member.release_channel(APP, "room", 1.0)
        await trio.sleep(0.8)
        assert node.member.interests == before + 1
        await trio.sleep(0.4)
        assert node.member.interests == before


async def test_a_channel_is_not_confirmed_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Where it comes back, the interest has to become known again; after `confirm_timeout` it is given up."""
    async with peers(2) as (node, _):
        node.subscribe("room")
        await trio.sleep(0.5)
        node.bus.go_away()
        assert not node.member.is_channel_confirmed(APP, "room")
        node.subscribe("room")
        await trio.sleep(SETTINGS.confirm_timeout + 0.5)
        assert node.results == [True, False]
        node.bus.come_back()
        node.subscribe("room")
        await trio.sleep(0.5)
        assert node.results == [True, False, True]


async def test_a_client_event_is_lost_and_counted_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """A backend's event is refused instead."""
    async with peers(2) as (node, other):
        other.subscribe("room")
        await trio.sleep(0.5)
        node.member.send_client_event(ChannelEvent(APP, "room", b"one"))
        node.bus.go_away()
        node.member.send_client_event(ChannelEvent(APP, "room", b"two"))
        assert not await carried(lambda done: node.member.send_events([ChannelEvent(APP, "room", b"three")], done))
        assert other.channel_events == [b"one"]
        assert node.counts.messages["lost", "channel_event"] == 1


async def test_a_node_that_is_alone_confirms_at_once(autojump_clock: MockClock) -> None:
    """There is nobody to wait for, and nothing to say."""
    member = Member(LocalBus(), replace(SETTINGS, join_wait=0.0), Peer(Broker(), "unused"), Counts())
    confirmed: list[bool] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(member.run)
        await trio.testing.wait_all_tasks_blocked()
        member.hold_channel(APP, "room")
        member.confirm_channel(APP, "room", (), confirmed.append)
        member.send_events([ChannelEvent(APP, "room", b"one")], confirmed.append)
        member.release_channel(APP, "room")
        assert confirmed == [True, True]
        nursery.cancel_scope.cancel()
