"""A user of an app for tests: connects, signs in, and writes down everything that it is told, and when.

Lean on purpose: one task and one socket each, so that a test can hold thousands in one process. It speaks the protocol as
pusher-js does, also in when it comes back after a close. It shares no code with the node.
"""

import hashlib
import hmac
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import trio

from tests import wire

PATIENCE = 15.0
_READ = 65536
_NO_MASK = bytes(4)  # a mask that changes nothing costs nothing; whether the node unmasks is another test's question
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an app is known by."""

    app_id: str
    key: str
    secret: str

    def sign(self, text: str) -> str:
        """The signature of a text, in hex."""
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """One message from the server. `at` is Trio's clock; `data` is decoded, whichever way it travelled."""

    at: float
    event: str
    data: Any
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a watchlist event said about one user."""

    at: float
    user: str
    online: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection ended with this close code; None: without a close frame."""

    at: float
    code: int | None


class Refused(Exception):  # noqa: N818 - what happened, in the protocol's word
    """The sign-in was answered with an error, or the connection ended instead."""


class Client:
    """One user's connection, and those that follow it if `comes_back`; `connect` makes one and runs it."""

    def __init__(
        self,
        app: Credentials,
        ports: Sequence[int],
        *,
        comes_back: bool = False,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """With several ports, each connection goes to the next one, as behind a load balancer."""
        self.told: list[Told] = []
        self.ended: list[Ended] = []
        self.socket_id = ""  # empty while there is no connection
        self.signed_in = False
        self.sign_ins = 0  # how often it succeeded
        self._app = app
        self._ports = cycle(ports)
        self._comes_back = comes_back
        self._tls = tls
        self._host = host
        self._user_data = ""  # of the last sign-in: what every later connection repeats
        self._stream: trio.abc.Stream | None = None
        self._sending = trio.Lock()
        self._news = trio.lowlevel.ParkingLot()
        self._gone = False

    # -- what it was told -----------------------------------------------------------------------------------------

    @property
    def changes(self) -> Iterator[Change]:
        """Everything said about watched users, in order."""
        for told in self.told:
            if told.event == "pusher_internal:watchlist_events":
                for event in told.data["events"]:
                    for user in event["user_ids"]:
                        yield Change(told.at, user, event["name"] == "online")

    def changes_of(self, user: str) -> list[bool]:
        """What was said about one user: True is online."""
        return [change.online for change in self.changes if change.user == user]

    @property
    def view(self) -> dict[str, bool]:
        """What this watcher believes about each watched user now."""
        return {change.user: change.online for change in self.changes}

    @property
    def events(self) -> list[Told]:
        """The server-to-user events."""
        return [told for told in self.told if (told.channel or "").startswith("#server-to-user-")]

    @property
    def errors(self) -> list[Told]:
        """The `pusher:error`s."""
        return [told for told in self.told if told.event == "pusher:error"]

    async def until(self, is_so: Callable[[], object], patience: float = PATIENCE) -> None:
        """Return when it is so, looking after every message and every end; AssertionError after `patience` seconds."""
        with trio.move_on_after(patience):
            while not is_so():
                await self._news.park()
            return
        raise AssertionError(f"not so after {patience} s; told last: {self.told[-5:]}; ended: {self.ended}")

    # -- what it does ---------------------------------------------------------------------------------------------

    async def send_sign_in(self, user: str, watchlist: Sequence[str] = (), **more: object) -> None:
        """Ask to be this user, now and on every connection that follows. `more` goes into user_data."""
        watching = {"watchlist": watchlist} if watchlist else {}
        self._user_data = json.dumps({"id": user, **watching, **more}, ensure_ascii=False)
        await self._send_sign_in()

    async def sign_in(self, user: str, watchlist: Sequence[str] = (), **more: object) -> "Client":
        """Be this user, and with a watchlist know who of it is online; raises `Refused`."""
        before, refusals, ends = len(self.told), len(self.errors), len(self.ended)
        await self.send_sign_in(user, watchlist, **more)
        answer = "pusher_internal:watchlist_events" if watchlist else "pusher:signin_success"
        await self.until(
            lambda: (
                any(told.event == answer for told in self.told[before:])
                or len(self.errors) > refusals
                or len(self.ended) > ends
            )
        )
        if not any(told.event == "pusher:signin_success" for told in self.told[before:]):
            raise Refused(self.errors[refusals:], self.ended[ends:])
        return self

    async def send(self, event: str, data: object, channel: str | None = None) -> None:
        """Send one message, with a channel if it is a client event; it is lost if the connection is."""
        place = {} if channel is None else {"channel": channel}
        await self._send(wire.TEXT, json.dumps({"event": event, "data": data, **place}, ensure_ascii=False).encode())

    async def close(self) -> None:
        """Leave for good, as a browser does, and wait until the server has said goodbye too."""
        self._comes_back = False
        await self._send(wire.CLOSE, (1000).to_bytes(2, "big"))
        await self.until(lambda: self._gone)

    async def drop(self) -> None:
        """Leave for good without a word."""
        self._comes_back = False
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
        await self.until(lambda: self._gone)

    async def _send_sign_in(self) -> None:
        signature = self._app.sign(f"{self.socket_id}::user::{self._user_data}")
        await self.send("pusher:signin", {"auth": f"{self._app.key}:{signature}", "user_data": self._user_data})

    async def _send(self, opcode: int, payload: bytes) -> None:
        frame = wire.masked(opcode, payload, mask=_NO_MASK)
        async with self._sending:
            try:
                if self._stream is not None:
                    await self._stream.send_all(frame)
            except _BROKEN:
                pass  # the reader finds out, and what follows is written down there

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until the last connection has ended."""
        try:
            wait: float | None = 0.0
            while wait is not None:
                await trio.sleep(wait)
                code = await self._live()
                wait = self.wait_before_retry(code) if self._comes_back else None
        finally:
            self._gone = True
            self._news.unpark_all()

    def wait_before_retry(self, code: int | None) -> float | None:
        """How long pusher-js waits before it connects again; None: it does not (protocol.md 1.4)."""
        if code is None or code < 4000 or 4100 <= code < 4200:
            return 1.0
        return 0.0 if 4200 <= code < 4300 else None

    async def _live(self) -> int | None:
        """One connection, from its first byte to its last; its close code."""
        code = None
        try:
            self._stream = stream = await self._open(next(self._ports))
            code = await self._receive_all(stream)
        except _BROKEN:
            pass
        finally:
            if self._stream is not None:
                await trio.aclose_forcefully(self._stream)
            self._stream, self.socket_id, self.signed_in = None, "", False
        self.ended.append(Ended(trio.current_time(), code))
        self._news.unpark_all()
        return code

    async def _open(self, port: int) -> trio.abc.Stream:
        tcp = await trio.open_tcp_stream(self._host, port)
        stream = trio.SSLStream(tcp, self._tls, server_hostname=self._host) if self._tls else tcp
        await stream.send_all(wire.upgrade_head(f"/app/{self._app.key}?protocol=7&client=test"))
        return stream

    async def _receive_all(self, stream: trio.abc.Stream) -> int | None:
        """Hear everything until the server closes; the close code."""
        buffer = bytearray()
        while b"\r\n\r\n" not in buffer:
            buffer += await _read(stream)
        assert buffer.startswith(b"HTTP/1.1 101 "), buffer
        del buffer[: buffer.index(b"\r\n\r\n") + 4]
        while True:
            for opcode, payload in _take_frames(buffer):
                match opcode:
                    case wire.TEXT:
                        await self._hear(json.loads(payload))
                    case wire.PING:
                        await self._send(wire.PONG, payload)
                    case wire.CLOSE:
                        await self._send(wire.CLOSE, payload)
                        return int.from_bytes(payload[:2], "big") if payload else None
            buffer += await _read(stream)

    async def _hear(self, message: dict[str, Any]) -> None:
        data = message.get("data")
        told = Told(trio.current_time(), message["event"], _decoded(data), message.get("channel"))
        self.told.append(told)
        match told.event:
            case "pusher:connection_established":
                self.socket_id = told.data["socket_id"]
                if self._user_data:
                    await self._send_sign_in()
            case "pusher:signin_success":
                self.signed_in = True
                self.sign_ins += 1
            case "pusher:ping":
                await self.send("pusher:pong", {})
        self._news.unpark_all()


async def connect(
    nursery: trio.Nursery, app: Credentials, *ports: int, comes_back: bool = False, tls: ssl.SSLContext | None = None
) -> Client:
    """A client whose connection is established, or refused (see `ended`)."""
    client = Client(app, ports, comes_back=comes_back, tls=tls)
    nursery.start_soon(client.run)
    await client.until(lambda: client.socket_id or client.ended)
    return client


async def all_until(clients: Iterable[Client], is_so: Callable[[Client], object]) -> None:
    """Return when it is so for each of the clients."""
    for client in clients:
        await client.until(partial(is_so, client))


async def _read(stream: trio.abc.Stream) -> bytes:
    data = await stream.receive_some(_READ)
    if not data:
        raise trio.BrokenResourceError("the server ended the stream without a close frame")
    return bytes(data)


def _take_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete frames off the buffer's front. A server's frames are whole messages, and not masked."""
    while len(buffer) >= 2:
        head, length = 2, buffer[1]
        if length >= 126:
            head = 4 if length == 126 else 10
            if len(buffer) < head:
                return
            length = int.from_bytes(buffer[2:head], "big")
        if len(buffer) < head + length:
            return
        assert buffer[0] & 0xF0 == 0x80, "a fragment or an extension"
        frame = buffer[0] & 0x0F, bytes(buffer[head : head + length])
        del buffer[: head + length]
        yield frame


def _decoded(data: object) -> Any:
    """Data as the sender meant it: most of it travels as JSON in a string."""
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data
