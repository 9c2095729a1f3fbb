"""What clients say: messages and what a connection makes of them, `user_data`, first requests."""

import json
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from node.actions import Send
from node.connection import Connection
from node.protocol.errors import FatalError, ProtocolError
from node.protocol.frames import PING, encode_error, encode_text
from node.protocol.handshake import SUPPORTED_PROTOCOLS, origin_allowed, parse_handshake
from node.protocol.members import member_of, parse_channel_data
from node.protocol.messages import decode_message
from node.protocol.signatures import channel_string, sign
from node.protocol.user_data import is_user_id, parse_user_data
from tests.fuzz.damage import damaged, fields, often, several, to_json, value, word
from tests.fuzz.target import Target
from tests.unit.protocol.wire import read_message
from tests.unit.support import APP, FakeTransport, sign_in_data

SOCKET_ID = "1.2"
LONGEST_ERROR = 16_000
"""Bytes: two excerpts of a thousand characters, each of which may need an escape of six bytes."""

COMMANDS = ("pusher:ping", "pusher:pong", "pusher:signin", "pusher:subscribe", "pusher:unsubscribe", "client-x", "x")
CHANNELS = (
    "room",
    "private-x",
    "presence-x",
    "cache-x",
    "private-encrypted-x",
    "private-encrypted-cache-x",
    "#server-to-user-1",
)


def make_user_data(chance: Random) -> str:
    """The text that a backend signs, or damage done to one."""
    wanted = {
        "id": word(chance),
        "watchlist": several(chance, ("1", "2", 3, None, "x" * 201, "ü"), 6),
        "user_info": value(chance),
    }
    return damaged(chance, to_json(chance, fields(chance, wanted)))


def check_user_data(raw: str) -> None:
    """Any text is a user who keeps to the rules, or refused with 4009."""
    try:
        user = parse_user_data(raw)
    except ProtocolError as error:
        assert error.code == 4009
        encode_error(error.code, error.message)
        return
    assert all(map(is_user_id, [user.id, *user.watchlist]))
    assert len(set(user.watchlist)) == len(user.watchlist)
    encode_text(user.raw)


def make_channel_data(chance: Random) -> str:
    """The text that a backend signs for a presence channel, or damage done to one."""
    return damaged(chance, to_json(chance, fields(chance, {"user_id": value(chance, 0), "user_info": value(chance)})))


def check_channel_data(raw: str) -> None:
    """Any text is a member whose info is JSON within its limit, or refused; so is the user who signed in with it."""
    with suppress(ProtocolError):
        member = parse_channel_data(raw, 1024)
        assert is_user_id(member.user_id)
        assert len(member.info.encode()) <= 1024
        json.loads(member.info)
    with suppress(ProtocolError):
        member_of(parse_user_data(raw.replace("user_id", "id")), 1024)


def make_message(chance: Random) -> str:
    """One text; a quarter of them are sign-ins whose signature is right."""
    if often(chance, 0.25):
        return json.dumps({"event": "pusher:signin", "data": sign_in_data(SOCKET_ID, APP, make_user_data(chance))})
    event = chance.choice(COMMANDS)
    channel = chance.choice(CHANNELS)
    channel_data = to_json(chance, fields(chance, {"user_id": word(chance), "user_info": value(chance)}))
    auth = f"{APP.key}:{sign(APP.secrets[0], channel_string(SOCKET_ID, channel, channel_data))}"
    data: Any = fields(
        chance, {"channel": channel, "auth": auth, "channel_data": channel_data, "user_data": '{"id":"1"}'}, 0.3
    )
    if often(chance, 0.3):
        data = damaged(chance, to_json(chance, data))
    return damaged(chance, to_json(chance, fields(chance, {"event": event, "data": data, "channel": channel}, 0.05, 0.05)))


def check_message(text: str) -> None:
    """Any text is a message or refused; whatever a connection answers are frames of bounded size."""
    connection = Connection(APP, SOCKET_ID, FakeTransport(), 0.0)
    try:
        message = decode_message(text)
    except ProtocolError as error:
        assert error.code is None
        frame = encode_error(error.code, error.message)
        assert len(frame) <= LONGEST_ERROR
        assert read_message(frame)["event"] == "pusher:error"
        return
    for _ in range(2):
        for action in connection.receive(message):
            if isinstance(action, Send) and action.frame != PING:
                assert len(action.frame) <= LONGEST_ERROR + 6 * len(text.encode(errors="surrogatepass"))
                read_message(action.frame)


@dataclass(frozen=True, slots=True)
class First:
    """What a first request asks for."""

    path: str
    query: str
    prefix: str
    origin: str
    allowed: tuple[str, ...]


def make_first(chance: Random) -> First:
    """The target of an upgrade, and an origin."""
    query = "&".join(
        several(chance, ("protocol=7", "protocol=5", "protocol=", "protocol=x", "client=js", "version=8.4%ff"), 4)
    )
    origins = ("https://a.example.com", "https://*.example.com", "*", "null", "http://localhost:*")
    return First(
        damaged(chance, f"{chance.choice(('', '/ws'))}/app/{word(chance)}"),
        damaged(chance, query),
        chance.choice(("", "/ws", "/ws/", "/")),
        damaged(chance, chance.choice(origins)),
        tuple(damaged(chance, origin) for origin in several(chance, origins, 3)),
    )


def check_first(first: First) -> None:
    """A handshake, or refused with a code for handshakes, in few words."""
    origin_allowed(first.origin, first.allowed)
    try:
        handshake = parse_handshake(first.path, first.query, first.prefix)
    except FatalError as error:
        assert 4005 <= error.code <= 4008
        assert len(error.message) < 250
        encode_error(error.code, error.message)
        return
    assert handshake.key
    assert handshake.protocol in SUPPORTED_PROTOCOLS
    assert len(handshake.client + handshake.version) <= 200


TARGETS = (
    Target("messages", make_message, check_message),
    Target("user_data", make_user_data, check_user_data),
    Target("channel_data", make_channel_data, check_channel_data),
    Target("handshakes", make_first, check_first, 0.5),
)
