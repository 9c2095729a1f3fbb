"""The seam between the session and its transports: what each side may expect of the other.

Rules for whoever edits this file: everything that the session calls is synchronous and never waits; everything that
it is told arrives in the Trio thread. Values only, no behaviour; a transport that needs more than this of the session
(or the other way round) is a reason to think again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec


class Upgrade(msgspec.Struct, frozen=True, gc=False):
    """What a client asked for when it opened its WebSocket."""

    path: str
    """Percent-encoded, as it was received."""
    query: str
    """Percent-encoded, without the question mark."""
    origin: str | None
    remote: str
    """The peer's `address:port`, for logs; empty where the stream has none."""
    secure: bool
    """Whether the client's side of the connection is TLS."""


class Transport(Protocol):
    """One WebSocket as the session sees it."""

    def offer(self, frame: bytes) -> None:
        """Queue one complete server frame. Never waits, never raises.

        A frame that does not fit in the outbox closes the connection with 4100 and is counted; frames after
        that, or after `close`, are ignored.
        """

    def close(self, code: int, reason: str) -> None:
        """Send what was offered before, then a close frame; wait for the peer's, but not for long. Idempotent.

        The reason is cut to what a close frame can hold. Texts that still arrive are not delivered;
        `Receiver.closed` follows once the connection has ended, never from within this call.
        """

    @property
    def buffered(self) -> int:
        """Bytes offered that the operating system has not taken yet."""


class Receiver(Protocol):
    """One connection's session as its transport sees it. Nothing here may raise."""

    def receive(self, text: str) -> None:
        """Handle one text message."""

    def touch(self, now: float, frames: int, size: int) -> bool:
        """Note that `size` bytes came: the peer lives. Called before the messages in those bytes are received.

        `now` is on Trio's clock, and may be when the work began of which this is a part. `frames` is how many became
        complete, with these bytes or with those before. False: it sends far too much, and the connection was closed;
        whatever else comes is thrown away.
        """

    def closed(self) -> None:
        """Forget the connection. Called exactly once, whoever closed, and nothing follows."""


class Acceptor(Protocol):
    """Who gives each new WebSocket its session."""

    def open(self, upgrade: Upgrade, transport: Transport) -> Receiver:
        """Take a WebSocket whose handshake is done.

        Always answers: a refusal is an error frame and a close through the transport, which may be used at once.
        """


class ApiRequest(msgspec.Struct, frozen=True):
    """One complete HTTP request."""

    method: str
    path: str
    """As it was received: the signature covers it."""
    query: str
    """As it was received, without the question mark."""
    body: bytes
    headers: Mapping[str, str]
    """Names in lower case; repeated ones joined with a comma."""
    remote: str


class ApiResponse(msgspec.Struct, frozen=True):
    """The answer to one. Content-Length, Connection and Date are the transport's; a Content-Type in `headers` wins."""

    status: int
    body: bytes
    """JSON."""
    headers: Sequence[tuple[str, str]] = ()


ApiHandler = Callable[[ApiRequest], Awaitable[ApiResponse]]

Respond = Callable[[ApiResponse], None]
"""Takes the answer to a request, once. Does not wait."""

ApiHandlerNowait = Callable[[ApiRequest, Respond], bool]
"""Answers without a task, at once or later, and raises nothing. False: it did nothing, as this request needs one."""
