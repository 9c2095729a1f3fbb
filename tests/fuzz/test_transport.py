"""Whatever bytes a client sends, its connection ends quietly and the server goes on."""

import logging

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.metrics import Metrics
from node.transport.listener import serve
from node.transport.settings import TransportSettings
from tests.conformance.sites import EchoAcceptor, EchoApi, MemoryListener
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, masked, request, upgrade_head

frames = st.builds(
    masked,
    st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 11]),
    st.binary(max_size=200) | st.text(max_size=50).map(str.encode),
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 1]),
    mask=st.sampled_from([b"mask", b"mask", b"\0\0\0\0", None]),
)
good_frames = st.sampled_from(
    [masked(TEXT, b"hello"), masked(TEXT, b"a", final=False), masked(CONTINUATION, b"b"), masked(PING), closing()]
)
starts = st.sampled_from([upgrade_head(), upgrade_head(), upgrade_head(), request("GET", "/"), b"", upgrade_head()[:-2]])
actions = st.lists(frames | good_frames | st.binary(max_size=30) | st.just("close") | st.just("flood"), max_size=12)


@given(starts, actions)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_connection_ends_quietly_whatever_comes(
    caplog: pytest.LogCaptureFixture, start: bytes, actions: list[bytes | str]
) -> None:
    """No error is logged or counted, no task is left, and the session is closed exactly once."""
    acceptor, metrics, listener = EchoAcceptor(), Metrics(), MemoryListener()
    limits = TransportSettings(max_message=100, max_outbox=1000, linger_timeout=0.01, close_timeout=0.05)
    sessions = []
    with trio.fail_after(10), caplog.at_level(logging.WARNING):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, [listener], acceptor, EchoApi(), limits, metrics)
            stream = await listener.connect()
            await stream.send_all(start)
            await trio.testing.wait_all_tasks_blocked()
            if start == upgrade_head():
                sessions.append(await acceptor.session())
            for action in actions:
                if isinstance(action, bytes):
                    await _send(stream, action)
                elif sessions and action == "close":
                    sessions[0].transport.close(4200, "bye")
                elif sessions:
                    sessions[0].transport.offer(b"\x81\x7d" + b"x" * 900)
                await trio.lowlevel.checkpoint()
            await trio.aclose_forcefully(stream)
            await listener.aclose()
    assert [session.closed_times for session in sessions] == [1] * len(sessions)
    assert metrics.registry.get_sample_value("usher_errors_total", {"where": "connection"}) == 0
    assert not caplog.records


async def _send(stream: trio.abc.Stream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        await trio.lowlevel.checkpoint()
