"""One established connection: what it is, and what each message leads to. Pure.

The state machine of protocol.md sections 1.3 and 2. Inputs are texts and the time; outputs are actions, which the hub
performs in their order. Rules for editing: no effect happens here, and whoever adds a field remembers that a node holds
tens of thousands of these.

    OPEN ──sign-in verified──▶ SIGNING_IN ──confirmed──▶ SIGNED_IN
      └──────────────┬───────────────┴───────────────────────┘
                   CLOSED (for good: nothing is sent or counted any more)
"""

from dataclasses import dataclass, replace
from enum import Enum

from node.config.apps import App
from node.protocol import frames
from node.protocol.channels import is_valid_channel, server_to_user_id
from node.protocol.errors import CloseCode, ProtocolError
from node.protocol.messages import (
    ClientEvent,
    Message,
    Ping,
    Pong,
    SignIn,
    Subscribe,
    UnknownEvent,
    Unsubscribe,
)
from node.protocol.signatures import user_string, verify_signature
from node.protocol.user_data import UserData, parse_user_data
from node.transport.seam import Transport


@dataclass(frozen=True, slots=True)
class Send:
    """Offer this frame to the client."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Tell the error, then close with its code."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The client proved to be this user: confirm it in the cluster, then call `Connection.signed_in`.

    `number` counts the claims of a connection; only the newest one counts. `cut`: the watchlist was over the limit.
    """

    user: UserData
    number: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A sign-in was refused, for the count; the client is told by a `Send`."""


Action = Send | Close | Claim | Refused


@dataclass(frozen=True, slots=True)
class Pace:
    """Heartbeat of connections, in seconds (protocol.md 1.3)."""

    activity_timeout: float = 120.0
    pong_timeout: float = 30.0


class Phase(Enum):
    """Where a connection stands; see the module's drawing."""

    OPEN = "open"
    SIGNING_IN = "signing in"
    SIGNED_IN = "signed in"
    CLOSED = "closed"


class Connection:
    """One established connection. `transport` is the hub's; it is not touched here."""

    __slots__ = (
        "app",
        "authorize_by",
        "claims",
        "edges",
        "heard_at",
        "phase",
        "probes",
        "socket_id",
        "transport",
        "user",
        "watches_from",
    )

    def __init__(self, app: App, socket_id: str, transport: Transport, now: float) -> None:
        self.app = app
        self.socket_id = socket_id
        self.transport = transport
        self.phase = Phase.OPEN
        self.user: UserData | None = None  # claimed or confirmed, as the phase says
        self.claims = 0
        self.edges: dict[str, bool] | None = None  # changes of watched users that are not told yet: the watchers'
        self.watches_from = 0  # the first edge that its first watchlist frame does not tell of: the watchers', too
        self.heard_at = now
        self.probes = 0
        self.authorize_by = now + app.authorization_timeout if app.require_authorization else None

    @property
    def is_closed(self) -> bool:
        """Whether it is over: nothing more is sent or counted."""
        return self.phase is Phase.CLOSED

    # -- messages -------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> tuple[Action, ...]:
        """What one message of the client leads to."""
        try:
            return self._decide(message)
        except ProtocolError as error:
            return (Send(frames.encode_error(error.code, error.message)),)

    def _decide(self, message: Message) -> tuple[Action, ...]:
        match message:
            case Ping():
                return (Send(frames.PONG_EVENT),)
            case Pong():
                return ()
            case SignIn():
                return self._sign_in(message)
            case Subscribe(channel):
                return self._subscribe(channel)
            case Unsubscribe(channel):
                return self._unsubscribe(channel)
            case ClientEvent(_, channel):
                raise ProtocolError(
                    CloseCode.UNAUTHORIZED,
                    f"Cannot broadcast client event (connection not subscribed to channel {channel[:200]})",
                )
            case UnknownEvent(event):
                raise ProtocolError(None, f"Unsupported event received on socket: '{event[:200]}'")

    def _sign_in(self, message: SignIn) -> tuple[Action, ...]:
        """Protocol.md 2.2 to 2.6: any failure leaves the connection as it was, and open."""
        try:
            verify_signature(message.auth, user_string(self.socket_id, message.user_data), self.app.key, self.app.secrets)
            user = parse_user_data(message.user_data)
        except ProtocolError as error:
            return (Send(frames.encode_error(error.code, error.message)), Refused())
        if self.user is not None and self.user.id != user.id:
            message_text = "Connection is already signed in as another user"
            return (Send(frames.encode_error(CloseCode.UNAUTHORIZED, message_text)), Refused())
        limit = self.app.watchlist_limit if self.app.watchlist_events else 0
        cut = self.app.watchlist_events and len(user.watchlist) > limit
        if len(user.watchlist) > limit:
            user = replace(user, watchlist=user.watchlist[:limit])
        self.claims += 1
        if self.phase is Phase.OPEN:
            self.phase, self.user = Phase.SIGNING_IN, user
            self.authorize_by = None  # the client did its part; what is left ends in SIGNED_IN or in a close
        return (Claim(user, self.claims, cut),)

    def signed_in(self, claim: Claim) -> tuple[Send, ...]:
        """The cluster knows of the user now. Returns what the client is told before its watchlist (protocol.md 2.4)."""
        self.phase, self.user = Phase.SIGNED_IN, claim.user
        success = Send(frames.encode_signin_success(claim.user.raw))
        if not claim.cut:
            return (success,)
        limit = self.app.watchlist_limit
        message = f"Watchlist limit exceeded. Only the first {limit} user IDs are accepted."
        return (success, Send(frames.encode_error(CloseCode.WATCHLIST_LIMIT, message)))

    def _subscribe(self, channel: str) -> tuple[Action, ...]:
        """A user's own channel is acknowledged; events come from sign-in on, subscribed or not (protocol.md 3.1)."""
        if not is_valid_channel(channel):
            raise ProtocolError(CloseCode.UNAUTHORIZED, f"Invalid channel name: '{channel[:200]}'")
        user_id = server_to_user_id(channel)
        if user_id is None:
            raise ProtocolError(None, f"This node carries no channels yet: cannot subscribe to '{channel}'")
        if self.phase is not Phase.SIGNED_IN or self.user is None or self.user.id != user_id:
            raise ProtocolError(CloseCode.UNAUTHORIZED, f"Sign in as this user before subscribing to '{channel}'")
        return (Send(frames.encode_subscription_succeeded(channel)),)

    def _unsubscribe(self, channel: str) -> tuple[Action, ...]:
        """A user's own channel cannot be left, but SDKs say that they do when they clean up (protocol.md 3.1)."""
        if server_to_user_id(channel) is not None:
            return ()
        message = f"No current subscription to channel {channel[:200]}, or subscription in progress"
        raise ProtocolError(None, message)

    # -- time -----------------------------------------------------------------------------------------------------

    def touch(self, now: float) -> None:
        """Bytes came: the peer lives."""
        self.heard_at = now
        self.probes = 0

    def check(self, now: float, pace: Pace) -> tuple[Action, ...]:
        """What is due; called no later than `next_check` says.

        Silence is probed twice: by a WebSocket ping, which browsers answer even for sleeping tabs, after half the
        activity timeout; by `pusher:ping` after the whole. A client that sent anything within activity and pong timeout
        is never closed: pusher-js may be silent that long.
        """
        if self.authorize_by is not None and now >= self.authorize_by:
            return (Close(CloseCode.UNAUTHORIZED, "Connection not authorized within timeout"),)
        silent = now - self.heard_at
        if silent >= pace.activity_timeout + pace.pong_timeout:
            return (Close(CloseCode.PONG_TIMEOUT, "Pong reply not received in time"),)
        if silent >= pace.activity_timeout and self.probes < 2:
            self.probes = 2
            return (Send(frames.PING_EVENT),)
        if silent >= pace.activity_timeout / 2 and self.probes < 1:
            self.probes = 1
            return (Send(frames.PING),)
        return ()

    def next_check(self, pace: Pace) -> float:
        """When `check` has to be called again, as things stand."""
        waits = (pace.activity_timeout / 2, pace.activity_timeout, pace.activity_timeout + pace.pong_timeout)
        due = self.heard_at + waits[self.probes]
        return due if self.authorize_by is None else min(due, self.authorize_by)
