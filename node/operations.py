"""Operations: `/metrics`, `/livez`, `/readyz` and `POST /drain` on a port of their own, and the measuring of loop lag.

Rules for whoever edits this file: `/livez` asks nothing of anybody, since answering at all is the proof; a node that
is not ready says why, in words for a person; nothing here is for clients, and nothing here may harm them, so requests
are few, small and bounded. What changes something is asked with POST, from where `drain.remote` allows, and never by a
web page (those say their Origin).
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from node.metrics import CONTENT_TYPE
from node.transport.http import HttpConversation, KeepAlive
from node.transport.seam import ApiRequest, ApiResponse
from node.transport.settings import TransportSettings
from node.transport.streams import drop, hang_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.metrics import Metrics

_CONVERSATIONS: Final = 100
"""Connections at once: some scrapers and probes with kept-alive ones, and room to spare."""

_LAG_INTERVAL: Final = 0.1


class Readiness:
    """Whether the node should be sent clients, and why not. Sets the gauges of what it is told."""

    def __init__(self, metrics: Metrics, *, bus_grace: float) -> None:
        """`bus_grace` is how many seconds the bus may be away."""
        self._metrics = metrics
        self._bus_grace = bus_grace
        self._listening = False
        self._draining = False
        self._bus_away_since = float("-inf")
        self._bus_connected = False

    def set_listening(self, listening: bool) -> None:
        """Say whether clients can connect."""
        self._listening = listening

    def set_draining(self) -> None:
        """Say that the node is leaving. There is no way back."""
        self._draining = True
        self._metrics.draining.set(1)

    def set_bus(self, connected: bool, now: float) -> None:
        """Say whether the bus can be reached; until the first time, it cannot."""
        if self._bus_connected and not connected:
            self._bus_away_since = now
        self._bus_connected = connected
        self._metrics.bus_connected.set(connected)

    def reasons(self, now: float) -> list[str]:
        """Return what speaks against sending clients here; nothing does if it is empty."""
        reasons = []
        if self._draining:
            reasons.append("the node is draining")
        if not self._listening:
            reasons.append("the node does not listen yet")
        if not self._bus_connected and now - self._bus_away_since > self._bus_grace:
            reasons.append("the bus cannot be reached")
        return reasons


class Operations:
    """The server of the operations port."""

    def __init__(self, metrics: Metrics, readiness: Readiness, drain: Callable[[], None], *, remote: bool = False) -> None:
        """`drain` is what `POST /drain` calls; `remote`: whether other machines may ask for it."""
        self._metrics = metrics
        self._readiness = readiness
        self._drain = drain
        self._remote = remote
        self._keep_alive = KeepAlive()
        self._conversations = 0

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Answer requests until cancelled; closes the listeners."""
        await trio.serve_listeners(self._converse, list(listeners))

    async def answer(self, request: ApiRequest) -> ApiResponse:
        """Answer one request."""
        if request.path == "/drain":
            return self._answer_drain(request)
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"error": "Only GET is understood here."}, ("Allow", "GET, HEAD"))
        match request.path:
            case "/metrics":
                return ApiResponse(200, self._metrics.exposition(), (("Content-Type", CONTENT_TYPE),))
            case "/livez":
                return _json(200, {"alive": True})
            case "/readyz":
                reasons = self._readiness.reasons(trio.current_time())
                return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})
        return _json(404, {"error": "There are /metrics, /livez, /readyz and POST /drain here."})

    def _answer_drain(self, request: ApiRequest) -> ApiResponse:
        """Leave as after SIGTERM; asked again, nothing changes."""
        if request.method != "POST":
            return _json(405, {"error": "Draining is asked for with POST."}, ("Allow", "POST"))
        if "origin" in request.headers or not (self._remote or _is_loopback(request.remote)):
            return _json(403, {"error": "Draining is asked for from this machine, unless drain.remote is set."})
        self._drain()
        return _json(200, {"draining": True})

    async def _converse(self, stream: trio.SocketStream) -> None:
        if self._conversations >= _CONVERSATIONS:
            await drop(stream)
            return
        self._conversations += 1
        try:
            conversation = HttpConversation(stream, self.answer, self._keep_alive, TransportSettings(), self._metrics)
            if await conversation.answer_all(await conversation.receive()):
                await hang_up(stream, linger=False)  # somebody wants a WebSocket: not here
        finally:
            self._conversations -= 1


async def measure_loop_lag(metrics: Metrics) -> None:
    """Measure how late a task is woken, until cancelled: what every client waits for besides its own work."""
    while True:
        due = trio.current_time() + _LAG_INTERVAL
        await trio.sleep_until(due)
        metrics.loop_lag.observe(max(0.0, trio.current_time() - due))


def _is_loopback(remote: str) -> bool:
    """Whether an `address:port` is of this machine."""
    try:
        address = ip_address(remote.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _json(status: int, body: object, *headers: tuple[str, str]) -> ApiResponse:
    return ApiResponse(status, msgspec.json.encode(body) + b"\n", headers)
