"""The bus: what the cluster needs of NATS, and nothing more.

Two implementations: `NatsBus` and, in one process, `LocalBus`; the simulation in tests/sim is a third. What all of them
promise:

- Messages of one publisher arrive in the order in which it published them, whatever their subjects, and handlers are
  called in order of arrival. The presence directory and the fence rest on this.
- A node does not hear its own messages.
- A message with a reply subject that nobody listens to is answered at once, on the reply subject, with payload None.
- A message may be lost, and interest may take time to spread between servers.
"""

from collections.abc import Callable
from typing import Protocol

import trio

Handler = Callable[[str, bytes | None, str], None]
"""Called with subject, payload and reply subject ("" if none). Payload None: "no responders". It does not wait."""


class BusAwayError(Exception):
    """The bus cannot carry this now. Whoever asked is told so; nothing was kept for later."""


class Watcher(Protocol):
    """Who hears what becomes of the bus. Called from the Trio thread; it does not wait."""

    def bus_up(self) -> None:
        """The bus carries us, for the first time or again. What was published meanwhile was not heard."""

    def bus_down(self) -> None:
        """The bus is away."""


class Bus(Protocol):
    """One node's attachment to the bus."""

    @property
    def alone(self) -> bool:
        """Whether nobody else can ever be on this bus, so that nothing needs to be said."""

    @property
    def connected(self) -> bool:
        """Whether messages can be carried now."""

    @property
    def server(self) -> str:
        """The id of the server that carries us; equal for two nodes exactly if they share one."""

    @property
    def max_payload(self) -> int:
        """The largest payload in bytes."""

    @property
    def has_room(self) -> bool:
        """Whether what belongs together may be published now: once it is begun, `publish` takes all of it."""

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send without waiting; raises `BusAwayError` when away, or when too much waits to be sent already."""

    def subscribe(self, subject: str, handler: Handler) -> int:
        """Take interest; works when away too, and then holds from the moment the bus is back. Returns its number."""

    def unsubscribe(self, number: int) -> None:
        """Drop interest; messages on their way are not handled any more."""

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """Call `done(True)` when the server has everything that was published and subscribed before; perhaps at once.

        `done(False)`: the bus is away, or went away before it confirmed.
        """

    async def run(self, watcher: Watcher, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the attachment up until cancelled. `started` when the first connection stands."""


async def flush(bus: Bus) -> None:
    """`Bus.when_flushed`, for those who can wait; raises `BusAwayError`."""
    flushed = trio.Event()
    results: list[bool] = []

    def done(confirmed: bool) -> None:
        results.append(confirmed)
        flushed.set()

    bus.when_flushed(done)
    await flushed.wait()
    if not results[0]:
        raise BusAwayError("the bus is away, or went away before it confirmed")
