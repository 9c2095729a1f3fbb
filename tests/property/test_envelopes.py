"""What travels on the bus: every message comes back, and any bytes are a message or refused."""

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from cluster.envelope import (
    VERSION,
    Answer,
    Ask,
    Change,
    ChannelEvent,
    EnvelopeError,
    Heartbeat,
    Holding,
    Keep,
    Message,
    Missed,
    Ping,
    Pong,
    Question,
    Recall,
    Snapshot,
    Terminate,
    UserEvent,
    decode,
    encode,
)

_text = st.text(max_size=20)
_number = st.integers(0, 2**63 - 1)
_scalar = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | _text | st.binary(max_size=9)
)
_value = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_names = st.lists(_text, max_size=4).map(tuple)
_age = st.floats(0, 1e9) | st.integers(0, 10**9)
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Heartbeat,
        node=_text,
        server=_text,
        number=_number,
        shards=_number,
        numbers=st.dictionaries(_text, _number, max_size=4),
        hello=st.booleans(),
        leaving=st.booleans(),
        connections=_number,
        users=_number,
        apps=st.dictionaries(_text, _number, max_size=4),
    ),
    st.builds(Change, node=_text, shard=_text, number=_number, key=_text, value=_value, age=_age),
    st.builds(Ask, node=_text, shards=_names),
    st.builds(
        Snapshot,
        node=_text,
        shard=_text,
        number=_number,
        part=_number,
        parts=_number,
        entries=st.dictionaries(_text, _value, max_size=4),
    ),
    st.builds(Ping),
    st.builds(Pong, node=_text),
    st.builds(UserEvent, app=_text, user=_text, frame=st.binary(max_size=40), except_socket_id=st.none() | _text),
    st.builds(
        ChannelEvent,
        app=_text,
        channel=_text,
        frame=st.binary(max_size=40),
        except_socket_id=st.none() | _text,
        ttl=_age,
        stamp=_number,
        node=_text,
    ),
    st.builds(Terminate, app=_text, user=_text),
    st.builds(Question, app=_text, user=_text),
    st.builds(Answer, node=_text, connections=_number, holders=_names),
    st.builds(Holding, node=_text, app=_text, user=_text, held=st.booleans(), echo=st.booleans()),
    st.builds(Keep, app=_text, channel=_text, frame=st.binary(max_size=40), ttl=_age, stamp=_number, node=_text),
    st.builds(Recall, app=_text, channel=_text),
    st.builds(Missed, app=_text, channel=_text),
)


def _decodes_or_is_refused(payload: bytes) -> None:
    try:
        message = decode(payload)
    except EnvelopeError:
        return
    assert decode(encode(message)) == message


@given(_messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """Round trip, for every kind."""
    assert decode(encode(message)) == message


@given(_messages, st.lists(_value, max_size=3))
def test_fields_of_a_later_version_are_ignored(message: Message, later: list[Any]) -> None:
    """Whoever knows more says it at the end."""
    items = msgpack.unpackb(encode(message))
    assert decode(msgpack.packb([*items, *later])) == decode(encode(message))


@given(_messages)
def test_fields_of_a_later_version_have_defaults(message: Message) -> None:
    """Whoever knows less leaves them out; without the others the message is refused."""
    specs = fields(type(message))
    required = sum(spec.required for spec in specs)
    items = msgpack.unpackb(encode(message))
    decoded = decode(msgpack.packb(items[: 2 + required]))
    assert [getattr(decoded, spec.name) for spec in specs[:required]] == [
        getattr(message, spec.name) for spec in specs[:required]
    ]
    if required:
        try:
            decode(msgpack.packb(items[: 1 + required]))
        except EnvelopeError:
            return
        raise AssertionError("a message without a required field was taken")


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    """No other exception, whatever comes."""
    _decodes_or_is_refused(payload)


@given(_messages, st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 3))
def test_damaged_bytes_decode_or_are_refused(message: Message, damages: list[tuple[int, int]], cut: int) -> None:
    """Bytes changed and cut off."""
    payload = bytearray(encode(message))
    for at, byte in damages:
        payload[at % len(payload)] = byte
    _decodes_or_is_refused(bytes(payload[: len(payload) - cut]))


@given(
    st.sampled_from(["heartbeat", "change", "ask", "snapshot", "event", "answer", "holding", "?"]),
    st.lists(_value, max_size=9),
)
def test_fields_of_any_type_decode_or_are_refused(kind: str, values: list[Any]) -> None:
    """A peer that speaks the right format and talks nonsense."""
    _decodes_or_is_refused(msgpack.packb([VERSION, kind, *values]))


def test_bytes_that_claim_to_be_huge_or_deep_are_refused() -> None:
    """A few bytes cannot make the decoder reserve memory, or recurse, without bound."""
    for payload in (b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x10\x00\x00", b"\x91" * 100_000, b"\xdd\x00\x0f\x42\x40" * 500, b""):
        try:
            decode(payload)
        except EnvelopeError:
            continue
        raise AssertionError(f"taken: {payload[:8]!r}")
