"""RFC 6455 5.2, 5.5: pings, pongs, reserved bits and reserved opcodes. Autobahn's groups 2, 3 and 4."""

from tests.conformance.rfc6455.cases import Case, play, pong, table, text
from tests.conformance.sites import Site
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, masked

BYTES = bytes((0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0, 0xFF))
GOOD = masked(TEXT, b"good")
AFTER = masked(PING, b"not answered")

PINGS = [
    Case("5.5.2 an empty ping is answered", (masked(PING),), (pong(),)),
    Case("5.5.2 a ping's payload comes back", (masked(PING, b"Hello, world!"),), (pong(b"Hello, world!"),)),
    Case("5.5.2 a ping's payload is bytes", (masked(PING, BYTES),), (pong(BYTES),)),
    Case("5.5 a ping of 125 bytes is answered", (masked(PING, b"\xfe" * 125),), (pong(b"\xfe" * 125),)),
    Case("5.5 a ping of 126 bytes is refused", (masked(PING, b"\xfe" * 126), GOOD), (), 1002),
    Case("5.5 a ping of 65536 bytes is refused", (masked(PING, b"\xfe" * 65_536),), (), 1002),
    Case("5.5 a pong of 126 bytes is refused", (masked(PONG, b"\xfe" * 126),), (), 1002),
    Case("5.5.3 an empty unasked pong means nothing", (masked(PONG), GOOD), (text("good"),)),
    Case("5.5.3 an unasked pong with a payload means nothing", (masked(PONG, b"?"), GOOD), (text("good"),)),
    Case("5.5.3 a ping after an unasked pong is answered", (masked(PONG, b"?"), masked(PING, b"!")), (pong(b"!"),)),
    Case("5.5.2 ten pings have ten answers in order", tuple(masked(PING, b"%d" % i) for i in range(10)),
         tuple(pong(b"%d" % i) for i in range(10))),
    Case("5.5 a fragmented ping is refused", (masked(PING, b"a", final=False), masked(CONTINUATION, b"b")), (), 1002),
    Case("5.5 a fragmented pong is refused", (masked(PONG, b"a", final=False), masked(CONTINUATION, b"b")), (), 1002),
    Case("5.5 a fragmented close is refused", (masked(CLOSE, b"\x03\xe8", final=False),), (), 1002),
    Case("5.1 a ping without a mask is refused", (masked(PING, b"x", mask=None),), (), 1002),
    Case("5.1 a close without a mask is refused", (masked(CLOSE, b"\x03\xe8", mask=None),), (), 1002),
]  # fmt: skip


@table(PINGS)
async def test_client_gets_what_rfc_6455_says_when_it_pings(site: Site, case: Case) -> None:
    """Every ping has its pong; pongs have none."""
    await play(site, case)


KINDS = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG, "close": CLOSE}
RESERVED_BITS = [
    *(Case(f"5.2 reserved bits {bits:03b} in a {name} are refused", (GOOD, masked(kind, b"", reserved=bits), AFTER),
           (text("good"),), 1002)
      for bits in range(1, 8) for name, kind in KINDS.items()),
    *(Case(f"5.2 reserved bits {bits:03b} in a text with a payload are refused",
           (GOOD, masked(TEXT, b"x", reserved=bits), AFTER),
           (text("good"),), 1002)
      for bits in range(1, 8)),
    *(Case(f"5.2 reserved bits {bits:03b} in a continuation are refused",
           (masked(TEXT, b"a", final=False), masked(CONTINUATION, b"b", reserved=bits)), (), 1002)
      for bits in (1, 2, 4)),
]  # fmt: skip


@table(RESERVED_BITS)
async def test_client_is_refused_when_reserved_bits_are_set(site: Site, case: Case) -> None:
    """No extension is agreed on, so no bit has a meaning."""
    await play(site, case)


RESERVED_OPCODES = [
    Case(f"5.2 opcode {opcode:#x} with {len(payload)} bytes is refused", (GOOD, masked(opcode, payload), AFTER),
         (text("good"),), 1002)
    for opcode in (*range(0x3, 0x8), *range(0xB, 0x10)) for payload in (b"", b"reserved opcode", b"x" * 126)
]  # fmt: skip


@table(RESERVED_OPCODES)
async def test_client_is_refused_when_an_opcode_is_reserved(site: Site, case: Case) -> None:
    """Neither data nor control opcodes may be made up."""
    await play(site, case)
