"""What requests to the API publish and end (protocol.md 3.3, 5, 8.3, 8.4)."""

from typing import Any

import pytest
import trio

from cluster import ChannelEvent, UserEvent
from node.config.apps import App, Apps
from node.protocol.frames import encode_event
from node.users import Unavailable
from tests.unit.api.support import (
    EVENT,
    OTHER_APP,
    USER_EVENT,
    Bench,
    RecordedAudience,
    make_request,
    read_json,
    sign_request,
)

COUNTS = {"room": 13, "presence-room": 51}
MEMBERS = {"presence-room": ["a", "b"]}


def to_user(user_id: str, name: str = "n", data: str = "d", excluded: str | None = None) -> UserEvent:
    """What a user shall receive on its channel."""
    return UserEvent("1001", user_id, encode_event(name, f"#server-to-user-{user_id}", data), excluded)


def to_channel(channel: str, name: str = "n", data: str = "d", excluded: str | None = None) -> ChannelEvent:
    """What the subscribers of a channel shall receive."""
    return ChannelEvent("1001", channel, encode_event(name, channel, data), excluded)


async def test_event_reaches_each_user_and_channel_it_names() -> None:
    """In one step and in order, but for the connection that is excluded everywhere (3.3, 8.4)."""
    bench = Bench()
    body = {**EVENT, "channels": ["#server-to-user-1", "room", "#server-to-user-ü/…"], "socket_id": "1.2"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    reached = (to_user("1", excluded="1.2"), to_channel("room", excluded="1.2"), to_user("ü/…", excluded="1.2"))
    assert bench.audience.calls == [("publish", *reached)]


async def test_event_reaches_a_hundred_channels() -> None:
    """And 400 for one more (8.3)."""
    bench = Bench()
    channels = [f"room-{number}" for number in range(100)]
    body = {"name": "n", "data": "d", "channels": channels}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    assert bench.audience.published == [to_channel(channel) for channel in channels]
    body["channels"] = [*channels, "one-more"]
    assert (await bench.send(sign_request("POST", "/apps/1001/events", body)))[0] == 400


async def test_event_reaches_a_channel_once_when_it_is_named_twice() -> None:
    """Distinct channels count (8.3)."""
    bench = Bench()
    channels = ["#server-to-user-1", "room"] * 2
    await bench.send(sign_request("POST", "/apps/1001/events", {**EVENT, "channels": channels}))
    assert bench.audience.published == [to_user("1"), to_channel("room")]


async def test_event_is_passed_on_as_it_is_when_its_channel_is_encrypted() -> None:
    """The server sees ciphertext only, and changes none of it (10)."""
    bench = Bench()
    data = '{"nonce":"bm9uY2U=","ciphertext":"Y2lwaGVy"}'
    body = {"name": "n", "data": data, "channel": "private-encrypted-x"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    assert bench.audience.published == [to_channel("private-encrypted-x", data=data)]


async def test_event_is_answered_with_each_channel_when_info_is_asked() -> None:
    """Attributes only where they apply, from one look for each, else an empty object (8.3)."""
    bench = Bench(audience=RecordedAudience(subscriptions=COUNTS, users=MEMBERS))
    channels = ["#server-to-user-1", "room", "presence-room", "cache-empty"]
    body = {**EVENT, "channels": channels, "info": "user_count,subscription_count,cache,other"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (
        200,
        {
            "channels": {
                "#server-to-user-1": {},
                "room": {"subscription_count": 13},
                "presence-room": {"user_count": 2, "subscription_count": 51},
                "cache-empty": {"subscription_count": 0},
            }
        },
    )
    kinds = [(call[0], len(call)) for call in bench.audience.calls]
    assert kinds == [("subscriptions", 5), ("users", 3), ("publish", 5)]


async def test_event_asks_the_cluster_nothing_when_no_attribute_applies() -> None:
    """The answer is known."""
    bench = Bench()
    body = {"name": "n", "data": "d", "channel": "room", "info": "user_count"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {"channels": {"room": {}}})
    assert bench.audience.calls == [("publish", to_channel("room"))]


async def test_event_is_not_published_when_its_info_cannot_be_had() -> None:
    """503 means that nobody got it: sent again, it arrives once."""

    class Counting(RecordedAudience):
        async def subscription_counts(self, *_: object) -> dict[str, int]:
            raise Unavailable

    bench = Bench(audience=Counting())
    body = {"name": "n", "data": "d", "channel": "room", "info": "subscription_count"}
    assert (await bench.send(sign_request("POST", "/apps/1001/events", body)))[0] == 503
    assert bench.audience.calls == []


async def test_event_is_answered_alike_with_a_task_and_without() -> None:
    """`handle` is what transports with tasks call."""
    bench = Bench()
    request = sign_request("POST", "/apps/1001/events", EVENT)
    assert await bench.api.handle(request) == await bench.respond(request)
    assert bench.audience.published == [to_user("1")] * 2
    bench.audience.failure = Unavailable("bus away")
    assert (await bench.api.handle(request)).status == 503


async def test_event_with_info_is_answered_when_the_cluster_has_it_later() -> None:
    """`done` may come at any time."""

    class Late(RecordedAudience):
        def publish(self, *details: Any) -> None:
            trio.lowlevel.current_trio_token().run_sync_soon(details[-1], True)

    body = {"name": "n", "data": "d", "channel": "room", "info": "subscription_count"}
    bench = Bench(audience=Late(subscriptions=COUNTS))
    answer = await bench.send(sign_request("POST", "/apps/1001/events", body))
    assert answer == (200, {"channels": {"room": {"subscription_count": 13}}})


async def test_batch_is_sent_as_a_whole_and_in_order() -> None:
    """One step for all events, so that none is lost when the bus is away."""
    bench = Bench()
    batch = [
        {"name": "a", "data": "1", "channel": "#server-to-user-x"},
        {"name": "b", "data": "2", "channel": "room"},
        {"name": "c", "data": {"k": 1}, "channel": "#server-to-user-x", "socket_id": "1.2"},
        {"name": "d", "data": "4", "channel": "private-encrypted-y", "socket_id": "3.4"},
    ]
    assert await bench.send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch})) == (200, {})
    expected = (
        to_user("x", "a", "1"),
        to_channel("room", "b", "2"),
        to_user("x", "c", '{"k": 1}', "1.2"),
        to_channel("private-encrypted-y", "d", "4", "3.4"),
    )
    assert bench.audience.calls == [("publish", *expected)]


async def test_batch_is_answered_in_order_when_info_is_asked_for_one() -> None:
    """Same order and length, a channel that comes twice too (8.3)."""
    batch = [
        {**USER_EVENT, "channel": "room"},
        {**USER_EVENT, "channel": "presence-room", "info": "user_count"},
        {**USER_EVENT, "channel": "room", "info": "subscription_count"},
        {**USER_EVENT, "channel": "#server-to-user-1", "info": "subscription_count"},
    ]
    bench = Bench(audience=RecordedAudience(subscriptions=COUNTS, users=MEMBERS))
    answer = await bench.send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch}))
    assert answer == (200, {"batch": [{}, {"user_count": 2}, {"subscription_count": 13}, {}]})


async def test_batch_may_be_empty() -> None:
    """Nothing to send is no error."""
    assert await Bench().send(sign_request("POST", "/apps/1001/batch_events", {"batch": []})) == (200, {})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/apps/1/events", {"name": "n", "data": "d", "channels": ["a", "b", "c"]}),
        ("/apps/1/batch_events", {"batch": [{"name": "n", "data": "d", "channel": "a"}] * 3}),
        ("/apps/1/events", {"name": "n", "data": "d", "channel": "abcd"}),
    ],
)
async def test_limits_are_the_apps_own(path: str, body: object) -> None:
    """Channels of an event, events of a batch, and characters of a name."""
    app = App(id="1", key="k", secrets=("s",), channels_per_event=2, events_per_batch=2, channel_name_limit=3)
    bench = Bench(apps=Apps([app]))
    assert (await bench.send(sign_request("POST", path, body, app=app)))[0] == 400
    assert bench.audience.calls == []


async def test_events_are_refused_beyond_their_rate_and_owed_when_they_are_many() -> None:
    """Counted for each channel; a request that is over a second's worth passes when nothing is owed."""
    app = App(id="1", key="k", secrets=("s",), api_events_per_second=2)
    bench = Bench(apps=Apps([app, OTHER_APP]))
    three = sign_request("POST", "/apps/1/events", {"name": "n", "data": "d", "channels": ["a", "b", "c"]}, app=app)
    one = sign_request("POST", "/apps/1/users/1/events", USER_EVENT, app=app)
    batch = {"batch": [{**USER_EVENT, "channel": "a", "info": "subscription_count"}] * 2}
    two = sign_request("POST", "/apps/1/batch_events", batch, app=app)
    assert [(await bench.send(request))[0] for request in (three, one, two)] == [200, 429, 429]
    response = await bench.respond(two)
    assert response.headers == (("Retry-After", "2"),)
    assert "2 events per second" in read_json(response)["error"]
    assert (await bench.send(sign_request("GET", "/apps/1/channels", app=app)))[0] == 200
    bench.now += 1.0
    assert [(await bench.send(request))[0] for request in (two, one)] == [429, 200]
    bench.now += 1.0
    assert [(await bench.send(request))[0] for request in (two, one)] == [200, 429]


async def test_batch_sends_nothing_when_one_event_is_invalid() -> None:
    """All are checked before any is sent (8.3)."""
    bench = Bench()
    batch = [{**USER_EVENT, "channel": "#server-to-user-1"}, {**USER_EVENT, "channel": "#bad"}]
    status, answer = await bench.send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch}))
    assert status == 400
    assert answer["error"].startswith("batch[1]: Invalid channel name '#bad'")
    assert bench.audience.calls == []


async def test_user_event_reaches_the_user_in_the_path() -> None:
    """Vask's own route (3.3)."""
    bench = Bench()
    request = sign_request("POST", "/apps/shop-key/users/user-1/events", {**USER_EVENT, "socket_id": "1.2"})
    assert await bench.send(request) == (200, {})
    assert bench.audience.calls == [("publish", to_user("user-1", excluded="1.2"))]


@pytest.mark.parametrize("path", ["/apps/1001/users/1/terminate_connections", "/users/1/terminate_connections"])
@pytest.mark.parametrize("body", [{}, None, b"ignored"])
async def test_termination_acts_on_the_user_in_the_path(path: str, body: object) -> None:
    """With and without an app in the path, whatever the body (5)."""
    bench = Bench(audience=RecordedAudience(connections=3))
    assert await bench.send(sign_request("POST", path, body)) == (200, {})
    assert bench.audience.calls == [("terminate", "1001", "1")]


async def test_termination_without_an_app_in_the_path_stays_in_the_app_of_the_key() -> None:
    """Another app's user with the same id is another user."""
    bench = Bench()
    await bench.send(sign_request("POST", "/users/1/terminate_connections", {}, app=OTHER_APP))
    assert bench.audience.calls == [("terminate", "1002", "1")]


@pytest.mark.parametrize(("connections", "online"), [(0, False), (1, True), (12, True)])
async def test_user_is_looked_up_in_the_cluster(connections: int, online: bool) -> None:
    """Whether the user is online, and with how many connections."""
    bench = Bench(audience=RecordedAudience(connections=connections))
    answer = await bench.send(sign_request("GET", "/apps/1001/users/1"))
    assert answer == (200, {"online": online, "connections": connections})
    assert bench.audience.calls == [("count", "1001", "1")]


@pytest.mark.parametrize(
    ("segment", "user_id"),
    [
        ("a.b", "a.b"),
        ("*", "*"),
        ("%3E", ">"),
        ("x%20y", "x y"),
        ("x+y", "x+y"),
        ("%C3%BC%2F%E2%80%A6", "ü/…"),
        ("100%2525", "100%25"),
        ("a=@,;b", "a=@,;b"),
        ("u" * 200, "u" * 200),
        ("..", ".."),
        ("events", "events"),
    ],
)
async def test_user_id_in_a_path_is_decoded_once(segment: str, user_id: str) -> None:
    """Any id, escaped or not; `+` is itself."""
    bench = Bench()
    assert await bench.send(sign_request("GET", f"/apps/1001/users/{segment}")) == (
        200,
        {"online": False, "connections": 0},
    )
    assert bench.audience.calls == [("count", "1001", user_id)]


async def test_user_id_is_accepted_when_the_plain_path_was_signed() -> None:
    """Node signs what it then escapes (8.2)."""
    bench = Bench()
    plain = sign_request("GET", "/apps/1001/users/x y")
    assert (await bench.send(make_request("GET", "/apps/1001/users/x%20y", plain.query)))[0] == 200


@pytest.mark.parametrize("segment", ["u" * 201, "%00", "a%0Ab", "%FF", "%ED%A0%80"])
@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [("POST", "/events", USER_EVENT), ("POST", "/terminate_connections", {}), ("GET", "", None)],
)
async def test_user_id_is_refused_when_no_user_can_have_it(segment: str, method: str, tail: str, body: object) -> None:
    """Too long, control characters, escapes that are not UTF-8."""
    bench = Bench()
    status, answer = await bench.send(sign_request(method, f"/apps/1001/users/{segment}{tail}", body))
    assert status == 400
    assert answer["error"].startswith("Invalid user id")
    assert bench.audience.calls == []
