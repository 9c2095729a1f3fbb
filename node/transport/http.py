"""API requests on one stream: read, answer, in order, until the stream ends or becomes a WebSocket.

Every wait has a deadline (settings.py): for a request to begin, for all of it to arrive, for the API to answer, for
the peer to take the answer. Pipelined requests are answered one after the other; nothing more is read meanwhile.
Every error is `{"error": what to do}`; after one that is about the bytes themselves the connection closes.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
import trio

from node.metrics import Metrics
from node.transport.head import RequestReader
from node.transport.message import BadRequestError, Request, UpgradeRequest
from node.transport.seam import ApiHandler, ApiRequest, ApiResponse
from node.transport.settings import TransportSettings
from node.transport.streams import DOWN, client_of, drop, hang_up

_log = structlog.get_logger(__name__)

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class KeepAlive:
    """Whether connections may wait for another request. One for all connections of a server."""

    def __init__(self) -> None:
        self._waiting: set[trio.CancelScope] = set()
        self.ended = False

    def end(self) -> None:
        """Stop the waiting, now and from now on: each connection closes after the answer it is at."""
        self.ended = True
        for scope in self._waiting:
            scope.cancel()

    @contextmanager
    def waiting(self, timeout: float) -> Iterator[None]:
        """Wait in here, for `timeout` seconds at most; leaves quietly when that or `end` comes first."""
        with trio.move_on_after(0 if self.ended else timeout) as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)


class HttpConversation:
    """The HTTP of one stream. `receive` its first request, then `answer_all` from there."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        api: ApiHandler,
        keep_alive: KeepAlive,
        settings: TransportSettings,
        metrics: Metrics,
    ) -> None:
        self._stream = stream
        self._api = api
        self._keep_alive = keep_alive
        self._settings = settings
        self._metrics = metrics
        self._reader = RequestReader(settings.http)

    async def receive(self) -> Request | UpgradeRequest | None:
        """Return the next request, all of which must come within `request_timeout`.

        None: there is none, the client was told if it is to blame, and the stream is closed.
        """
        try:
            with trio.fail_after(self._settings.request_timeout):
                request = await self._read_request()
        except BadRequestError as error:
            await self._refuse(error)
            return None
        except trio.TooSlowError:
            await self._refuse_slow_request()
            return None
        except DOWN:
            request = None
        if request is None:
            await drop(self._stream)
        return request

    async def answer_all(self, request: Request | UpgradeRequest | None) -> UpgradeRequest | None:
        """Answer this request and those after it; return a request for a WebSocket, to be served by the caller.

        None: the conversation is over and the stream closed.
        """
        while isinstance(request, Request):
            if not await self._answer(request):
                return None
            request = await self._receive_another()
        return request

    async def _receive_another(self) -> Request | UpgradeRequest | None:
        if self._reader.idle:
            with self._keep_alive.waiting(self._settings.idle_timeout):
                await self._read()
        if self._reader.idle:
            await drop(self._stream)
            return None
        return await self.receive()

    async def _read_request(self) -> Request | UpgradeRequest | None:
        """The next request, or None at the end of the stream."""
        while (request := self._reader.next_request()) is None:
            if self._reader.take_continue():
                await self._stream.send_all(CONTINUE)
            if not await self._read():
                return None
        return request

    async def _read(self) -> bool:
        """Feed the reader. False at the end of the stream, however it ended."""
        try:
            data = await self._stream.receive_some()
        except DOWN:
            return False
        self._reader.feed(bytes(data))
        return bool(data)

    async def _answer(self, request: Request) -> bool:
        """Answer one request. False: it was the last, and the stream is closed."""
        response = await self._respond(request)
        keep_alive = request.keep_alive and not self._keep_alive.ended
        data = encode_response(response, keep_alive=keep_alive, with_body=request.method != "HEAD")
        if not await self._send(data):
            await drop(self._stream)
        elif not keep_alive:
            await hang_up(self._stream, linger=0.0 if self._reader.idle else self._settings.linger_timeout)
        else:
            return True
        return False

    async def _respond(self, request: Request) -> ApiResponse:
        if request.path.startswith(self._settings.websocket_prefix):
            return upgrade_required()
        with trio.move_on_after(self._settings.answer_timeout):
            return await self._ask_api(request)
        return too_slow()

    async def _ask_api(self, request: Request) -> ApiResponse:
        remote, _ = client_of(self._stream, request.headers, trust=self._settings.trust_forwarded)
        api_request = ApiRequest(request.method, request.path, request.query, request.body, request.headers, remote)
        return await ask_safely(self._api, api_request, self._metrics)

    async def _refuse(self, error: BadRequestError) -> None:
        """Say what is wrong, and close. The client may be sending still."""
        response = error_response(error.status, error.message, error.headers)
        if await self._send(encode_response(response, keep_alive=False)):
            await hang_up(self._stream, linger=self._settings.linger_timeout)
        else:
            await drop(self._stream)

    async def _refuse_slow_request(self) -> None:
        if self._reader.idle:
            await drop(self._stream)
            return
        await self._refuse(slow_request(self._settings.request_timeout))

    async def _send(self, data: bytes) -> bool:
        try:
            with trio.fail_after(self._settings.answer_timeout):
                await self._stream.send_all(data)
        except (trio.TooSlowError, *DOWN):
            return False
        return True


async def ask_safely(api: ApiHandler, request: ApiRequest, metrics: Metrics) -> ApiResponse:
    """The API's answer; a bug in it ends this request, and not the connection."""
    try:
        return await api(request)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("an API request failed", method=request.method)
        metrics.errors.labels("api").inc()
        return error_response(500, "The node failed at this request; its log says why. Try again later.")


def slow_request(timeout: float) -> BadRequestError:
    """What is wrong with a request that took longer than `timeout` seconds to arrive."""
    return BadRequestError(408, f"Send the whole request within {timeout:g} seconds.")


def upgrade_required() -> ApiResponse:
    """The answer to a plain request where only WebSockets are."""
    return error_response(426, "This path is for WebSockets (RFC 6455). Ask for an upgrade.", (("Upgrade", "websocket"),))


def too_slow() -> ApiResponse:
    """The answer when the API took too long for one."""
    return error_response(503, "This took too long. Try again later.", (("Retry-After", "1"),))


def error_response(status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> ApiResponse:
    """An error as every backend gets it: `{"error": message}`."""
    return ApiResponse(status, msgspec.json.encode({"error": message}), headers)


def encode_response(response: ApiResponse, *, keep_alive: bool, with_body: bool = True) -> bytes:
    """The bytes of an HTTP/1.1 response. Without its body it keeps the Content-Length, as HEAD wants it."""
    head = f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\nContent-Length: {len(response.body)}\r\n"
    head += _date(int(time.time()))
    head += "Connection: keep-alive\r\n" if keep_alive else "Connection: close\r\n"
    typed = False
    for name, value in response.headers:
        typed = typed or name == "Content-Type"
        head += f"{name}: {value}\r\n"
    head += "\r\n" if typed else "Content-Type: application/json\r\n\r\n"
    return head.encode("latin-1") + (response.body if with_body else b"")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The Date header of all answers of this second."""
    return f"Date: {formatdate(second, usegmt=True)}\r\n"


@lru_cache(maxsize=64)
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
