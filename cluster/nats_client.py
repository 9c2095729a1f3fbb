"""The one place that reaches inside nats-py (checked against 2.16.0; pyproject.toml pins 2.16.x).

nats-py gives each subscription a queue and a task: 5 KiB each, 24 k msg/s, and messages of two subjects may overtake each
other (design measurements). A node needs tens of thousands of interests, handled in order of arrival. So this subclass
keeps nats-py's connection, authentication, TLS, reconnection and parsing, and replaces what it relies on below:

- `Client._process_msg(sid, subject, reply, data, headers)` is awaited by the parser once per message, in order.
- `Client._subs` is what nats-py subscribes again after a reconnect; it stays empty, `NatsBus` does that itself.
- `Client._transport.write(bytes)` writes without waiting; `_pongs` is the list of what awaits a PONG, in wire order, and
  of its entries nats-py calls `set_result` only. nats-py's own `flush` writes its PING ahead of commands still pending,
  so it confirms nothing; `write` here appends to both in one go.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from nats.aio.client import Client

NO_RESPONDERS = b"NATS/1.0 503"


class Awaiting(Protocol):
    """What waits for a PONG."""

    def set_result(self, result: bool) -> None:
        """The server has handled everything written before."""


class SlimClient(Client):
    """A nats-py client that hands each message to one function, at once and in order."""

    def __init__(self, on_message: Callable[[int, bytes, bytes, bytes, bytes | None], None]) -> None:
        """`on_message(sid, subject, reply, payload, headers)` does not raise and does not wait."""
        super().__init__()
        self._on_message = on_message

    async def attach(self, options: Mapping[str, Any]) -> None:
        """Connect. Cancelled, it ends for certain.

        nats-py tries for ever and waits with `asyncio.wait_for`, which swallows a cancellation now and then (before Python
        3.12), so it is cancelled until it heeds that. One stop in 24 hung without this.
        """
        task = asyncio.ensure_future(self.connect(**options))
        try:
            await asyncio.wait({task})
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=0.1)
            failed = not task.cancelled() and task.exception()  # asked for, or asyncio logs that nobody did
        if failed:
            raise failed

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._on_message(sid, subject, reply, data, headers)

    def write(self, data: bytes, awaiting: Awaiting | None = None) -> None:
        """Write commands; with `awaiting`, a PING behind them. The client must be connected."""
        transport = cast("Any", self._transport)
        if awaiting is not None:
            cast("list[Any]", self._pongs).append(awaiting)
            data += b"PING\r\n"
        transport.write(data)

    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        writer = getattr(self._transport, "_io_writer", None)
        return 0 if writer is None else cast("int", writer.transport.get_write_buffer_size())

    @property
    def server_id(self) -> str:
        """The id of the server that this client is connected to."""
        return str(self._server_info.get("server_id", ""))
