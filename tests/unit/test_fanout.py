"""Fan-out to many connections: in order, in slices, once each, and bounded."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from node import fanout
from node.connection import Connection
from node.fanout import Fanout
from node.metrics import Metrics
from tests.unit.support import APP, FakeTransport

MANY = 1000


@pytest.fixture
def crowd() -> list[Connection]:
    """More connections than a slice serves."""
    return [Connection(APP, str(number), FakeTransport(), 0.0) for number in range(MANY)]


def told(*connections: Connection) -> list[list[bytes]]:
    """What each was offered."""
    transports = [connection.transport for connection in connections]
    return [transport.frames for transport in transports if isinstance(transport, FakeTransport)]


def frames(count: int, start: int = 0) -> Iterator[bytes]:
    """Distinct frames."""
    return (str(number).encode() for number in range(start, start + count))


async def serve(fan: Fanout) -> None:
    """Let it serve all that waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        with trio.fail_after(10):
            while fan.backlog:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def test_small_audience_is_served_at_once(crowd: list[Connection]) -> None:
    """But for the one that is left out."""
    fan = Fanout(Metrics())
    fan.deliver("x", crowd[:3], b"a", but_for="1")
    assert told(*crowd[:4]) == [[b"a"], [], [b"a"], []]
    assert fan.backlog == 0


async def test_large_audience_is_served_in_slices_while_others_run(crowd: list[Connection]) -> None:
    """Between two slices everybody else has a turn."""
    fan = Fanout(Metrics())
    fan.deliver("x", crowd, b"a")
    assert fan.backlog == MANY
    steps = []

    async def watch() -> None:
        while fan.backlog:
            steps.append(sum(map(len, told(*crowd))))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        nursery.start_soon(watch)
        while fan.backlog:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(set(steps)) >= MANY // fanout._SLICE - 1
    assert told(*crowd) == [[b"a"]] * MANY


async def test_order_is_kept_within_a_stream(crowd: list[Connection]) -> None:
    """A small audience waits behind a large one, and never the other way round."""
    fan = Fanout(Metrics())
    for number, frame in enumerate(frames(20)):
        fan.deliver("x", crowd if number % 2 else crowd[:1], frame)
        if number == 10:
            await serve(fan)
    await serve(fan)
    assert told(crowd[0]) == [list(frames(20))]
    assert told(crowd[1]) == [[frame for frame in frames(20) if int(frame) % 2]]


async def test_streams_are_served_in_turn(crowd: list[Connection]) -> None:
    """A short one does not wait for the end of a long one."""
    fan = Fanout(Metrics())
    for frame in frames(5):
        fan.deliver("long", crowd, frame)
    fan.deliver("short", crowd[:5], b"s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        while b"s" not in told(crowd[0])[0]:
            await trio.lowlevel.checkpoint()
        assert fan.backlog >= 4 * MANY
        nursery.cancel_scope.cancel()


async def test_receivers_are_those_at_the_time_of_the_frame(crowd: list[Connection]) -> None:
    """Who comes later gets what comes later; who leaves gets nothing more of the stream, unless it comes back."""
    fan = Fanout(Metrics())
    audience = set(crowd)
    newcomer, leaver, returner = [Connection(APP, name, FakeTransport(), 0.0) for name in ("new", "left", "back")]
    audience |= {leaver, returner}
    fan.deliver("x", audience, b"1")
    audience.add(newcomer)
    for each in (leaver, returner):
        audience.discard(each)
        fan.leave("x", each)
    fan.deliver("x", audience, b"2")
    audience.add(returner)
    fan.deliver("x", audience, b"3")
    await serve(fan)
    assert told(newcomer, leaver, returner) == [[b"2", b"3"], [], [b"3"]]
    assert told(*crowd) == [[b"1", b"2", b"3"]] * MANY
    assert fan._streams == {}


async def test_leaving_a_stream_is_about_that_stream_only(crowd: list[Connection]) -> None:
    """And about nothing when nothing waits."""
    fan = Fanout(Metrics())
    fan.leave("x", crowd[0])
    fan.deliver("x", crowd, b"x")
    fan.deliver("y", crowd, b"y")
    fan.leave("y", crowd[0])
    await serve(fan)
    assert told(crowd[0]) == [[b"x"]]


async def test_many_small_audiences_do_not_stop_the_others_either(crowd: list[Connection]) -> None:
    """What would be more than a slice without a turn for others waits."""
    fan = Fanout(Metrics())
    for number in range(MANY // 10):
        fan.deliver(f"x{number}", crowd[number * 10 : number * 10 + 10], b"a")
    assert 0 < fan.backlog < MANY
    await serve(fan)
    fan.deliver("x", crowd[:10], b"b")
    assert fan.backlog == 0
    assert told(crowd[0], crowd[-1]) == [[b"a", b"b"], [b"a"]]


async def test_fan_out_drops_what_it_cannot_keep_but_for_the_essential(
    crowd: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole, counted, and not any more once there is room; whoever publishes can ask before."""
    monkeypatch.setattr(fanout, "_BACKLOG", 2 * MANY)
    metrics = Metrics()
    fan = Fanout(metrics)
    for frame in frames(4):
        assert fan.is_full is (frame in {b"2", b"3"})
        fan.deliver("x", crowd, frame)
    fan.deliver("x", crowd, b"essential", essential=True)
    await serve(fan)
    assert told(crowd[0], crowd[-1]) == [[b"0", b"1", b"essential"]] * 2
    assert metrics.registry.get_sample_value("usher_fanout_dropped_total") == 2
    fan.deliver("x", crowd, b"waits")
    fan.deliver("x", crowd, b"waits")
    fan.deliver("nobody", [], b"dropped for nobody")
    assert metrics.registry.get_sample_value("usher_fanout_dropped_total") == 2
    await serve(fan)
    fan.deliver("x", crowd, b"later")
    await serve(fan)
    assert told(crowd[0])[0][-1] == b"later"


async def test_fan_out_waits_for_work_without_using_any_time(autojump_clock: MockClock) -> None:
    """An idle node sleeps."""
    fan = Fanout(Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fan.run)
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
