"""RFC 6455 8.1, RFC 3629: texts are UTF-8. Autobahn's group 6.

The tables are drawn from the code points themselves: what Python's own encoder makes of a character, and what it
refuses to make, as the bytes that the bit patterns of RFC 3629 would give.
"""

import pytest

from tests.conformance.rfc6455.cases import Case, cut, play, table, text
from tests.conformance.sites import Site
from tests.wire import CONTINUATION, TEXT, masked


def pattern(point: int, length: int) -> bytes:
    """A code point in the bit pattern of so many bytes, whether or not it may be written that way."""
    if length == 1:
        return bytes((point,))
    tail = bytes(0x80 | point >> shift & 0x3F for shift in range(6 * (length - 2), -1, -6))
    lead = (0xFF00 >> length & 0xFF) | point >> 6 * (length - 1)
    return bytes((lead,)) + tail


def fragments(raw: bytes, size: int) -> tuple[bytes, ...]:
    """A text in frames of so many bytes."""
    pieces = list(cut(raw, size)) or [b""]
    return tuple(
        masked(CONTINUATION if number else TEXT, piece, final=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    )


GREEK = "Hello-µ@ßöäüàá-UTF-8!! κόσμε"
SHORTEST = {1: 0x00, 2: 0x80, 3: 0x800, 4: 0x1_0000}
LONGEST = {1: 0x7F, 2: 0x7FF, 3: 0xFFFF, 4: 0x10_FFFF}
NONCHARACTERS = [plane << 16 | end for plane in range(17) for end in (0xFFFE, 0xFFFF)] + [0xFDD0, 0xFDEF]
VALID = {
    "nothing": "",
    "an alphabet of two bytes": GREEK,
    "characters of every length": "a\xa2€\U00010348" * 5,
    **{f"the first character of {n} bytes": chr(point) for n, point in SHORTEST.items()},
    **{f"the last character of {n} bytes": chr(point) for n, point in LONGEST.items()},
    "the last character before the surrogates": "\ud7ff",
    "the first character after the surrogates": "\ue000",
    "the replacement character": "\ufffd",
    **{f"the special {point:#x}": chr(point) for point in range(0xFFF9, 0xFFFE)},
    **{f"the noncharacter {point:#x}": chr(point) for point in NONCHARACTERS},
    "a combining accent": "e\u0301",
    "a null within a text": "a\0b",
    "a byte order mark": "\ufeffa",
}

STARTS = {2: range(0xC0, 0xE0), 3: range(0xE0, 0xF0), 4: range(0xF0, 0xF8), 5: range(0xF8, 0xFC), 6: range(0xFC, 0xFE)}
EDGES = (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
PAIRS = [(high, low) for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF) for low in (0xDC00, 0xDFFF)]
INVALID = {
    **{f"the pattern of {n} bytes that starts at {1 << 5 * n - 4:#x}": pattern(1 << 5 * n - 4, n) for n in (5, 6)},
    "the last pattern of 4 bytes": pattern(0x1F_FFFF, 4),
    "the last pattern of 5 bytes": pattern(0x3FF_FFFF, 5),
    "the last pattern of 6 bytes": pattern(0x7FFF_FFFF, 6),
    "the code point after the last": pattern(0x11_0000, 4),
    **{f"{n} continuation bytes alone": (b"\x80\xbf" * 4)[:n] for n in range(1, 8)},
    "the last continuation byte alone": b"\xbf",
    "every continuation byte": bytes(range(0x80, 0xC0)),
    **{f"starts of {n} bytes alone": b"".join(b"%c " % start for start in starts) for n, starts in STARTS.items()},
    **{f"the last byte of {n} missing": pattern(LONGEST.get(n, (1 << 5 * n + 1) - 1), n)[:-1] for n in range(2, 7)},
    **{f"the last byte of the first {n} missing": pattern(point, n)[:-1] for n, point in SHORTEST.items() if n > 1},
    "characters cut short, one after the other": b"".join(pattern(LONGEST[n], n)[:-1] for n in (2, 3, 4)),
    "the byte fe": b"\xfe",
    "the byte ff": b"\xff",
    "the bytes fe and ff": b"\xfe\xfe\xff\xff",
    **{f"a slash in {n} bytes": pattern(ord("/"), n) for n in range(2, 7)},
    **{f"the last point too small for {n} bytes": pattern((1 << (7 if n == 2 else 5 * n - 4)) - 1, n) for n in range(2, 7)},
    **{f"a null in {n} bytes": pattern(0, n) for n in range(2, 7)},
    **{f"the surrogate {point:#x}": pattern(point, 3) for point in EDGES},
    **{f"the surrogates {high:#x} and {low:#x}": pattern(high, 3) + pattern(low, 3) for high, low in PAIRS},
    "a surrogate within Greek": "κόσμε".encode() + b"\xed\xa0\x80edited",
    "a point too high within Greek": "κόσμε".encode() + b"\xf4\x90\x80\x80edited",
    "latin-1": "é".encode("latin-1"),
}
KOSME = "κόσμε".encode()
WHOLE = {len("κόσμε"[:count].encode()) for count in range(6)}
BROKEN = KOSME + b"\xf4\x90\x80\x80"

CASES = [
    *(Case(f"8.1 {name} is a text", (masked(TEXT, word.encode()),), (text(word),)) for name, word in VALID.items()),
    *(Case(f"8.1 {name} is a text in fragments of {size}", fragments(word.encode(), size), (text(word),))
      for name, word in VALID.items() if len(word.encode()) > 1 for size in (1, 2, 3)),
    *(Case(f"8.1 {name} is refused", (masked(TEXT, raw),), (), 1007) for name, raw in INVALID.items()),
    *(Case(f"8.1 {name} is refused within a text",
           (masked(TEXT, b"a " + raw + b" b"),), (), 1007) for name, raw in INVALID.items()),
    *(Case(f"8.1 {name} is refused in fragments of {size}", fragments(raw, size), (), 1007)
      for name, raw in INVALID.items() if len(raw) > 1 for size in (1, 2)),
    *(Case(f"8.1 Greek of {n} bytes is {'a text' if n in WHOLE else 'refused'}", (masked(TEXT, KOSME[:n]),),
           (text(KOSME[:n]),) if n in WHOLE else (), None if n in WHOLE else 1007)
      for n in range(len(KOSME) + 1)),
]  # fmt: skip


@table(CASES)
async def test_client_gets_what_rfc_6455_says_when_it_sends_text(site: Site, case: Case) -> None:
    """Every valid sequence is received, every other refused with 1007, wherever frames cut it."""
    await play(site, case)


FAIL_FAST = [
    Case("8.1 the first fragment is broken", (masked(TEXT, BROKEN, final=False),), (), 1007),
    Case("8.1 a later fragment is broken",
         (masked(TEXT, b"ok", final=False), masked(CONTINUATION, b"\xff", final=False)), (), 1007),
    Case("8.1 a later fragment breaks the character that it should go on with",
         (masked(TEXT, b"\xf4", final=False), masked(CONTINUATION, b"\x90", final=False)), (), 1007),
    Case("8.1 a fragment without an end of its own is not broken yet", (masked(TEXT, b"\xf4\x8f", final=False),
         masked(CONTINUATION, b"\xbf", final=False), masked(CONTINUATION, b"\xbf")), (text("\U0010ffff"),)),
]  # fmt: skip


@table(FAIL_FAST)
async def test_client_is_refused_at_once_when_a_fragment_is_not_utf8(site: Site, case: Case) -> None:
    """Nobody waits for the end of a text that cannot become one."""
    await play(site, case)


@pytest.mark.parametrize("word", [GREEK, "€" * 40])
async def test_client_may_cut_a_text_anywhere(site: Site, word: str) -> None:
    """Between any two bytes of it, in two fragments."""
    raw = word.encode()
    client, session = await site.open()
    for at in range(len(raw) + 1):
        await client.send(masked(TEXT, raw[:at], final=False) + masked(CONTINUATION, raw[at:]))
        assert await client.read_text() == word
    assert session.texts == [word] * (len(raw) + 1)
