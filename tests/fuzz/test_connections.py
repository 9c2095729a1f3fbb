"""What two transports may answer differently, and what not."""

import pytest

from tests.fuzz.connections import may_differ
from tests.wire import CLOSE, PONG, TEXT, Frame


def close(code: int) -> Frame:
    """A close frame with this code."""
    return Frame(CLOSE, code.to_bytes(2, "big"))


TEXT_FRAME, PONG_FRAME = Frame(TEXT, b"a"), Frame(PONG, b"")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([close(1002)], []),
        ([close(1003)], [PONG_FRAME, close(1002)]),
        ([close(1003)], [close(1000)]),
        ([TEXT_FRAME, close(1009)], [TEXT_FRAME, PONG_FRAME, close(1000)]),
    ],
)
def test_transports_may_differ_when_one_notices_a_fault_earlier(one: list[Frame], other: list[Frame]) -> None:
    """Whichever of them it is."""
    assert may_differ(one, other)
    assert may_differ(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([close(1002)], [close(1000)]),
        ([close(1000)], []),
        ([close(1002)], [PONG_FRAME, close(1002)]),
        ([close(1003)], [TEXT_FRAME, close(1003)]),
        ([PONG_FRAME, close(1003)], [TEXT_FRAME, PONG_FRAME, close(1003)]),
        ([], [TEXT_FRAME]),
        ([PONG_FRAME, close(1003)], [close(1000)]),
    ],
)
def test_transports_may_not_differ_in_anything_else(one: list[Frame], other: list[Frame]) -> None:
    """A text more, another fault, a pong too many."""
    assert not may_differ(one, other)
    assert not may_differ(other, one)
