"""What requests to the API do (protocol.md 3.3, 5, 8.3, 8.4)."""

import pytest

from cluster import UserEvent
from node.api.audience import split
from node.protocol.api_body import ApiEvent
from node.protocol.frames import encode_event
from tests.unit.api.support import EVENT, OTHER_APP, USER_EVENT, Bench, RecordedUsers, make_request, sign_request


def to_user(user_id: str, name: str = "n", data: str = "d", excluded: str | None = None) -> UserEvent:
    """What a user shall receive on its channel."""
    return UserEvent("1001", user_id, encode_event(name, f"#server-to-user-{user_id}", data), excluded)


async def test_event_reaches_each_user_it_names() -> None:
    """On the user's own channel, but for the connection that is excluded (3.3, 8.4)."""
    bench = Bench()
    body = {**EVENT, "channels": ["#server-to-user-1", "room", "#server-to-user-ü/…"], "socket_id": "1.2"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    assert bench.users.calls == [("send", to_user("1", excluded="1.2"), to_user("ü/…", excluded="1.2"))]


async def test_event_reaches_a_user_once_when_it_is_named_twice() -> None:
    """Distinct channels count (8.3)."""
    bench = Bench()
    await bench.send(sign_request("POST", "/apps/1001/events", {**EVENT, "channels": ["#server-to-user-1"] * 2}))
    assert bench.users.calls == [("send", to_user("1"))]


async def test_event_is_accepted_when_all_its_channels_are_ordinary() -> None:
    """Nobody can be subscribed to one yet, so nobody is asked."""
    bench = Bench()
    body = {"name": "n", "data": "d", "channel": "room"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    assert bench.users.calls == []


def test_audience_tells_users_from_channels() -> None:
    """The place where ordinary channels plug in."""
    audience = split(ApiEvent("n", "d", ("room", "#server-to-user-1", "private-x")))
    assert (audience.user_ids, audience.channels) == (("1",), ("room", "private-x"))


async def test_event_is_answered_with_each_channel_when_info_is_asked() -> None:
    """Attributes only where they apply, else an empty object (8.3)."""
    body = {**EVENT, "channels": ["#server-to-user-1", "room"], "info": "user_count,subscription_count"}
    answer = await Bench().send(sign_request("POST", "/apps/1001/events", body))
    assert answer == (200, {"channels": {"#server-to-user-1": {}, "room": {}}})


async def test_batch_is_sent_as_a_whole_and_in_order() -> None:
    """One step for all events, so that none is lost when the bus is away."""
    bench = Bench()
    batch = [
        {"name": "a", "data": "1", "channel": "#server-to-user-x"},
        {"name": "b", "data": "2", "channel": "room"},
        {"name": "c", "data": {"k": 1}, "channel": "#server-to-user-x", "socket_id": "1.2"},
    ]
    assert await bench.send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch})) == (200, {})
    assert bench.users.calls == [("send", to_user("x", "a", "1"), to_user("x", "c", '{"k": 1}', "1.2"))]


async def test_batch_is_answered_in_order_when_info_is_asked_for_one() -> None:
    """Same order and length (8.3)."""
    batch = [{**USER_EVENT, "channel": "a"}, {**USER_EVENT, "channel": "b", "info": "user_count"}]
    answer = await Bench().send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch}))
    assert answer == (200, {"batch": [{}, {}]})


async def test_batch_sends_nothing_when_one_event_is_invalid() -> None:
    """All are checked before any is sent (8.3)."""
    bench = Bench()
    batch = [{**USER_EVENT, "channel": "#server-to-user-1"}, {**USER_EVENT, "channel": "#bad"}]
    status, answer = await bench.send(sign_request("POST", "/apps/1001/batch_events", {"batch": batch}))
    assert status == 400
    assert answer["error"].startswith("batch[1]: Invalid channel name '#bad'")
    assert bench.users.calls == []


async def test_user_event_reaches_the_user_in_the_path() -> None:
    """Vask's own route (3.3)."""
    bench = Bench()
    request = sign_request("POST", "/apps/shop-key/users/user-1/events", {**USER_EVENT, "socket_id": "1.2"})
    assert await bench.send(request) == (200, {})
    assert bench.users.calls == [("send", to_user("user-1", excluded="1.2"))]


@pytest.mark.parametrize("path", ["/apps/1001/users/1/terminate_connections", "/users/1/terminate_connections"])
@pytest.mark.parametrize("body", [{}, None, b"ignored"])
async def test_termination_acts_on_the_user_in_the_path(path: str, body: object) -> None:
    """With and without an app in the path, whatever the body (5)."""
    bench = Bench(users=RecordedUsers(connections=3))
    assert await bench.send(sign_request("POST", path, body)) == (200, {})
    assert bench.users.calls == [("terminate", "1001", "1")]


async def test_termination_without_an_app_in_the_path_stays_in_the_app_of_the_key() -> None:
    """Another app's user with the same id is another user."""
    bench = Bench()
    await bench.send(sign_request("POST", "/users/1/terminate_connections", {}, app=OTHER_APP))
    assert bench.users.calls == [("terminate", "1002", "1")]


@pytest.mark.parametrize(("connections", "online"), [(0, False), (1, True), (12, True)])
async def test_user_is_looked_up_in_the_cluster(connections: int, online: bool) -> None:
    """Whether the user is online, and with how many connections."""
    bench = Bench(users=RecordedUsers(connections=connections))
    answer = await bench.send(sign_request("GET", "/apps/1001/users/1"))
    assert answer == (200, {"online": online, "connections": connections})
    assert bench.users.calls == [("count", "1001", "1")]


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
    assert bench.users.calls == [("count", "1001", user_id)]


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
    assert bench.users.calls == []
