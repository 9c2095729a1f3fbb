"""What waits for one client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.transport.close_frame import encode_close
from node.transport.outbox import Outbox


def test_outbox_gives_frames_in_order_when_taken_in_batches() -> None:
    """A batch holds whole frames up to the limit, and at least one."""
    outbox = Outbox(100)
    for frame in (b"aaaa", b"bb", b"cc", b"dddddd"):
        assert outbox.put(frame)
    assert [outbox.take(6), outbox.take(5), outbox.take(1), outbox.take(1)] == [b"aaaabb", b"cc", b"dddddd", b""]


def test_outbox_refuses_a_frame_when_it_would_go_over_the_bound() -> None:
    """What is there stays; the bound itself is allowed; a smaller frame still fits."""
    outbox = Outbox(4)
    assert outbox.put(b"abc")
    assert not outbox.put(b"de")
    assert outbox.put(b"f")
    assert outbox.take(99) == b"abcf"


def test_outbox_counts_a_taken_batch_until_it_is_sent() -> None:
    """Bytes in the writer's hands are memory, too."""
    outbox = Outbox(4)
    outbox.put(b"abcd")
    outbox.take(99)
    assert outbox.size == 4
    assert not outbox.put(b"e")
    outbox.sent()
    assert outbox.size == 0
    assert outbox.put(b"e")


def test_outbox_takes_no_more_when_it_is_sealed() -> None:
    """The last frame goes over the bound if it must, and nothing follows it."""
    outbox = Outbox(2)
    outbox.put(b"ab")
    assert outbox.seal(b"close")
    assert not outbox.put(b"")
    assert not outbox.seal(b"other")
    assert outbox.take(99) == b"abclose"


def test_outbox_forgets_what_waits_but_not_what_was_taken_when_dropped() -> None:
    """A batch that may be half written stays counted."""
    outbox = Outbox(10)
    outbox.put(b"ab")
    outbox.put(b"cd")
    outbox.take(2)
    outbox.drop()
    assert outbox.size == 2
    outbox.sent()
    assert (outbox.size, outbox.take(9)) == (0, b"")


@given(st.lists(st.binary(min_size=1, max_size=20) | st.integers(1, 40), max_size=50))
def test_outbox_loses_and_mixes_nothing_whatever_is_put_and_taken(steps: list[bytes | int]) -> None:
    """What comes out is what was put, in order; the size is right and never over the bound."""
    outbox, expected, received = Outbox(100), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            expected += step if outbox.put(step) else b""
        else:
            received += outbox.take(step)
            outbox.sent()
        assert outbox.size == len(expected) - len(received) <= 100
    while batch := outbox.take(7):
        received += batch
        outbox.sent()
    assert received == expected


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", b""),
        ("bye", b"bye"),
        ("x" * 124, b"x" * 123),
        ("ü" * 62, "ü".encode() * 61),
        ("€" * 42, "€".encode() * 41),
        ("\ud800!", b"?!"),
    ],
)
def test_close_frame_holds_a_whole_reason_when_it_is_cut(reason: str, text: bytes) -> None:
    """At most 123 bytes, whole characters, always UTF-8 (RFC 6455 5.5.1)."""
    assert encode_close(4200, reason) == bytes((0x88, 2 + len(text))) + (4200).to_bytes(2, "big") + text
