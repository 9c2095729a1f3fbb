"""The least that a message between two processes can take here: published and received with nats-py, and nothing else.

Publisher and subscriber are load workers, so each is a process of its own, as nodes are. The loop's selector is `select`,
since asyncio rounds the waits of epoll up to whole milliseconds, which would count as latency.
"""

import asyncio
import selectors
import time
from typing import Any

import nats

from benchmarks.open_loop import Schedule, due_times
from benchmarks.sockets import LoadError

_SUBJECT = "bench.hop"
_PATIENCE = 30.0


class _Client:
    """A nats-py client whose loop runs while a method does."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._client: Any = self._loop.run_until_complete(nats.connect(url))


class Publisher(_Client):
    """Publishes at fixed times."""

    def run(self, rate: float, count: int) -> Schedule:
        """Publish numbered messages, `rate` in a second."""
        return self._loop.run_until_complete(self._run(rate, count))

    async def _run(self, rate: float, count: int) -> Schedule:
        due = due_times(rate, count)
        for number, at in enumerate(due):
            wait = at - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            await self._client.publish(_SUBJECT, b'{"number":%d}' % number)
        await self._client.flush()
        return Schedule(due)


class Subscriber(_Client):
    """Takes what is published, in a callback."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._found: dict[int, float] = {}
        self._all = asyncio.Event()
        self._count = 0
        self._loop.run_until_complete(self._subscribe())

    def receive(self, count: int) -> dict[int, float]:
        """Wait for that many messages: when each came, by its number."""
        self._found, self._all, self._count = {}, asyncio.Event(), count
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._all.wait(), _PATIENCE))
        except TimeoutError:
            raise LoadError(f"{count - len(self._found)} messages of the bare hop were lost") from None
        return self._found

    async def _subscribe(self) -> None:
        await self._client.subscribe(_SUBJECT, cb=self._take)
        await self._client.flush()

    async def _take(self, message: Any) -> None:
        now = time.monotonic()
        self._found[int(message.data[10:-1])] = now
        if len(self._found) == self._count:
            self._all.set()
