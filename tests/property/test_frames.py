"""A client's WebSocket frames, however their bytes are split: one meaning, no exception (RFC 6455 5)."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from node.transport.frame_reader import CLOSE, PING, PONG, TEXT, Event, Fault, FrameReader
from tests.wire import BINARY, CONTINUATION, masked

LIMIT = 300

payloads = st.one_of(st.binary(max_size=140), st.text(max_size=80).map(str.encode), st.just(b"x" * LIMIT))
frames = st.builds(
    masked,
    st.sampled_from([TEXT, TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG, 0x3, 0xB]),
    payloads,
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 4]),
    mask=st.one_of(st.just(b"\1\2\3\4"), st.just(b"\0\0\0\0"), st.none()),
)
streams = st.one_of(st.lists(frames, max_size=6).map(b"".join), st.binary(max_size=60))


def read(parts: list[bytes]) -> tuple[list[Event], Fault | None]:
    """What a reader makes of bytes that come in these parts."""
    reader = FrameReader(LIMIT)
    events = [event for part in parts for event in reader.feed(part)]
    return events, reader.fault


@given(streams, st.lists(st.integers(0, 500), max_size=6))
@example(masked(TEXT, b"x" * 126), [3])
def test_frames_mean_the_same_however_they_are_split(stream: bytes, cuts: list[int]) -> None:
    """Whole, cut anywhere, and byte by byte: the same events before the same fault."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole = read([stream])
    assert read([stream[start:end] for start, end in pairwise(edges)]) == whole
    assert read([stream[index : index + 1] for index in range(len(stream))]) == whole


@given(streams)
def test_frames_are_events_or_a_documented_fault(stream: bytes) -> None:
    """Whatever the bytes: texts within the limit, control frames within theirs, and RFC 6455's codes."""
    events, fault = read([stream])
    for opcode, payload in events:
        assert opcode in {TEXT, PING, PONG, CLOSE}
        assert isinstance(payload, str) is (opcode == TEXT)
        assert len(payload.encode() if isinstance(payload, str) else payload) <= (LIMIT if opcode == TEXT else 125)
    assert fault is None or (fault.code in {1002, 1003, 1007, 1009} and fault.reason)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_texts_come_back_when_they_are_sent_in_fragments(texts: list[str]) -> None:
    """Cut between any two bytes, also of one character, with a ping in between."""
    stream = b""
    for text in texts:
        raw = text.encode()
        middle = len(raw) // 2
        stream += masked(TEXT, raw[:middle], final=False) + masked(PING, b"!") + masked(CONTINUATION, raw[middle:])
    events, fault = read([stream])
    assert fault is None
    assert [payload for opcode, payload in events if opcode == TEXT] == texts
