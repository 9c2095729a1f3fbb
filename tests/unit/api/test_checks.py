"""In which order requests to the API are checked, and how they are refused (protocol.md 8.1, 8.2)."""

import json

import pytest
from structlog.testing import capture_logs

from node.config.apps import App, Apps
from node.users import Unavailable
from tests.unit.api.support import (
    APP,
    DISABLED_APP,
    EVENT,
    NOW,
    OTHER_APP,
    USER_EVENT,
    Bench,
    RecordedAudience,
    each_route,
    make_request,
    read_json,
    sign_request,
)

# -- the order of checks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/apps", "/apps/1001", "/apps/1001/", "/apps//events", "/apps/1001/events/", "/x/apps/1001/events"),
        *("/apps/1001/users", "/apps/1001/users/", "/apps/1001/users//events", "/users//terminate_connections"),
        *("/users/1", "/users/1/events", "/apps/1001/users/1/2/events", "apps/1001/events"),
        *("/apps/1001/channels/", "/apps/1001/channels//users", "/apps/1001/channels/c/events", "/channels"),
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
        response = await bench.respond(make_request(other, path))
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
    assert (status, bench.audience.calls) == (401, [])
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
    assert (status, bench.audience.calls) == (401, [])
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
    response = await bench.respond(request)
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
    bench = Bench(audience=RecordedAudience(failure=Unavailable("bus away")))
    if "batch" in path:
        body = {"batch": [{**USER_EVENT, "channel": "#server-to-user-1"}]}
    response = await bench.respond(sign_request(method, path, body))
    assert (response.status, response.headers) == (503, (("Retry-After", "1"),))
    assert "send the request again" in read_json(response)["error"]
    assert bench.counted(route, 503) == 1


async def test_request_is_answered_500_when_something_unexpected_happens() -> None:
    """One line in the log, without the request's content; counted twice: as an answer, and as an error."""
    bench = Bench(audience=RecordedAudience(failure=RuntimeError("broken")))
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
