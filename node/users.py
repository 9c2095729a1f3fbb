"""The users who are signed in on this node: sign-in, events, termination, and what the cluster is told of them.

A connection *holds* its user from the verified signature on (so that a termination finds it), is *signed in* once the
cluster has confirmed, and lets go when it is forgotten. Everything that changes state is synchronous.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
import trio

from cluster import BusAwayError, ChannelEvent, CountChange, Member, MemberEdge, UserEdge, UserEvent
from node.config.apps import App
from node.connection import Claim, Connection, Phase, Send
from node.metrics import Metrics
from node.multimap import Multimap
from node.protocol.errors import CloseCode
from node.watchers import Watchers

log = structlog.get_logger(__name__)

Disconnect = Callable[[Connection, int, str], None]
TERMINATED = "You got disconnected by the app"


class Unavailable(Exception):  # noqa: N818 - the word of HTTP 503
    """The bus could not carry it. Nothing was promised: the caller tries again."""


class Users:
    """The users of this node's connections. It is the cluster's listener; set `member` before anything else."""

    member: Member

    def __init__(self, metrics: Metrics, watchers: Watchers, disconnect: Disconnect) -> None:
        self._metrics = metrics
        self._watchers = watchers
        self._disconnect = disconnect
        self._users: Multimap[tuple[str, str], Connection] = Multimap()
        self._online = 0
        self.connections = 0  # all that this node has, for heartbeats; the hub counts

    # -- signing in -----------------------------------------------------------------------------------------------

    def claim(self, connection: Connection, claim: Claim) -> None:
        """A signature was verified: let the cluster know, and answer when it does."""
        app, user = connection.app.id, claim.user
        if connection not in self._users.get((app, user.id)):
            self._users.add((app, user.id), connection)
            self.member.hold(app, user.id)
        shards: Collection[str] = ()
        if user.watchlist:
            shards = self.member.shards_of(app, user.watchlist)
            self.member.watch(shards)
        self.member.confirm(app, user.id, shards, lambda confirmed: self._settle(connection, claim, shards, confirmed))

    def _settle(self, connection: Connection, claim: Claim, shards: Collection[str], confirmed: bool) -> None:
        """The cluster has answered a claim; the connection may have closed or claimed again meanwhile."""
        try:
            self._answer(connection, claim, shards, confirmed)
        except Exception:  # a bug of ours that one sign-in shows ends one connection, not the cluster member
            self._metrics.errors.labels("sign-in").inc()
            log.exception("a sign-in was not completed", app=connection.app.id)
            self._disconnect(connection, CloseCode.OVER_CAPACITY, "Internal error")

    def _answer(self, connection: Connection, claim: Claim, shards: Collection[str], confirmed: bool) -> None:
        app = connection.app
        if connection.is_closed or claim.number != connection.claims:
            self.member.unwatch(shards)
            self._metrics.of_app(app.id).superseded.inc()
        elif not confirmed:
            self.member.unwatch(shards)
            self._metrics.of_app(app.id).unavailable.inc()
            log.warning("sign-in given up: the bus is away", app=app.id)
            self._disconnect(connection, CloseCode.OVER_CAPACITY, "Sign-in is not possible now, try again")
        else:
            self._complete(connection, claim)

    def _complete(self, connection: Connection, claim: Claim) -> None:
        """Signed in: told to the client first, then its watchlist's state, then to the watchers (protocol.md 4.2)."""
        app, user = connection.app.id, claim.user
        before = connection.user if connection.phase is Phase.SIGNED_IN else None
        self._send(connection, connection.signed_in(claim))
        if before is not None:
            self._unwatch(connection, before.watchlist)
        else:
            self._enter(connection, user.id)
        self.member.announce(app, user.id)
        if user.watchlist:
            frame = self._watchers.add(connection, user.watchlist, lambda other: self.member.is_online(app, other))
            connection.transport.offer(frame)

    def _enter(self, connection: Connection, user: str) -> None:
        metrics = self._metrics.of_app(connection.app.id)
        metrics.signed_in.inc()
        metrics.signed_in_connections.inc()
        if not self._is_signed_in_elsewhere(connection, user):
            self._online += 1
            metrics.users_online.inc()

    def _is_signed_in_elsewhere(self, connection: Connection, user: str) -> bool:
        """Whether another connection here is signed in as the user."""
        others = self._users.get((connection.app.id, user))
        return any(other.phase is Phase.SIGNED_IN for other in others if other is not connection)

    def refused(self, connection: Connection) -> None:
        """A sign-in failed; the client was told."""
        self._metrics.of_app(connection.app.id).refused.inc()

    def forget(self, connection: Connection, *, signed_in: bool, linger: float | None = None) -> None:
        """A connection is closed, its phase says so already; idempotent.

        `signed_in`: whether it was until then. `linger`: seconds until its user may be offline; None: as configured.
        """
        if (user := connection.user) is None:
            return
        connection.user = None
        app = connection.app.id
        self._users.discard((app, user.id), connection)
        self.member.release(app, user.id, linger)
        if not signed_in:
            return
        self._unwatch(connection, user.watchlist)
        metrics = self._metrics.of_app(app)
        metrics.signed_in_connections.dec()
        if not self._is_signed_in_elsewhere(connection, user.id):
            self._online -= 1
            metrics.users_online.dec()

    def _unwatch(self, connection: Connection, watchlist: Sequence[str]) -> None:
        if watchlist:
            self._watchers.remove(connection, watchlist)
            self.member.unwatch(self.member.shards_of(connection.app.id, watchlist))

    def _send(self, connection: Connection, actions: Sequence[Send]) -> None:
        for action in actions:
            connection.transport.offer(action.frame)

    # -- for the HTTP API -----------------------------------------------------------------------------------------

    def send_to_users(self, events: Sequence[UserEvent], done: Callable[[bool], None]) -> None:
        """Deliver events to users wherever they are signed in; `done(True)` once that is under way.

        `done(False)`: the bus is away, and nobody here was told either, so that a retry does not arrive twice.
        """

        def deliver(carried: bool) -> None:
            if carried:
                for event in events:
                    self.receive_event(event.app, event.user, event.frame, event.except_socket_id)
            done(carried)

        self.member.send_events(events, deliver)

    async def terminate_user(self, app: App, user_id: str) -> int:
        """Close the user's signed-in connections everywhere; how many. Raises `Unavailable`."""
        start = trio.current_time()
        here = self.terminate(app.id, user_id)
        try:
            elsewhere = await self.member.terminate(app.id, user_id)
        except BusAwayError as error:
            raise Unavailable(str(error)) from error
        self._metrics.terminations.inc()
        self._metrics.termination_seconds.observe(trio.current_time() - start)
        return here + elsewhere

    async def count_user(self, app: App, user_id: str) -> int:
        """The user's signed-in connections in the cluster. Raises `Unavailable`."""
        try:
            return self.count(app.id, user_id) + await self.member.count(app.id, user_id)
        except BusAwayError as error:
            raise Unavailable(str(error)) from error

    # -- for the cluster (cluster.Listener) -----------------------------------------------------------------------

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """Deliver to the user's connections here; False if there are none."""
        delivered = False
        for connection in self._users.get((app, user)):
            if connection.phase is Phase.SIGNED_IN:
                delivered = True
                if connection.socket_id != except_socket_id:
                    connection.transport.offer(frame)
        return delivered

    def terminate(self, app: str, user: str) -> int:
        """Close the user's connections here, those included whose sign-in is still being confirmed; how many."""
        connections = list(self._users.get((app, user)))
        for connection in connections:
            self._disconnect(connection, connection.app.terminate_code, TERMINATED)
        return len(connections)

    def count(self, app: str, user: str) -> int:
        """How many signed-in connections the user has here."""
        return sum(connection.phase is Phase.SIGNED_IN for connection in self._users.get((app, user)))

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """Users came online or went offline in the cluster."""
        self._watchers.note(edges, trio.current_time())

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """No channel has subscribers here."""
        del event
        return False

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """Nobody here is told of members."""

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """Nobody here is told of counts."""

    def peers_changed(self) -> None:
        """Nothing here depends on who the keepers are."""

    def load(self) -> tuple[int, int, Mapping[str, int]]:
        """Connections, signed-in users, and connections by app here."""
        return self.connections, self._online, {}
