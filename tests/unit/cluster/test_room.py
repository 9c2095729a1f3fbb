"""What belongs together is carried as a whole, also when the bus takes messages slower than they come."""

import pytest
from trio.testing import MockClock

from cluster import BusAwayError, ChannelEvent, NatsBus, NatsSettings, UserEvent
from tests.unit.cluster.support import APP, peers
from tests.waiting import carried


async def test_no_event_of_a_request_is_sent_when_the_bus_has_no_room(autojump_clock: MockClock) -> None:
    """Whoever is told that it failed sends it again: nobody may have got a part."""
    async with peers(2) as (one, _):
        one.bus.has_room = False
        events: list[UserEvent | ChannelEvent] = [UserEvent(APP, "ann", b"1"), ChannelEvent(APP, "room", b"2")]
        assert not await carried(lambda done: one.member.send_events(events, done))
        assert not any(".user." in subject or ".channel." in subject for subject, _ in one.bus.sent)
        one.bus.has_room = True
        assert await carried(lambda done: one.member.send_events(events, done))


def test_nats_takes_the_rest_of_what_was_begun_while_there_was_room() -> None:
    """Its outbox has a bound for beginnings, and another for everything."""
    bus = NatsBus(NatsSettings(["nats://nowhere:1"], outbox_bytes=1000))
    bus._connected = True  # as it is while NATS does not read
    while bus.has_room:
        bus.publish("subject", b"x" * 100)
    bus.publish("subject", b"x" * 100_000)
    bus.publish("subject", b"x" * 10_000_000)
    with pytest.raises(BusAwayError, match="as fast as they come"):
        bus.publish("subject", b"x")
