"""Plain TCP on Linux, without a task per connection: accepting, reading heads, and handing on.

A connection begins as a `_Newcomer`, which reads its first request. A WebSocket becomes a `PlainWebSocket` on the same
poller; anything else is a backend's HTTP, rare and long-lived, and goes on as an `HttpConversation` in a task of its own.

Rules for whoever edits this file: every socket here belongs to exactly one of the two, and is closed by it; what differs
from listener.py is a bug, but for the speed.
"""

import errno
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
import trio

from node.metrics import Metrics
from node.transport.head import RequestReader
from node.transport.http import CONTINUE, HttpConversation, KeepAlive, slow_request
from node.transport.message import BadRequestError, Request, UpgradeRequest
from node.transport.plain_websocket import PlainWebSocket
from node.transport.poller import Poller
from node.transport.seam import Acceptor, ApiHandler, Upgrade
from node.transport.settings import TransportSettings
from node.transport.streams import as_forwarded, describe_address, drop

_log = structlog.get_logger(__name__)

_ACCEPTS: Final = 64  # connections accepted at once, before anything else runs
_BACK_OFF: Final = 0.1  # seconds without accepting when out of file descriptors
_READ: Final = 16 * 1024
_EXPIRE_INTERVAL: Final = 0.25  # seconds between two looks for newcomers whose time is over
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PASSING: Final = {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPERM, errno.EPROTO}


class PlainListener(trio.abc.Listener[trio.SocketStream]):
    """A TCP listener whose connections are served by a `PlainServer`. `aclose` stops the accepting."""

    def __init__(self, listener: trio.SocketListener) -> None:
        """Takes the listener over."""
        self._sock = socket.socket(fileno=listener.socket.detach())
        self._sock.setblocking(False)
        self.closed = trio.Event()

    def fileno(self) -> int:
        """For the poller."""
        return self._sock.fileno()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._sock.getsockname()[1]
        return port

    def accept_nowait(self) -> tuple[socket.socket, Any]:
        """The next connection and its address; raises `BlockingIOError` if there is none, and OSError."""
        return self._sock.accept()

    async def accept(self) -> trio.SocketStream:
        """Not how these connections come; see `PlainServer`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Accept no more."""
        self.closed.set()
        await trio.lowlevel.checkpoint()

    def close_socket(self) -> None:
        """Close it for good; the poller has let go of it."""
        self._sock.close()


class PlainServer:
    """The connections of all plain listeners of a node."""

    def __init__(  # noqa: PLR0913, PLR0917 - the seam's two sides, and what both need
        self,
        acceptor: Acceptor,
        api: ApiHandler,
        keep_alive: KeepAlive,
        settings: TransportSettings,
        metrics: Metrics,
        nursery: trio.Nursery,
    ) -> None:
        """HTTP conversations run in `nursery`."""
        self._acceptor = acceptor
        self._api = api
        self._keep_alive = keep_alive
        self._settings = settings
        self._metrics = metrics
        self._nursery = nursery
        self._websockets: set[PlainWebSocket] = set()
        self._newcomers: dict[_Newcomer, float] = {}  # and when each one's time is over, in that order
        self._stopping = trio.Event()
        self._emptied = trio.Event()
        self.poller = Poller(metrics)
        self.request_timeout = settings.request_timeout

    async def accept_all(self, listener: PlainListener) -> None:
        """Accept until the listener is closed."""
        accepting = _Accepting(self, listener)
        self.poller.add(listener.fileno(), accepting, select.EPOLLIN)
        try:
            await listener.closed.wait()
        finally:
            self.poller.remove(listener.fileno())
            listener.close_socket()

    async def run(self) -> None:
        """Serve what is accepted, until `stop_when_empty` comes true; cancelled, drop it all."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.poller.run)
                nursery.start_soon(self._expire_newcomers)
                await self._stopping.wait()
                for newcomer in list(self._newcomers):
                    newcomer.stop()
                while self._websockets or self._newcomers:
                    self._emptied = trio.Event()
                    await self._emptied.wait()
                nursery.cancel_scope.cancel()
        finally:
            for newcomer in list(self._newcomers):
                newcomer.drop()
            for websocket in list(self._websockets):
                websocket.drop()
            self.poller.close()

    async def _expire_newcomers(self) -> None:
        """One task for all of them: nothing of a newcomer is kept once it is something else."""
        while True:
            await trio.sleep(_EXPIRE_INTERVAL)
            now = trio.current_time()
            while self._newcomers and (first := next(iter(self._newcomers.items())))[1] <= now:
                first[0].expire()

    def stop_when_empty(self) -> None:
        """Nothing more is accepted: end with the last connection."""
        self._stopping.set()

    # -- for newcomers --------------------------------------------------------------------------------------------

    def welcome(self, sock: socket.socket, address: Any) -> None:
        """A connection was accepted."""
        if len(self._newcomers) >= self._settings.max_waiting:
            sock.close()
            return
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._settings.user_timeout * 1000))
        newcomer = _Newcomer(self, sock, address, RequestReader(self._settings.http))
        self._newcomers[newcomer] = trio.current_time() + self._settings.request_timeout
        self.poller.add(sock.fileno(), newcomer)

    def forget(self, newcomer: "_Newcomer") -> None:
        """It is something else now, or gone. Its socket is not closed by this."""
        self._newcomers.pop(newcomer, None)
        self.poller.remove(newcomer.sock.fileno())
        if not self._newcomers:
            self._emptied.set()

    def open_websocket(self, sock: socket.socket, remote: str, request: UpgradeRequest) -> None:
        """The connection becomes a WebSocket."""
        headers = request.headers
        websocket = PlainWebSocket(sock, self.poller, self._settings, self._metrics, self._websocket_ended)
        self._websockets.add(websocket)
        self.poller.add(sock.fileno(), websocket)
        secure = False
        if self._settings.trust_forwarded:
            remote, secure = as_forwarded(remote, headers, secure=secure)
        upgrade = Upgrade(request.path, request.query, headers.get("origin"), remote, secure)
        websocket.open(request, upgrade, self._acceptor)

    def converse(self, sock: socket.socket, reader: RequestReader, first: Request | BadRequestError) -> None:
        """The connection goes on with HTTP in a task. `first`: its first request, or what is wrong with it."""
        self._nursery.start_soon(self._converse, sock, reader, first)

    def _websocket_ended(self, websocket: PlainWebSocket) -> None:
        self._websockets.discard(websocket)
        if not self._websockets:
            self._emptied.set()

    async def _converse(self, sock: socket.socket, reader: RequestReader, first: Request | BadRequestError) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        conversation = HttpConversation(stream, self._api, self._keep_alive, self._settings, self._metrics, reader)
        try:
            if isinstance(first, BadRequestError):
                await conversation.refuse(first)
                return
            upgrade = await conversation.answer_all(first)
            if upgrade is not None:
                remote = describe_address(stream.socket.getpeername())
                self.open_websocket(socket.socket(fileno=stream.socket.detach()), remote, upgrade)
        except Exception:  # noqa: BLE001 - the connection ends here, the server goes on
            _log.exception("a connection failed")
            self._metrics.errors.labels("connection").inc()
        finally:
            await drop(stream)


class _Accepting:
    """Accepts for one listener, many at a time; without file descriptors it pauses."""

    def __init__(self, server: PlainServer, listener: PlainListener) -> None:
        self._server = server
        self._listener = listener
        self._exhausted = False

    def ready(self, _events: int) -> None:
        try:
            for _ in range(_ACCEPTS):
                self._server.welcome(*self._listener.accept_nowait())
            self._exhausted = False
        except BlockingIOError:
            self._exhausted = False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(error)
            elif error.errno not in _PASSING:
                raise

    def fail(self) -> None:
        """One connection could not be accepted; the listener goes on."""

    def _pause(self, error: OSError) -> None:
        if not self._exhausted:
            _log.warning("cannot accept connections for now", reason=error.strerror)
        self._exhausted = True
        poller = self._server.poller
        poller.change(self._listener.fileno(), 0)
        poller.call_at(trio.current_time() + _BACK_OFF, self._resume)

    def _resume(self) -> None:
        if not self._listener.closed.is_set():
            self._server.poller.change(self._listener.fileno(), select.EPOLLIN)


class _Newcomer:
    """A connection that has not sent its first request yet."""

    __slots__ = ("_address", "_reader", "_server", "_settled", "sock")

    def __init__(self, server: PlainServer, sock: socket.socket, address: Any, reader: RequestReader) -> None:
        self._server = server
        self.sock = sock
        self._address = address
        self._reader = reader
        self._settled = False

    def ready(self, _events: int) -> None:
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        self._reader.feed(data)
        try:
            request = self._reader.next_request()
        except BadRequestError as error:
            self._hand_on(partial(self._server.converse, self.sock, self._reader, error))
            return
        match request:
            case UpgradeRequest():
                remote = describe_address(self._address)
                self._hand_on(partial(self._server.open_websocket, self.sock, remote, request))
            case Request():
                self._hand_on(partial(self._server.converse, self.sock, self._reader, request))
            case None if self._reader.take_continue():
                with suppress(OSError):
                    self.sock.send(CONTINUE)

    def fail(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close it without a word."""
        if not self._settled:
            self._hand_on(self.sock.close)

    def stop(self) -> None:
        """The node stops: it may end its request, if it has begun one."""
        if self._reader.idle:
            self.drop()

    def expire(self) -> None:
        """Its time is over: a conversation says so, if there is anything to answer to."""
        if self._settled:
            return
        if self._reader.idle:
            self.drop()
        else:
            error = slow_request(self._server.request_timeout)
            self._hand_on(partial(self._server.converse, self.sock, self._reader, error))

    def _hand_on(self, to: Callable[[], None]) -> None:
        self._settled = True
        self._server.forget(self)
        to()
