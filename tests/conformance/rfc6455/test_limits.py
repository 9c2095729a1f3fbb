"""RFC 6455 5.4, 10.4: long messages and many messages, in any shape. Autobahn's groups 9 and 10.

What Autobahn times, `benchmarks/` measures; here the bytes must be right.
"""

import pytest
import trio

from tests.conformance.conftest import Start
from tests.conformance.rfc6455.cases import Case, cut, play, pong, table, text
from tests.conformance.rfc6455.test_utf8 import fragments
from tests.conformance.sites import Site
from tests.wire import BINARY, CONTINUATION, PING, TEXT, closing, masked

LIMIT = 1 << 20
LONG = b"".join(b"%07d." % number for number in range(LIMIT // 8))


@pytest.mark.parametrize("size", [1 << 16, 1 << 18, LIMIT])
@pytest.mark.parametrize("fragment", [1300, 4096, 65_536, LIMIT])
async def test_session_receives_a_long_text_when_it_comes_in_frames(start: Start, size: int, fragment: int) -> None:
    """5.4: up to the limit, in as many frames as the client likes."""
    site = await start(max_message=LIMIT, max_outbox=4 * LIMIT)
    client, session = await site.open()
    await client.send(b"".join(fragments(LONG[:size], fragment)))
    assert await client.read_text() == LONG[:size].decode()
    assert len(session.texts) == 1


@pytest.mark.parametrize("piece", [64, 997, 16_384])
async def test_session_receives_a_long_text_when_the_network_chops_it(start: Start, piece: int) -> None:
    """5.2: one frame, in as many segments as the network likes."""
    site = await start(max_message=LIMIT, max_outbox=4 * LIMIT)
    client, _ = await site.open()
    size = min(LIMIT, piece * 2000)
    for part in cut(masked(TEXT, LONG[:size]), piece):
        await client.send(part)
    assert await client.read_text() == LONG[:size].decode()


async def test_session_receives_a_text_when_each_of_its_bytes_is_a_frame(start: Start) -> None:
    """5.4: with a ping after every hundredth."""
    site = await start(max_message=LIMIT)
    client, session = await site.open()
    frames = list(fragments(LONG[:5000], 1))
    for number in range(4900, 0, -100):
        frames.insert(number, masked(PING, b"%d" % number))
    await client.send(b"".join(frames))
    assert [(await client.read_frame()).payload for _ in range(49)] == [b"%d" % number for number in range(100, 5000, 100)]
    assert await client.read_text() == LONG[:5000].decode()
    assert len(session.texts) == 1


@pytest.mark.parametrize("size", [0, 16, 125, 126, 1024])
async def test_session_receives_every_text_when_a_thousand_come(site: Site, size: int) -> None:
    """5.6: in order, none lost, none twice."""
    client, session = await site.open()
    texts = [f"{number}".rjust(size)[:size] for number in range(1000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, b"".join(masked(TEXT, word.encode()) for word in texts))
        assert [await client.read_text() for _ in texts] == texts
    assert session.texts == texts


OVER = [
    Case("10.4 a text over the limit is refused", (masked(TEXT, b"x" * 301),), (), 1009),
    Case("10.4 a text far over the limit is refused", (masked(TEXT, b"x" * 70_000),), (), 1009),
    Case("10.4 the limit counts bytes", (masked(TEXT, "€".encode() * 101),), (), 1009),
    Case("10.4 a text of the limit is received", (masked(TEXT, "€".encode() * 100),), (text("€" * 100),)),
    Case("10.4 fragments over the limit are refused", fragments(b"x" * 301, 100), (), 1009),
    Case("10.4 fragments of the limit are received", fragments(b"x" * 300, 100), (text(b"x" * 300),)),
    Case("10.4 a text after a long one has the whole limit", (*fragments(b"x" * 300, 150), masked(TEXT, b"y" * 300)),
         (text(b"x" * 300), text(b"y" * 300))),
    Case("10.4 empty fragments without an end are refused",
         (masked(TEXT, final=False), masked(CONTINUATION, final=False) * 3000), (), 1009),
    Case("10.4 a close after a long text is too late", (masked(TEXT, b"x" * 301), closing(1000)), (), 1009),
]  # fmt: skip


@table(OVER)
async def test_client_is_refused_when_a_message_is_over_the_limit(start: Start, case: Case) -> None:
    """And not before: the limit itself is allowed."""
    await play(await start(max_message=300), case)


@pytest.mark.parametrize("opening", [(), (masked(TEXT, b"1", final=False),)], ids=["before", "within"])
async def test_session_receives_a_text_when_very_many_pings_come_first(start: Start, opening: tuple[bytes, ...]) -> None:
    """5.5.2: pings are no part of a message, so their bytes do not count."""
    site = await start(max_message=1024)
    client, session = await site.open()
    ending = masked(CONTINUATION if opening else TEXT, b"2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, b"".join([*opening, masked(PING, b"x" * 125) * 1000, ending]))
        for _ in range(1000):
            assert await client.read_frame() == pong(b"x" * 125)
        assert (await client.read_text())[-1] == "2"
    assert len(session.texts) == 1


async def test_client_is_refused_when_it_only_announces_a_giant_frame(start: Start) -> None:
    """10.4: no memory is set aside for what is announced; more than the limit never needs to come."""
    site = await start(max_message=300)
    client, session = await site.open()
    await client.send(b"\x81\xff" + ((1 << 63) - 1).to_bytes(8, "big") + b"0000" + b"x" * 301)
    assert (await client.read_close())[0] == 1009
    assert session.texts == []


async def test_client_is_refused_when_a_binary_message_is_over_the_limit(start: Start) -> None:
    """10.4, 7.4.1: by either of the two codes that are true."""
    site = await start(max_message=300)
    client, _ = await site.open()
    await client.send(masked(BINARY, b"x" * 301))
    assert (await client.read_close())[0] in {1003, 1009}
