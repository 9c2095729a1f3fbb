"""Decoders of the wire parse, or raise the error they document, whatever they are given.

Arbitrary input finds the first line of a decoder and no more, so most inputs here begin as valid ones and
are then cut, spliced and changed; and what is valid must come out as it went in.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from node.protocol.api_body import DEFAULT_LIMITS, ApiEvent, decode_batch, decode_event, decode_user_event
from node.protocol.api_signature import arguments_of, auth_key_of, read_query, verify_request
from node.protocol.channels import is_valid_channel, kind_of, server_to_user_channel, server_to_user_id
from node.protocol.errors import ApiError, FatalError, ProtocolError
from node.protocol.frames import encode_error, encode_event, encode_text
from node.protocol.handshake import SUPPORTED_PROTOCOLS, Handshake, origin_allowed, parse_handshake
from node.protocol.messages import ClientEvent, SignIn, decode_message
from node.protocol.signatures import sign, user_string, verify_signature
from node.protocol.user_data import UserData, is_user_id, parse_user_data
from tests.unit.protocol.wire import read_message, read_text

_Value = TypeVar("_Value")

ANY_TEXT = st.text(st.characters())
"""With lone surrogates, which a careless transport could let through."""

VALID_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
USER_IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.sampled_from(
    ["pusher:ping", "pusher:pong", "pusher:signin", "pusher:subscribe", "pusher:unsubscribe", "client-x", "x"]
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["auth", "user_data", "channel", "channel_data"]), JSON | VALID_TEXT, max_size=4
)
MESSAGES = st.fixed_dictionaries(
    {"event": EVENTS},
    optional={"data": PARAMETERS | PARAMETERS.map(json.dumps) | JSON, "channel": JSON, "user_id": JSON},
)
USER_DATA = st.fixed_dictionaries(
    {},
    optional={"id": USER_IDS | JSON, "watchlist": st.lists(USER_IDS | JSON, max_size=5) | JSON, "user_info": JSON},
)
API_EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "name": VALID_TEXT | JSON,
        "data": VALID_TEXT | JSON,
        "channel": VALID_TEXT | USER_IDS.map(server_to_user_channel) | JSON,
        "channels": st.lists(st.just("room") | VALID_TEXT, max_size=4) | JSON,
        "socket_id": st.just("1.2") | JSON,
        "info": VALID_TEXT | JSON,
    },
)
API_BODIES = API_EVENTS | st.fixed_dictionaries({"batch": st.lists(API_EVENTS, max_size=12) | JSON})


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[str]) -> str:
    """A valid text, cut short, or with a piece of it replaced by something else."""
    text = draw(valid)
    start = draw(st.integers(0, len(text)))
    end = draw(st.just(len(text)) | st.integers(start, len(text)))
    return text[:start] + draw(ANY_TEXT | st.sampled_from(['"', "{", "]", "\\", "\\ud800", "NaN", "9" * 400])) + text[end:]


def texts_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """The JSON of values, with and without escapes, whole and mutated."""
    encoded = values.map(json.dumps) | values.map(lambda value: json.dumps(value, ensure_ascii=False))
    return encoded | mutated(encoded)


def to_bytes(text: str) -> bytes:
    """The bytes of any text: not UTF-8 where it has lone surrogates."""
    return text.encode(errors="surrogatepass")


def outcome(decode: Callable[[], _Value]) -> _Value | ProtocolError | ApiError:
    """What a decoder returns, or the documented error that it raises."""
    try:
        return decode()
    except (ProtocolError, ApiError) as error:
        return error


@given(ANY_TEXT | texts_of(MESSAGES | JSON))
@example('{"event":' * 50_000)
def test_message_parses_or_is_refused(text: str) -> None:
    """Every answer to it can be encoded."""
    message = outcome(lambda: decode_message(text))
    if isinstance(message, ProtocolError):
        assert message.code is None
        assert read_message(encode_error(None, message.message))["event"] == "pusher:error"
    elif isinstance(message, ClientEvent):
        frame = encode_event(message.event, message.channel, message.data)
        assert read_message(frame)["data"] == message.data


@given(VALID_TEXT, VALID_TEXT, st.booleans())
def test_sign_in_comes_out_as_it_went_in(auth: str, user_data: str, as_string: bool) -> None:
    """Whatever the strings, in both forms of `data`."""
    data: object = {"auth": auth, "user_data": user_data}
    text = json.dumps({"event": "pusher:signin", "data": json.dumps(data) if as_string else data})
    assert decode_message(text) == SignIn(auth, user_data)


@given(ANY_TEXT | texts_of(USER_DATA | JSON))
@example('{"id":"1","user_info":' + "[" * 100_000)
def test_user_data_parses_or_is_refused(raw: str) -> None:
    """What parses holds to the rules, and can be encoded."""
    user = outcome(lambda: parse_user_data(raw))
    if isinstance(user, UserData):
        assert all(map(is_user_id, [user.id, *user.watchlist]))
        assert len(set(user.watchlist)) == len(user.watchlist)
        assert user.raw == raw
        encode_text(raw)
    else:
        assert isinstance(user, ProtocolError)
        assert user.code == 4009


@given(USER_IDS, st.lists(USER_IDS, unique=True))
def test_user_data_comes_out_as_it_went_in(user_id: str, watchlist: list[str]) -> None:
    """Ids of any alphabet, in order."""
    user = parse_user_data(json.dumps({"id": user_id, "watchlist": watchlist}))
    assert (user.id, user.watchlist) == (user_id, tuple(watchlist))


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=2))
def test_auth_is_refused_when_nobody_signed_it(auth: str, text: str, key: str, secrets: list[str]) -> None:
    """And no expected digest is in the refusal."""
    error = outcome(lambda: verify_signature(auth, text, key, secrets))
    assert isinstance(error, ProtocolError)
    assert error.code == 4009
    assert all(sign(secret, text) not in error.message for secret in secrets)


@given(VALID_TEXT, VALID_TEXT.filter(lambda key: ":" not in key), VALID_TEXT)
def test_auth_is_accepted_when_it_was_signed(user_data: str, key: str, secret: str) -> None:
    """Whatever was signed, with whatever secret."""
    text = user_string("1.2", user_data)
    verify_signature(f"{key}:{sign(secret, text)}", text, key, ["other", secret])


@given(ANY_TEXT | mutated(st.just("/ws/app/key")), ANY_TEXT | mutated(st.just("protocol=7&client=js&version=8")), ANY_TEXT)
def test_handshake_parses_or_is_refused(path: str, query: str, prefix: str) -> None:
    """With a code that is about handshakes, and a message of a bounded size."""
    handshake = outcome(lambda: parse_handshake(path, query, prefix))
    if isinstance(handshake, Handshake):
        assert handshake.key
        assert handshake.protocol in SUPPORTED_PROTOCOLS
    else:
        assert isinstance(handshake, FatalError)
        assert handshake.code in {4005, 4006, 4007, 4008}
        assert len(handshake.message) < 250


@given(VALID_TEXT.filter(bool), st.sampled_from(["", "/ws", "/a/b/"]))
def test_handshake_finds_any_key(key: str, prefix: str) -> None:
    """Percent-encoded, behind a prefix or not."""
    path = f"{prefix.rstrip('/')}/app/{quote(key, safe='')}"
    assert parse_handshake(path, "protocol=7", prefix).key == key


@given(ANY_TEXT | st.none(), st.lists(ANY_TEXT | st.just("https://*.example.com"), max_size=3))
def test_origin_is_allowed_or_not(origin: str | None, allowed: list[str]) -> None:
    """No pattern and no origin raises."""
    assert origin_allowed(origin, allowed) in {True, False}


@given(ANY_TEXT)
def test_channel_is_valid_or_not(name: str) -> None:
    """Any name has a kind, and a user's channel is valid exactly when it names a user."""
    kind_of(name)
    assert is_valid_channel(server_to_user_channel(name)) == is_user_id(name)
    assert server_to_user_id(server_to_user_channel(name)) == (name if is_user_id(name) else None)


@given(st.binary() | texts_of(API_BODIES | JSON).map(to_bytes))
@example(b'{"name":"n","channel":"c","data":' + b"[" * 100_000)
def test_api_body_parses_or_is_refused(body: bytes) -> None:
    """What parses holds to the limits, and can be encoded."""
    event = outcome(lambda: decode_event(body))
    if isinstance(event, ApiEvent):
        assert len(event.data.encode()) <= DEFAULT_LIMITS.data
        assert all(map(is_valid_channel, event.channels))
        assert read_message(encode_event(event.name, event.channels[0], event.data))["data"] == event.data
    for result in (event, outcome(lambda: decode_batch(body)), outcome(lambda: decode_user_event(body, "1"))):
        assert not isinstance(result, ApiError) or result.status in {400, 413}


@given(st.binary(), st.integers(0, 60), st.integers(0, 60))
def test_api_body_parses_or_is_refused_when_bytes_are_spliced_in(junk: bytes, start: int, end: int) -> None:
    """Broken UTF-8 at every place of a valid body."""
    body = '{"name":"n","channel":"c","data":{"a":["ü"]},"socket_id":"1.2"}'.encode()
    event = outcome(lambda: decode_event(body[:start] + junk + body[end:]))
    assert isinstance(event, ApiEvent) or (isinstance(event, ApiError) and event.status in {400, 413})


VALID_QUERY = st.just("auth_key=k&auth_timestamp=1&auth_version=1.0&auth_signature=s&info[0]=a&info%5B1%5D=b+c")


@given(st.sampled_from(["GET", "POST"]) | ANY_TEXT, ANY_TEXT, ANY_TEXT | VALID_QUERY | mutated(VALID_QUERY), st.binary())
def test_api_signature_is_refused_when_nobody_signed(method: str, path: str, query: str, body: bytes) -> None:
    """Whatever the request; and it names a key, or is told to."""
    read = read_query(query)
    key = outcome(lambda: auth_key_of(read))
    assert isinstance(key, str) or (isinstance(key, ApiError) and key.status == 401)
    error = outcome(lambda: verify_request(method, path, read, body, ["secret"], 1.0))
    assert isinstance(error, ApiError)
    assert error.status == 401


@given(USER_IDS, st.dictionaries(st.sampled_from(["info", "filter"]), VALID_TEXT), st.binary())
def test_api_signature_is_accepted_when_everything_is_escaped(user_id: str, parameters: dict[str, str], body: bytes) -> None:
    """Signed plain, sent with percent escapes: any id and any value."""
    md5 = hashlib.md5(body).hexdigest()  # noqa: S324
    plain = {**parameters, "auth_timestamp": "1", "auth_version": "1.0", "body_md5": md5}
    joined = "&".join(f"{key}={value}" for key, value in sorted(plain.items()))
    plain["auth_signature"] = sign("secret", f"POST\n/users/{user_id}\n{joined}")
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in plain.items())
    read = read_query(query)
    verify_request("POST", f"/users/{quote(user_id, safe='')}", read, body, ["secret"], 1.0)
    assert arguments_of(read) == plain


@given(st.integers(0, 70_000))
@example(125)
@example(126)
@example(65_535)
@example(65_536)
def test_frame_length_round_trips(length: int) -> None:
    """Every length, with the boundaries of the length field."""
    assert len(read_text(encode_text(b"x" * length))) == length
