"""What clients send, and how they are told that it is wrong (protocol.md 1.3, 1.5, 1.6, 2.1, 6.2, 7)."""

import json

import pytest

from node.protocol.errors import ProtocolError
from node.protocol.messages import (
    ClientEvent,
    Message,
    Ping,
    Pong,
    SignIn,
    Subscribe,
    UnknownEvent,
    Unsubscribe,
    decode_message,
)

SIGN_IN = {"auth": "k:s", "user_data": '{"id":"1"}'}
INVALID_CLIENT_EVENT = "Invalid client event (must contain channel and data)"


def refusal(text: str) -> str:
    """The message of the error that `text` raises, which must have no code (1.5, 1.6)."""
    with pytest.raises(ProtocolError) as caught:
        decode_message(text)
    assert caught.value.code is None
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"event":"pusher:ping","data":{}}', Ping()),
        ('{"event":"pusher:ping","data":"{}"}', Ping()),
        ('{"event": "pusher:ping"}', Ping()),
        ('{"data":{},"event":"pusher:pong"}', Pong()),
        ('{"event":"pusher:unsubscribe","data":{"channel":"c"}}', Unsubscribe("c")),
        ('{"event":"pusher:subscribe","data":{"auth":"","channel":"c"}}', Subscribe("c", "", None)),
        ('{"event":"pusher:subscribe","data":{"channel":"c"}}', Subscribe("c", None, None)),
        ('{"event":"pusher:subscribe","data":{"channel":"c","auth":null}}', Subscribe("c", None, None)),
        (
            '{"event":"pusher:subscribe","data":{"channel":"presence-c","auth":"k:s","channel_data":""}}',
            Subscribe("presence-c", "k:s", ""),
        ),
        ('{"event":"pusher:other","data":{}}', UnknownEvent("pusher:other")),
        ('{"event":"server-event","channel":"c","data":{}}', UnknownEvent("server-event")),
        ('{"event":""}', UnknownEvent("")),
    ],
)
def test_message_is_read(text: str, message: Message) -> None:
    """Each kind of message, with its optional parts absent and present."""
    assert decode_message(text) == message


def test_sign_in_is_read_when_data_is_an_object() -> None:
    """The frame that pusher-js sends (2.1)."""
    assert decode_message(json.dumps({"event": "pusher:signin", "data": SIGN_IN})) == SignIn(**SIGN_IN)


def test_sign_in_is_read_when_data_is_a_json_string() -> None:
    """Other clients encode `data` once more (1.6)."""
    text = json.dumps({"event": "pusher:signin", "data": json.dumps(SIGN_IN)})
    assert decode_message(text) == SignIn(**SIGN_IN)


def test_message_ignores_what_it_does_not_know() -> None:
    """Unknown keys, also deep in `data`, and a shared secret that should not be there (10)."""
    text = json.dumps({"event": "pusher:signin", "data": {**SIGN_IN, "shared_secret": "x"}, "more": [1]})
    assert decode_message(text) == SignIn(**SIGN_IN)


@pytest.mark.parametrize(
    ("data", "passed_on"),
    [
        ('"text"', "text"),
        ('""', ""),
        ('"{\\"a\\":1}"', '{"a":1}'),
        ('{"a": 1.0, "b":"ü"}', '{"a": 1.0, "b":"ü"}'),
        ("[]", "[]"),
        ("null", "null"),
        ("1e999", "1e999"),
    ],
)
def test_client_event_passes_data_on_as_text(data: str, passed_on: str) -> None:
    """A string untouched, anything else as its JSON, encoded once (7)."""
    text = f'{{"event":"client-x","channel":"private-c","data":{data},"user_id":"forged"}}'
    assert decode_message(text) == ClientEvent("client-x", "private-c", passed_on)


@pytest.mark.parametrize("rest", ["", ',"channel":"c"', ',"data":{}', ',"channel":1,"data":{}', ',"channel":null,"data":{}'])
def test_client_event_is_refused_without_channel_or_data(rest: str) -> None:
    """The observed text of 1.5."""
    assert refusal(f'{{"event":"client-x"{rest}}}') == INVALID_CLIENT_EVENT


@pytest.mark.parametrize(
    ("event", "data", "message"),
    [
        ("pusher:signin", '{"auth":"k:s"}', "Missing parameter: data.user_data"),
        ("pusher:signin", '{"user_data":"{}"}', "Missing parameter: data.auth"),
        ("pusher:signin", '"{}"', "Missing parameter: data.auth"),
        ("pusher:subscribe", "{}", "Missing parameter: data.channel"),
        ("pusher:unsubscribe", "{}", "Missing parameter: data.channel"),
    ],
)
def test_command_is_refused_by_name_when_a_parameter_is_missing(event: str, data: str, message: str) -> None:
    """The observed text of 1.5."""
    assert refusal(f'{{"event":"{event}","data":{data}}}') == message


@pytest.mark.parametrize("event", ["pusher:signin", "pusher:subscribe", "pusher:unsubscribe"])
def test_command_is_refused_when_there_is_no_data(event: str) -> None:
    """No `data` at all."""
    assert refusal(f'{{"event":"{event}"}}') == "Missing parameter: data"


@pytest.mark.parametrize("data", ["[]", "1", "null", '"x"', '"[1"', '{"auth":1,"user_data":"{}"}'])
def test_command_is_refused_when_data_has_another_shape(data: str) -> None:
    """Wrong types, and strings that are no JSON."""
    assert refusal(f'{{"event":"pusher:signin","data":{data}}}').startswith("Invalid data of pusher:signin: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        '"pusher:ping"',
        "{}",
        '{"event":1}',
        '{"event":null}',
        '{"event":"pusher:ping"',
        '{"event":"pusher:ping"} x',
        '{"event":"x","data":NaN}',
        '{"event":"\\ud800"}',
        '{"event":"\ud800"}',
        '{"event":"client-x","channel":"c","data":"\\ud800"}',
        '{"event":"x\n"}',
        '{"event":"x","data":' + "[" * 100_000,
        '{"event":"x","data":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=range(17),
)
def test_message_is_refused_when_it_is_malformed(text: str) -> None:
    """Any text that is no message has one answer, and the connection stays open (1.6)."""
    assert refusal(text) == "Invalid message: expected a JSON object with a string `event`"


def test_command_is_refused_when_its_string_is_nested_without_end() -> None:
    """Nesting hides in an encoded string too."""
    text = json.dumps({"event": "pusher:signin", "data": '{"x":' + "[" * 100_000})
    assert refusal(text).startswith("Invalid data of pusher:signin: ")
