"""What goes wrong at the wire, as the peer is told it.

    Exception
    ├── ProtocolError     a client's message was refused: `pusher:error`, the connection stays open
    │   ├── LimitError    what it asks for is over a limit
    │   └── FatalError    the connection cannot go on: `pusher:error`, then a close with the same code
    └── ApiError          a backend's request was refused: status and `{"error": message}`

A message says what was expected and what to do; it is sent to the peer, and it may repeat what the peer
sent, so it never goes to a log. It never holds a secret or a digest that was expected. The codes are a
reconnect policy (protocol.md 1.4): after 4000-4099 a client stays away, after 4100-4199 it returns after a
second, after 4200-4299 at once.
"""

from enum import IntEnum

ECHO_LIMIT = 1000
"""How many characters of a peer's own text an error message repeats."""


class CloseCode(IntEnum):
    """Codes of close frames and of `pusher:error` (protocol.md 1.4)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    TOO_BIG = 1009

    TLS_REQUIRED = 4000
    UNKNOWN_APP = 4001
    APP_DISABLED = 4003
    OVER_QUOTA = 4004
    UNKNOWN_PATH = 4005
    BAD_PROTOCOL = 4006
    UNSUPPORTED_PROTOCOL = 4007
    NO_PROTOCOL = 4008
    UNAUTHORIZED = 4009

    OVER_CAPACITY = 4100

    RECONNECT = 4200
    PONG_TIMEOUT = 4201

    CLIENT_EVENT_RATE = 4301  # told in pusher:error only; as a close code clients would stay away
    WATCHLIST_LIMIT = 4302  # likewise


class ProtocolError(Exception):
    """A refused message. Answer with `pusher:error` (`frames.encode_error`) and keep the connection open."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LimitError(ProtocolError):
    """A message that asks for more than there may be: refused without a code (protocol.md 6.5)."""

    def __init__(self, message: str) -> None:
        super().__init__(None, message)


class FatalError(ProtocolError):
    """The end of a connection. Answer with `pusher:error`, then close with the same code.

    As the first message of a connection `pusher:error` needs an integer code, so this one always has it
    (protocol.md 1.5).
    """

    code: int

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)


class ApiError(Exception):
    """A refused HTTP request. `retry_after` is in seconds, and becomes a `Retry-After` header when given."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def excerpt(text: str, limit: int = ECHO_LIMIT) -> str:
    """A peer's text, cut so that it can be repeated in an error message."""
    return text if len(text) <= limit else f"{text[:limit]}…"
