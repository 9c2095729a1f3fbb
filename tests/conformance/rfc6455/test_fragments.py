"""RFC 6455 5.4: messages in several frames. Autobahn's group 5."""

from tests.conformance.rfc6455.cases import Case, play, pong, table, text
from tests.conformance.sites import Site
from tests.wire import BINARY, CONTINUATION, PING, PONG, TEXT, closing, masked

ASK, ANSWER = masked(PING, b"pongme"), pong(b"pongme")


def first(payload: bytes) -> bytes:
    """A text that goes on."""
    return masked(TEXT, payload, final=False)


def more(payload: bytes) -> bytes:
    """It goes on still."""
    return masked(CONTINUATION, payload, final=False)


def last(payload: bytes) -> bytes:
    """Its last frame."""
    return masked(CONTINUATION, payload)


CASES = [
    Case("5.4 a text in two fragments is one", (first(b"frag1"), last(b"frag2")), (text("frag1frag2"),)),
    Case("5.4 a text in five fragments is one",
         (first(b"1"), more(b"2"), more(b"3"), more(b"4"), last(b"5")), (text("12345"),)),
    Case("5.4 fragments may be empty", (first(b""), more(b""), last(b"")), (text(""),)),
    Case("5.4 only the middle of a text need have bytes", (first(b""), more(b"middle"), last(b"")), (text("middle"),)),
    Case("5.4 a ping between fragments is answered at once", (first(b"1"), ASK, last(b"2")), (ANSWER, text("12"))),
    Case("5.4 pings between all fragments are answered", (first(b"1"), ASK, more(b"2"), ASK, more(b"3"), ASK, last(b"4")),
         (ANSWER, ANSWER, ANSWER, text("1234"))),
    Case("5.4 a pong between fragments means nothing", (first(b"1"), masked(PONG, b"?"), last(b"2")), (text("12"),)),
    Case("5.4 a close between fragments closes", (first(b"1"), closing(1000), last(b"2")), (), 1000),
    Case("5.4 a text after a fragmented one is whole",
         (first(b"1"), last(b"2"), masked(TEXT, b"3")), (text("12"), text("3"))),
    Case("5.4 fragmented texts follow each other",
         (first(b"1"), last(b"2"), first(b"3"), last(b"4")), (text("12"), text("34"))),
    Case("5.4 a final continuation of nothing is refused", (last(b"x"), masked(TEXT, b"y")), (), 1002),
    Case("5.4 a continuation of nothing that goes on is refused", (more(b"x"), masked(TEXT, b"y")), (), 1002),
    Case("5.4 an empty continuation of nothing is refused", (last(b""),), (), 1002),
    Case("5.4 a continuation after a whole text is refused", (masked(TEXT, b"1"), last(b"2")), (text("1"),), 1002),
    Case("5.4 a continuation after the last fragment is refused", (first(b"1"), last(b"2"), more(b"3"), masked(TEXT, b"4")),
         (text("12"),), 1002),
    Case("5.4 continuations and texts in turn are refused",
         (more(b"1"), masked(TEXT, b"2"), more(b"3"), masked(TEXT, b"4")), (), 1002),
    Case("5.4 final continuations and texts in turn are refused", (last(b"1"), masked(TEXT, b"2")) * 2, (), 1002),
    Case("5.4 a second text within a text is refused", (first(b"1"), first(b"2")), (), 1002),
    Case("5.4 a whole text within a text is refused", (first(b"1"), masked(TEXT, b"2")), (), 1002),
    Case("5.4 an empty text within a text is refused", (first(b"1"), masked(TEXT)), (), 1002),
    Case("5.4 a binary message within a text is refused", (first(b"1"), masked(BINARY, b"2")), (), 1002),
    Case("5.4 a text after an answered ping within a text is refused",
         (first(b"1"), ASK, masked(TEXT, b"2")), (ANSWER,), 1002),
    Case("7.4.1 a binary message in fragments is refused", (masked(BINARY, b"1", final=False), last(b"2")), (), 1003),
]  # fmt: skip


@table(CASES)
async def test_client_gets_what_rfc_6455_says_when_it_fragments(site: Site, case: Case) -> None:
    """One message at a time, with control frames in between."""
    await play(site, case)
