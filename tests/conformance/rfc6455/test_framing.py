"""RFC 6455 5.2, 5.6: messages of every size, in every form of length. Autobahn's group 1."""

from tests.conformance.rfc6455.cases import Case, play, table, text
from tests.conformance.sites import Site
from tests.wire import BINARY, TEXT, masked

SIZES = (0, 1, 2, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536)


def announced(opcode: int, flag_and_length: bytes, payload: bytes = b"") -> bytes:
    """A frame whose head is what the test says, with a mask of zeros."""
    return bytes((0x80 | opcode,)) + flag_and_length + bytes(4) + payload


CASES = [
    *(Case(f"5.6 a text of {n} bytes is received", (masked(TEXT, b"*" * n),), (text(b"*" * n),)) for n in SIZES),
    *(Case(f"7.4.1 a binary message of {n} bytes is refused", (masked(BINARY, b"\xfe" * n),), (), 1003) for n in SIZES),
    Case("5.6 texts that follow each other stay apart", (masked(TEXT, b"a"), masked(TEXT), masked(TEXT, b"b")),
         (text("a"), text(""), text("b"))),
    Case("5.3 every mask is undone",
         tuple(masked(TEXT, b"masks", mask=mask) for mask in (b"\0\0\0\0", b"\xff" * 4, b"mask")),
         (text("masks"),) * 3),
    Case("5.3 each frame has its own mask",
         (masked(TEXT, b"abcde", final=False, mask=b"1234"), masked(0, b"fg", mask=b"5678")),
         (text("abcdefg"),)),
    Case("5.1 a text without a mask is refused", (masked(TEXT, b"x", mask=None),), (), 1002),
    Case("5.1 an empty text without a mask is refused", (masked(TEXT, mask=None),), (), 1002),
    Case("5.1 a long text without a mask is refused", (masked(TEXT, b"x" * 300, mask=None),), (), 1002),
    *(Case(f"5.2 a length of {n} in 2 bytes is refused",
           (announced(TEXT, b"\xfe" + n.to_bytes(2, "big"), b"x" * n),), (), 1002)
      for n in (0, 1, 125)),
    *(Case(f"5.2 a length of {n} in 8 bytes is refused",
           (announced(TEXT, b"\xff" + n.to_bytes(8, "big"), b"x" * n),), (), 1002)
      for n in (0, 125, 126, 65_535)),
    *(Case(f"5.2 a length of {n:#x} is refused", (announced(TEXT, b"\xff" + n.to_bytes(8, "big"), b"x"),), (), 1002)
      for n in (1 << 63, (1 << 64) - 1)),
]  # fmt: skip


@table(CASES)
async def test_client_gets_what_rfc_6455_says_when_it_frames_messages(site: Site, case: Case) -> None:
    """Any length in its shortest form, masked."""
    await play(site, case)
