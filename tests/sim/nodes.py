"""Simulated nodes: a cluster member with a hub, and sessions that check what users are promised.

Online and offline alternate for each watched user, and an event comes once. What is wrong is given to `complain`; nothing
here raises. `ModelHub` is the smallest correct hub; tests/sim/real_hub.py drives the real one in its place.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol
from unittest.mock import patch

import trio

from cluster import (
    ChannelEvent,
    ClusterSettings,
    CountChange,
    Listener,
    Member,
    MemberEdge,
    NoStats,
    PeerLost,
    UserEdge,
    UserEvent,
)
from tests.sim.bus import SimBus

Complain = Callable[[str], None]


class Phase(Enum):
    """Where a session stands."""

    WAITING = "waiting"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(eq=False, repr=False, slots=True)
class Session:
    """One signed-in connection, as its client sees it."""

    node: str
    app: str
    user: str
    watchlist: tuple[str, ...]
    complain: Complain
    on_confirmed: "Callable[[Session], None]"
    phase: Phase = Phase.WAITING
    confirmed_at: float = float("inf")
    closed_at: float = float("inf")
    view: dict[str, bool] = field(default_factory=dict)
    told: list[tuple[float, str, bool]] = field(default_factory=list)  # when, whom of the watched, and whether online
    received: Counter[bytes] = field(default_factory=Counter)

    def begin(self) -> None:
        """The sign-in succeeded; who is online follows."""
        self.phase, self.confirmed_at, self.view = Phase.CONFIRMED, trio.current_time(), {}
        self.on_confirmed(self)

    def follow(self, user: str, *, online: bool) -> None:
        """A watched user came or went: it must be a change."""
        if self.view.get(user) is online:
            self.complain(f"{self} hears that {user} is {'on' if online else 'off'}line, twice in a row")
        self.view[user] = online
        self.told.append((trio.current_time(), user, online))

    def receive(self, frame: bytes) -> None:
        """An event arrived."""
        self.received[frame] += 1
        if self.received[frame] > 1:
            self.complain(f"{self} received {frame!r} again")

    def end(self, phase: Phase = Phase.CLOSED) -> None:
        """It is over."""
        if self.phase in (Phase.WAITING, Phase.CONFIRMED):
            self.phase, self.closed_at = phase, trio.current_time()

    def __str__(self) -> str:
        return f"{self.app}/{self.user}@{self.node}"


class Counts(NoStats):
    """What a member counted."""

    def __init__(self) -> None:
        self.repairs: Counter[str] = Counter()
        self.unclaims: Counter[str] = Counter()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.fences = 0
        self.timed_out = 0

    def message(self, direction: str, kind: str) -> None:
        """See `Stats`."""
        self.messages[direction, kind] += 1

    def unclaimed(self, kind: str) -> None:
        """See `Stats`."""
        self.unclaims[kind] += 1

    def repaired(self, reason: str) -> None:
        """See `Stats`."""
        self.repairs[reason] += 1

    def fenced(self, seconds: float, *, timed_out: bool) -> None:  # noqa: ARG002 - the signature is given
        """See `Stats`."""
        self.fences += 1
        self.timed_out += timed_out


class Hub(Protocol):
    """Who is connected to one node."""

    @property
    def listener(self) -> Listener:
        """What the member tells."""

    def begin(self, member: Member) -> None:
        """Work with this member."""

    async def run(self) -> None:
        """Do what is due, until cancelled."""

    def sign_in(self, session: Session) -> None:
        """A client connects and signs in."""

    def sign_out(self, session: Session) -> None:
        """A client closes its connection."""

    def send(self, app: str, user: str, frame: bytes, done: Callable[[bool], None]) -> None:
        """Publish an event to a user; `done(True)` if it is under way."""

    async def terminate_user(self, app: str, user: str) -> int:
        """Close all connections of a user; how many. Raises `BusAwayError`."""

    async def count_user(self, app: str, user: str) -> int:
        """Count all connections of a user. Raises `BusAwayError`."""


class NoChannels:
    """What a listener says that has no channels."""

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `Listener`."""
        del event
        return False

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `Listener`."""

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `Listener`."""

    def channel_missed(self, app: str, channel: str) -> None:
        """See `Listener`."""

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """See `Listener`."""

    def load(self) -> tuple[int, int, Mapping[str, int], bool]:
        """See `Listener`."""
        return 0, 0, {}, True


class ModelHub(NoChannels):
    """The smallest correct hub; a member's listener too."""

    def __init__(self) -> None:
        self.listener: Listener = self
        self._sessions: list[Session] = []
        self._member: Member

    def begin(self, member: Member) -> None:
        """See `Hub`."""
        self._member = member

    async def run(self) -> None:
        """See `Hub`."""

    # -- what clients do ------------------------------------------------------------------------------------------

    def sign_in(self, session: Session) -> None:
        """See `Hub`."""
        self._sessions.append(session)
        member, app = self._member, session.app
        member.hold(app, session.user)
        shards = member.shards_of(app, session.watchlist)
        member.watch(shards)
        member.confirm(app, session.user, (), lambda confirmed: self._settle(self._begin, session, confirmed=confirmed))

    def _settle(self, step: Callable[[Session], None], session: Session, *, confirmed: bool) -> None:
        if session not in self._sessions:
            self._unwatch(session)
        elif not confirmed:
            self._unwatch(session)
            self._close(session, Phase.REFUSED)
        else:
            step(session)

    def _begin(self, session: Session) -> None:
        member, app = self._member, session.app
        member.announce(app, session.user)
        session.begin()
        shards = member.shards_of(app, session.watchlist)
        member.confirm(app, session.user, shards, lambda confirmed: self._settle(self._show, session, confirmed=confirmed))

    def _show(self, session: Session) -> None:
        for user in session.watchlist:
            session.follow(user, online=self._member.is_online(session.app, user))

    def sign_out(self, session: Session) -> None:
        """See `Hub`."""
        self._close(session, Phase.CLOSED)

    def _close(self, session: Session, phase: Phase) -> None:
        if session not in self._sessions:
            return
        if session.view:  # else the shards are needed until the confirmation comes
            self._unwatch(session)
        session.end(phase)
        self._sessions.remove(session)
        self._member.release(session.app, session.user)

    def _unwatch(self, session: Session) -> None:
        self._member.unwatch(self._member.shards_of(session.app, session.watchlist))

    # -- what backends do -----------------------------------------------------------------------------------------

    def send(self, app: str, user: str, frame: bytes, done: Callable[[bool], None]) -> None:
        """See `Hub`."""

        def deliver(carried: bool) -> None:
            if carried:
                self.receive_event(app, user, frame, None)
            done(carried)

        self._member.send_events([UserEvent(app, user, frame)], deliver)

    async def terminate_user(self, app: str, user: str) -> int:
        """See `Hub`."""
        return self.terminate(app, user) + await self._member.terminate(app, user)

    async def count_user(self, app: str, user: str) -> int:
        """See `Hub`."""
        return self.count(app, user) + await self._member.count(app, user)

    # -- what the member tells ------------------------------------------------------------------------------------

    def _of(self, app: str, user: str, *phases: Phase) -> list[Session]:
        return [s for s in self._sessions if (s.app, s.user) == (app, user) and s.phase in phases]

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """See `Listener`."""
        del except_socket_id
        sessions = self._of(app, user, Phase.CONFIRMED)
        for session in sessions:
            session.receive(frame)
        return bool(sessions)

    def terminate(self, app: str, user: str) -> int:
        """See `Listener`."""
        sessions = self._of(app, user, Phase.WAITING, Phase.CONFIRMED)
        for session in sessions:
            self._close(session, Phase.CLOSED)
        return len(sessions)

    def count(self, app: str, user: str) -> int:
        """See `Listener`."""
        return len(self._of(app, user, Phase.CONFIRMED))

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `Listener`."""
        for edge in edges:
            for session in self._sessions:
                if session.app == edge.app and edge.user in session.view:
                    session.follow(edge.user, online=edge.online)


class OnPeer(Protocol):
    """Who hears that a node met or lost a peer."""

    def __call__(self, node: "SimNode", peer: str, *, lost: bool) -> None:
        """It did."""


class SimNode:
    """One node: bus, member, hub, and the sessions on it. `name` is its node id."""

    def __init__(self, name: str, bus: SimBus, hub: Hub, settings: ClusterSettings, on_peer: OnPeer) -> None:
        self.name = name
        self.bus = bus
        self.hub = hub
        self.counts = Counts()
        with patch("cluster.member.secrets.token_hex", lambda _size: name):
            self.member = Member(bus, settings, hub.listener, self.counts)
        hub.begin(self.member)
        self._observe(on_peer)
        self.alive = True
        self.died_at = float("inf")
        self.joined = False
        self.sessions: list[Session] = []
        self._life = trio.CancelScope()

    def _observe(self, on_peer: OnPeer) -> None:
        maps = self.member._maps
        peer_up, peer_down = maps.peer_up, maps.peer_down

        def met(peer: str) -> None:
            on_peer(self, peer, lost=False)
            peer_up(peer)

        def lost(peer: str, age: float) -> None:
            on_peer(self, peer, lost=True)
            peer_down(peer, age)

        vars(maps).update(peer_up=met, peer_down=lost)

    async def run(self) -> None:
        """Live, until `die`."""
        with self._life:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.member.run)
                self.joined = True
                nursery.start_soon(self.hub.run)

    @property
    def serves(self) -> bool:
        """Whether clients can be here."""
        return self.alive and self.joined

    def die(self, *, power: bool = False) -> None:
        """End at once: the process, or with `power` the whole machine, so that its server does not notice."""
        if power:
            self.bus.vanish()
        else:
            self.bus.die()
        self.alive, self.died_at = False, trio.current_time()
        self._life.cancel()
        for session in self.sessions:
            session.end()

    def sign_in(self, session: Session) -> None:
        """A client connects and signs in."""
        self.sessions.append(session)
        self.hub.sign_in(session)

    @property
    def open_sessions(self) -> list[Session]:
        """The sessions whose clients are still there."""
        return [session for session in self.sessions if session.phase in (Phase.WAITING, Phase.CONFIRMED)]

    def confirmed(self, app: str, user: str) -> list[Session]:
        """The sessions of a user that are signed in here."""
        return [s for s in self.sessions if (s.app, s.user) == (app, user) and s.phase is Phase.CONFIRMED]
