"""One simulated cluster and what must hold in it.

`World` makes nodes, remembers what was promised to whom, and at the end looks at every promise. The promises that hold
only while nothing is broken are kept apart: each remembers its moment, and is not looked at when trouble was near.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import trio

from cluster import BusAwayError, ClusterSettings
from tests.sim.bus import STALE, SimBus
from tests.sim.network import Network
from tests.sim.nodes import Hub, Phase, Session, SimNode

PAD = 3.0  # seconds before trouble in which what is sent may be lost by it
TRAVEL = 1.0  # more than anything is on its way in a healthy network, in seconds


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that was carried at `at`, right after the session was confirmed."""

    session: Session
    frame: bytes
    sender: SimNode
    at: float


@dataclass(frozen=True, slots=True)
class _Termination:
    """A termination that was asked for at `asked_at`, and done at `done_at`."""

    sessions: list[Session]
    asked_at: float
    done_at: float


@dataclass(slots=True)
class Trouble:
    """Something that is broken from `start` to `end`."""

    start: float
    end: float = float("inf")


@dataclass(eq=False, repr=False, slots=True)
class World:
    """A cluster in a simulation."""

    random: Random
    network: Network
    settings: ClusterSettings
    make_hub: Callable[[], Hub]
    nodes: list[SimNode] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    timeline: list[tuple[float, str]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    lost_unnoticed: bool = False  # messages were lost, but perhaps no heartbeat
    _nursery: trio.Nursery | None = None
    _frames: int = 0
    _events: list[_Event] = field(default_factory=list)
    _terminations: list[_Termination] = field(default_factory=list)
    _lost: list[str] = field(default_factory=list)

    # -- the course of things -------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Remember what happens."""
        self.timeline.append((trio.current_time(), text))

    def complain(self, text: str) -> None:
        """Something is wrong."""
        self.note(f"VIOLATION: {text}")
        self.violations.append(f"{trio.current_time():.3f}: {text}")

    def begin(self, nursery: trio.Nursery) -> None:
        """Run whatever the world needs in this nursery."""
        self._nursery = nursery
        self.network.delivered = self._on_delivered
        nursery.start_soon(self.network.run)

    @property
    def serving(self) -> list[SimNode]:
        """The nodes where clients can be."""
        return [node for node in self.nodes if node.serves]

    def add_node(self) -> SimNode:
        """Start a node on some server."""
        assert self._nursery is not None
        name = f"n{len(self.nodes)}"
        bus = SimBus(self.network, self.random.choice(self.network.servers))
        node = SimNode(name, bus, self.make_hub(), self.settings, self._on_peer)
        self.nodes.append(node)
        self.note(f"{name} starts on {bus.server}")
        self._nursery.start_soon(node.run)
        return node

    def _on_peer(self, node: SimNode, peer: str, *, lost: bool) -> None:
        self.note(f"{node.name} {'loses' if lost else 'meets'} {peer}")
        if lost and any(other.name == peer and other.alive for other in self.nodes):
            self._lost.append(f"{trio.current_time():.3f}: {node.name} lost {peer}, which lives")

    # -- what clients and backends do -----------------------------------------------------------------------------

    def sign_in(self, node: SimNode, app: str, user: str, watchlist: Iterable[str]) -> Session:
        """A client signs in."""
        session = Session(node.name, app, user, tuple(watchlist), self.complain, self._on_confirmed)
        self.note(f"{session} signs in, watching {' '.join(session.watchlist)}")
        node.sign_in(session)
        return session

    def sign_out(self, node: SimNode, session: Session) -> None:
        """A client closes its connection."""
        self.note(f"{session} signs out")
        node.hub.sign_out(session)

    def _on_confirmed(self, session: Session) -> None:
        online = " ".join(user for user, is_online in session.view.items() if is_online)
        self.note(f"{session} is signed in, online: {online or '-'}")
        if self.random.random() < 0.6:
            self._send(self.random.choice(self.serving), session)

    def _send(self, sender: SimNode, session: Session) -> None:
        self._frames += 1
        frame, at = b"event %d" % self._frames, trio.current_time()
        self.note(f"{sender.name} sends {frame.decode()} to {session}")
        event = _Event(session, frame, sender, at)
        sender.hub.send(session.app, session.user, frame, lambda carried: self._events.append(event) if carried else None)

    async def terminate(self, node: SimNode, app: str, user: str) -> None:
        """A backend terminates a user."""
        self.note(f"{node.name} terminates {app}/{user}")
        sessions, at = self.confirmed(app, user), trio.current_time()
        try:
            number = await node.hub.terminate_user(app, user)
        except BusAwayError as error:
            await self._terminate_again(node, app, user, str(error))
            return
        self.note(f"{node.name} terminated {number} connections of {app}/{user}")
        self._terminations.append(_Termination(sessions, at, trio.current_time()))

    async def _terminate_again(self, node: SimNode, app: str, user: str, problem: str) -> None:
        """A backend that was refused tries once more; only something broken may refuse it twice."""
        self.note(f"{node.name} could not terminate {app}/{user}: {problem}")
        at = trio.current_time()
        try:
            await node.hub.terminate_user(app, user)
        except BusAwayError as error:
            if not self.is_troubled(at) and not self._has_died(at):
                self.complain(f"termination of {app}/{user} by {node.name}: {error}")

    # -- the truth ------------------------------------------------------------------------------------------------

    def confirmed(self, app: str, user: str) -> list[Session]:
        """All sessions of a user that are signed in."""
        return [session for node in self.nodes if node.alive for session in node.confirmed(app, user)]

    def sessions(self, *phases: Phase) -> list[tuple[SimNode, Session]]:
        """All sessions on live nodes that stand so."""
        return [(node, s) for node in self.nodes if node.alive for s in node.sessions if s.phase in phases]

    def is_troubled(self, at: float) -> bool:
        """Whether what was sent then may be lost."""
        return any(trouble.start - PAD <= at < trouble.end for trouble in self.troubles)

    def _has_died(self, at: float) -> bool:
        """Whether a node died after `at`, or shortly before."""
        return any(node.died_at >= at - PAD - STALE for node in self.nodes if not node.alive)

    # -- invariants -----------------------------------------------------------------------------------------------

    def _on_delivered(self, bus: SimBus, subject: str) -> None:
        """No message reaches a node that has not wanted it lately."""
        node = next(node for node in self.nodes if node.bus is bus)
        now, parts = trio.current_time(), subject.split(".")
        if not node.alive:
            return
        if parts[2] == "user":
            ends = [
                s.closed_at + self.settings.presence_linger for s in node.sessions if (s.app, s.user) == (parts[3], parts[4])
            ]
        elif parts[2] == "presence":
            shard = ".".join(parts[2:5])
            watching = [s for s in node.sessions if shard in node.member.shards_of(s.app, s.watchlist)]
            # a connection that closes while its sign-in waits lets go when that has been decided
            waited = 2 * self.settings.fence_timeout
            ends = [s.closed_at + self.settings.shard_linger + waited for s in watching]
        else:
            return
        if not any(now <= end + TRAVEL for end in ends) and not self.is_troubled(now):
            self.complain(f"{node.name} is sent {subject}, which it does not want")

    def check_views(self) -> None:
        """Every view is the truth; nobody still waits."""
        for _, session in self.sessions(Phase.WAITING):
            self.complain(f"{session} still waits to be signed in")
        for _, session in self.sessions(Phase.CONFIRMED):
            if set(session.view) != set(session.watchlist):
                self.complain(f"{session} watches {session.watchlist}, but was told of {list(session.view)}")
            for user, online in session.view.items():
                if online != bool(self.confirmed(session.app, user)):
                    self.complain(f"{session} believes that {user} is {'on' if online else 'off'}line")

    async def check_counts(self, users: Iterable[tuple[str, str]]) -> None:
        """Every node counts the truth; or part of it, where holders may have lost each other's introductions unnoticed."""
        for app, user in users:
            for node in self.serving:
                try:
                    count = await node.hub.count_user(app, user)
                except BusAwayError as error:
                    self.complain(f"{node.name} cannot count {app}/{user}: {error}")
                    continue
                truth = len(self.confirmed(app, user))
                if count != truth and (not self.lost_unnoticed or not 0 < count < truth):
                    self.complain(f"{node.name} counts {count} connections of {app}/{user}, there are {truth}")

    def check_promises(self) -> None:
        """Events and terminations arrived."""
        for event in self._events:
            open_long_enough = event.session.closed_at > event.at + TRAVEL
            if open_long_enough and not self.is_troubled(event.at) and not event.session.received[event.frame]:
                self.complain(f"{event.session} never received {event.frame.decode()}, sent by {event.sender.name}")
        for termination in self._terminations:
            for session in termination.sessions:
                if session.closed_at > termination.done_at + TRAVEL and not self.is_troubled(termination.asked_at):
                    self.complain(f"{session} survived the termination at {termination.asked_at:.3f}")

    def check_interests(self) -> None:
        """Each server knows exactly what each node says that it wants."""
        for node in self.serving:
            wanted = sorted(node.bus.patterns)
            known = sorted(pattern for server in self.network.servers for pattern in server.patterns(node.bus))
            if wanted != known or len(wanted) != node.member.interests:
                self.complain(f"{node.name} has {node.member.interests} interests, subscribed {wanted}, known {known}")

    def check_calm(self) -> None:
        """Where nothing was broken, nothing was repaired, no fence waited in vain, nobody was taken for dead."""
        for lost in self._lost:
            self.complain(lost)
        for node in self.nodes:
            if node.counts.repairs or node.counts.timed_out:
                self.complain(f"{node.name} repaired {dict(node.counts.repairs)}, {node.counts.timed_out} fences timed out")
