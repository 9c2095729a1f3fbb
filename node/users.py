"""The users who are signed in on this node: sign-in, events, termination, and what the cluster is told of them.

A connection *holds* its user from the verified signature on (so that a termination finds it), is *signed in* once the
cluster knows of it, *watches* once the watched shards are complete too, and lets go when it is forgotten. Everything that
changes state is synchronous.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from cluster import BusAwayError, Member
from node.actions import Claim, Send
from node.config.apps import App
from node.connection import Connection, Phase
from node.fanout import Fanout
from node.metrics import Metrics
from node.multimap import Multimap
from node.protocol.errors import CloseCode
from node.watchers import Watchers

log = structlog.get_logger(__name__)

Disconnect = Callable[[Connection, int, str], None]
TERMINATED = "You got disconnected by the app"

_SIGNED_IN: Final = Phase.SIGNED_IN  # each look at an enum's member takes 0.16 µs, and each event needs one


class Unavailable(Exception):  # noqa: N818 - the word of HTTP 503
    """The bus could not carry it. Nothing was promised: the caller tries again."""


class Users:
    """The users of this node's connections. Set `member` before anything else."""

    member: Member

    def __init__(self, metrics: Metrics, watchers: Watchers, fanout: Fanout, disconnect: Disconnect) -> None:
        self._metrics = metrics
        self._watchers = watchers
        self._fanout = fanout
        self._disconnect = disconnect
        self._users: Multimap[tuple[str, str], Connection] = Multimap()
        self._online = 0

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
        self.member.confirm(app, user.id, (), partial(self._settle, self._answer, connection, claim, shards))

    def _settle(
        self, step: Callable[..., None], connection: Connection, claim: Claim, shards: Collection[str], confirmed: bool
    ) -> None:
        """The cluster has answered: take the next step. The connection may have closed or claimed again meanwhile."""
        try:
            step(connection, claim, shards, confirmed)
        except Exception:  # a bug of ours that one sign-in shows ends one connection, not the cluster member
            self._metrics.errors.labels("sign-in").inc()
            log.exception("a sign-in was not completed", app=connection.app.id)
            if not self._watchers.has(connection):
                self.member.unwatch(shards)
            self._disconnect(connection, CloseCode.OVER_CAPACITY, "Internal error")

    def _answer(self, connection: Connection, claim: Claim, shards: Collection[str], confirmed: bool) -> None:
        if connection.is_closed or claim.number != connection.claims:
            self._metrics.of_app(connection.app.id).superseded.inc()
            self.member.unwatch(shards)
        elif not confirmed:
            self._give_up(connection, shards)
        else:
            self._complete(connection, claim, shards)

    def _give_up(self, connection: Connection, shards: Collection[str]) -> None:
        """The shards are let go of last: what fails before that leaves them to `_settle`, and nobody does it twice."""
        app = connection.app.id
        self._metrics.of_app(app).unavailable.inc()
        log.warning("sign-in given up: the bus is away", app=app)
        self._disconnect(connection, CloseCode.OVER_CAPACITY, "Sign-in is not possible now, try again")
        self.member.unwatch(shards)

    def _complete(self, connection: Connection, claim: Claim, shards: Collection[str]) -> None:
        """Signed in: told to the client first, then to the watchers; its watchlist's state follows (protocol.md 4.2).

        The state may have to wait for a peer that is silent, and nobody else does: a user who comes back after a crash is
        seen before the dead node's users are taken for offline.
        """
        app, user = connection.app.id, claim.user
        before = connection.user if connection.phase is _SIGNED_IN else None
        self._send(connection, connection.signed_in(claim))
        if before is not None:
            self._unwatch(connection, before.watchlist)
        else:
            self._enter(connection, user.id)
        self.member.announce(app, user.id)
        if user.watchlist:
            self.member.confirm(app, user.id, shards, partial(self._settle, self._show, connection, claim, shards))

    def _show(self, connection: Connection, claim: Claim, shards: Collection[str], confirmed: bool) -> None:
        """The watched shards are complete: the client is told who is online, and watches from now on."""
        if connection.is_closed or connection.user is not claim.user:
            self.member.unwatch(shards)
        elif not confirmed:
            self._give_up(connection, shards)
        else:
            app = connection.app.id
            frame = self._watchers.add(connection, claim.user.watchlist, lambda other: self.member.is_online(app, other))
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
        return any(other.phase is _SIGNED_IN for other in others if other is not connection)

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
        """Let a connection watch no more; the shards of one that does not watch yet are let go of by `_show`."""
        if self._watchers.has(connection):
            self._watchers.remove(connection, watchlist)
            self.member.unwatch(self.member.shards_of(connection.app.id, watchlist))

    def _send(self, connection: Connection, actions: Sequence[Send]) -> None:
        for action in actions:
            connection.transport.offer(action.frame)

    # -- for the HTTP API -----------------------------------------------------------------------------------------

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

    # -- for the cluster ------------------------------------------------------------------------------------------

    @property
    def online(self) -> int:
        """How many users are signed in here."""
        return self._online

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """Deliver to the user's connections here; False if there are none."""
        connections = [each for each in self._users.get((app, user)) if each.phase is _SIGNED_IN]
        self._fanout.deliver((app, user), connections, frame, except_socket_id)
        return bool(connections)

    def terminate(self, app: str, user: str) -> int:
        """Close the user's connections here, those included whose sign-in is still being confirmed; how many."""
        connections = list(self._users.get((app, user)))
        for connection in connections:
            self._disconnect(connection, connection.app.terminate_code, TERMINATED)
        return len(connections)

    def count(self, app: str, user: str) -> int:
        """How many signed-in connections the user has here."""
        return sum(connection.phase is _SIGNED_IN for connection in self._users.get((app, user)))
