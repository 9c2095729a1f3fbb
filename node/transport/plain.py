"""Plain TCP on Linux, without a task per connection: accepting, and what its connections share.

A connection begins as a `PlainHttp`; one that asks for a WebSocket becomes a `PlainWebSocket` on the same poller. Every
socket belongs to exactly one of the two, and is closed by it.

Rules for whoever edits this file: what differs from listener.py is a bug, but for the speed.
"""

import errno
import select
import socket
from collections.abc import Mapping
from typing import Any, Final

import structlog
import trio

from node.limits import Limit, Measure
from node.metrics import Metrics
from node.oversteps import Oversteps
from node.transport.http import ask_safely
from node.transport.message import UpgradeRequest
from node.transport.plain_http import PlainHttp
from node.transport.plain_websocket import PlainWebSocket
from node.transport.poller import Poller
from node.transport.seam import Acceptor, ApiHandler, ApiHandlerNowait, ApiRequest, Respond, Upgrade
from node.transport.settings import TransportSettings
from node.transport.streams import BACK_OFF, EXHAUSTED, as_forwarded, describe_address, tune_socket

_log = structlog.get_logger(__name__)

_ACCEPTS: Final = 64  # connections accepted at once, before anything else runs
_DEADLINE_INTERVAL: Final = 0.25  # seconds between two looks at the deadlines of HTTP
_PASSING: Final = {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPERM, errno.EPROTO}


class PlainListener(trio.abc.Listener[trio.SocketStream]):
    """A TCP listener whose connections are served by a `PlainServer`. `aclose` stops the accepting."""

    def __init__(self, listener: trio.SocketListener) -> None:
        """Takes the listener over."""
        self.sock = socket.socket(fileno=listener.socket.detach())
        self.sock.setblocking(False)
        self._kind = int(self.sock.family), int(self.sock.type), self.sock.proto
        self.closed = trio.Event()

    def fileno(self) -> int:
        """For the poller."""
        return self.sock.fileno()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.sock.getsockname()[1]
        return port

    def accept_nowait(self) -> tuple[socket.socket, Any]:
        """The next connection and its address; raises `BlockingIOError` if there is none, and OSError.

        `socket.accept` asks the listener for its family and type each time, and makes enums of them: 4 µs.
        """
        fd, address = self.sock._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what `socket.accept` calls
        return socket.socket(*self._kind, fileno=fd), address

    async def accept(self) -> trio.SocketStream:
        """Not how these connections come; see `PlainServer`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Accept no more."""
        self.closed.set()
        await trio.lowlevel.checkpoint()

    def close_socket(self) -> None:
        """Close it for good; the poller has let go of it."""
        self.sock.close()


class PlainServer:
    """The connections of all plain listeners of a node."""

    def __init__(  # noqa: PLR0913, PLR0917 - the seam's two sides, and what both need
        self,
        acceptor: Acceptor,
        api: ApiHandler,
        api_nowait: ApiHandlerNowait | None,
        settings: TransportSettings,
        metrics: Metrics,
        nursery: trio.Nursery,
    ) -> None:
        """API requests that need a task get one in `nursery`."""
        self._acceptor = acceptor
        self._api = api
        self._api_nowait = api_nowait
        self._metrics = metrics
        self._nursery = nursery
        self._websockets: set[PlainWebSocket] = set()
        self._conversations: dict[PlainHttp, None] = {}
        self._waiting: dict[PlainHttp, None] = {}  # those that have not sent a whole request yet, the oldest first
        self._oversteps = Oversteps(metrics)
        self._stopping = trio.Event()
        self._emptied = trio.Event()
        self.settings = settings
        self.poller = Poller(metrics)

    async def accept_all(self, listener: PlainListener) -> None:
        """Accept until the listener is closed."""
        accepting = _Accepting(self, listener)
        tune_socket(listener.sock, self.settings.user_timeout)  # what it accepts inherits the options
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
                nursery.start_soon(self._watch_deadlines)
                await self._stopping.wait()
                for conversation in list(self._conversations):
                    conversation.end_if_idle()
                while self._websockets or self._conversations:
                    self._emptied = trio.Event()
                    await self._emptied.wait()
                nursery.cancel_scope.cancel()
        finally:
            for conversation in list(self._conversations):
                conversation.drop()
            for websocket in list(self._websockets):
                websocket.drop()
            self.poller.close()

    def stop_when_empty(self) -> None:
        """Nothing more is accepted: end with the last connection."""
        self._stopping.set()

    async def _watch_deadlines(self) -> None:
        """One task for all HTTP: backends are few, and others become WebSockets at once."""
        while True:
            await trio.sleep(_DEADLINE_INTERVAL)
            now = trio.current_time()
            for conversation in list(self._conversations):
                if conversation.deadline <= now:
                    conversation.expire()

    def welcome(self, sock: socket.socket, address: Any) -> None:
        """A connection was accepted."""
        if len(self._waiting) >= self.settings.max_waiting:
            next(iter(self._waiting)).drop()
            self._oversteps.note(Limit.WAITING, Measure.CLOSED)
        sock.setblocking(False)
        conversation = PlainHttp(self, sock, address)
        self._waiting[conversation] = None
        self._conversations[conversation] = None
        self.poller.add(sock.fileno(), conversation)

    # -- for conversations (plain_http.Server) --------------------------------------------------------------------

    @property
    def ending(self) -> bool:
        """See `plain_http.Server`."""
        return self._stopping.is_set()

    def describe(self, address: Any, headers: Mapping[str, str]) -> str:
        """See `plain_http.Server`."""
        return self._client_of(address, headers)[0]

    def _client_of(self, address: Any, headers: Mapping[str, str]) -> tuple[str, bool]:
        """Who asks, and whether over TLS."""
        return as_forwarded(describe_address(address), headers, secure=False, trust=self.settings.trust_forwarded)

    def ask(self, request: ApiRequest, respond: Respond) -> None:
        """See `plain_http.Server`."""
        if self._api_nowait is None or not self._api_nowait(request, respond):
            self._nursery.start_soon(self._ask, request, respond)

    async def _ask(self, request: ApiRequest, respond: Respond) -> None:
        with trio.move_on_after(self.settings.answer_timeout):
            respond(await ask_safely(self._api, request, self._metrics))

    def open_websocket(self, sock: socket.socket, address: Any, request: UpgradeRequest) -> None:
        """See `plain_http.Server`."""
        remote, secure = self._client_of(address, request.headers)
        websocket = PlainWebSocket(sock, self.poller, self.settings, self._metrics, self)
        self._websockets.add(websocket)
        self.poller.hand_over(sock.fileno(), websocket)
        upgrade = Upgrade(request.path, request.query, request.headers.get("origin"), remote, secure)
        websocket.open(request, upgrade, self._acceptor)

    def begun(self, conversation: PlainHttp) -> None:
        """See `plain_http.Server`."""
        self._waiting.pop(conversation, None)

    def ended(self, conversation: PlainHttp) -> None:
        """See `plain_http.Server`."""
        self._conversations.pop(conversation, None)
        self._waiting.pop(conversation, None)
        self._look_around()

    def websocket_ended(self, websocket: PlainWebSocket) -> None:
        """See `plain_websocket.Owner`."""
        self._websockets.discard(websocket)
        self._look_around()

    def _look_around(self) -> None:
        if not self._websockets and not self._conversations:
            self._emptied.set()


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
            if error.errno in EXHAUSTED:
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
        poller.call_at(trio.current_time() + BACK_OFF, self._resume)

    def _resume(self) -> None:
        if not self._listener.closed.is_set():
            self._server.poller.change(self._listener.fileno(), select.EPOLLIN)
