"""What load clients send is what the server understands, and they cut frames where the server does."""

import json

import pytest

from benchmarks import wire
from node.protocol import frames
from node.protocol.api_signature import read_query, verify_request
from node.protocol.messages import SignIn, Subscribe, decode_message
from node.protocol.signatures import user_string, verify_signature

_APP = wire.App("1", "key", "secret")
_ADDRESS = wire.Address("localhost", 80, prefix="/base")
_NOW = 1_700_000_000.0
_TEXTS = ["", "x" * 125, "x" * 126, "x" * 65_536]


def _payload(frame: bytes) -> str:
    """The text of a client's frame, of which the mask is known to be zero."""
    start = 6 if frame[1] & 127 < 126 else 8
    assert frame[start - 4 : start] == b"\0\0\0\0"
    return frame[start:].decode()


def _request(raw: bytes) -> tuple[str, str, str, bytes]:
    """Method, path, query and body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
    path, _, query = target.partition("?")
    assert f"Content-Length: {len(body)}".encode() in head
    return method, path, query, body


def test_sign_in_verifies_when_a_watchlist_makes_its_frame_long() -> None:
    """The signature is over the very user_data that is sent."""
    watchlist = [f"user-{number}" for number in range(50)]
    message = decode_message(_payload(wire.encode_sign_in(_APP, "1.2", "me", watchlist)))
    assert isinstance(message, SignIn)
    verify_signature(message.auth, user_string("1.2", message.user_data), _APP.key, [_APP.secret])
    assert json.loads(message.user_data)["watchlist"] == watchlist


def test_subscribe_names_the_users_channel_when_decoded() -> None:
    """A short frame, and the channel of a user's own events."""
    message = decode_message(_payload(wire.encode_subscribe(wire.user_channel("me"))))
    assert isinstance(message, Subscribe)
    assert message.channel == "#server-to-user-me"


@pytest.mark.parametrize(
    "raw",
    [
        wire.encode_event(_ADDRESS, _APP, "#server-to-user-me", "{}", _NOW),
        wire.encode_termination(_ADDRESS, _APP, "me", _NOW),
    ],
    ids=["event", "termination"],
)
def test_request_verifies_when_the_prefix_is_taken_off(raw: bytes) -> None:
    """The path is signed without the prefix, which a proxy may take off."""
    method, path, query, body = _request(raw)
    assert path.startswith("/base/apps/1/")
    verify_request(method, path.removeprefix("/base"), read_query(query), body, [_APP.secret], _NOW)


@pytest.mark.parametrize("text", _TEXTS, ids=len)
def test_frames_of_a_server_are_cut_when_several_come_together(text: str) -> None:
    """Every length field; what is left of a frame that is not whole stays."""
    whole = frames.encode_text(text)
    data = whole + frames.PONG_EVENT + whole[:-1]
    expected = [(wire.TEXT, text.encode()), (wire.TEXT, frames.PONG_EVENT[2:])]
    assert wire.count_frames(data) == (2, len(whole) + len(frames.PONG_EVENT))
    assert list(wire.frames_of(data)) == expected


@pytest.mark.parametrize("text", _TEXTS[1:], ids=len)
def test_frames_of_a_server_are_none_when_any_byte_is_missing(text: str) -> None:
    """However little of the head is there."""
    whole = frames.encode_text(text)
    for end in (0, 1, 2, 3, 5, 9, len(whole) - 1):
        assert wire.count_frames(whole[:end]) == (0, 0)
        assert list(wire.frames_of(whole[:end])) == []


@pytest.mark.parametrize("text", _TEXTS[:3], ids=len)
def test_frame_of_the_bare_loop_is_the_servers_when_the_text_is(text: str) -> None:
    """Byte for byte: else the comparison would mean nothing."""
    assert wire.encode_from_server(text) == frames.encode_text(text)


def test_event_of_the_bare_loop_is_the_servers_when_its_data_is() -> None:
    """The same for the event around the data."""
    text = wire.event_text("#server-to-user-me", '{"a":"b"}')
    assert wire.encode_from_server(text) == frames.encode_event(wire.EVENT_NAME, "#server-to-user-me", '{"a":"b"}')
