"""What receivers are told: names, fields and their types (protocol.md 9)."""

import json
from typing import Any

from node.webhooks.events import Event, Fact, Kind, cache_miss, client_event, subscription_count, user_fact


def read(event: Event) -> Any:
    """An event's JSON."""
    return json.loads(event.encoded)


def test_channel_events_name_the_channel() -> None:
    """And nothing else."""
    fact = Fact(Kind.CHANNEL, "1", "my-channel")
    assert read(fact.event(begins=True, sequence=5)) == {"name": "channel_occupied", "channel": "my-channel"}
    assert read(fact.event(begins=False, sequence=5)) == {"name": "channel_vacated", "channel": "my-channel"}


def test_member_events_name_the_user() -> None:
    """As a text, whatever it looks like."""
    fact = Fact(Kind.MEMBER, "1", "presence-a", "42")
    assert read(fact.event(begins=True, sequence=5)) == {"name": "member_added", "channel": "presence-a", "user_id": "42"}
    assert read(fact.event(begins=False, sequence=5)) == {"name": "member_removed", "channel": "presence-a", "user_id": "42"}


def test_user_events_have_a_sequence_and_a_channel() -> None:
    """The channel is the user's own; the PHP SDK reads one of each event."""
    fact = user_fact("1", "ann")
    expected = {"channel": "#server-to-user-ann", "user_id": "ann", "sequence": 7}
    assert read(fact.event(begins=True, sequence=7)) == {"name": "user_online", **expected}
    assert read(fact.event(begins=False, sequence=7)) == {"name": "user_offline", **expected}


def test_client_event_names_a_user_on_presence_channels_only() -> None:
    """Elsewhere the key is missing."""
    assert read(client_event("1", "private-a", "client-x", '{"a":1}', "1.2", None)) == {
        "name": "client_event",
        "channel": "private-a",
        "event": "client-x",
        "data": '{"a":1}',
        "socket_id": "1.2",
    }
    assert read(client_event("1", "presence-a", "client-x", "", "1.2", "7"))["user_id"] == "7"


def test_misses_and_counts_are_as_told() -> None:
    """The count is a number."""
    assert read(cache_miss("1", "cache-a")) == {"name": "cache_miss", "channel": "cache-a"}
    expected = {"name": "subscription_count", "channel": "a", "subscription_count": 3}
    assert read(subscription_count("1", "a", 3)) == expected
