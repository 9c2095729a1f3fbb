"""Every wait of a connection ends on time: in-memory streams and a clock that jumps."""

import errno

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from node.metrics import Metrics
from node.protocol.frames import encode_text
from node.transport.listener import serve
from node.transport.settings import TransportSettings
from tests.conformance.sites import EchoAcceptor, EchoApi, MemoryListener, start_memory
from tests.wire import TEXT, WireClient, masked, request, upgrade_head


@pytest.mark.parametrize(
    ("sent", "seconds", "answer"),
    [
        pytest.param(b"", 10.0, None, id="nothing"),
        pytest.param(b"GET / HT", 10.0, 408, id="half a head"),
        pytest.param(request("POST", "/", b"body")[:-1], 10.0, 408, id="half a body"),
        pytest.param(request("GET", "/"), 75.0, 200, id="kept alive"),
    ],
)
async def test_http_connection_ends_on_time_when_nothing_more_comes(
    nursery: trio.Nursery, autojump_clock: MockClock, sent: bytes, seconds: float, answer: int | None
) -> None:
    """Ten seconds for a request from its connection on, 75 for the next to begin."""
    site = await start_memory(nursery, TransportSettings())
    stream = await site.connect_stream()
    began = trio.current_time()
    await stream.send_all(sent)
    received = b""
    while data := await stream.receive_some():
        received += bytes(data)
    assert trio.current_time() - began == pytest.approx(seconds)
    assert received.startswith(b"" if answer is None else f"HTTP/1.1 {answer} ".encode())
    site.serving.cancel()


async def test_slow_request_ends_on_time_when_bytes_trickle(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A byte a second does not move the deadline of the whole request."""
    site = await start_memory(nursery, TransportSettings())
    client = await site.connect()
    await client.send(request("GET", "/"))
    await client.read_response()
    await trio.sleep(50)
    began = trio.current_time()
    for byte in b"GET / HTTP":
        await client.send(bytes((byte,)))
        await trio.sleep(0.999)
    assert (await client.read_response()).status == 408
    assert trio.current_time() - began == pytest.approx(10)
    site.serving.cancel()


async def test_client_may_go_on_sending_for_a_second_when_it_was_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its bytes are read and thrown away, so that the answer is not lost in a reset connection."""
    site = await start_memory(nursery, TransportSettings())
    client = await site.connect()
    await client.send(b"hello\r\n")
    assert (await client.read_response()).status == 400
    await trio.sleep(0.9)
    await client.send(b"more of the same")
    await trio.sleep(0.2)
    with pytest.raises(trio.BrokenResourceError):
        await client.send(b"and more")
    site.serving.cancel()


async def test_websocket_stays_open_when_nothing_happens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Silence is the session's affair: the transport has no deadline for it."""
    site = await start_memory(nursery, TransportSettings())
    client, session = await site.open()
    await trio.sleep(600)
    await client.send_text("still here")
    assert await client.read_text() == "still here"
    site.serving.cancel()
    await session.ended()


async def test_websocket_ends_on_time_when_the_client_ignores_the_close(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Five seconds after our close the stream ends, though the client goes on talking."""
    site = await start_memory(nursery, TransportSettings())
    client, session = await site.open()
    session.transport.close(4200, "")
    began = trio.current_time()
    for _ in range(4):
        await trio.sleep(1)
        await client.send_text("what?")
    assert await client.read_close() == (4200, "")
    await client.read_end()
    assert trio.current_time() - began == pytest.approx(5)
    await session.ended()
    assert session.texts == []
    site.serving.cancel()


@pytest.mark.parametrize(("flood", "seconds"), [pytest.param(False, 5.0, id="close"), pytest.param(True, 1.0, id="slow")])
async def test_websocket_ends_on_time_when_the_client_reads_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock, flood: bool, seconds: float
) -> None:
    """What cannot be written is not waited for: five seconds after a close, one for a slow consumer."""
    ours, theirs = lockstep_stream_pair()
    acceptor, metrics, listener = EchoAcceptor(), Metrics(), _OneStream(theirs)
    await nursery.start(serve, [listener], acceptor, EchoApi(), TransportSettings(), metrics)
    nursery.start_soon(ours.send_all, upgrade_head())
    client = WireClient(ours)
    assert (await client.read_response(informational=True)).status == 101
    session = await acceptor.session()
    session.transport.offer(encode_text("never read"))
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    if flood:
        for _ in range(1025):
            session.transport.offer(encode_text("x" * 1020))
        assert metrics.slow_consumer_closes.labels().value == 1
    else:
        session.transport.close(4200, "")
    await session.ended()
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_listener_accepts_again_when_descriptors_had_run_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Out of descriptors, it waits and tries again, instead of failing or spinning."""
    listener = _Exhausted()
    await nursery.start(serve, [listener], EchoAcceptor(), EchoApi(), TransportSettings(), Metrics())
    client = WireClient(await listener.connect())
    await client.send(request("GET", "/"))
    assert (await client.read_response()).status == 200
    assert listener.failures == 0
    assert trio.current_time() < 1


async def test_listener_raises_when_it_fails_for_another_reason(autojump_clock: MockClock) -> None:
    """A listener that cannot work is not retried for ever."""
    listener = _Exhausted(errno.EBADF)
    with pytest.raises(ExceptionGroup) as caught:
        await serve([listener], EchoAcceptor(), EchoApi(), TransportSettings(), Metrics())
    assert caught.group_contains(OSError)


async def test_connection_failure_stays_in_it_when_the_session_fails(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a session ends its connection, is counted, and the server goes on."""
    site = await start_memory(nursery, TransportSettings())
    client, session = await site.open()
    other, _ = await site.open()

    def fail(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session, "receive", fail)
    await client.send(masked(TEXT, b"x"))
    await client.read_end()
    await session.ended()
    assert site.metrics.errors.labels("connection").value == 1
    await other.send_text("fine")
    assert await other.read_text() == "fine"
    site.serving.cancel()


async def test_websocket_ends_when_only_writing_fails(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A peer that cannot be written to is gone, although nothing was read of its end."""
    ours, theirs = memory_stream_pair()
    acceptor = EchoAcceptor()
    await nursery.start(serve, [_OneStream(_Deaf(theirs))], acceptor, EchoApi(), TransportSettings(), Metrics())
    await ours.send_all(upgrade_head())
    await (await acceptor.session()).ended()


class _Deaf(trio.abc.Stream):
    """A stream that can be read but not written."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError(f"{len(data)} bytes were not taken")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _OneStream(trio.abc.Listener[trio.abc.Stream]):
    """Accepts one stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._streams = [stream]

    async def accept(self) -> trio.abc.Stream:
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _Exhausted(MemoryListener):
    """Fails a few times before it accepts."""

    def __init__(self, error: int = errno.EMFILE) -> None:
        super().__init__()
        self.failures = 3
        self._error = error

    async def accept(self) -> trio.abc.Stream:
        if self.failures:
            self.failures -= 1
            raise OSError(self._error, "no more")
        return await super().accept()
