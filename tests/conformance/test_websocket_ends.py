"""How a WebSocket ends: by whom, with which code, how soon; and the session is told exactly once."""

import pytest
import trio

from node.protocol.frames import encode_text
from node.transport.seam import Transport
from tests.conformance.conftest import Start
from tests.conformance.sites import Site
from tests.wire import CLOSE, PING, TEXT, closing, masked


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
async def test_client_gets_its_code_back_when_it_closes(site: Site, code: int | None) -> None:
    """A close is answered with the same code, then the stream ends."""
    client, session = await site.open()
    await client.send(closing(code))
    assert (await client.read_close())[0] == code
    await client.read_end()
    await session.ended()


async def test_client_gets_what_was_offered_when_it_closes(site: Site) -> None:
    """The answer to a close comes after what waits."""
    client, session = await site.open()
    for i in range(100):
        session.transport.offer(encode_text(str(i)))
    await client.send(closing())
    assert [await client.read_text() for _ in range(100)] == [str(i) for i in range(100)]
    assert await client.read_close() == (1000, "")
    await session.ended()


async def test_client_gets_what_was_offered_and_the_code_when_the_session_closes(site: Site) -> None:
    """Offers before a close go out first, those after it never; the first close counts."""
    client, session = await site.open()
    session.transport.offer(encode_text("before"))
    session.transport.close(4200, "come back")
    session.transport.offer(encode_text("after"))
    session.transport.close(4001, "too late")
    assert await client.read_text() == "before"
    assert await client.read_close() == (4200, "come back")
    assert session.closed_times == 0
    await client.send(closing(4200))
    await client.read_end()
    await session.ended()
    assert site.count("forced_closes") == 0


async def test_client_gets_a_whole_reason_when_it_is_too_long(site: Site) -> None:
    """A reason is cut to 123 bytes, not within a character."""
    client, session = await site.open()
    session.transport.close(4009, "x" + "ü" * 100)
    assert await client.read_close() == (4009, "x" + "ü" * 61)


async def test_client_gets_error_and_close_when_the_session_refuses_at_once(site: Site) -> None:
    """The transport can be used, and closed, before the session is there."""

    def refuse(transport: Transport) -> None:
        transport.offer(encode_text("no"))
        transport.close(4001, "unknown")

    site.acceptor.greet = refuse
    client = await site.connect()
    await client.upgrade()
    assert await client.read_text() == "no"
    assert await client.read_close() == (4001, "unknown")
    await client.send(closing(4001))
    await client.read_end()
    await (await site.acceptor.session()).ended()


async def test_session_receives_nothing_more_when_it_has_closed(site: Site) -> None:
    """Texts, pings and binary messages that cross the close frame are dropped, and harm nothing."""
    client, session = await site.open()
    session.transport.close(4200, "")
    await client.send(masked(TEXT, b"late") + masked(PING, b"late") + masked(0x2, b"late"))
    assert await client.read_close() == (4200, "")
    await client.send(masked(PING, b"later") + closing(4200))
    await client.read_end()
    await session.ended()
    assert session.texts == []
    assert site.count("errors") == 0


async def test_connection_ends_in_time_when_the_client_ignores_the_close(start: Start) -> None:
    """A client that never answers a close is not waited for."""
    site = await start(close_timeout=0.05)
    client, session = await site.open()
    session.transport.close(4200, "")
    await client.read_close()
    await client.read_end()
    await session.ended()
    assert site.count("forced_closes") == 1


async def test_session_is_told_once_when_the_client_is_gone(site: Site) -> None:
    """A stream that just ends is an end, too."""
    client, session = await site.open()
    await client.aclose()
    await session.ended()
    session.transport.offer(encode_text("into the void"))
    session.transport.close(1000, "")
    assert session.transport.buffered == 0


async def test_client_gets_no_close_frame_when_it_ends_its_stream_without_one(site: Site) -> None:
    """Who stops sending without a close frame is gone: nothing more is written, and 1006 is never on the wire."""
    client, session = await site.open()
    if not isinstance(client.stream, trio.abc.HalfCloseableStream):
        pytest.skip("TLS has no half-closed streams")
    await client.stream.send_eof()
    await client.read_end()
    await session.ended()


async def test_session_is_told_once_when_both_sides_close_at_the_same_time(site: Site) -> None:
    """Close frames that cross each other end the connection like any other."""
    client, session = await site.open()
    session.transport.close(4200, "")
    await client.send(closing(1001))
    assert await client.read_close() == (4200, "")
    await client.read_end()
    await session.ended()


async def test_everything_ends_in_bounded_time_when_serving_is_cancelled(site: Site) -> None:
    """Cancelled, the server drops open and half-open connections, and tells each session once."""
    opened = [await site.open() for _ in range(3)]
    await (await site.connect()).send(b"GET /unfinished")
    opened[0][1].transport.close(4200, "")
    site.serving.cancel()
    with trio.fail_after(3):
        await site.stopped.wait()
    for client, session in opened:
        await session.ended()
        await client.aclose()


async def test_slow_consumer_is_closed_with_4100_when_its_outbox_is_full(start: Start) -> None:
    """More in one go than the bound allows: what waits is dropped, the close is sent and counted."""
    site = await start(max_outbox=10_000)
    if not site.queues_offers:
        pytest.skip("these offers go to the kernel, which takes more than that")
    client, session = await site.open()
    for _ in range(12):
        session.transport.offer(encode_text(b"x" * 1000))
    assert session.transport.buffered < 10_000
    assert (await client.read_close())[0] == 4100
    assert site.count("slow_consumer_closes") == 1
    await client.send(closing(4100))
    await session.ended()


async def test_slow_consumer_gets_whole_frames_and_4100_when_it_reads_again(start: Start) -> None:
    """A reader that stopped finds whole frames in order and then the close; the end does not wait for it."""
    site = await start(max_outbox=100_000, slow_close_timeout=5.0)
    if not site.pushes_back:
        pytest.skip("these streams take everything")
    client, session = await site.open()
    offered = 0
    while not site.count("slow_consumer_closes"):
        session.transport.offer(encode_text(f"{offered}".rjust(10_000)))
        offered += 1
        await trio.lowlevel.checkpoint()
    assert session.transport.buffered <= 200_000
    received = 0
    while (frame := await client.read_frame()).opcode == TEXT:
        assert int(frame.payload) == received
        received += 1
    assert frame.opcode == CLOSE
    assert frame.payload[:2] == (4100).to_bytes(2, "big")
    assert 0 < received < offered
    await client.aclose()
    await session.ended()


async def test_slow_consumer_is_dropped_in_time_when_it_never_reads(start: Start) -> None:
    """The attempt to say 4100 is short."""
    site = await start(max_outbox=100_000, slow_close_timeout=0.05)
    if not site.pushes_back:
        pytest.skip("these streams take everything")
    client, session = await site.open()
    while not site.count("slow_consumer_closes"):
        session.transport.offer(encode_text(b"x" * 10_000))
        await trio.lowlevel.checkpoint()
    await session.ended()
    await client.aclose()


async def test_session_sees_bytes_wait_when_they_are_not_written_yet(site: Site) -> None:
    """`buffered` grows with an offer and falls to zero once it is written."""
    client, session = await site.open()
    session.transport.offer(encode_text("1234"))
    assert session.transport.buffered == (6 if site.queues_offers else 0)
    assert await client.read_text() == "1234"
    await trio.testing.wait_all_tasks_blocked()
    assert session.transport.buffered == 0


async def test_client_gets_every_answer_when_its_messages_came_together(start: Start) -> None:
    """Answers that leave together may be more than an outbox holds: only what the kernel refuses counts."""
    site = await start(max_outbox=1_000)
    if site.queues_offers:
        pytest.skip("these offers wait for a task, however quick the client")
    client, session = await site.open()
    await client.send(b"".join(masked(TEXT, str(i).encode() * 50) for i in range(200)))
    assert [await client.read_text() for _ in range(200)] == [str(i) * 50 for i in range(200)]
    assert session.transport.buffered == 0
    assert not site.count("slow_consumer_closes")
