"""The bus inside one process: a single node without NATS, and several nodes in one test.

Delivery is immediate but never nested: a message published by a handler is delivered after that handler has returned,
so handlers see the same order as with a real server.
"""

from collections import deque
from collections.abc import Callable
from itertools import count

import trio

from cluster.bus import Handler, Watcher


class Broker:
    """Matches subjects with interests for all `LocalBus`es made on it."""

    def __init__(self) -> None:
        self._interests: dict[str, dict[tuple[LocalBus, int], Handler]] = {}
        self._queue: deque[tuple[LocalBus, str, bytes, str]] = deque()
        self._delivering = False

    def add(self, bus: "LocalBus", number: int, subject: str, handler: Handler) -> None:
        """Take interest."""
        self._interests.setdefault(subject, {})[bus, number] = handler

    def remove(self, bus: "LocalBus", number: int, subject: str) -> None:
        """Drop interest; unknown ones are ignored."""
        handlers = self._interests.get(subject, {})
        handlers.pop((bus, number), None)
        if not handlers:
            self._interests.pop(subject, None)

    def publish(self, bus: "LocalBus", subject: str, payload: bytes, reply: str) -> None:
        """Deliver to all that are interested, except the publisher."""
        self._queue.append((bus, subject, payload, reply))
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._queue:
                self._deliver(*self._queue.popleft())
        finally:
            self._delivering = False

    def _deliver(self, sender: "LocalBus", subject: str, payload: bytes, reply: str) -> None:
        heard = False
        for pattern in (subject, subject.rpartition(".")[0] + ".*"):
            handlers = self._interests.get(pattern, {})
            for interest, handler in list(handlers.items()):
                if interest[0] is not sender and interest in handlers:  # an earlier handler may have dropped it
                    heard = True
                    handler(subject, payload, reply)
        if reply and not heard:
            for pattern in (reply, reply.rpartition(".")[0] + ".*"):
                for (bus, _), handler in list(self._interests.get(pattern, {}).items()):
                    if bus is sender:
                        handler(reply, None, "")


class LocalBus:
    """One node's attachment to a `Broker`; alone on its broker it is the bus of a single node."""

    connected = True
    server = "local"
    max_payload = 1 << 20
    has_room = True

    def __init__(self, broker: Broker | None = None) -> None:
        self.alone = broker is None
        self._broker = broker or Broker()
        self._subjects: dict[int, str] = {}
        self._numbers = count(1)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Bus.publish`; it is never away."""
        self._broker.publish(self, subject, payload, reply)

    def subscribe(self, subject: str, handler: Handler) -> int:
        """See `Bus.subscribe`."""
        number = next(self._numbers)
        if self.alone:
            return number  # there is nobody to hear from
        self._subjects[number] = subject
        self._broker.add(self, number, subject, handler)
        return number

    def unsubscribe(self, number: int) -> None:
        """See `Bus.unsubscribe`."""
        if (subject := self._subjects.pop(number, None)) is not None:
            self._broker.remove(self, number, subject)

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """See `Bus.when_flushed`; everything has arrived already."""
        done(True)

    async def run(self, watcher: Watcher, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Bus.run`; every interest ends with it, as if the process had died."""
        try:
            watcher.bus_up()
            task_status.started()
            await trio.sleep_forever()
        finally:
            for number in list(self._subjects):
                self.unsubscribe(number)
