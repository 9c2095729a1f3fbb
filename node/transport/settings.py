"""Limits and deadlines of the transports. Durations are seconds, sizes are bytes."""

from dataclasses import dataclass, field

from node.transport.head import HttpLimits


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What every transport keeps to."""

    http: HttpLimits = field(default_factory=HttpLimits)
    request_timeout: float = 10.0
    """From the connection, or from a later request's first byte, to the whole head and body; TLS included."""
    idle_timeout: float = 75.0
    """How long a kept-alive HTTP connection may wait for its next request."""
    answer_timeout: float = 30.0
    """For the API to answer one request, and again for the peer to take that answer."""
    max_message: int = 64 * 1024
    """A longer WebSocket message closes the connection with 1009."""
    max_outbox: int = 1024 * 1024
    """A connection with more than this waiting for it is a slow consumer."""
    close_timeout: float = 5.0
    """From `close` to the end of the stream, whatever the peer does."""
    slow_close_timeout: float = 1.0
    """The same for a slow consumer, which is unlikely to read its close frame."""
    linger_timeout: float = 1.0
    """After a refusal: how long the peer may take to stop sending and go, before its stream is closed."""
    max_waiting: int = 1000
    """Connections that have not sent a whole request yet; one more, and the one that waits longest is closed."""
    user_timeout: float = 60.0
    """How long sent bytes may stay unacknowledged before the kernel gives the peer up (TCP_USER_TIMEOUT)."""
    websocket_prefix: str = "/app/"
    """Paths that only WebSockets have: plain requests below it are answered with 426."""
    trust_forwarded: bool = False
    """Believe X-Forwarded-Proto and X-Forwarded-For. Only right behind a proxy that always sets them."""
