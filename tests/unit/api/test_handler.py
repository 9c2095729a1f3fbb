"""Requests to the API: what they do, in which order they are checked, and how they are refused (protocol.md 8)."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from node.api.audience import split
from node.apps import App, Apps
from node.protocol.api_body import ApiEvent
from node.protocol.frames import encode_event
from node.users import Unavailable, UserEvent
from tests.unit.api.support import (
    APP,
    DISABLED_APP,
    NOW,
    OTHER_APP,
    Bench,
    RecordedUsers,
    make_request,
    read_json,
    sign_request,
)

EVENT: dict[str, Any] = {"name": "n", "data": "d", "channels": ["#server-to-user-1"]}
USER_EVENT = {"name": "n", "data": "d"}
ROUTES = [
    ("POST", "/apps/1001/events", "/apps/{app}/events", EVENT),
    ("POST", "/apps/1001/batch_events", "/apps/{app}/batch_events", {"batch": [{**USER_EVENT, "channel": "c"}]}),
    ("POST", "/apps/1001/users/1/events", "/apps/{app}/users/{user}/events", USER_EVENT),
    ("POST", "/apps/1001/users/1/terminate_connections", "/apps/{app}/users/{user}/terminate_connections", {}),
    ("POST", "/users/1/terminate_connections", "/users/{user}/terminate_connections", {}),
    ("GET", "/apps/1001/users/1", "/apps/{app}/users/{user}", None),
]
each_route = pytest.mark.parametrize(("method", "path", "route", "body"), ROUTES, ids=[r[2] for r in ROUTES])


def to_user(user_id: str, name: str = "n", data: str = "d", excluded: str | None = None) -> UserEvent:
    """What a user shall receive on its channel."""
    return UserEvent(user_id, encode_event(name, f"#server-to-user-{user_id}", data), excluded)


# -- what requests do ---------------------------------------------------------------------------------------------


async def test_event_reaches_each_user_it_names() -> None:
    """On the user's own channel, but for the connection that is excluded (3.3, 8.4)."""
    bench = Bench()
    body = {**EVENT, "channels": ["#server-to-user-1", "room", "#server-to-user-ü/…"], "socket_id": "1.2"}
    assert await bench.send(sign_request("POST", "/apps/1001/events", body)) == (200, {})
    assert bench.users.calls == [("send", "1001", to_user("1", excluded="1.2"), to_user("ü/…", excluded="1.2"))]


async def test_event_reaches_a_user_once_when_it_is_named_twice() -> None:
    """Distinct channels count (8.3)."""
    bench = Bench()
    await bench.send(sign_request("POST", "/apps/1001/events", {**EVENT, "channels": ["#server-to-user-1"] * 2}))
    assert bench.users.calls == [("send", "1001", to_user("1"))]


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
    assert bench.users.calls == [("send", "1001", to_user("x", "a", "1"), to_user("x", "c", '{"k": 1}', "1.2"))]


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
    assert bench.users.calls == [("send", "1001", to_user("user-1", excluded="1.2"))]


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


# -- the order of checks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/apps", "/apps/1001", "/apps/1001/", "/apps//events", "/apps/1001/events/", "/x/apps/1001/events"),
        *("/apps/1001/users", "/apps/1001/users/", "/apps/1001/users//events", "/users//terminate_connections"),
        *("/users/1", "/users/1/events", "/apps/1001/users/1/2/events", "/apps/1001/channels", "apps/1001/events"),
    ],
)
async def test_path_is_refused_when_nothing_is_there(path: str) -> None:
    """404 comes before anything else, and is counted under one name for all paths."""
    bench = Bench()
    status, answer = await bench.send(make_request("DELETE", path))
    assert status == 404
    assert "No such path" in answer["error"]
    assert bench.counted("unknown", 404) == 1


@each_route
async def test_method_is_refused_with_the_one_that_is_allowed(method: str, path: str, route: str, body: object) -> None:
    """405 with `Allow`, before anything about who asks."""
    bench = Bench()
    for other in {"GET", "POST", "PUT", "HEAD", "OPTIONS", "get"} - {method}:
        response = await bench.api.handle(make_request(other, path))
        assert response.status == 405
        assert ("Allow", method) in response.headers
        assert route in read_json(response)["error"]


@each_route
async def test_request_is_refused_when_it_names_no_key(method: str, path: str, route: str, body: object) -> None:
    """The message says how to sign."""
    status, answer = await Bench().send(make_request(method, path, "auth_timestamp=1", json.dumps(body).encode()))
    assert status == 401
    assert answer["error"].startswith("Missing auth_key: sign the request with")


async def test_request_is_refused_when_the_key_is_unknown() -> None:
    """401, as SDKs map it to an authentication error (8.2)."""
    unknown = App(id="1001", key="nobody", secrets=("secret",))
    status, answer = await Bench().send(sign_request("POST", "/apps/1001/events", EVENT, app=unknown))
    assert (status, answer["error"].startswith("Unknown auth_key 'nobody'")) == (401, True)


@pytest.mark.parametrize("named", ["1002", "other-key", "1001x", "%31%30%30%32"])
async def test_request_is_refused_when_path_and_key_name_different_apps(named: str) -> None:
    """Also when it is signed well (8.1)."""
    bench = Bench()
    status, answer = await bench.send(sign_request("POST", f"/apps/{named}/events", EVENT))
    assert (status, bench.users.calls) == (401, [])
    assert answer["error"].startswith("The path names another app")


@pytest.mark.parametrize("named", ["1001", "shop-key", "shop%2Dkey"])
async def test_request_is_accepted_when_the_path_names_the_app_by_id_or_key(named: str) -> None:
    """Pusher's way and Vask's (8.1)."""
    assert (await Bench().send(sign_request("POST", f"/apps/{named}/events", EVENT)))[0] == 200


async def test_request_is_refused_when_the_app_is_disabled() -> None:
    """403, before the signature is looked at."""
    bench = Bench()
    assert (await bench.send(make_request("POST", "/apps/1003/events", "auth_key=disabled-key")))[0] == 403
    assert (await bench.send(sign_request("POST", "/apps/1003/events", EVENT, app=DISABLED_APP)))[0] == 403


@each_route
async def test_request_is_refused_when_it_is_not_signed_well(method: str, path: str, route: str, body: object) -> None:
    """With the secret of another app; nothing is done."""
    bench = Bench()
    forger = App(id="1001", key=APP.key, secrets=OTHER_APP.secrets)
    status, answer = await bench.send(sign_request(method, path, body, app=forger))
    assert (status, bench.users.calls) == (401, [])
    assert answer["error"].startswith("Invalid signature: you should have sent HmacSHA256Hex")


async def test_request_is_refused_when_its_time_is_past() -> None:
    """The clock that counts is the API's."""
    bench = Bench(now=NOW + 601)
    status, answer = await bench.send(sign_request("POST", "/apps/1001/events", EVENT))
    assert (status, answer["error"].startswith("Timestamp expired")) == (401, True)


async def test_signature_is_checked_before_the_body_is_read() -> None:
    """Whoever has no secret learns nothing of what would be valid."""
    status, _ = await Bench().send(make_request("POST", "/apps/1001/events", "auth_key=shop-key", b"["))
    assert status == 401


@pytest.mark.parametrize("secret", APP.secrets)
async def test_request_is_accepted_with_every_secret_of_the_app(secret: str) -> None:
    """Rotation."""
    caller = App(id="1001", key=APP.key, secrets=(secret,))
    assert (await Bench().send(sign_request("POST", "/apps/1001/events", EVENT, app=caller)))[0] == 200


async def test_event_is_refused_with_413_beyond_the_apps_own_limit() -> None:
    """`max_event_bytes` is each app's."""
    app = App(id="1", key="k", secrets=("s",), max_event_bytes=3)
    bench = Bench(apps=Apps([app]))
    for data, expected in (("ddd", 200), ("dddd", 413)):
        for path, extra in (("/apps/1/events", {"channel": "c"}), ("/apps/1/users/1/events", {})):
            body = {"name": "n", "data": data, **extra}
            assert (await bench.send(sign_request("POST", path, body, app=app)))[0] == expected


# -- the rate of an app -------------------------------------------------------------------------------------------


async def test_app_is_refused_beyond_its_rate_until_time_has_passed() -> None:
    """A second's worth at once, then 429 with `Retry-After`, then again."""
    app = App(id="1", key="k", secrets=("s",), api_requests_per_second=2)
    bench = Bench(apps=Apps([app, OTHER_APP]))
    request = sign_request("GET", "/apps/1/users/1", app=app)
    assert [(await bench.send(request))[0] for _ in range(3)] == [200, 200, 429]
    response = await bench.api.handle(request)
    assert response.headers == (("Retry-After", "1"),)
    assert "2 requests per second" in read_json(response)["error"]
    assert (await bench.send(sign_request("GET", "/apps/1002/users/1", app=OTHER_APP)))[0] == 200
    bench.now += 0.5
    assert [(await bench.send(request))[0] for _ in range(2)] == [200, 429]


async def test_requests_that_are_not_signed_use_up_nothing() -> None:
    """A key is public; only the secret counts against the app."""
    app = App(id="1", key="k", secrets=("s",), api_requests_per_second=1)
    bench = Bench(apps=Apps([app]))
    forged = make_request("GET", "/apps/1/users/1", "auth_key=k")
    assert [(await bench.send(forged))[0] for _ in range(3)] == [401, 401, 401]
    assert (await bench.send(sign_request("GET", "/apps/1/users/1", app=app)))[0] == 200


# -- failure ------------------------------------------------------------------------------------------------------


@each_route
async def test_request_is_answered_503_when_the_cluster_cannot_be_reached(
    method: str, path: str, route: str, body: object
) -> None:
    """With `Retry-After`: it was not done, and can be sent again."""
    bench = Bench(users=RecordedUsers(failure=Unavailable("bus away")))
    if "batch" in path:
        body = {"batch": [{**USER_EVENT, "channel": "#server-to-user-1"}]}
    response = await bench.api.handle(sign_request(method, path, body))
    assert (response.status, response.headers) == (503, (("Retry-After", "1"),))
    assert "send the request again" in read_json(response)["error"]
    assert bench.counted(route, 503) == 1


async def test_request_is_answered_500_when_something_unexpected_happens() -> None:
    """One line in the log, without the request's content; counted twice: as an answer, and as an error."""
    bench = Bench(users=RecordedUsers(failure=RuntimeError("broken")))
    with capture_logs() as logs:
        status, answer = await bench.send(sign_request("POST", "/apps/1001/events", EVENT))
    assert (status, list(answer)) == (500, ["error"])
    assert "broken" not in answer["error"]
    assert [(line["event"], line["log_level"], line["route"]) for line in logs] == [
        ("an API request failed", "error", "/apps/{app}/events")
    ]
    assert bench.counted("/apps/{app}/events", 500) == 1
    assert bench.metrics.registry.get_sample_value("usher_errors_total", {"where": "api"}) == 1


@each_route
async def test_request_is_counted_and_timed_by_its_template(method: str, path: str, route: str, body: object) -> None:
    """No id becomes a label."""
    bench = Bench()
    assert (await bench.send(sign_request(method, path, body)))[0] == 200
    assert bench.counted(route, 200) == 1
    timed = bench.metrics.registry.get_sample_value("usher_api_request_seconds_count", {"route": route})
    assert timed == 1


async def test_request_writes_nothing_to_the_log_when_it_is_refused() -> None:
    """Clients cannot fill it."""
    with capture_logs() as logs:
        await Bench().send(make_request("POST", "/apps/1001/events", "auth_key=\ud800", b"\xff"))
    assert logs == []


# -- behind a prefix ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/realtime", ""])
async def test_request_is_accepted_behind_a_prefix_that_was_not_signed(prefix: str) -> None:
    """The proxy may strip it itself (8.2)."""
    bench = Bench(path_prefix="/realtime")
    assert (await bench.send(sign_request("POST", "/apps/1001/events", EVENT, prefix=prefix)))[0] == 200
    assert bench.counted("/apps/{app}/events", 200) == 1


async def test_path_is_unknown_behind_another_prefix() -> None:
    """Only the one that is set is stripped."""
    bench = Bench(path_prefix="/realtime")
    assert (await bench.send(sign_request("POST", "/apps/1001/events", EVENT, prefix="/realtimes")))[0] == 404
