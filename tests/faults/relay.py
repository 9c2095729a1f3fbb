"""A network that obeys: one process that carries TCP connections between programs, and cuts, stalls or slows them.

    python -m tests.faults.relay '{"name": [port, target], ...}'

Commands come as lines on stdin, `<verb> <name> [seconds]`, and each is answered with a line when it is done:

- `cut`: connections end at once, and new ones are refused
- `stall`: nothing is carried and nothing is lost; new connections are taken, and wait
- `slow`: what goes in comes out `seconds` later, in order, however much is on its way
- `heal`: as in the beginning; what was stalled arrives

It is a process of its own so that a busy test does not slow the network down.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

_CHUNK = 65536
_ON_THE_WAY = 10_000  # chunks in one direction; a link that carries more holds its sender back


class Link:
    """One way between two programs."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._target = target
        self._delay = 0.0
        self._refuses = False
        self._open = trio.Event()
        self._open.set()
        self._streams: set[trio.SocketStream] = set()

    async def run(self, *, task_status: trio.TaskStatus[object]) -> None:
        """Take connections until cancelled."""
        await trio.serve_tcp(self._carry, self._port, host="127.0.0.1", task_status=task_status)

    async def obey(self, verb: str, seconds: float) -> None:
        """Become as told, from whatever it was."""
        self._delay = seconds if verb == "slow" else 0.0
        self._refuses = verb == "cut"
        if verb == "stall":
            if self._open.is_set():
                self._open = trio.Event()
            return
        if self._refuses:
            for stream in list(self._streams):
                await trio.aclose_forcefully(stream)
        self._open.set()

    async def _carry(self, near: trio.SocketStream) -> None:
        """One connection; when either end is gone, so is the other."""
        if self._refuses:
            return
        self._streams.add(near)
        try:
            await self._open.wait()
            async with await trio.open_tcp_stream("127.0.0.1", self._target) as far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        except OSError:
            pass
        finally:
            self._streams.discard(near)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        put, get = trio.open_memory_channel[tuple[float, bytes]](_ON_THE_WAY)

        async def deliver() -> None:
            async for due, chunk in get:
                await trio.sleep_until(due)
                await self._open.wait()
                await sink.send_all(chunk)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deliver)
                async with put:
                    while chunk := await source.receive_some(_CHUNK):
                        await put.send((trio.current_time() + self._delay, bytes(chunk)))
                        await self._open.wait()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


async def main(places: dict[str, tuple[int, int]]) -> None:
    """Carry until stdin ends."""
    links = {name: Link(port, target) for name, (port, target) in places.items()}
    async with trio.open_nursery() as nursery:
        for link in links.values():
            await nursery.start(link.run)
        print("ready", flush=True)
        async with aclosing(_lines()) as lines:
            async for line in lines:
                verb, name, *seconds = line.split()
                await links[name].obey(verb, float(seconds[0]) if seconds else 0.0)
                print("done", flush=True)
        nursery.cancel_scope.cancel()


async def _lines() -> AsyncGenerator[str, None]:
    """What comes on stdin."""
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for chunk in stdin:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode()


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
