"""One established connection: what it is, and what each message leads to. Pure.

The state machine of protocol.md sections 1.3, 2, 6 and 7. Inputs are texts and the time; outputs are `node.actions`, which
the hub performs in their order. Rules for editing: no effect happens here, and whoever adds a field remembers that a node
holds tens of thousands of these.

    OPEN ──sign-in verified──▶ SIGNING_IN ──confirmed──▶ SIGNED_IN
      └──────────────┬───────────────┴───────────────────────┘
                   CLOSED (for good: nothing is sent or counted any more)

Subscriptions come and go in every phase but the last, each by itself: neither they nor signing in imply the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

from node.actions import Action, Authorized, Broadcast, Claim, Close, Join, Leave, Overstepped, Refusal, Send, SendAway
from node.config.apps import App
from node.limits import UNLIMITED, Limit, Limits, Measure
from node.protocol import frames
from node.protocol.channels import kind_of, server_to_user_id
from node.protocol.errors import CloseCode, LimitError, ProtocolError
from node.protocol.messages import ClientEvent, Message, Ping, Pong, SignIn, Subscribe, UnknownEvent, Unsubscribe
from node.protocol.signatures import user_string, verify_signature
from node.protocol.user_data import UserData, parse_user_data
from node.refusals import UNSEEN, refuse, refuse_subscription, restrain_failures, restrain_traffic
from node.subscriptions import Subscription, authorize, check_client_event, check_name, next_client_event
from node.transport.seam import Transport

_NOTHING: Mapping[str, Subscription] = {}


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


_OPEN, _SIGNING_IN, _SIGNED_IN, _CLOSED = Phase  # each look at `Phase.OPEN` takes 0.16 µs, and a sign-in needs four


class Connection:
    """One established connection. `transport` is the hub's; it is not touched here."""

    __slots__ = (
        "app",
        "authorize_by",
        "blamed_until",
        "busy_until",
        "claims",
        "edges",
        "heard_at",
        "leave_at",
        "limits",
        "phase",
        "probes",
        "socket_id",
        "spent_until",
        "subscriptions",
        "transport",
        "user",
        "watches_from",
    )

    def __init__(self, app: App, socket_id: str, transport: Transport, now: float, limits: Limits = UNLIMITED) -> None:
        self.app = app
        self.limits = limits
        self.socket_id = socket_id
        self.transport = transport
        self.phase = _OPEN
        self.user: UserData | None = None  # claimed or confirmed, as the phase says
        self.claims = 0
        self.edges: dict[str, bool] | None = None  # changes of watched users that are not told yet: the watchers'
        self.watches_from = inf  # the first edge that its first watchlist frame does not tell of: the watchers', too
        self.subscriptions: dict[str, Subscription] | None = None  # by channel; those in progress too
        self.busy_until = 0.0  # see `next_client_event`
        self.spent_until = 0.0  # of `limits.traffic`, see `Bucket`
        self.blamed_until = 0.0  # of `limits.failures`
        self.heard_at = now
        self.probes = 0
        self.leave_at: float | None = None  # from when on it is too old to stay
        self.authorize_by = now + app.authorization_timeout if app.require_authorization else None

    @property
    def is_closed(self) -> bool:
        """Whether it is over: nothing more is sent or counted."""
        return self.phase is _CLOSED

    @property
    def is_authorized(self) -> bool:
        """Whether it did what `require_authorization` asks for, if the app does (protocol.md 2.7)."""
        return self.authorize_by is None

    def holds(self, subscription: Subscription) -> bool:
        """Whether this very subscription is wanted still."""
        return (self.subscriptions or _NOTHING).get(subscription.channel) is subscription

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
            case Subscribe():
                return self._subscribe(message)
            case Unsubscribe(channel):
                return self._unsubscribe(channel)
            case ClientEvent():
                return self._send_client_event(message)
            case UnknownEvent(event):
                raise ProtocolError(None, f"Unsupported event received on socket: '{event[:200]}'")

    def forsake(self) -> None:
        """Undo what led to `Authorized`, as the quota has no room: the connection is closed next."""
        self.user = None
        subscriptions = self.subscriptions or _NOTHING
        self.subscriptions = {each.channel: each for each in subscriptions.values() if not each.kind.is_guarded}

    def _sign_in(self, message: SignIn) -> tuple[Action, ...]:
        """Protocol.md 2.2 to 2.6: any failure leaves the connection as it was, and open."""
        if self._is_blamed():
            return self._refuse_unseen(refuse(UNSEEN, Refusal.SIGN_IN))
        try:
            verify_signature(message.auth, user_string(self.socket_id, message.user_data), self.app.key, self.app.secrets)
            user = parse_user_data(message.user_data)
        except ProtocolError as error:
            return self._blame(refuse(error, Refusal.SIGN_IN))
        if self.user is not None and self.user.id != user.id:
            other = ProtocolError(CloseCode.UNAUTHORIZED, "Connection is already signed in as another user")
            return self._blame(refuse(other, Refusal.SIGN_IN))
        limit = self.app.watchlist_limit if self.app.watchlist_events else 0
        cut = self.app.watchlist_events and len(user.watchlist) > limit
        if len(user.watchlist) > limit:
            user = replace(user, watchlist=user.watchlist[:limit])
        charged = self._charge(len(user.watchlist)) if self.claims else ()
        self.claims += 1
        if self.phase is _OPEN:
            self.phase, self.user = _SIGNING_IN, user
        return (*self._authorize(), Claim(user, self.claims, cut), *charged)

    def _authorize(self) -> tuple[Action, ...]:
        """The client proved something that its app signed: what is left to do is not its part (protocol.md 2.7)."""
        if self.is_authorized:
            return ()
        self.authorize_by = None
        return (Authorized(),)

    def signed_in(self, claim: Claim) -> tuple[Send, ...]:
        """The cluster knows of the user now. Returns what the client is told before its watchlist (protocol.md 2.4)."""
        self.phase, self.user = _SIGNED_IN, claim.user
        success = Send(frames.encode_signin_success(claim.user.raw))
        if not claim.cut:
            return (success,)
        limit = self.app.watchlist_limit
        message = f"Watchlist limit exceeded. Only the first {limit} user IDs are accepted."
        return (success, Send(frames.encode_error(CloseCode.WATCHLIST_LIMIT, message)))

    # -- channels -------------------------------------------------------------------------------------------------

    def _subscribe(self, message: Subscribe) -> tuple[Action, ...]:
        """Protocol.md 6.2 to 6.4: any failure leaves the connection as it was, and open."""
        channel = message.channel
        if channel.startswith("#"):
            return self._subscribe_to_user(channel)
        if channel in (self.subscriptions or _NOTHING):
            error = ProtocolError(None, f"Existing subscription to channel {channel}")
            return self._blame(refuse(error, Refusal.SUBSCRIPTION))
        if self._is_blamed() and kind_of(channel).is_guarded:
            return self._refuse_unseen(refuse_subscription(channel, UNSEEN))
        try:
            check_name(self.app, channel)
            self._check_room()
            user = self.user if self.phase is _SIGNED_IN else None
            subscription = authorize(self.app, self.socket_id, user, message)
        except ProtocolError as error:
            return self._blame(refuse_subscription(channel, error))
        if self.subscriptions is None:
            self.subscriptions = {}
        self.subscriptions[channel] = subscription
        return (*(self._authorize() if subscription.kind.is_guarded else ()), Join(subscription))

    def _check_room(self) -> None:
        limit = self.app.subscriptions_per_connection
        if 0 < limit <= len(self.subscriptions or _NOTHING):
            raise LimitError(f"The maximum of {limit} subscriptions of one connection was reached")

    def _subscribe_to_user(self, channel: str) -> tuple[Action, ...]:
        """A user's own channel is acknowledged; events come from sign-in on, subscribed or not (protocol.md 3.1)."""
        check_name(self.app, channel)
        mine = self.phase is _SIGNED_IN and self.user is not None and self.user.id == server_to_user_id(channel)
        if not mine:
            raise ProtocolError(CloseCode.UNAUTHORIZED, f"Sign in as this user before subscribing to '{channel}'")
        return (Send(frames.encode_subscription_succeeded(channel)),)

    def _unsubscribe(self, channel: str) -> tuple[Action, ...]:
        """Protocol.md 6.8; a subscription in progress is given up.

        A user's own channel cannot be left, but SDKs say that they do when they clean up (protocol.md 3.1).
        """
        if server_to_user_id(channel) is not None:
            return ()
        subscription = (self.subscriptions or _NOTHING).get(channel)
        if subscription is None:
            message = f"No current subscription to channel {channel[:200]}, or subscription in progress"
            raise ProtocolError(None, message)
        self.drop(subscription)
        return (Leave(subscription),)

    def drop(self, subscription: Subscription) -> None:
        """It is over: left, or refused by the cluster. `holds` it no more."""
        if self.subscriptions is not None and self.holds(subscription):
            del self.subscriptions[subscription.channel]
            self.subscriptions = self.subscriptions or None

    def _send_client_event(self, message: ClientEvent) -> tuple[Action, ...]:
        """Protocol.md 7: a refused event is told, and changes nothing. The last bytes that came say what time it is."""
        held = (self.subscriptions or _NOTHING).get(message.channel)
        try:
            subscription = check_client_event(self.app, message, held)
        except ProtocolError as error:
            return self._blame(refuse(error, Refusal.CLIENT_EVENT))
        try:
            self.busy_until = next_client_event(self.app, self.busy_until, self.heard_at)
        except ProtocolError as error:
            return refuse(error, Refusal.CLIENT_EVENT_RATE)
        return (Broadcast(subscription, message.event, message.data),)

    # -- limits ---------------------------------------------------------------------------------------------------

    def _is_blamed(self) -> bool:
        """Whether so much of what it asked for was refused that signatures are not looked at for now."""
        failures = self.limits.failures
        return failures is not None and failures.wait(self.blamed_until, self.heard_at) > 0

    def _refuse_unseen(self, refused: tuple[Action, ...]) -> tuple[Action, ...]:
        return (Overstepped(Limit.FAILURES, Measure.REFUSED), *self._blame(refused))

    def _blame(self, refused: tuple[Action, ...]) -> tuple[Action, ...]:
        """Something was refused that a right client would not ask for; it may not go on for ever."""
        failures = self.limits.failures
        if failures is None:
            return refused
        self.blamed_until = failures.take(self.blamed_until, self.heard_at)
        return (*refused, *restrain_failures(failures, self.blamed_until, self.heard_at))

    def _charge(self, messages: int) -> tuple[Action, ...]:
        """Count what the whole cluster works at, such as another watchlist, as so many messages."""
        bucket, before = self.limits.traffic, self.spent_until
        if bucket is None:
            return ()
        self.spent_until = bucket.take(before, self.heard_at, messages * self.limits.message_cost)
        return restrain_traffic(bucket, before, self.spent_until, self.heard_at)

    # -- time -----------------------------------------------------------------------------------------------------

    def touch(self, now: float, frames: int = 1, size: int = 0) -> tuple[Action, ...]:
        """Bytes came: the peer lives. Returns what that leads to before they are read.

        They are counted as a message at least, so that who trickles pays for the work.
        """
        self.heard_at = now
        self.probes = 0
        limits = self.limits
        if limits.traffic is None:
            return ()
        before, cost = self.spent_until, (frames or 1) * limits.message_cost + size * limits.byte_cost
        self.spent_until = spent = limits.traffic.take(before, now, cost)
        if spent - now <= limits.traffic.span:
            return ()
        return restrain_traffic(limits.traffic, before, spent, now)

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
        if self.leave_at is not None and now >= self.leave_at:
            self.leave_at = now + pace.activity_timeout  # asked again then, if this was not the time
            return (SendAway(),)
        return ()

    def next_check(self, pace: Pace) -> float:
        """When `check` has to be called again, as things stand."""
        waits = (pace.activity_timeout / 2, pace.activity_timeout, pace.activity_timeout + pace.pong_timeout)
        dues = (self.heard_at + waits[self.probes], self.authorize_by, self.leave_at)
        return min(due for due in dues if due is not None)
