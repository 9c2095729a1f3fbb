"""RFC 6455 5.5.1 and 7: close frames, and what follows them. Autobahn's group 7."""

from tests.conformance.rfc6455.cases import NO_CODE, Case, play, pong, table, text
from tests.conformance.sites import Site
from tests.wire import CLOSE, CONTINUATION, PING, TEXT, closing, masked

HELLO = masked(TEXT, b"Hello")
FIRST = masked(TEXT, b"fragment", final=False)
EURO = "€".encode()

FLOWS = [
    Case("7.1 a close after a text is answered after its echo", (HELLO, closing(1000)), (text("Hello"),), 1000),
    Case("7.1 a second close is not answered", (closing(1000), closing(1000)), (), 1000),
    Case("5.5.1 a ping after a close is not answered", (closing(1000), masked(PING, b"?")), (), 1000),
    Case("5.5.1 a text after a close is not received", (closing(1000), HELLO), (), 1000),
    Case("5.5.1 a text that ends after a close is not received",
         (FIRST, closing(1000), masked(CONTINUATION, b"x")), (), 1000),
    Case("5.5.1 what is wrong after a close does not matter", (closing(1000), masked(3, b"x"), b"\xff" * 40), (), 1000),
    Case("5.5.1 a long text before a close is received", (masked(TEXT, b"B" * 60_000), closing(1000), masked(PING)),
         (text(b"B" * 60_000),), 1000),
    Case("5.5.1 a ping before a close is answered", (masked(PING, b"?"), closing(1001)), (pong(b"?"),), 1001),
    Case("5.5.1 a close after a bad frame is too late", (masked(3), closing(1000)), (), 1002),
]  # fmt: skip

PAYLOADS = [
    Case("7.1.5 a close without a code is answered without one", (closing(None),), (), NO_CODE),
    Case("5.5.1 a close of one byte is refused", (masked(CLOSE, b"\x03"),), (), 1002),
    Case("5.5.1 a close of one byte that ends in zero is refused", (masked(CLOSE, b"\0"),), (), 1002),
    Case("5.5.1 a close needs no reason", (closing(1000),), (), 1000),
    Case("5.5.1 a close may have a reason", (closing(1000, b"Hello"),), (), 1000),
    Case("5.5.1 a reason may have 123 bytes", (closing(1000, b"*" * 123),), (), 1000),
    Case("5.5 a reason of 124 bytes is refused", (closing(1000, b"*" * 124),), (), 1002),
    Case("5.5.1 a reason may be any UTF-8", (closing(1000, EURO * 41),), (), 1000),
    Case("8.1 a reason that is not UTF-8 is refused", (closing(1000, b"\xce\xba\xed\xa0\x80edited"),), (), 1007),
    Case("8.1 a reason that ends within a character is refused", (closing(1000, EURO[:2]),), (), 1007),
]  # fmt: skip

VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4200, 4999)
INVALID = (0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)

CODES = [
    *(Case(f"7.4 code {code} is answered", (closing(code),), (), code) for code in VALID),
    *(Case(f"7.4 code {code} with a reason is answered", (closing(code, b"reason"),), (), code) for code in VALID),
    *(Case(f"7.4 code {code} is refused", (closing(code),), (), 1002) for code in INVALID),
    *(Case(f"7.4 code {code} with a reason is refused", (closing(code, b"reason"),), (), 1002) for code in INVALID),
]


@table([*FLOWS, *PAYLOADS, *CODES])
async def test_client_gets_what_rfc_6455_says_when_it_closes(site: Site, case: Case) -> None:
    """Its own code if that may be sent, and then the end of the stream."""
    await play(site, case)
