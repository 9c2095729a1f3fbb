"""Slow links: a distance between two programs on one machine.

Bytes come out in order, `delay` seconds after they went in, however many are on their way. A link runs in the test's own
event loop, so a test that uses one must not block it for long.
"""

from functools import partial

import trio

CHUNK = 65536
ON_THE_WAY = 10_000  # chunks; a link that carries more holds its sender back


async def run_link(port: int, target: int, delay: float, *, task_status: trio.TaskStatus[object]) -> None:
    """Take connections on `port` and carry them to `target`, until cancelled."""
    await trio.serve_tcp(partial(_carry, target, delay), port, host="127.0.0.1", task_status=task_status)


async def _carry(target: int, delay: float, near: trio.SocketStream) -> None:
    """One connection; when either end is gone, so is the other."""
    try:
        far = await trio.open_tcp_stream("127.0.0.1", target)
    except OSError:
        return
    async with far, trio.open_nursery() as nursery:
        nursery.start_soon(_pump, near, far, delay, nursery.cancel_scope)
        nursery.start_soon(_pump, far, near, delay, nursery.cancel_scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, delay: float, scope: trio.CancelScope) -> None:
    put, get = trio.open_memory_channel[tuple[float, bytes]](ON_THE_WAY)

    async def deliver() -> None:
        async for due, chunk in get:
            await trio.sleep_until(due)
            await sink.send_all(chunk)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver)
            async with put:
                while chunk := await source.receive_some(CHUNK):
                    await put.send((trio.current_time() + delay, bytes(chunk)))
    except* (OSError, trio.BrokenResourceError):
        pass
    scope.cancel()
