"""What may be published through the HTTP API (protocol.md 3.3, 8.3, 8.4)."""

import json
from typing import Any

import pytest

from node.protocol.api_body import ApiEvent, EventLimits, decode_batch, decode_event, decode_user_event
from node.protocol.errors import ApiError

VALID: dict[str, Any] = {"name": "n", "data": "d", "channel": "c"}


def body(**changes: object) -> bytes:
    """A valid body with some fields changed; `...` takes one out."""
    fields = {**VALID, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refusal(raw: bytes, status: int = 400) -> str:
    """The message of the error that a body raises."""
    with pytest.raises(ApiError) as caught:
        decode_event(raw)
    assert caught.value.status == status
    return caught.value.message


def test_event_is_read_with_all_its_parts() -> None:
    """Every documented field."""
    raw = body(channel=..., channels=["a", "b"], socket_id="12.34", info="user_count,subscription_count")
    assert decode_event(raw) == ApiEvent("n", "d", ("a", "b"), "12.34", ("user_count", "subscription_count"))


def test_event_is_read_when_only_the_required_fields_are_there() -> None:
    """`channel` for one, unknown fields ignored."""
    assert decode_event(body(more=[1])) == ApiEvent("n", "d", ("c",), None, ())


def test_event_goes_once_to_each_distinct_channel_in_order() -> None:
    """Duplicates are dropped, and `channels` wins over `channel`."""
    assert decode_event(body(channels=["b", "a", "b"])).channels == ("b", "a")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('""', ""),
        ('"ü"', "ü"),
        ('"{\\"a\\":1}"', '{"a":1}'),
        ('{"a": 1.0}', '{"a": 1.0}'),
        ("12", "12"),
        ("null", "null"),
        ("[1e999]", "[1e999]"),
    ],
)
def test_event_passes_data_on_as_text(data: str, text: str) -> None:
    """A string untouched, also an empty one; anything else as its JSON."""
    assert decode_event(f'{{"name":"n","channel":"c","data":{data}}}'.encode()).data == text


def test_event_for_a_user_passes_by_its_channel() -> None:
    """SDKs send to users through `#server-to-user-<id>`, of any id, beside other channels."""
    channels = ("#server-to-user-ü/… x", "room")
    assert decode_event(body(channels=channels)).channels == channels


@pytest.mark.parametrize("name", ["name", "data"])
def test_event_is_refused_by_name_when_a_field_is_missing(name: str) -> None:
    """The message names it."""
    assert refusal(body(**{name: ...})) == f"Invalid body: Object missing required field `{name}`"


@pytest.mark.parametrize("changes", [{"channel": ...}, {"channel": None}, {"channels": []}])
def test_event_is_refused_when_it_has_no_channel(changes: dict[str, object]) -> None:
    """Somewhere it must go."""
    assert refusal(body(**changes)).startswith("Missing channel")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": 1}, "$.name"),
        ({"channel": 1}, "$.channel"),
        ({"channels": "c"}, "$.channels"),
        ({"channels": ["c", None]}, "$.channels[1]"),
        ({"socket_id": 1.2}, "$.socket_id"),
        ({"info": ["user_count"]}, "$.info"),
    ],
)
def test_event_is_refused_with_the_place_when_a_type_is_wrong(changes: dict[str, object], place: str) -> None:
    """Whoever wrote the caller can find it."""
    assert f"`{place}`" in refusal(body(**changes))


@pytest.mark.parametrize("name", ["", "x" * 201, "pusher:x", "pusher_internal:x"])
def test_event_is_refused_when_the_name_may_not_be(name: str) -> None:
    """Too short, too long, reserved."""
    assert refusal(body(name=name)).startswith("Invalid event name")


@pytest.mark.parametrize("name", ["x" * 200, "client-x", "pusherx", "PUSHER:x", "ü:"])
def test_event_is_read_when_the_name_is_unusual(name: str) -> None:
    """Only the two prefixes are reserved."""
    assert decode_event(body(name=name)).name == name


@pytest.mark.parametrize("channel", ["", "a b", "#room", "#server-to-user-", "x" * 201])
def test_event_is_refused_when_a_channel_name_is_invalid(channel: str) -> None:
    """One of several is enough."""
    assert refusal(body(channels=["ok", channel])).startswith("Invalid channel name")


def test_event_is_refused_when_it_goes_to_too_many_channels() -> None:
    """A hundred distinct ones are allowed."""
    hundred = [f"c{number}" for number in range(100)]
    assert len(decode_event(body(channels=[*hundred, "c0"])).channels) == 100
    assert refusal(body(channels=[*hundred, "c100"])).startswith("Too many channels")


@pytest.mark.parametrize("channel", ["private-encrypted-x", "private-encrypted-cache-x"])
def test_event_is_refused_when_an_encrypted_channel_is_one_of_several(channel: str) -> None:
    """Alone it is fine."""
    assert decode_event(body(channels=[channel])).channels == (channel,)
    assert "encrypted" in refusal(body(channels=["c", channel]))


@pytest.mark.parametrize("socket_id", ["", "1", "1.", ".1", "1.2.3", "a.b", "1.2\n", "٣.٣", "1" * 21 + ".1"])
def test_event_is_refused_when_the_socket_id_is_malformed(socket_id: str) -> None:
    """Two numbers and a dot (8.4)."""
    assert refusal(body(socket_id=socket_id)).startswith("Invalid socket_id")


@pytest.mark.parametrize("changes", [{}, {"socket_id": None}])
def test_event_excludes_nobody_when_there_is_no_socket_id(changes: dict[str, object]) -> None:
    """Null is what many languages write for nothing."""
    assert decode_event(body(**changes)).socket_id is None


@pytest.mark.parametrize("data", ["x" * 10_240, "ü" * 5_120])
def test_event_is_read_when_data_is_just_short_enough(data: str) -> None:
    """10,240 bytes of UTF-8."""
    assert decode_event(body(data=data)).data == data


@pytest.mark.parametrize("data", ["x" * 10_241, "ü" * 5_121, {"a": "x" * 10_240}])
def test_event_is_refused_with_413_when_data_is_too_long(data: object) -> None:
    """The observed text."""
    message = refusal(body(data=data), 413)
    assert message.startswith("The data content of this event exceeds the allowed maximum (10240 bytes)")


def test_event_limits_are_the_callers() -> None:
    """An app may allow more, or less."""
    limits = EventLimits(name=1, data=2, channels=1, batch=1)
    assert decode_event(body(data="dd"), limits).data == "dd"
    for changes, status in (({"data": "ddd"}, 413), ({"name": "nn"}, 400), ({"channels": ["a", "b"]}, 400)):
        with pytest.raises(ApiError) as caught:
            decode_event(body(**changes), limits)
        assert caught.value.status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        body()[:-1],
        body() + b"x",
        b'{"name":"\xff","channel":"c","data":""}',
        b'{"name":"n","channel":"c","data":"\xff"}',
        b'{"name":"n","channel":"c","data":["\xff"]}',
        b'{"name":"n","channel":"c","data":"\\ud800"}',
        b'{"name":"n","channel":"c","data":NaN}',
        b'{"name":"n","channel":"c","data":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
    ids=range(15),
)
def test_event_is_refused_when_the_body_is_no_json_object(raw: bytes) -> None:
    """Broken JSON, broken UTF-8, other types, nesting without end."""
    assert refusal(raw).startswith("Invalid ")


def test_batch_is_read_in_order_with_what_each_event_asks() -> None:
    """Each has one channel, and may have its own socket_id and info."""
    raw = json.dumps({"batch": [VALID, {**VALID, "channel": "private-encrypted-x", "info": "user_count"}]})
    assert decode_batch(raw.encode()) == (
        ApiEvent("n", "d", ("c",)),
        ApiEvent("n", "d", ("private-encrypted-x",), None, ("user_count",)),
    )


def test_batch_may_be_empty_and_hold_ten_events() -> None:
    """Both ends of the limit."""
    assert decode_batch(b'{"batch":[]}') == ()
    assert len(decode_batch(json.dumps({"batch": [VALID] * 10}).encode())) == 10


@pytest.mark.parametrize(
    ("batch", "status", "message"),
    [
        ([VALID] * 11, 400, "Too many events"),
        ([VALID, {**VALID, "name": "pusher:x"}], 400, "batch[1]: Invalid event name"),
        ([VALID, {**VALID, "data": "x" * 10_241}], 413, "batch[1]: The data content"),
        ([{"name": "n", "data": "d"}], 400, "Invalid body: Object missing required field `channel`"),
        ([{"name": "n", "data": "d", "channels": ["c"]}], 400, "Invalid body: Object missing"),
        ({}, 400, "Invalid body: Expected `array`"),
    ],
)
def test_batch_is_refused_as_a_whole_when_one_event_is_bad(batch: object, status: int, message: str) -> None:
    """With the place of the first one."""
    with pytest.raises(ApiError) as caught:
        decode_batch(json.dumps({"batch": batch}).encode())
    assert caught.value.status == status
    assert caught.value.message.startswith(message)


def test_user_event_goes_to_the_users_channel() -> None:
    """The body needs no channel, and one in it does not count (3.3)."""
    assert decode_user_event(body(socket_id="1.2", channels=["x"], info="cache"), "ü/…") == ApiEvent(
        "n", "d", ("#server-to-user-ü/…",), "1.2", ()
    )


@pytest.mark.parametrize(
    ("changes", "status"), [({"name": "pusher:x"}, 400), ({"data": ...}, 400), ({"data": "x" * 10_241}, 413)]
)
def test_user_event_has_the_limits_of_any_event(changes: dict[str, object], status: int) -> None:
    """Name, data and sizes."""
    with pytest.raises(ApiError) as caught:
        decode_user_event(body(**changes), "1")
    assert caught.value.status == status
