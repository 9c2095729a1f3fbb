"""HTTP over plain TCP without a task: what every connection begins with, and all that a backend's ever is.

One request is answered at a time; bytes of further ones wait in the reader, up to a bound. An upgrade hands the socket on.

    READING ──request──▶ ANSWERING ──answer──▶ READING, or PARTING if it was the last one
       └──bad request, or too slow──▶ PARTING ──all is out──▶ LINGERING ──the peer's end──▶ ENDED

In every state but ENDED there is a deadline. Rules for whoever edits this file: behaviour equals that of http.py, which
tests/conformance holds; `_watch` is the only one that tells the poller what to wait for.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from functools import partial
from typing import Any, Final, Protocol

import trio

from node.transport.head import RequestReader
from node.transport.http import CONTINUE, encode_response, error_response, slow_request, too_slow, upgrade_required
from node.transport.message import BadRequestError, Request, UpgradeRequest
from node.transport.poller import READ, WRITE, Poller
from node.transport.seam import ApiRequest, ApiResponse, Respond
from node.transport.settings import TransportSettings

_READ: Final = 16 * 1024
_AHEAD: Final = 64 * 1024  # bytes of further requests that are read while one is answered


class _State(IntEnum):
    """See the module's drawing."""

    READING = 0
    ANSWERING = 1
    PARTING = 2
    LINGERING = 3
    ENDED = 4


# Each look at `_State.READING` takes 0.16 µs, and a request needs six; a name of the module takes 0.01.
_READING, _ANSWERING, _PARTING, _LINGERING, _ENDED = _State


class Server(Protocol):
    """What the connection belongs to."""

    settings: TransportSettings
    poller: Poller

    @property
    def ending(self) -> bool:
        """Whether connections may no longer wait for another request."""

    def ask(self, request: ApiRequest, respond: Respond) -> None:
        """Have a request answered: `respond` is called once, now or later."""

    def describe(self, address: Any, headers: Mapping[str, str]) -> str:
        """Who asks."""

    def open_websocket(self, sock: socket.socket, address: Any, request: UpgradeRequest) -> None:
        """The connection becomes a WebSocket."""

    def begun(self, connection: "PlainHttp") -> None:
        """Its first whole request is there."""

    def ended(self, connection: "PlainHttp") -> None:
        """It is over, or not HTTP any more. The poller has let go of it."""


class PlainHttp:
    """One connection, from its first byte. `deadline` is on Trio's clock; the server calls `expire` when it has passed."""

    __slots__ = (
        "_address",
        "_ahead",
        "_proceeding",
        "_reader",
        "_request",
        "_rest",
        "_server",
        "_state",
        "_watched",
        "deadline",
        "has_begun",
        "sock",
    )

    def __init__(self, server: Server, sock: socket.socket, address: Any) -> None:
        """The poller watches the socket for READ already."""
        self._server = server
        self.sock = sock
        self._address = address
        self._reader = RequestReader(server.settings.http)
        self._state = _READING
        self._request: Request | None = None  # the one that is being answered
        self._rest = b""  # of an answer that the kernel took a part of
        self._ahead = 0  # bytes read while answering
        self._watched = READ
        self.has_begun = False
        self._proceeding = False
        self.deadline = trio.current_time() + server.settings.request_timeout

    # -- the poller's side ----------------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """See `poller.Handler`."""
        if events & WRITE:
            self._flush()
            self._proceed()
        if events & ~WRITE and self._state is not _ENDED:
            self._read()

    def fail(self) -> None:
        """See `poller.Handler`."""
        self.drop()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._state is _READING and not self._reader.idle and not self._rest:
            self._refuse(slow_request(self._server.settings.request_timeout))
        elif self._state is _ANSWERING and self._request is not None:
            self._respond(self._request, too_slow())
        else:
            self.drop()

    def end_if_idle(self) -> None:
        """Connections may no longer wait for another request."""
        if self._state is _READING and self._reader.idle and not self._rest:
            self.drop()

    def drop(self) -> None:
        """Close at once, whatever waits."""
        if self._state is not _ENDED:
            self._leave()
            self.sock.close()

    def _leave(self) -> None:
        self._state = _ENDED
        self._server.poller.remove(self.sock.fileno())
        self._server.ended(self)

    def _watch(self) -> None:
        """Wait for what is needed now. A peer that sends far ahead is not read until its turn comes."""
        events = (READ if self._ahead <= _AHEAD else 0) | (WRITE if self._rest else 0)
        if events != self._watched and self._state is not _ENDED:
            self._watched = events
            self._server.poller.change(self.sock.fileno(), events)

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
        elif self._state is _READING and not self._rest:
            if self.has_begun and self._reader.idle:
                self.deadline = self._server.poller.now + self._server.settings.request_timeout
            self._reader.feed(data)
            self._proceed()
        elif self._state <= _ANSWERING:
            self._reader.feed(data)
            self._ahead += len(data)
            self._watch()

    def _proceed(self) -> None:
        """Begin with requests that are there, as long as each is answered at once."""
        if self._proceeding:
            return
        self._proceeding = True
        while self._state is _READING and not self._rest and self._begin():
            pass
        self._proceeding = False

    def _begin(self) -> bool:
        """Begin with the next request; False if it takes more bytes."""
        try:
            request = self._reader.next_request()
        except BadRequestError as error:
            self._refuse(error)
            return False
        if request is None:
            self._await_more()
            return False
        if not self.has_begun:
            self.has_begun = True
            self._server.begun(self)
        if isinstance(request, Request):
            self._answer(request)
        else:
            self._hand_over(request)
        return True

    def _hand_over(self, request: UpgradeRequest) -> None:
        """The socket gets another owner; it stays with the poller."""
        if self._watched != READ:
            self._server.poller.change(self.sock.fileno(), READ)
        self._state = _ENDED
        self._server.ended(self)
        self._server.open_websocket(self.sock, self._address, request)

    def _await_more(self) -> None:
        self._ahead = 0
        self._watch()
        if self._reader.idle and self._server.ending:
            self.drop()
        elif self._reader.take_continue():
            with suppress(OSError):
                self.sock.send(CONTINUE)

    # -- answering ------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> None:
        settings = self._server.settings
        self._state, self._request = _ANSWERING, request
        self.deadline = trio.current_time() + settings.answer_timeout
        if request.path.startswith(settings.websocket_prefix):
            self._respond(request, upgrade_required())
            return
        remote = self._server.describe(self._address, request.headers)
        api_request = ApiRequest(request.method, request.path, request.query, request.body, request.headers, remote)
        self._server.ask(api_request, partial(self._respond, request))

    def _respond(self, request: Request, response: ApiResponse) -> None:
        """The answer is there: within `ask`, or later, or too late."""
        if self._request is not request or self._state is not _ANSWERING:
            return
        self._request = None
        keep_alive = request.keep_alive and not self._server.ending
        self._state = _READING if keep_alive else _PARTING
        self.deadline = trio.current_time() + self._server.settings.idle_timeout
        self._send(encode_response(response, keep_alive=keep_alive, with_body=request.method != "HEAD"))
        self._proceed()

    def _refuse(self, error: BadRequestError) -> None:
        """Say what is wrong, and close. The client may be sending still."""
        self._state = _PARTING
        response = error_response(error.status, error.message, error.headers)
        self._send(encode_response(response, keep_alive=False))

    def _send(self, data: bytes) -> None:
        self._rest = data
        self._flush()
        if self._rest:
            self.deadline = trio.current_time() + self._server.settings.answer_timeout

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            return
        self._rest = self._rest[sent:]
        self._watch()
        if self._state is _PARTING and not self._rest:
            self._part()

    def _part(self) -> None:
        """Closing with the peer's bytes unread could destroy the last answer on its way: read them for a while."""
        self._state = _LINGERING
        self.deadline = trio.current_time() + self._server.settings.linger_timeout
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
