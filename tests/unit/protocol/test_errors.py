"""Codes and errors (protocol.md 1.4)."""

import pytest

from node.protocol.errors import ApiError, CloseCode, FatalError, ProtocolError, excerpt


def test_close_codes_are_those_of_the_protocol() -> None:
    """The table of 1.4 and the codes of RFC 6455 in use."""
    assert {code.value for code in CloseCode} == {
        *(1000, 1001, 1003, 1009),
        *(4000, 4001, 4003, 4004, 4005, 4006, 4007, 4008, 4009),
        *(4100, 4200, 4201, 4301, 4302),
    }


def test_fatal_error_is_a_protocol_error() -> None:
    """Whoever answers refusals answers both."""
    with pytest.raises(ProtocolError, match="gone") as caught:
        raise FatalError(CloseCode.UNKNOWN_APP, "gone")
    assert caught.value.code == 4001


def test_api_error_says_when_to_come_back_only_if_it_knows() -> None:
    """`Retry-After` is optional."""
    assert ApiError(400, "no").retry_after is None
    assert ApiError(429, "later", 1.5).retry_after == 1.5


@pytest.mark.parametrize(("text", "cut"), [("abc", "abc"), ("abcd", "abc…")])
def test_excerpt_cuts_at_the_limit(text: str, cut: str) -> None:
    """What fits is left alone."""
    assert excerpt(text, 3) == cut
