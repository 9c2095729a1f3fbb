"""The bus over NATS: nats-py on an asyncio loop inside Trio (trio-asyncio).

Crossing that bridge once per message would cost 0.1 ms each (10 k/s measured, against 324 k/s batched), so messages cross
it in neither direction: publishes collect in an outbox that one pump writes, many at a time; arriving messages are handed
to their handlers from nats-py's reader as they are parsed.
"""

import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

import structlog
import trio
import trio_asyncio
from nats.errors import Error as NatsError

from cluster.bus import BusAwayError, Handler, Watcher
from cluster.nats_client import NO_RESPONDERS, SlimClient

log = structlog.get_logger(__name__)

_HEADROOM = 8 << 20  # bytes beyond the bound, for the rest of what was begun within it
_COMPLAINTS = 50  # kinds of trouble that are logged for one outage
_REFUSED = "permissions violation"  # as nats-py words it
_REFUSED_WAIT = 2.0  # seconds before asking again: somebody has to change the server's configuration


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """How to reach NATS. Give at most one of: user and password, token, credentials, nkey. Seconds, bytes, file paths."""

    servers: Sequence[str]
    name: str = "usher"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    nkey: str | None = None
    tls: ssl.SSLContext | None = None
    tls_hostname: str | None = None
    connect_timeout: float = 2.0
    reconnect_wait: float = 0.25
    ping_interval: float = 2.0
    outbox_bytes: int = 16 << 20


class _Confirmation:
    """One PING on its way; all flushes of one pump turn share it."""

    def __init__(self) -> None:
        self.waiters: list[Callable[[bool], None]] = []

    def set_result(self, result: bool) -> None:
        """See `nats_client.Awaiting`; False when it will never come. Called once at the most has an effect."""
        waiters, self.waiters = self.waiters, []
        for done in waiters:
            try:
                done(result)
            except Exception:
                log.exception("a flush was not handled")


class NatsBus:
    """One node's attachment to NATS; see `Bus` for the contract."""

    alone = False

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._client: SlimClient | None = None
        self._attached = False  # the server takes our interests
        self._connected = False  # and has accepted them
        self._refused = False
        self._handlers: dict[int, tuple[str, Handler]] = {}
        self._numbers = count(1)
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._wake = trio.Event()
        self._next: _Confirmation | None = None  # what flushes of this pump turn wait for
        self._outstanding: set[_Confirmation] = set()
        self._closed = trio.Event()
        self._complaints: set[str] = set()  # logged since the bus was up last

    # -- what the cluster calls -----------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """See `Bus.connected`."""
        return self._connected

    @property
    def server(self) -> str:
        """See `Bus.server`."""
        return self._client.server_id if self._client else ""

    @property
    def max_payload(self) -> int:
        """See `Bus.max_payload`."""
        return self._client.max_payload if self._client else 1 << 20

    @property
    def has_room(self) -> bool:
        """See `Bus.has_room`."""
        return self._outbox_bytes <= self._settings.outbox_bytes

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Bus.publish`."""
        if not self._connected:
            raise BusAwayError("not connected to NATS")
        if self._outbox_bytes > self._settings.outbox_bytes + _HEADROOM:
            raise BusAwayError("NATS does not take messages as fast as they come")
        self._send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def subscribe(self, subject: str, handler: Handler) -> int:
        """See `Bus.subscribe`."""
        number = next(self._numbers)
        self._handlers[number] = (subject, handler)
        if self._attached:
            self._send(f"SUB {subject} {number}\r\n".encode())
        return number

    def unsubscribe(self, number: int) -> None:
        """See `Bus.unsubscribe`."""
        if self._handlers.pop(number, None) is not None and self._attached:
            self._send(f"UNSUB {number}\r\n".encode())

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """See `Bus.when_flushed`."""
        if not self._connected:
            done(False)
            return
        if self._next is None:
            self._next = _Confirmation()
            self._wake.set()
        self._next.waiters.append(done)

    async def run(self, watcher: Watcher, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Bus.run`."""
        async with trio_asyncio.open_loop(), trio.open_nursery() as nursery:
            nursery.start_soon(self._pump)
            started = trio.Event()
            nursery.start_soon(self._stay_connected, watcher, started)
            await started.wait()
            task_status.started()

    # -- the pump -------------------------------------------------------------------------------------------------

    def _send(self, command: bytes) -> None:
        self._outbox.append(command)
        self._outbox_bytes += len(command)
        self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._attached and self._client is not None:
                self._write(self._client)
            while self._attached and self._client is not None and self._client.unsent() > 1 << 20:  # noqa: ASYNC110
                await trio.sleep(0.001)  # asyncio's buffer is NATS' backlog: let the outbox collect, which is bounded
            await trio.lowlevel.checkpoint()

    def _write(self, client: SlimClient) -> None:
        commands, self._outbox, self._outbox_bytes = self._outbox, [], 0
        confirmation, self._next = self._next, None
        if confirmation is not None:
            self._outstanding = {c for c in self._outstanding if c.waiters}
            self._outstanding.add(confirmation)
        client.write(b"".join(commands), confirmation)

    # -- the connection -------------------------------------------------------------------------------------------

    async def _stay_connected(self, watcher: Watcher, started: trio.Event) -> None:
        """nats-py reconnects by itself; when it gives up (authorisation, slow consumer), begin anew."""
        while True:
            self._closed = trio.Event()
            self._client = client = SlimClient(self._on_message)
            try:
                await trio_asyncio.aio_as_trio(client.attach)(self._options(watcher, started.set))
                self._join(watcher, started.set)
                await self._closed.wait()
            except (OSError, ValueError, NatsError) as error:
                self._complain(error)
            finally:
                self._down(watcher)
                await self._let_go(client)
            await trio.sleep(_REFUSED_WAIT if self._refused else self._settings.reconnect_wait)

    async def _let_go(self, client: SlimClient) -> None:
        """Close a client for good. What it had still to say is lost if the server has gone, which must not end the node."""
        with trio.move_on_after(1) as scope:
            scope.shield = True
            try:
                await trio_asyncio.aio_as_trio(client.close)()
            except (OSError, NatsError) as error:
                self._complain(error)

    def _options(self, watcher: Watcher, joined: Callable[[], None]) -> dict[str, object]:
        async def on_error(error: Exception) -> None:
            self._complain(error)
            if _REFUSED in str(error):
                self._refused = True
                self._closed.set()

        async def on_disconnected() -> None:
            self._down(watcher)

        async def on_reconnected() -> None:
            self._join(watcher, joined)

        async def on_closed() -> None:
            self._closed.set()

        settings = self._settings
        options: dict[str, object] = {
            "servers": list(settings.servers),
            "name": settings.name,
            "error_cb": on_error,
            "disconnected_cb": on_disconnected,
            "reconnected_cb": on_reconnected,
            "closed_cb": on_closed,
            "no_echo": True,
            "connect_timeout": settings.connect_timeout,
            "max_reconnect_attempts": -1,
            # nodes that lost the same server at once do not come back to the next one at once
            "reconnect_time_wait": settings.reconnect_wait * random.uniform(0.8, 1.2),
            "ping_interval": settings.ping_interval,
        }
        choices = {
            "user": settings.user,
            "password": settings.password,
            "token": settings.token,
            "user_credentials": settings.credentials,
            "nkeys_seed": settings.nkey,
            "tls": settings.tls,
            "tls_hostname": settings.tls_hostname,
        }
        return options | {name: value for name, value in choices.items() if value is not None}

    def _join(self, watcher: Watcher, joined: Callable[[], None]) -> None:
        """Take all interests, and say something that nobody hears: the bus is up once the server has accepted both.

        A server that refuses one says so before the PONG. Without this, a node that may not hear others would think
        that it is alone, and be ready.
        """
        assert self._client is not None  # noqa: S101 - set before it can connect
        commands = [f"SUB {subject} {number}\r\n" for number, (subject, _) in self._handlers.items()]
        subjects = (subject for subject, _ in self._handlers.values() if "*" not in subject)
        commands += [f"PUB {subject} 0\r\n\r\n" for subject in islice(subjects, 1)]
        self._refused = False
        self._attached = True
        accepted = _Confirmation()
        accepted.waiters.append(lambda confirmed: self._up(watcher, joined) if confirmed and not self._refused else None)
        self._outstanding.add(accepted)
        self._client.write("".join(commands).encode(), accepted)

    def _up(self, watcher: Watcher, joined: Callable[[], None]) -> None:
        assert self._client is not None  # noqa: S101 - it has just answered
        self._connected = True
        self._complaints.clear()
        log.info("connected to NATS", server=self._client.server_id)
        watcher.bus_up()
        joined()

    def _down(self, watcher: Watcher) -> None:
        """What waits to be sent is dropped, and whoever waits for it is told."""
        was_connected, self._connected, self._attached = self._connected, False, False
        waiting, self._outstanding = self._outstanding, set()
        if self._next is not None:
            waiting.add(self._next)
        self._next, self._outbox, self._outbox_bytes = None, [], 0
        for confirmation in waiting:
            confirmation.set_result(False)
        if was_connected:
            log.warning("lost NATS")
            watcher.bus_down()

    def _complain(self, error: Exception) -> None:
        """One line per kind of trouble, not one per attempt, and a bound to the kinds."""
        text = f"{type(error).__name__}: {error}"
        if text not in self._complaints and len(self._complaints) < _COMPLAINTS:
            self._complaints.add(text)
            log.warning("NATS", error=text)

    # -- what arrives ---------------------------------------------------------------------------------------------

    def _on_message(self, sid: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None) -> None:
        entry = self._handlers.get(sid)
        if entry is None:
            return  # unsubscribed while it was on its way
        nobody = headers is not None and headers.startswith(NO_RESPONDERS)
        try:
            entry[1](subject.decode(), None if nobody else payload, reply.decode())
        except Exception:  # a handler's bug must not end the reader, and with it the node's hearing
            log.exception("a message from the bus was not handled", subject=subject.decode(errors="replace"))
