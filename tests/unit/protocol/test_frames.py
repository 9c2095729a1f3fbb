"""Frames as clients need them (protocol.md 1.2, 1.3, 1.5, 2.4, 3.2, 4.1, 6.3, 6.9)."""

import json

import pytest

from node.protocol import frames
from tests.unit.protocol.wire import read_message, read_text


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
    ],
)
def test_frame_has_the_shortest_length_field_at_each_boundary(length: int, head: str) -> None:
    """RFC 6455 5.2: 7, 16 or 64 bits."""
    assert frames.encode_text(b"x" * length) == bytes.fromhex(head) + b"x" * length


def test_frame_counts_bytes_when_the_text_is_not_ascii() -> None:
    """A length is that of the UTF-8, not of the characters."""
    frame = frames.encode_text("ü" * 63)
    assert frame[1] == 126
    assert read_text(frame) == "ü" * 63


def test_ping_is_an_empty_websocket_ping() -> None:
    """The probe of 1.3."""
    assert bytes.fromhex("8900") == frames.PING


@pytest.mark.parametrize(("frame", "event"), [(frames.PING_EVENT, "pusher:ping"), (frames.PONG_EVENT, "pusher:pong")])
def test_ping_and_pong_events_carry_an_empty_object(frame: bytes, event: str) -> None:
    """`data` is `{}` as documented (1.3)."""
    assert read_message(frame) == {"event": event, "data": {}}


def test_connection_established_has_its_data_as_a_json_string() -> None:
    """The first frame, exactly as in 1.2."""
    assert read_text(frames.encode_connection_established("123456.7891011", 120)) == (
        '{"event":"pusher:connection_established",'
        r'"data":"{\"socket_id\":\"123456.7891011\",\"activity_timeout\":120}"}'
    )


@pytest.mark.parametrize("code", [4009, None])
def test_error_has_its_data_as_an_object_with_an_integer_or_null_code(code: int | None) -> None:
    """An object, because .NET and Swift read nothing else (1.5)."""
    message = read_message(frames.encode_error(code, 'no "such" thing'))
    assert message == {"event": "pusher:error", "data": {"code": code, "message": 'no "such" thing'}}


def test_error_is_encoded_when_the_message_repeats_a_lone_surrogate() -> None:
    """Nothing that a peer sends makes an encoder raise."""
    assert read_message(frames.encode_error(None, "bad \ud800"))["data"]["message"] == "bad ?"


def test_signin_success_repeats_the_user_data_in_an_object() -> None:
    """`data` is an object, `user_data` the very string that came (2.4)."""
    user_data = '{ "id" : "1\\u00fc" }'
    assert read_message(frames.encode_signin_success(user_data)) == {
        "event": "pusher:signin_success",
        "data": {"user_data": user_data},
    }


def test_watchlist_events_tell_offline_before_online_in_list_order() -> None:
    """One frame, two elements, in the order of the diagram of 4.2."""
    message = read_message(frames.encode_watchlist_events(["4", "2"], ["9", "1"]))
    assert message["event"] == "pusher_internal:watchlist_events"
    assert "channel" not in message
    assert json.loads(message["data"]) == {
        "events": [{"name": "offline", "user_ids": ["4", "2"]}, {"name": "online", "user_ids": ["9", "1"]}]
    }


@pytest.mark.parametrize(("offline", "online", "names"), [([], ["1"], ["online"]), (["1"], [], ["offline"])])
def test_watchlist_events_leave_an_empty_element_out(offline: list[str], online: list[str], names: list[str]) -> None:
    """No element without ids (4.2)."""
    data = json.loads(read_message(frames.encode_watchlist_events(offline, online))["data"])
    assert [event["name"] for event in data["events"]] == names


def test_subscription_succeeded_has_an_empty_object_as_a_string() -> None:
    """Swift needs `data` to be there and to be a string (6.3)."""
    assert read_message(frames.encode_subscription_succeeded("#server-to-user-1")) == {
        "event": "pusher_internal:subscription_succeeded",
        "data": "{}",
        "channel": "#server-to-user-1",
    }


def test_event_carries_the_publishers_data_untouched_and_no_user_id() -> None:
    """`data` stays the same string, and a server's event names no user (3.2, 6.9)."""
    data = '{"body":"Your report is ready", "n": 1.0}'
    assert read_message(frames.encode_event("notification.created", "#server-to-user-1", data)) == {
        "event": "notification.created",
        "channel": "#server-to-user-1",
        "data": data,
    }


def test_event_names_the_user_when_one_is_given() -> None:
    """A client event on a presence channel (7)."""
    assert read_message(frames.encode_event("client-x", "presence-x", "", "10"))["user_id"] == "10"


def test_presence_succeeded_tells_all_members_in_a_string() -> None:
    """Ids, hash and count agree, infos are the JSON that was signed, and an empty hash is an object (6.3)."""
    members = {"10": '{"name":"Ada \\u00fc"}', "ü": "{}", "11": "[1.50]"}
    message = read_message(frames.encode_presence_succeeded("presence-x", members))
    assert (message["event"], message["channel"]) == ("pusher_internal:subscription_succeeded", "presence-x")
    hashed = {"10": {"name": "Ada ü"}, "ü": {}, "11": [1.5]}
    assert json.loads(message["data"]) == {"presence": {"ids": ["10", "ü", "11"], "hash": hashed, "count": 3}}
    assert '"hash":{}' in read_message(frames.encode_presence_succeeded("presence-x", {}))["data"]


def test_subscription_error_has_its_data_as_an_object() -> None:
    """The shape that pusher-js gives its own (6.4)."""
    assert read_message(frames.encode_subscription_error("private-x", "AuthError", "no \ud800", 401)) == {
        "event": "pusher:subscription_error",
        "channel": "private-x",
        "data": {"type": "AuthError", "error": "no ?", "status": 401},
    }


@pytest.mark.parametrize(
    ("frame", "event", "data"),
    [
        (
            frames.encode_member_added("presence-x", "1", '{"a":1}'),
            "pusher_internal:member_added",
            {"user_id": "1", "user_info": {"a": 1}},
        ),
        (frames.encode_member_removed("presence-x", "1"), "pusher_internal:member_removed", {"user_id": "1"}),
        (frames.encode_cache_miss("presence-x"), "pusher:cache_miss", {}),
        (
            frames.encode_subscription_count("presence-x", 12),
            "pusher_internal:subscription_count",
            {"subscription_count": 12},
        ),
    ],
)
def test_frames_of_a_channel_have_their_data_as_a_string(frame: bytes, event: str, data: object) -> None:
    """Java and Swift read nothing else (6.3, 6.5, 6.6, 6.7)."""
    message = read_message(frame)
    assert message == {"event": event, "channel": "presence-x", "data": message["data"]}
    assert isinstance(message["data"], str)
    assert json.loads(message["data"]) == data
