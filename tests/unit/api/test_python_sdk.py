"""Requests that the official Python SDK makes are accepted (protocol.md 8.2, 11)."""

import time
from collections.abc import Callable
from typing import Any

import pusher
import pytest

from cluster import ChannelEvent, UserEvent
from node.protocol.frames import encode_event
from tests.unit.api.support import APP, Bench, make_request

DATA = {"a": 1}
BATCH = [{"channel": "#server-to-user-user-1", "name": "n", "data": DATA}]
PUBLISHED = [("publish", ChannelEvent("1001", "room", encode_event("n", "room", '{"a": 1}'), None))]
SENT = [("publish", UserEvent("1001", "user-1", encode_event("n", "#server-to-user-user-1", '{"a": 1}'), None))]


class Recorder:
    """A backend of the SDK that keeps the request instead of sending it."""

    def __init__(self, _client: object, **_options: object) -> None:
        pass

    def send_request(self, request: Any) -> Any:
        """Hand the request to whoever called the SDK."""
        return request


def make_sdk() -> Any:
    """The SDK as an application sets it up, but for the network."""
    return pusher.Pusher(app_id=APP.id, key=APP.key, secret=APP.secrets[0], backend=Recorder)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(lambda sdk: sdk.trigger("room", "n", DATA), PUBLISHED, id="trigger"),
        pytest.param(lambda sdk: sdk.send_to_user("user-1", "n", DATA), SENT, id="send_to_user"),
        pytest.param(lambda sdk: sdk.trigger_batch(BATCH), SENT, id="trigger_batch"),
        pytest.param(
            lambda sdk: sdk.terminate_user_connections("user-1"),
            [("terminate", "1001", "user-1")],
            id="terminate_user_connections",
        ),
    ],
)
async def test_sdk_is_understood(call: Callable[[Any], Any], expected: list[tuple[object, ...]]) -> None:
    """Method, path, query and body exactly as the SDK puts them on the wire."""
    bench = Bench(now=time.time())
    request = call(make_sdk())
    answer = await bench.send(make_request(request.method, request.path, request.query_string, request.body))
    assert (answer, bench.audience.calls) == ((200, {}), expected)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda sdk: sdk.channels_info("presence-", ["user_count"]), {"channels": {"presence-a": {"user_count": 1}}}),
        (lambda sdk: sdk.channels_info(), {"channels": {"presence-a": {}, "room": {}}}),
        (lambda sdk: sdk.channel_info("room", ["subscription_count"]), {"occupied": True, "subscription_count": 3}),
        (lambda sdk: sdk.users_info("presence-a"), {"users": [{"id": "ann"}]}),
    ],
)
async def test_sdk_is_answered_when_it_asks(call: Callable[[Any], Any], expected: object) -> None:
    """Its attributes, its prefix, and the MD5 of nothing that it signs."""
    bench = Bench(now=time.time())
    bench.audience.subscriptions = {"presence-a": 2, "room": 3}
    bench.audience.users = {"presence-a": ["ann"]}
    request = call(make_sdk())
    answer = await bench.send(make_request(request.method, request.path, request.query_string, request.body))
    assert answer == (200, expected)


async def test_sdk_is_understood_when_it_signs_an_empty_body() -> None:
    """It sends the MD5 of nothing with every GET."""
    request = pusher.http.Request(make_sdk()._pusher_client, "GET", "/apps/1001/users/user-1")
    assert "body_md5=d41d8cd98f00b204e9800998ecf8427e" in request.query_string
    answer = await Bench(now=time.time()).send(make_request("GET", request.path, request.query_string))
    assert answer == (200, {"online": False, "connections": 0})
