"""Accepts connections and serves each: its HTTP first, and its WebSocket if it asks for one.

This, with http.py and websocket.py, is the transport for any Trio stream. plain.py is the fast one for plain TCP, over the
same seam and the same conformance suite; the kind of listener chooses.
"""

from collections.abc import Sequence
from typing import Any

import structlog
import trio

from node.limits import Limit, Measure
from node.metrics import Metrics
from node.oversteps import Oversteps
from node.transport.http import HttpConversation, KeepAlive
from node.transport.message import Request, UpgradeRequest
from node.transport.plain import PlainListener, PlainServer
from node.transport.seam import Acceptor, ApiHandler, ApiHandlerNowait, Upgrade
from node.transport.settings import TransportSettings
from node.transport.streams import BACK_OFF, EXHAUSTED, client_of, drop, tune
from node.transport.websocket import WebSocketTransport

_log = structlog.get_logger(__name__)


async def serve(  # noqa: PLR0913, PLR0917 - the seam's two sides, and what both need
    listeners: Sequence[trio.abc.Listener[Any]],
    acceptor: Acceptor,
    api: ApiHandler,
    settings: TransportSettings,
    metrics: Metrics,
    api_nowait: ApiHandlerNowait | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve every connection that comes to the listeners.

    To stop politely, close the listeners: what was accepted goes on, idle HTTP connections end, and this returns when
    the last connection has ended. Cancelled, it drops them all, within about a second. Closes the listeners.
    Raises OSError (in a group) if a listener fails for another reason than a lack of file descriptors or memory.
    """
    server = _Server(acceptor, api, settings, metrics)
    try:
        async with trio.open_nursery() as polling, trio.open_nursery() as connections:
            plain = PlainServer(acceptor, api, api_nowait, settings, metrics, polling)
            if any(isinstance(listener, PlainListener) for listener in listeners):
                polling.start_soon(plain.run)
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    if isinstance(listener, PlainListener):
                        accepting.start_soon(plain.accept_all, listener)
                    else:
                        accepting.start_soon(server.accept_all, listener, connections)
                task_status.started()
            server.keep_alive.end()
            plain.stop_when_empty()
    finally:
        with trio.CancelScope(shield=True):
            for listener in listeners:
                await trio.aclose_forcefully(listener)


class _Server:
    """What the connections of one `serve` share."""

    def __init__(self, acceptor: Acceptor, api: ApiHandler, settings: TransportSettings, metrics: Metrics) -> None:
        self._acceptor = acceptor
        self._api = api
        self._settings = settings
        self._metrics = metrics
        self._waiting: dict[trio.CancelScope, None] = {}  # those that have not sent a whole request yet, the oldest first
        self._oversteps = Oversteps(metrics)
        self.keep_alive = KeepAlive()

    async def accept_all(self, listener: trio.abc.Listener[Any], connections: trio.Nursery) -> None:
        """Accept until the listener is closed. Out of descriptors, wait for connections to end."""
        exhausted = False
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if not exhausted:
                    _log.warning("cannot accept connections for now", reason=error.strerror)
                exhausted = True
                await trio.sleep(BACK_OFF)
            else:
                exhausted = False
                connections.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end. What goes wrong in it stays in it."""
        try:
            tune(stream, self._settings.user_timeout)
            await self._converse(stream)
        except Exception:  # noqa: BLE001 - the connection ends here, the server goes on
            _log.exception("a connection failed")
            self._metrics.errors.labels("connection").inc()
        finally:
            await drop(stream)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        conversation = HttpConversation(stream, self._api, self.keep_alive, self._settings, self._metrics)
        upgrade = await conversation.answer_all(await self._receive_first(conversation))
        if upgrade is not None:
            transport = WebSocketTransport(stream, self._settings, self._metrics)
            await transport.run(upgrade, self._describe(upgrade, stream), self._acceptor)

    async def _receive_first(self, conversation: HttpConversation) -> Request | UpgradeRequest | None:
        """The first request; None if there is none, or too many others came while it was waited for."""
        if len(self._waiting) >= self._settings.max_waiting:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()
            self._oversteps.note(Limit.WAITING, Measure.CLOSED)
        with trio.CancelScope() as scope:
            self._waiting[scope] = None
            try:
                return await conversation.receive()
            finally:
                self._waiting.pop(scope, None)
        return None

    def _describe(self, request: UpgradeRequest, stream: trio.abc.Stream) -> Upgrade:
        headers = request.headers
        remote, secure = client_of(stream, headers, trust=self._settings.trust_forwarded)
        return Upgrade(request.path, request.query, headers.get("origin"), remote, secure)
