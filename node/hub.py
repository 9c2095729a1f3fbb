"""All connections of this node: opening, refusing, performing what they decide, their timers, and closing.

The hub is what transports see (`node.transport.seam.Acceptor`). It performs the actions of `node.connection` in their
order, and nothing here waits but the timer task.
"""

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import assert_never

import structlog
import trio

from cluster import Member
from node.actions import Action, Authorized, Broadcast, Claim, Close, Join, Leave, Overstepped, Refused, Send, SendAway
from node.audience import Audience
from node.balance import Reason, draw_limit
from node.channels import Channels
from node.config.apps import App, Apps
from node.config.settings import Rebalance
from node.connection import Connection, Pace, Phase
from node.fanout import Fanout
from node.limits import UNLIMITED, Addresses, Limit, Limits, Measure
from node.listener import Listener
from node.metrics import Metrics
from node.oversteps import Oversteps
from node.protocol import frames
from node.protocol.errors import CloseCode, FatalError, ProtocolError
from node.protocol.handshake import origin_allowed, parse_handshake
from node.protocol.messages import Ping, decode_message
from node.session import RefusedSession, Session
from node.timers import Wheel
from node.transport.seam import Receiver, Transport, Upgrade
from node.users import Users
from node.watchers import Watchers
from node.webhooks.seam import Webhooks

log = structlog.get_logger(__name__)

LEAVING = "The node is leaving, connect again"
_ELSEWHERE = "Connect again: another node has more room"
_HALF = (1 << 53) - 1  # the largest integer that every JSON reader keeps exact
_TICK = 0.25  # seconds between two looks at the timers
_OVER_QUOTA = "The app is over its connection quota"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`path_prefix` stands before `/app/…`; handshakes are an address' each second, 0: any number, and at once.

    The rest in seconds: `linger` is that of members.
    """

    pace: Pace
    path_prefix: str = ""
    batch_interval: float = 0.02
    linger: float = 1.0
    drain_linger: float = 10.0
    limits: Limits = UNLIMITED
    handshakes: float = 0.0
    handshakes_burst: float = 1.0
    rebalance: Rebalance = field(default_factory=Rebalance)


class Hub:
    """Every connection of one node. `begin` it before anything else."""

    member: Member

    def __init__(
        self, apps: Apps, metrics: Metrics, settings: HubSettings, chance: Callable[[], float] = random.random
    ) -> None:
        """`chance` draws from 0 to 1: how old each connection may become."""
        self._apps = apps
        self._metrics = metrics
        self._settings = settings
        self._chance = chance
        self._connections: dict[Connection, None] = {}  # the oldest first
        self._wheel: Wheel[Connection] = Wheel(_TICK)
        self._draining = False
        self._addresses = Addresses(settings.handshakes, settings.handshakes_burst)
        self._oversteps = Oversteps(metrics)
        self.pings = metrics.of_message(Ping)
        self.fanout = Fanout(metrics)
        self.watchers = Watchers(metrics, settings.batch_interval)
        self.users = Users(metrics, self.watchers, self.fanout, self.disconnect)
        self.channels = Channels(metrics, self.fanout, self.disconnect, settings.linger)
        self.audience = Audience(self.users, self.channels, self.fanout)
        self.listener = Listener(self.users, self.watchers, self.channels)

    def begin(self, member: Member) -> None:
        """This is the node's member of the cluster, whose listener is `listener`."""
        self.member = self.users.member = self.channels.member = self.audience.member = member

    def tell_webhooks(self, webhooks: Webhooks) -> None:
        """Let them know from now on what happens."""
        self.listener.webhooks = self.channels.webhooks = webhooks

    # -- opening --------------------------------------------------------------------------------------------------

    def open(self, upgrade: Upgrade, transport: Transport) -> Receiver:
        """See `Acceptor`: establish the connection, or tell why not and close (protocol.md 1.2, 1.4)."""
        try:
            app = self._admit(upgrade)
        except FatalError as error:
            self._metrics.closes.labels(str(int(error.code))).inc()
            transport.offer(frames.encode_error(error.code, error.message))
            transport.close(error.code, error.message)
            return RefusedSession()
        # 106 random bits: unique in the cluster without asking anyone, and half of every signed string
        number = secrets.randbits(106)
        socket_id = f"{number >> 53}.{number & _HALF}"
        now = trio.current_time()
        connection = Connection(app, socket_id, transport, now, self._settings.limits)
        connection.leave_at = draw_limit(self._settings.rebalance, now, self._chance())
        self._connections[connection] = None
        self.listener.connections += 1
        self.listener.counted[app.id] += connection.is_authorized
        self._metrics.of_app(app.id).connections.inc()
        self._wheel.schedule(connection, connection.next_check(self._settings.pace))
        timeout = int(self._settings.pace.activity_timeout)
        transport.offer(frames.encode_connection_established(socket_id, max(1, timeout)))
        return Session(self, connection)

    def _admit(self, upgrade: Upgrade) -> App:
        """The app of a new connection; raises `FatalError`."""
        if not self._addresses.admit(upgrade.remote, trio.current_time()):
            self._oversteps.note(Limit.HANDSHAKES, Measure.CLOSED)
            raise FatalError(CloseCode.OVER_CAPACITY, "Too many connections from this address: come back later")
        handshake = parse_handshake(upgrade.path, upgrade.query, self._settings.path_prefix)
        app = self._apps.by_key(handshake.key)
        if app is None:
            message = f"App key {handshake.key[:100]} not in this cluster. Did you forget to specify the cluster?"
            raise FatalError(CloseCode.UNKNOWN_APP, message)
        if not app.enabled:
            raise FatalError(CloseCode.APP_DISABLED, "The app is disabled")
        if app.require_tls and not upgrade.secure:
            raise FatalError(CloseCode.TLS_REQUIRED, "The app accepts only TLS connections")
        if not origin_allowed(upgrade.origin, app.allowed_origins):
            raise FatalError(CloseCode.UNAUTHORIZED, "Origin not allowed")
        if self._is_over_quota(app):
            raise FatalError(CloseCode.OVER_QUOTA, _OVER_QUOTA)
        if self._draining:
            raise FatalError(CloseCode.RECONNECT, LEAVING)
        return app

    def _is_over_quota(self, app: App) -> bool:
        """Whether the cluster has as many connections as the app may have; other nodes are known as of a heartbeat ago."""
        if not app.max_connections:
            return False
        return self.listener.counted[app.id] + self.member.connections_elsewhere(app.id) >= app.max_connections

    # -- performing -----------------------------------------------------------------------------------------------

    def receive(self, connection: Connection, text: str) -> None:
        """One text message of a connection."""
        if connection.is_closed:
            return
        try:
            message = decode_message(text)
            self._metrics.of_message(type(message)).inc()
            self._perform(connection, connection.receive(message))
        except ProtocolError as error:
            self._metrics.messages_received.labels("malformed").inc()
            connection.transport.offer(frames.encode_error(error.code, error.message))
        except Exception:  # a bug of ours that one message shows ends one connection, not the node
            log.exception("a message was not handled", app=connection.app.id)
            self._give_up(connection, "message")

    def _give_up(self, connection: Connection, where: str) -> None:
        """A bug of ours stands in the way of this connection."""
        self._metrics.errors.labels(where).inc()
        self.disconnect(connection, CloseCode.OVER_CAPACITY, "Internal error")

    def restrain(self, connection: Connection, actions: tuple[Action, ...]) -> bool:
        """Do what its traffic leads to; see `Receiver.touch`."""
        if not connection.is_closed:
            self._perform(connection, actions)
        return not any(isinstance(action, Close) for action in actions)

    def _perform(self, connection: Connection, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Send(frame):
                    connection.transport.offer(frame)
                case Claim():
                    self.users.claim(connection, action)
                case Join() | Leave() | Broadcast():
                    self._perform_on_channel(connection, action)
                case Close() | SendAway():
                    self._perform_end(connection, action)
                case Authorized():
                    if not self._authorize(connection):
                        return
                case Refused(what):
                    self._metrics.of_app(connection.app.id).of_refusal(what).inc()
                case Overstepped(limit, measure):
                    self._oversteps.note(limit, measure)
                case _:
                    assert_never(action)

    def _perform_end(self, connection: Connection, action: Close | SendAway) -> None:
        match action:
            case Close(code, message):
                self.disconnect(connection, code, message)
            case SendAway():
                if self.member.connected:  # else its user could not tell from elsewhere that it is there
                    self.shed(connection, Reason.AGE)

    def _perform_on_channel(self, connection: Connection, action: Join | Leave | Broadcast) -> None:
        match action:
            case Join(subscription):
                self.channels.subscribe(connection, subscription)
            case Leave(subscription):
                self.channels.leave(connection, subscription)
            case Broadcast():
                self.channels.broadcast(connection, action)

    def _authorize(self, connection: Connection) -> bool:
        """A connection that did not count until now does, if there is room (protocol.md 2.7)."""
        room = not self._is_over_quota(connection.app)
        self.listener.counted[connection.app.id] += 1
        if not room:
            connection.forsake()
            self.disconnect(connection, CloseCode.OVER_QUOTA, _OVER_QUOTA)
        return room

    # -- closing --------------------------------------------------------------------------------------------------

    def disconnect(self, connection: Connection, code: int, message: str, *, linger: float | None = None) -> None:
        """Tell the error, close, and forget at once: what happens from now on does not reach the connection.

        `linger`: seconds that its user stays online without it; None: as after any close.
        """
        if connection.is_closed:
            return
        connection.transport.offer(frames.encode_error(code, message))
        connection.transport.close(code, message)
        self.forget(connection, str(int(code)), linger=linger)

    def forget(self, connection: Connection, code: str, *, linger: float | None = None) -> None:
        """The connection has ended, or is about to; idempotent. `code` is for the count."""
        if connection.is_closed:
            return
        signed_in = connection.phase is Phase.SIGNED_IN
        connection.phase = Phase.CLOSED
        self.users.forget(connection, signed_in=signed_in, linger=linger)
        self.channels.forget(connection, linger)
        self.listener.connections -= 1
        self.listener.counted[connection.app.id] -= connection.is_authorized
        self._connections.pop(connection, None)
        self._metrics.of_app(connection.app.id).connections.dec()
        self._metrics.closes.labels(code).inc()

    def stop_admitting(self) -> list[Connection]:
        """Send newcomers elsewhere from now on. Returns the connections that there are, for `send_away`."""
        self._draining = True
        return list(self._connections)

    def send_away(self, connection: Connection, message: str = LEAVING) -> None:
        """Close a connection so that it comes back elsewhere at once, and keep its user online meanwhile."""
        self.disconnect(connection, CloseCode.RECONNECT, message, linger=self._settings.drain_linger)

    def oldest(self, count: int) -> list[Connection]:
        """So many connections that were opened first, for `shed`."""
        return list(islice(self._connections, count))

    def shed(self, connection: Connection, reason: Reason) -> None:
        """Send a connection away though this node stays."""
        self._metrics.shed_connections.labels(reason.value).inc()
        self.send_away(connection, _ELSEWHERE)

    @property
    def buffered(self) -> int:
        """Bytes that wait in all outboxes."""
        return sum(connection.transport.buffered for connection in self._connections)

    # -- time -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Heartbeats, deadlines, and frames that wait; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fanout.run)
            nursery.start_soon(self.watchers.run)
            nursery.start_soon(self.channels.run)
            nursery.start_soon(self._check_timers)

    async def _check_timers(self) -> None:
        while True:
            await trio.sleep(_TICK)
            now = trio.current_time()
            for connection in self._wheel.poll(now):
                self._check(connection, now)

    def _check(self, connection: Connection, now: float) -> None:
        """Do what is due for a connection, and look again when more will be."""
        if connection.is_closed:
            return
        try:
            self._perform(connection, connection.check(now, self._settings.pace))
        except Exception:  # a bug of ours that one connection's timer shows ends that one, not the node
            log.exception("a timer was not handled", app=connection.app.id)
            self._give_up(connection, "timer")
        if not connection.is_closed:
            self._wheel.schedule(connection, connection.next_check(self._settings.pace))
