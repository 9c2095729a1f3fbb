"""One node's attachment to the simulated network, and what can go wrong with it."""

from collections.abc import Callable

import trio

from cluster.bus import BusAwayError, Handler, Watcher
from tests.sim.network import Connection, Message, Network, Server

STALE = 10.0  # seconds after which a server gives up a client that answers no pings (its `ping_interval` and `ping_max`)


class SimBus:
    """One node's attachment; implements `cluster.bus.Bus`."""

    alone = False
    has_room = True
    max_payload = 4096  # small, so that snapshots come in parts

    def __init__(self, network: Network, server: Server) -> None:
        self.published = 0
        self._network = network
        self._home = server
        self._connection: Connection | None = None
        self._watcher: Watcher | None = None
        self._handlers: dict[int, tuple[str, Handler]] = {}
        self._numbers = 0
        self._flushes: dict[int, Callable[[bool], None]] = {}
        self._flushed = 0

    @property
    def connected(self) -> bool:
        """See `Bus.connected`."""
        return self._connection is not None

    @property
    def server(self) -> str:
        """See `Bus.server`."""
        return self._home.name

    @property
    def patterns(self) -> list[str]:
        """What the node wants."""
        return [pattern for pattern, _ in self._handlers.values()]

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Bus.publish`."""
        if (connection := self._connection) is None:
            raise BusAwayError("away")
        self.published += 1
        message = Message(connection, subject, payload, reply)
        connection.up.send(lambda: connection.server.publish(message), lossy=True)

    def subscribe(self, subject: str, handler: Handler) -> int:
        """See `Bus.subscribe`."""
        self._numbers += 1
        self._handlers[self._numbers] = (subject, handler)
        if self._connection is not None:
            self._subscribe(self._connection, self._numbers, subject)
        return self._numbers

    def _subscribe(self, connection: Connection, number: int, subject: str) -> None:
        connection.up.send(lambda: connection.server.subscribe(connection, number, subject))

    def unsubscribe(self, number: int) -> None:
        """See `Bus.unsubscribe`."""
        entry = self._handlers.pop(number, None)
        if entry is not None and (connection := self._connection) is not None:
            connection.up.send(lambda: connection.server.unsubscribe(connection, number, entry[0]))

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """See `Bus.when_flushed`."""
        if (connection := self._connection) is None:
            done(False)
            return
        self._flushed += 1
        number = self._flushed
        self._flushes[number] = done

        def confirm() -> None:
            if (waiting := self._flushes.pop(number, None)) is not None:
                waiting(True)

        connection.up.send(lambda: connection.down.send(confirm))

    async def run(self, watcher: Watcher, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Bus.run`; when it is cancelled the process has died."""
        self._watcher = watcher
        try:
            self.join(self._home)
            task_status.started()
            await trio.sleep_forever()
        finally:
            self.die()

    # -- faults ---------------------------------------------------------------------------------------------------

    def join(self, server: Server) -> None:
        """Attach to a server, for the first time or again."""
        self._home = server
        self._connection = Connection(self._network, self, server)
        for number, (subject, _) in self._handlers.items():
            self._subscribe(self._connection, number, subject)
        if self._watcher is not None:
            self._watcher.bus_up()

    def leave(self) -> None:
        """Lose the connection: what is on its way to the server still arrives there, then it forgets the client."""
        if self._disconnect() and self._watcher is not None:
            self._watcher.bus_down()

    def die(self) -> None:
        """The process is gone, its kernel closes the connection."""
        self._watcher = None
        self._disconnect()

    def vanish(self) -> None:
        """The machine is gone: the server does not notice before its client is `STALE`."""
        self._watcher = None
        if (connection := self._connection) is not None:
            self._connection = None
            connection.up.close()
            connection.down.close()
            self._network.at(trio.current_time() + STALE, lambda: connection.server.forget(connection))

    def _disconnect(self) -> bool:
        if (connection := self._connection) is None:
            return False
        self._connection = None
        connection.down.close()
        connection.up.send(lambda: connection.server.forget(connection))
        waiting, self._flushes = self._flushes, {}
        for done in waiting.values():
            done(False)
        return True

    def receive(self, number: int, message: Message) -> None:
        """A message arrived; it has found its way here, so somebody here must have wanted it a moment ago."""
        self._network.delivered(self, message.subject)
        if (entry := self._handlers.get(number)) is not None:
            entry[1](message.subject, message.payload, message.reply)
