"""A case: what a client sends, and all that may come back. Played in every way in which bytes can arrive.

Rules for whoever adds cases: the name says the section and the rule; `says` and `code` are complete, as what is not
expected fails; a case that leaves the connection open proves it by what follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import trio

from tests.conformance.sites import Site
from tests.wire import CLOSE, PING, PONG, TEXT, Frame, WireClient, masked

NO_CODE = 1005
"""A close frame without a code, in the words of RFC 6455 7.1.5."""

_FAULTS = {1002, 1003, 1007, 1009}
_AT_ONCE = 4.0  # seconds: less than `close_timeout`, as nobody waits for a peer at fault
_PIECE = 997  # bytes at a time, where one at a time would take too long
_LONG = 1500  # bytes that go one at a time at most

_TRAILING = masked(TEXT, b"trailing") + masked(PING, b"trailing")
_ALIVE = (Frame(TEXT, b"trailing"), Frame(PONG, b"trailing"))


@dataclass(frozen=True, slots=True)
class Case:
    """Frames that are sent, frames that come back, and the code of the close that ends it; None: it goes on."""

    name: str
    sent: tuple[bytes, ...]
    says: tuple[Frame, ...] = ()
    code: int | None = None


def text(payload: bytes | str) -> Frame:
    """The echo of a text."""
    return Frame(TEXT, payload.encode() if isinstance(payload, str) else payload)


def pong(payload: bytes = b"") -> Frame:
    """The answer to a ping."""
    return Frame(PONG, payload)


def table(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """A test for each case. Names must differ."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("case", cases, ids=names)


async def play(site: Site, case: Case) -> None:
    """Play a case whole, frame by frame, byte by byte, and with more frames right behind it, all at the same time."""
    whole = b"".join(case.sent)
    size = 1 if len(whole) <= _LONG else _PIECE
    async with trio.open_nursery() as nursery:
        for pieces in ([whole], case.sent, list(cut(whole, size))):
            nursery.start_soon(_play, site, case, pieces, b"")
        nursery.start_soon(_play, site, case, [whole + _TRAILING], _TRAILING)
    assert site.metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """The data in pieces."""
    return (data[start : start + size] for start in range(0, len(data), size))


async def _play(site: Site, case: Case, pieces: Sequence[bytes], trailing: bytes) -> None:
    client = await site.connect()
    await client.upgrade()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, client, pieces)
        for expected in case.says:
            assert await client.read_frame() == expected
        if case.code is not None:
            with trio.fail_after(_AT_ONCE):
                await _read_end(client, case.code)
    if case.code is None:
        if not trailing:
            await client.send(_TRAILING)
        for expected in _ALIVE:
            assert await client.read_frame() == expected
    await client.aclose()


async def _send(client: WireClient, pieces: Sequence[bytes]) -> None:
    """Whoever was refused may find the stream closed."""
    try:
        for piece in pieces:
            await client.send(piece)
            await trio.lowlevel.checkpoint()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.lowlevel.checkpoint()


async def _read_end(client: WireClient, code: int) -> None:
    frame = await client.read_frame()
    assert (frame.opcode, frame.final) == (CLOSE, True), frame
    assert frame.payload[:2] == (b"" if code == NO_CODE else code.to_bytes(2, "big")), frame
    assert code in _FAULTS or not frame.payload[2:], "a reason is not echoed"
    await client.read_end()
