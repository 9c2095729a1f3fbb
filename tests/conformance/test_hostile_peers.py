"""Peers that send slowly, endlessly, or all at once: each costs its own connection and bounded memory, and nobody else."""

import tracemalloc
from collections.abc import Iterator
from itertools import chain
from random import Random

import pytest
import trio

from tests.conformance.conftest import Start
from tests.conformance.rfc6455.cases import cut
from tests.conformance.rfc6455.test_utf8 import fragments
from tests.conformance.sites import Site
from tests.wire import CLOSE, CONTINUATION, PING, TEXT, WireClient, masked, request, upgrade_head

SLOW = 40
"""Peers that trickle at the same time."""

PEERS = 20
"""Peers whose frames interleave."""

PACE = 0.01
"""Seconds between two bytes of such a peer: its own pace, nothing waits for it."""

PROMPT = 3.0
"""Seconds in which others are answered, on a machine with much else to do."""


async def trickle(client: WireClient, data: Iterator[bytes]) -> None:
    """Send for ever, slowly, until nobody listens any more."""
    try:
        for piece in data:
            await client.send(piece)
            await trio.sleep(PACE)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def converse(client: WireClient, times: int) -> None:
    """Say something and be answered, promptly."""
    for number in range(times):
        with trio.fail_after(PROMPT):
            await client.send_text(f"{number}")
            assert await client.read_text() == f"{number}"
        await trio.sleep(PACE)


SLOWLORIS = [
    pytest.param(b"", list(cut(upgrade_head(), 1))[:150], id="a byte of the head at a time"),
    pytest.param(upgrade_head()[:-2], [b"X-More: y\r\n"] * 150, id="a header at a time"),
    pytest.param(request("POST", "/", b"x" * 9999)[:-9999], [b"x"] * 150, id="a byte of the body at a time"),
    pytest.param(request("POST", "/", b"", "Transfer-Encoding: chunked"), [b"1\r\nx\r\n"] * 150, id="a chunk at a time"),
]


@pytest.mark.parametrize(("opening", "rest"), SLOWLORIS)
async def test_slow_request_ends_on_time_and_holds_nobody_up(start: Start, opening: bytes, rest: list[bytes]) -> None:
    """Forty at a time are told 408 when their time is over; who speaks at a normal pace is answered meanwhile."""
    site = await start(request_timeout=1.0)
    good, _ = await site.open()
    async with trio.open_nursery() as nursery:
        for _ in range(SLOW):
            client = await site.connect()
            nursery.start_soon(trickle, client, chain([opening], rest))
            nursery.start_soon(expect, client, 408)
        await converse(good, 50)


async def test_slow_frames_hold_nobody_up(start: Start) -> None:
    """A frame may take as long as it likes: it costs what it has brought so far."""
    site = await start()
    good, _ = await site.open()
    slow = [(await site.open())[0] for _ in range(SLOW)]
    frame = masked(TEXT, b"x" * 60)
    async with trio.open_nursery() as nursery:
        for client in slow:
            nursery.start_soon(trickle, client, cut(frame, 1))
        await converse(good, 50)
        for client in slow:
            assert await client.read_text() == "x" * 60


CHUNKED = request("POST", "/", b"", "Transfer-Encoding: chunked")
BLOCK = b"x" * 65_536
ENDLESS = [
    pytest.param(b"GET /", BLOCK, 414, id="target"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: ", BLOCK, 431, id="header"),
    pytest.param(b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10_000, 431, id="headers"),
    pytest.param(b"\r\n", b"\r\n" * 32_768 + b"!", 400, id="empty lines"),
    pytest.param(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n", 413, id="chunks"),
    pytest.param(CHUNKED + b"1;", BLOCK, 413, id="chunk extension"),
    pytest.param(CHUNKED + b"0\r\n", b"A: b\r\n" * 10_000, 413, id="trailers"),
    pytest.param(upgrade_head() + b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"mask", BLOCK, 1009, id="frame"),
    pytest.param(upgrade_head() + masked(TEXT, b"", final=False), masked(CONTINUATION, BLOCK[:500], final=False) * 100, 1009,
                 id="fragments"),
    pytest.param(upgrade_head() + masked(TEXT, b"", final=False), masked(CONTINUATION, b"", final=False) * 10_000, 1009,
                 id="empty fragments"),
]  # fmt: skip


@pytest.mark.parametrize(("opening", "block", "answer"), ENDLESS)
async def test_endless_input_is_refused_and_costs_little(start: Start, opening: bytes, block: bytes, answer: int) -> None:
    """Four peers send up to 8 MiB each: every one is told why it is refused, and the peak is far below that."""
    site = await start(max_message=1024)
    if not site.pushes_back:
        pytest.skip("these streams keep what is sent")
    clients = [await site.connect() for _ in range(4)]
    tracemalloc.start()
    try:
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(flood, client, opening, block)
                nursery.start_soon(expect, client, answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20
    assert site.metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0


async def flood(client: WireClient, opening: bytes, block: bytes) -> None:
    """Send it all, or as much as is taken."""
    try:
        for piece in chain([opening], [block] * (8 * 2**20 // len(block))):
            await client.send(piece)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def expect(client: WireClient, answer: int) -> None:
    """The status of the answer, or the code of the close."""
    if answer < 1000:
        assert (await client.read_response()).status == answer
    else:
        await client.read_response(informational=True)
        assert (await client.read_close())[0] == answer
    await client.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_texts_stay_apart_when_frames_of_many_connections_interleave(site: Site, seed: int) -> None:
    """Twenty connections, their fragments and pings cut anywhere and sent in any order: each hears its own."""
    chance = Random(seed)
    clients = [(await site.open())[0] for _ in range(PEERS)]
    texts = [[f"{number}.{count} €".rjust(chance.randrange(300)) for count in range(3)] for number in range(PEERS)]
    streams = []
    for own in texts:
        frames = [frame for text in own for frame in fragments(text.encode(), chance.randrange(1, 90))]
        frames.insert(chance.randrange(len(frames)), masked(PING, own[0].encode()[-100:]))
        streams.append(cut(b"".join(frames), chance.randrange(5, 60)))
    left = list(range(PEERS))
    while left:
        number = chance.choice(left)
        piece = next(streams[number], None)
        if piece is None:
            left.remove(number)
        else:
            await clients[number].send(piece)
    for client, own in zip(clients, texts, strict=True):
        frames_back = [await client.read_frame() for _ in range(4)]
        assert [frame.payload.decode() for frame in frames_back if frame.opcode == TEXT] == own


async def test_peer_whose_session_has_heard_enough_is_heard_no_more(site: Site) -> None:
    """It is told why, with the session's own code, and what it goes on sending is thrown away until it is cut off."""
    client, session = await site.open()
    session.patience = 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, client, b"", masked(TEXT, b"x" * 100) * 100)
        while (frame := await client.read_frame()).opcode == TEXT:
            pass
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, (4100).to_bytes(2, "big"))
        await session.ended()
        await client.aclose()
    assert len(session.texts) <= 2000
    assert site.metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0


async def test_session_learns_how_much_came(site: Site) -> None:
    """Every byte once, and every message and ping with the bytes that came next, at the latest."""
    client, session = await site.open()
    frames = [masked(TEXT, b"hello"), masked(PING, b"x"), masked(TEXT, b"a", final=False), masked(CONTINUATION, b"b")]
    for frame in frames:
        await client.send(frame)
        await site.idle()
    await client.send(frames[0])
    assert [(await client.read_frame()).payload for _ in range(4)] == [b"hello", b"x", b"ab", b"hello"]
    assert session.size == sum(map(len, [*frames, frames[0]]))
    assert session.frames in {3, 4}
